//! The running engine: the state machines on their threads, and the queues between them.
//!
//! ```text
//! submit ─► sequencer ─► worker 0 … P-1 ─► checkpointer ─► store
//!               ▲ └─ segments made ahead by the keeper ◄──────┘ reclaimed
//! ```
//!
//! Every queue is bounded. The loops here carry messages and measure; what is decided is decided
//! in the state machines, which a simulator can step without any of this.

mod loops;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::checkpoint::Checkpointer;
use crate::claim::KeyRetention;
use crate::counts::Parts;
use crate::disk::LockGuard;
use crate::error::EngineError;
use crate::ids::CustomerId;
use crate::journal::{Journal, Rules};
use crate::limits;
use crate::query::{Busy, Source};
use crate::recovery::{Recovered, Recovery};
use crate::sequencer::{Sequencer, Submission};
use crate::status::{Phase, Status};
use crate::store::{FrozenStore, LetterId, Store};
use crate::window::Span;
use crate::worker::{CustomersOverlay, CustomersRequest, Overlay, OverlayRequest, WorkerMessage};
use loops::{Before, CheckpointLoop, Control, Frozen, SequencerLoop, SequencerMessage, WorkerLoop};

/// When checkpoints are made, and how long keys are held.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// A checkpoint is due this long after the last.
    pub checkpoint_interval: Duration,
    /// A checkpoint is due when this much journal waits.
    pub checkpoint_journal_bytes: u64,
    /// A checkpoint is due when counts take this much memory.
    pub checkpoint_memory_bytes: u64,
    /// How long, and how many, idempotency keys are kept.
    pub keys: KeyRetention,
}

/// The engine does nothing any more; its status says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// The running engine.
#[derive(Debug)]
pub struct Engine {
    sequencer: Sender<SequencerMessage>,
    workers: Vec<Sender<WorkerMessage>>,
    control: Sender<Control>,
    store: Arc<Store>,
    status: Arc<Status>,
}

impl Engine {
    /// Recovers the data directory and starts all threads.
    ///
    /// # Errors
    /// [`EngineError`] says what is in the way.
    pub fn start(recovery: &Recovery, settings: EngineSettings) -> Result<Self, EngineError> {
        let recovered = recovery.run()?;
        let (status, clock) = (Arc::clone(&recovery.status), Arc::clone(&recovery.clock));
        crate::telemetry::metrics::replayed(status.replay().0);
        let Recovered { lock, store, claims, keeper, workers, group, epoch, accepted } = recovered;
        let lock: Arc<dyn LockGuard> = lock.into();

        let (segments, reclaim) = loops::start_keeper(keeper, &status, &lock)?;
        let journal = Journal::begin(segments, group)?;

        let mut worker_queues = Vec::new();
        for (partition, worker) in (0..).zip(workers) {
            let (sender, inbox) = bounded(limits::WORKER_INBOX_MAX);
            let worker = WorkerLoop { partition, worker, inbox, status: Arc::clone(&status) };
            let name = format!("logmill-worker-{partition}");
            threads::spawn(name, &status, &lock, move || worker.run())?;
            worker_queues.push(sender);
        }

        let rules: Rules = recovery.rules;
        let sequencer =
            Sequencer::new(claims, journal, rules, recovery.partitions, settings.keys, accepted);
        let (sequencer_queue, inbox) = bounded(limits::SEQUENCER_INBOX_MAX);
        let sequencer = SequencerLoop {
            sequencer,
            inbox,
            workers: worker_queues.clone(),
            pages: loops::start_page_maker(&status, &lock)?,
            clock: Arc::clone(&clock),
            status: Arc::clone(&status),
        };
        let name = "logmill-sequencer".to_owned();
        threads::spawn(name, &status, &lock, move || sequencer.run())?;

        let (control, commands) = bounded(1);
        let checkpointer = CheckpointLoop {
            checkpointer: Checkpointer {
                disk: Arc::clone(&recovery.disk),
                layout: recovery.layout.clone(),
                store: Arc::clone(&store),
                retention: recovery.retention,
            },
            settings,
            epoch,
            commands,
            sequencer: sequencer_queue.clone(),
            workers: worker_queues.clone(),
            reclaim,
            clock,
            status: Arc::clone(&status),
        };
        let name = "logmill-checkpointer".to_owned();
        threads::spawn(name, &status, &lock, move || checkpointer.run())?;

        status.enter(Phase::Running);
        Ok(Self { sequencer: sequencer_queue, workers: worker_queues, control, store, status })
    }

