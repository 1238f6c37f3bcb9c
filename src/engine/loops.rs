//! The loops around the state machines: receive, step, send, measure.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use super::EngineSettings;
use super::threads::spawn;
use crate::checkpoint::Checkpointer;
use crate::claim::{MadePage, PageOrder, Swept};
use crate::clock::{Clock, Now};
use crate::disk::{DiskResult, LockGuard};
use crate::error::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::ids::Epoch;
use crate::journal::{Prepared, Sealed, SegmentKeeper, SegmentSource};
use crate::limits;
use crate::sequencer::{BarrierPlaced, Sequencer, Submission};
use crate::status::{Status, Unready};
use crate::store::{FrozenStore, LetterId, Store};
use crate::telemetry::metrics;
use crate::worker::{HandedOver, PartitionWorker, WorkerMessage};

/// How often a loop without messages looks around.
const TICK: Duration = Duration::from_millis(100);
/// Without any new data, the server's uptime is made durable this often.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(600);

/// What the sequencer can be told.
pub(super) enum SequencerMessage {
    /// Sequence this batch.
    Submit(Box<Submission>),
    /// Cut here.
    Barrier(BarrierRequest),
}

/// Asks for a barrier in every queue.
pub(super) struct BarrierRequest {
    epoch: Epoch,
    /// Where workers hand over; goes along with the barrier.
    handed_over: Sender<HandedOver>,
    /// Where the sequencer tells the cut, and how much journal lies before it.
    placed: Sender<(BarrierPlaced, u64)>,
    /// Ends the segment too, so that all of the journal before the cut can be archived.
    seal: bool,
}

/// What the checkpointer can be told.
pub(super) enum Control {
    /// Make a last checkpoint, end, and let go of this.
    Stop(Sender<()>),
    /// Make a checkpoint and hand out the store as it then is; with `Archived`, everything before
    /// it goes into the archive.
    Freeze(Before, Sender<Frozen>),
    /// Remove these dead letters from the store, and say how many were there.
    RemoveLetters(Vec<LetterId>, Sender<u64>),
}

/// What becomes of the journal before a checkpoint that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It goes into the archive, if there is one.
    Archived,
    /// It stays until its segment is full.
    Kept,
}

/// The store at one checkpoint, and when everything before it is archived.
pub(super) struct Frozen {
    pub(super) store: FrozenStore,
    /// Closed once the archive has it all; `None` never is.
    pub(super) archived: Option<Receiver<()>>,
}

/// What the keeper is told.
pub(super) struct TakeBack {
    segments: Vec<Sealed>,
    /// Let go of once everything is reclaimed.
    done: Option<Sender<()>>,
}

/// One partition's loop; ends when nobody can send to it any more.
pub(super) struct WorkerLoop {
    pub(super) partition: u16,
    pub(super) worker: PartitionWorker,
    pub(super) inbox: Receiver<WorkerMessage>,
    pub(super) status: Arc<Status>,
}

impl WorkerLoop {
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        let metrics = metrics::Partition::new(self.partition);
        for message in &self.inbox {
            let applied = self.worker.step(message);
            self.status.memory_is(self.partition.into(), self.worker.bytes());
            if applied.insights > 0 {
                metrics.applied(applied.insights, applied.late);
            }
            metrics.queue_depth(self.inbox.len());
        }
        Ok(())
    }
}

/// The sequencer's loop; ends when nobody can send to it any more.
pub(super) struct SequencerLoop {
    pub(super) sequencer: Sequencer,
    pub(super) inbox: Receiver<SequencerMessage>,
    pub(super) workers: Vec<Sender<WorkerMessage>>,
    pub(super) pages: PageMaker,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: Arc<Status>,
}

impl SequencerLoop {
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        metrics::keys(self.sequencer.keys_held());
        loop {
            // It gives way to others some times before it sleeps, and is meant to: a group gathers
            // meanwhile. Asleep at once, groups were smaller than scenario 008_group_commit allows.
            let (group, barrier) = match self.inbox.recv_timeout(TICK) {
                Ok(first) => self.drain(first),
                Err(RecvTimeoutError::Timeout) => (Vec::new(), None),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if !group.is_empty() {
                self.sequence(group)?;
            }
            if let Some(request) = barrier {
                self.place(&request)?;
            }
            let uptime = self.clock.uptime();
            if let Swept::Some { early: true } = self.sequencer.sweep(uptime)? {
                metrics::swept_early();
                tracing::warn!("more keys than idempotency.max_keys: the oldest are forgotten");
            }
            metrics::keys(self.sequencer.keys_held());
            if let Ok(made) = self.pages.made.try_recv() {
                self.sequencer.page_made(made)?;
            }
            if let Some(order) = self.sequencer.page_order(uptime) {
                self.pages.orders.send(order).map_err(|_| gone("logmill-pages"))?;
            }
        }
    }

    /// Takes what has come meanwhile, up to a barrier or a full group. There is no timer: while
    /// one group is synced the next one gathers.
    fn drain(&self, first: SequencerMessage) -> (Vec<Submission>, Option<BarrierRequest>) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                SequencerMessage::Barrier(request) => return (group, Some(request)),
                SequencerMessage::Submit(submission) => {
                    bytes += (submission.record.len() + submission.dead_record.len()) as u64;
                    group.push(*submission);
                }
            }
            let is_full =
                bytes >= limits::GROUP_BYTES_MAX || group.len() >= limits::GROUP_BATCHES_MAX;
            next = if is_full { None } else { self.inbox.try_recv().ok() };
        }
        (group, None)
    }

    fn sequence(&mut self, group: Vec<Submission>) -> Result<(), EngineError> {
        let now = Now::read(self.clock.as_ref());
        let clock = Arc::clone(&self.clock);
        let sequenced = self.sequencer.step(group, now, || clock.uptime())?;
        self.status.journal_grew(sequenced.journal_bytes);
        if let Some(took) = sequenced.sync {
            metrics::synced(sequenced.accepted, took);
        }
        for (partition, apply) in sequenced.dispatches {
            failpoint::reach(Failpoint::BeforeDispatch);
            send(&self.workers[usize::from(partition.0)], WorkerMessage::Apply(apply))?;
            failpoint::reach(Failpoint::AfterDispatch);
        }
        for (reply, outcome) in sequenced.answers {
            failpoint::reach(Failpoint::BeforeReply);
            // A sender that has gone away has its batch counted all the same.
            reply.send(outcome).ok();
            failpoint::reach(Failpoint::AfterReply);
        }
        Ok(())
    }

    fn place(&mut self, request: &BarrierRequest) -> Result<(), EngineError> {
        if request.seal {
            self.sequencer.seal()?;
        }
        for worker in &self.workers {
            failpoint::reach(Failpoint::BeforeBarrier);
            send(worker, WorkerMessage::Barrier(request.epoch, request.handed_over.clone()))?;
        }
        failpoint::reach(Failpoint::AfterBarrier);
        let placed = self.sequencer.barrier(self.clock.uptime());
        request
            .placed
            .send((placed, self.status.journal_bytes()))
            .map_err(|_| gone("logmill-checkpointer"))
    }
}

/// The checkpointer's loop.
pub(super) struct CheckpointLoop {
    pub(super) checkpointer: Checkpointer,
    pub(super) settings: EngineSettings,
    pub(super) epoch: Epoch,
    pub(super) commands: Receiver<Control>,
    pub(super) sequencer: Sender<SequencerMessage>,
    pub(super) workers: Vec<Sender<WorkerMessage>>,
    pub(super) reclaim: Sender<TakeBack>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: Arc<Status>,
}