    /// Hands a batch to the sequencer. From here on it is never cancelled (A4).
    ///
    /// # Errors
    /// The submission, if the inbox is full or the engine has stopped; its key is free.
    #[expect(clippy::result_large_err, reason = "a refused submission goes back to its owner")]
    pub fn submit(&self, submission: Submission) -> Result<(), Submission> {
        self.sequencer.try_send(SequencerMessage::Submit(Box::new(submission))).map_err(|refused| {
            let (TrySendError::Full(message) | TrySendError::Disconnected(message)) = refused;
            match message {
                SequencerMessage::Submit(submission) => *submission,
                SequencerMessage::Barrier(_) => unreachable!("a submission was sent"),
            }
        })
    }

    /// The store as of a checkpoint made now; everything before it is in the archive, if there is
    /// one. Blocks.
    ///
    /// # Errors
    /// If the engine has stopped or failed.
    pub fn freeze(&self) -> Result<FrozenStore, Stopped> {
        let Frozen { store, archived } = self.checkpoint_now(Before::Archived)?;
        if let Some(archived) = archived {
            // Nothing is ever sent: it is closed when it is done.
            archived.recv().ok();
        }
        Ok(store)
    }

    /// The store as of a checkpoint made now. Blocks.
    ///
    /// # Errors
    /// If the engine has stopped or failed.
    pub fn settle(&self) -> Result<FrozenStore, Stopped> {
        self.checkpoint_now(Before::Kept).map(|frozen| frozen.store)
    }

    fn checkpoint_now(&self, before: Before) -> Result<Frozen, Stopped> {
        let (reply, frozen) = bounded(1);
        self.control.send(Control::Freeze(before, reply)).map_err(|_| Stopped)?;
        frozen.recv().map_err(|_| Stopped)
    }

    /// Removes dead letters from the store, durably; says how many were there. Blocks.
    ///
    /// # Errors
    /// If the engine has stopped or failed.
    pub fn remove_letters(&self, ids: Vec<LetterId>) -> Result<u64, Stopped> {
        let (reply, removed) = bounded(1);
        self.control.send(Control::RemoveLetters(ids, reply)).map_err(|_| Stopped)?;
        removed.recv().map_err(|_| Stopped)
    }

    /// Makes a last checkpoint: nothing that was acknowledged needs replay afterwards. Blocks.
    ///
    /// The caller has stopped submitting. The threads end when the engine is dropped.
    pub fn stop(&self) {
        self.status.enter(Phase::Stopping);
        let (done, stopped) = bounded(0);
        if self.control.send(Control::Stop(done)).is_ok() {
            // Ends without a word when the checkpointer failed; the status says why.
            stopped.recv_timeout(limits::SHUTDOWN_CHECKPOINT_MAX).ok();
        }
    }
}

impl Engine {
    /// Puts the same question to all workers, and gathers their answers.
    fn ask_workers<A>(
        &self,
        question: impl Fn(Sender<Vec<A>>) -> WorkerMessage,
    ) -> Result<Vec<A>, Busy> {
        let (reply, answers): (_, Receiver<Vec<A>>) = bounded(self.workers.len());
        for worker in &self.workers {
            let question = question(reply.clone());
            worker.send_timeout(question, limits::QUERY_WAIT_MAX).map_err(|_| Busy)?;
        }
        let mut all = Vec::new();
        for _ in &self.workers {
            all.extend(answers.recv_timeout(limits::QUERY_WAIT_MAX).map_err(|_| Busy)?);
        }
        Ok(all)
    }
}

/// Blocks on the workers' queues; not for the reactor's threads.
impl Source for Engine {
    fn overlays(
        &self,
        customer: &CustomerId,
        span: Span,
        parts: Parts,
    ) -> Result<Vec<Overlay>, Busy> {
        self.ask_workers(|reply| {
            let customer = customer.clone();
            WorkerMessage::Overlay(OverlayRequest { customer, span, parts, reply })
        })
    }

    fn customers(&self, span: Span) -> Result<Vec<CustomersOverlay>, Busy> {
        self.ask_workers(|reply| WorkerMessage::Customers(CustomersRequest { span, reply }))
    }

    fn store(&self) -> &Store {
        &self.store
    }
}