impl CheckpointLoop {
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        self.status.checkpointed(self.clock.uptime());
        loop {
            let stop = match self.commands.recv_timeout(TICK) {
                Ok(Control::Stop(done)) => Some(done),
                Ok(Control::Freeze(before, frozen)) => {
                    self.freeze(before, &frozen)?;
                    None
                }
                Ok(Control::RemoveLetters(ids, removed)) => {
                    let gone = self.checkpointer.store.remove_letters(&ids)?;
                    metrics::letters_removed(gone);
                    // Whoever asked may have gone.
                    removed.send(gone).ok();
                    None
                }
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let age = self.clock.uptime().saturating_sub(self.status.checkpoint_uptime());
            metrics::pending(self.status.journal_bytes(), self.status.memory_bytes(), age);
            if self.status.is_disk_full() {
                // It would need the space that is kept for it to end well. Nothing more is
                // accepted meanwhile, and the journal has everything.
                if stop.is_some() {
                    tracing::warn!("the disk is full: no last checkpoint, the next start replays");
                }
            } else if stop.is_some() || self.is_due(age) {
                self.checkpoint(false)?;
            }
            if stop.is_some() {
                return Ok(());
            }
        }
    }

    fn is_due(&self, age: Duration) -> bool {
        let journal_bytes = self.status.journal_bytes();
        journal_bytes >= self.settings.checkpoint_journal_bytes
            || self.status.memory_bytes() >= self.settings.checkpoint_memory_bytes
            || (journal_bytes > 0 && age >= self.settings.checkpoint_interval)
            || age >= IDLE_CHECKPOINT
    }

    /// The store as of a checkpoint made now. Nothing else writes to the store than this thread.
    fn freeze(&mut self, before: Before, frozen: &Sender<Frozen>) -> Result<(), EngineError> {
        let archived = self.checkpoint(before == Before::Archived)?;
        let store = Store::freeze(&self.checkpointer.store)?;
        // Whoever asked may have gone.
        frozen.send(Frozen { store, archived }).ok();
        Ok(())
    }

    /// The five steps; see [`crate::checkpoint`]. With `seal`, all of the journal before the
    /// barrier is taken back, and what is returned tells when that is done.
    fn checkpoint(&mut self, seal: bool) -> Result<Option<Receiver<()>>, EngineError> {
        let started = self.clock.uptime();
        let epoch = self.epoch.next();
        // Room for all: a worker that hands over waits for nobody.
        let (handed_over, deltas) = bounded(self.workers.len());
        let (placed, cut) = bounded(1);
        let request = BarrierRequest { epoch, handed_over, placed, seal };
        self.sequencer
            .send(SequencerMessage::Barrier(request))
            .map_err(|_| gone("logmill-sequencer"))?;
        let (placed, journal_bytes) = cut.recv().map_err(|_| gone("logmill-sequencer"))?;
        let deltas: Vec<_> = deltas.iter().map(|handed: HandedOver| handed.delta).collect();
        if deltas.len() != self.workers.len() {
            return Err(gone("logmill-worker"));
        }

        let now = Now::read(self.clock.as_ref());
        let stats = self.checkpointer.write(epoch, &placed, &deltas, None, now)?;
        self.epoch = epoch;
        drop(deltas);
        for worker in &self.workers {
            send(worker, WorkerMessage::Committed(epoch))?;
        }
        let (done, reclaimed) = if seal { Some(bounded(0)).unzip() } else { (None, None) };
        let take_back = TakeBack { segments: placed.sealed, done };
        self.reclaim.send(take_back).map_err(|_| gone("logmill-keeper"))?;

        let ended = self.clock.uptime();
        self.status.journal_shrank(journal_bytes);
        self.status.checkpointed(ended);
        metrics::checkpointed(ended.saturating_sub(started));
        metrics::letters(stats.letters);
        tracing::debug!(
            epoch = epoch.0,
            group = placed.group.0,
            windows = stats.windows,
            rebuilt = stats.rebuilt,
            expired = stats.expired,
            took_ms = (ended.saturating_sub(started)).as_secs_f64() * 1e3,
            "checkpoint"
        );
        Ok(reclaimed)
    }
}

/// Whoever makes claim pages ahead: one order at a time, so neither side ever waits.
pub(super) struct PageMaker {
    orders: Sender<PageOrder>,
    made: Receiver<DiskResult<MadePage>>,
}

/// Starts the thread that makes claim pages; it ends when nobody can order any more.
pub(super) fn start_page_maker(
    status: &Arc<Status>,
    lock: &Arc<dyn LockGuard>,
) -> Result<PageMaker, EngineError> {
    let (orders, inbox) = bounded::<PageOrder>(1);
    let (deliver, made) = bounded(1);
    spawn("logmill-pages".to_owned(), status, lock, move || {
        for order in inbox {
            // If nobody takes it, it is removed at the next start.
            deliver.send(order.make()).ok();
        }
        Ok(())
    })?;
    Ok(PageMaker { orders, made })
}

/// Where segments come from, and where they go back to.
type Keeper = (SegmentSource, Sender<TakeBack>);

/// Starts the thread that always has the next segment ready, and archives and reclaims used ones
/// in between.
pub(super) fn start_keeper(
    mut keeper: SegmentKeeper,
    status: &Arc<Status>,
    lock: &Arc<dyn LockGuard>,
) -> Result<Keeper, EngineError> {
    // One lies ready while work on others goes on. That there is no space does not: it may be over
    // when somebody asks.
    let (hand_out, prepared) = bounded::<DiskResult<Prepared>>(1);
    let (refuse, refused) = bounded(0);
    let (reclaim, returned) = bounded::<TakeBack>(1);
    let watched = Arc::clone(status);
    spawn("logmill-keeper".to_owned(), status, lock, move || {
        // Who waits for everything to be reclaimed.
        let mut waiting = Vec::new();
        let mut pause = Duration::ZERO;
        loop {
            // A full disk is handed out too: it is for whoever needs a segment to refuse batches.
            let mut ready = Some(match keeper.prepare() {
                Err(error) if !error.is_only_full() => return Err(error.into()),
                prepared => prepared,
            });
            while let Some(segment) = ready.take() {
                let to = if segment.is_ok() { &hand_out } else { &refuse };
                select! {
                    send(to, segment) -> sent => if sent.is_err() { return Ok(()) },
                    recv(returned) -> take_back => match take_back {
                        Ok(TakeBack { segments, done }) => {
                            keeper.take_back(segments);
                            waiting.extend(done);
                            pause = Duration::ZERO;
                            ready = Some(segment);
                        }
                        Err(_) => return Ok(()),
                    },
                    // One at a time: a segment that is needed does not wait for many to be
                    // archived.
                    default(pause) => {
                        let more = keeper.reclaim_next(&|| {
                            // Not once the segment that lay ready is taken: the sequencer may soon
                            // wait for the next.
                            let is_calm = !hand_out.is_empty() && waiting.is_empty();
                            let ends = matches!(
                                watched.unready(),
                                Some(Unready::Stopping | Unready::Failed)
                            );
                            if is_calm && !ends {
                                std::thread::sleep(limits::ARCHIVE_PAUSE);
                            }
                        })?;
                        pause = if more { Duration::ZERO } else { limits::SPACE_RETRY_INTERVAL };
                        if !keeper.is_waiting() {
                            waiting.clear();
                        }
                        ready = Some(segment);
                    }
                }
            }
        }
    })?;
    let source = move || {
        let ready = prepared.try_recv().or_else(|_| {
            select! {
                recv(prepared) -> ready => ready,
                recv(refused) -> full => full,
            }
        });
        ready.unwrap_or_else(|_| {
            let gone = std::io::Error::other("the thread that makes segments has ended");
            let path = std::path::Path::new("journal");
            Err(crate::disk::DiskError::new("make a segment in", path, gone))
        })
    };
    Ok((Box::new(source), reclaim))
}

fn send(worker: &Sender<WorkerMessage>, message: WorkerMessage) -> Result<(), EngineError> {
    worker.send(message).map_err(|_| gone("logmill-worker"))
}

/// A queue whose other end is gone: that thread has failed first and said why.
fn gone(thread: &str) -> EngineError {
    EngineError::Thread { thread: thread.into(), reason: "its queue is closed".into() }
}

#[cfg(test)]
mod tests;
