//! The engine's real state machines, stepped by hand: no threads, no sockets, no clock.
//!
//! What each thread of [`crate::engine`] does between two looks into a queue is a *turn* here, and
//! a seed says whose turn it is. So a checkpoint is at any of its steps while groups are
//! sequenced, keys are swept, segments are made and queries wait in the workers' queues.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;

use crate::checkpoint::Checkpointer;
use crate::claim::{KeyRetention, Swept};
use crate::clock::{Clock, Now};
use crate::counts::{self, KeyLimits, TimedCounts};
use crate::delta::Delta;
use crate::disk::{DiskResult, LockGuard};
use crate::error::EngineError;
use crate::ids::{CustomerId, Epoch};
use crate::journal::{Journal, Prepared, Sealed, SegmentKeeper};
use crate::query::{self, Busy, Filter, QueryError, Range, Source};
use crate::recovery::{Recovered, Recovery};
use crate::sequencer::{BarrierPlaced, Outcome, Sequencer, Submission};
use crate::store::{Store, StoredLetter};
use crate::testing::{SeededEntropy, customer, submission};
use crate::window::{Minute, Span, WindowSize};
use crate::worker::{
    CustomersOverlay, CustomersRequest, HandedOver, Overlay, OverlayRequest, PartitionWorker,
    WorkerMessage,
};

/// A batch as a sender has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) customer: String,
    pub(crate) key: String,
    pub(crate) body: String,
}

/// A running engine.
pub(crate) struct Machine {
    pub(crate) store: Arc<Store>,
    lock: RefCell<Option<Box<dyn LockGuard>>>,
    keys: KeyLimits,
    parts: RefCell<Parts>,
}

/// Everything that has turns.
struct Parts {
    clock: Arc<dyn Clock>,
    /// Decides whose turn it is.
    chance: SeededEntropy,
    sequencer: Sequencer,
    inbox: VecDeque<Request>,
    /// What the sequencer's thread has still to do before it looks into its inbox again.
    to_do: VecDeque<Task>,
    workers: Vec<(PartitionWorker, VecDeque<WorkerMessage>)>,
    checkpointer: Checkpointer,
    epoch: Epoch,
    stage: Stage,
    keeper: Arc<Mutex<Keeper>>,
    /// Batches that were sent, and where their answers will be.
    waiting: Vec<(Batch, oneshot::Receiver<Outcome>)>,
    /// What went wrong in a turn that a query waited for.
    failure: Option<EngineError>,
}

enum Request {
    Submit(Box<Submission>),
    Barrier(Epoch, Sender<HandedOver>),
}

enum Task {
    Send(usize, WorkerMessage),
    Answer(oneshot::Sender<Outcome>, Outcome),
    TellCut,
    Sweep,
}

/// How far the checkpoint in flight has come.
#[derive(Default)]
enum Stage {
    #[default]
    None,
    Asked(Receiver<HandedOver>),
    Placed(BarrierPlaced, Receiver<HandedOver>),
    Gathered(BarrierPlaced, Vec<Arc<Delta>>),
    ClaimsDurable(BarrierPlaced, Vec<Arc<Delta>>),
    /// How many workers know, and what can be reclaimed when all do.
    Committed(usize, Vec<Sealed>),
}

struct Keeper {
    keeper: SegmentKeeper,
    /// One that lies ready, and one more.
    ready: VecDeque<DiskResult<Prepared>>,
    returned: Option<Vec<Sealed>>,
}

#[derive(Clone, Copy)]
enum Turn {
    Sequencer,
    Worker(usize),
    Checkpointer,
    Keeper,
}

impl Machine {
    /// Recovers what is on the disk and begins a new life on it.
    pub(crate) fn boot(
        recovery: &Recovery,
        retention: KeyRetention,
        seed: u64,
    ) -> Result<Self, EngineError> {
        let Recovered { lock, store, claims, keeper, workers, group, epoch, accepted } =
            recovery.run()?;
        let ready = VecDeque::new();
        let keeper = Arc::new(Mutex::new(Keeper { keeper, ready, returned: None }));
        let supply = Arc::clone(&keeper);
        let source = move || {
            let mut keeper = supply.lock().expect("no panic holds the lock");
            keeper.ready.pop_front().unwrap_or_else(|| keeper.keeper.prepare())
        };
        let journal = Journal::begin(Box::new(source), group)?;
        let (rules, partitions) = (recovery.rules, recovery.partitions);
        let parts = Parts {
            clock: Arc::clone(&recovery.clock),
            chance: SeededEntropy::seeded(seed),
            sequencer: Sequencer::new(claims, journal, rules, partitions, retention, accepted),
            inbox: VecDeque::new(),
            to_do: VecDeque::new(),
            workers: workers.into_iter().map(|worker| (worker, VecDeque::new())).collect(),
            checkpointer: Checkpointer {
                disk: Arc::clone(&recovery.disk),
                layout: recovery.layout.clone(),
                store: Arc::clone(&store),
                retention: recovery.retention,
            },
            epoch,
            stage: Stage::None,
            keeper,
            waiting: Vec::new(),
            failure: None,
        };
        Ok(Self {
            store,
            lock: RefCell::new(Some(lock)),
            keys: rules.keys,
            parts: RefCell::new(parts),
        })
    }

    /// A batch arrives.
    pub(crate) fn send(&self, batch: &Batch) {
        let (submission, answer) = submission(&batch.customer, &batch.key, &batch.body);
        let mut parts = self.parts.borrow_mut();
        parts.inbox.push_back(Request::Submit(Box::new(submission)));
        parts.waiting.push((batch.clone(), answer));
    }

    /// A checkpoint is due; nothing new if one is in flight.
    pub(crate) fn ask_for_checkpoint(&self) {
        let mut parts = self.parts.borrow_mut();
        if matches!(parts.stage, Stage::None) {
            let (reply, handed_over) = unbounded();
            parts.stage = Stage::Asked(handed_over);
            let epoch = parts.epoch.next();
            parts.inbox.push_back(Request::Barrier(epoch, reply));
        }
    }

    /// Whoever has something to do takes a turn; whether there was anybody.
    pub(crate) fn turn(&self) -> Result<bool, EngineError> {
        self.parts.borrow_mut().turn()
    }

    /// Takes turns until everybody waits.
    pub(crate) fn settle(&self) -> Result<(), EngineError> {
        while self.turn()? {}
        Ok(())
    }

    /// The answers that have arrived.
    pub(crate) fn answers(&self) -> Vec<(Batch, Outcome)> {
        let mut answers = Vec::new();
        self.parts.borrow_mut().waiting.retain_mut(|(batch, answer)| match answer.try_recv() {
            Ok(outcome) => {
                answers.push((batch.clone(), outcome));
                false
            }
            Err(_) => true,
        });
        answers
    }

    /// Sequences batches as one group; the answers, in order.
    pub(crate) fn group(&self, batches: &[Batch]) -> Result<Vec<Outcome>, EngineError> {
        batches.iter().for_each(|batch| self.send(batch));
        self.settle()?;
        Ok(self.answers().into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// A whole checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<(), EngineError> {
        self.ask_for_checkpoint();
        self.settle()
    }

    /// Sweeps until no page is due.
    pub(crate) fn sweep(&self) -> Result<(), EngineError> {
        while self.parts.borrow_mut().sweep()? != Swept::Nothing {}
        Ok(())
    }

    /// The data directory is not this process's any more.
    pub(crate) fn let_go(&self) {
        self.lock.take();
    }

    /// The last checkpoint.
    pub(crate) fn epoch(&self) -> Epoch {
        self.parts.borrow().epoch
    }

    /// The dead letters of all customers that checkpoints have put into the store, in order.
    pub(crate) fn letters(&self) -> Result<Vec<StoredLetter>, EngineError> {
        Ok(Store::freeze(&self.store)?.letters(None, None, usize::MAX)?)
    }

    /// A customer's windows of all time, as `GET /analytics` has them.
    pub(crate) fn windows(
        &self,
        of: &str,
        size: WindowSize,
    ) -> Result<Vec<TimedCounts>, EngineError> {
        let mut span = Span { from: Minute(0), to: Minute(100_000_000) };
        let mut windows = Vec::new();
        loop {
            let range = Range::utc(&customer(of), size, span);
            let page = query::windows(self, &range, &Filter::All, self.keys);
            let page = page.map_err(|error| match error {
                QueryError::Store(error) => error.into(),
                QueryError::Busy(_)
                | QueryError::TooManyKeys { .. }
                | QueryError::TooManyKeysBefore
                | QueryError::TooManyCustomers => {
                    let failure = self.parts.borrow_mut().failure.take();
                    failure.expect("a machine that works answers")
                }
            })?;
            windows.extend(page.windows);
            match page.next {
                Some(next) => span.from = next,
                None => return Ok(windows),
            }
        }
    }
}

/// While a query waits in the workers' queues the others go on, and some time passes before it
/// opens the store.
impl Source for Machine {
    fn overlays(
        &self,
        customer: &CustomerId,
        span: Span,
        parts: counts::Parts,
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

impl Machine {
    fn ask_workers<A>(
        &self,
        question: impl Fn(Sender<Vec<A>>) -> WorkerMessage,
    ) -> Result<Vec<A>, Busy> {
        let (reply, answers) = unbounded();
        let workers = self.parts.borrow().workers.len();
        let mut parts = self.parts.borrow_mut();
        let pass = |parts: &mut Parts| {
            parts.turn().map_err(|error| {
                parts.failure = Some(error);
                Busy
            })
        };
        for worker in 0..workers {
            parts.workers[worker].1.push_back(question(reply.clone()));
            if parts.chance.one_in(3) {
                pass(&mut parts)?;
            }
        }
        while answers.len() < workers {
            pass(&mut parts)?;
        }
        for _ in 0..parts.chance.below(4) {
            pass(&mut parts)?;
        }
        Ok(answers.try_iter().flatten().collect())
    }
}

impl Parts {
    fn turn(&mut self) -> Result<bool, EngineError> {
        let mut turns = Vec::with_capacity(8);
        if !self.to_do.is_empty() || !self.inbox.is_empty() {
            turns.push(Turn::Sequencer);
        }
        for (worker, (_, inbox)) in self.workers.iter().enumerate() {
            if !inbox.is_empty() {
                turns.push(Turn::Worker(worker));
            }
        }
        if self.checkpoint_can_go_on() {
            turns.push(Turn::Checkpointer);
        }
        if self.keeper().has_turn() {
            turns.push(Turn::Keeper);
        }
        if turns.is_empty() {
            return Ok(false);
        }
        let chosen = self.chance.below(turns.len() as u64);
        match turns[usize::try_from(chosen).expect("small")] {
            Turn::Sequencer => self.sequencer_turn()?,
            Turn::Worker(worker) => {
                let (worker, inbox) = &mut self.workers[worker];
                worker.step(inbox.pop_front().expect("it has a message"));
            }
            Turn::Checkpointer => self.checkpointer_turn()?,
            Turn::Keeper => self.keeper().turn()?,
        }
        Ok(true)
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().expect("no panic holds the lock")
    }

    fn sequencer_turn(&mut self) -> Result<(), EngineError> {
        match self.to_do.pop_front() {
            Some(Task::Send(worker, message)) => self.workers[worker].1.push_back(message),
            Some(Task::Answer(reply, outcome)) => reply.send(outcome).expect("somebody waits"),
            Some(Task::Sweep) => drop(self.sweep()?),
            Some(Task::TellCut) => {
                let placed = self.sequencer.barrier(self.clock.uptime());
                self.stage = match std::mem::take(&mut self.stage) {
                    Stage::Asked(deltas) => Stage::Placed(placed, deltas),
                    _ => unreachable!("a checkpoint has one barrier"),
                };
            }
            None => self.receive()?,
        }
        Ok(())
    }

    /// Takes everything that has come, up to a barrier.
    fn receive(&mut self) -> Result<(), EngineError> {
        let mut group = Vec::new();
        while let Some(request) = self.inbox.pop_front() {
            match request {
                Request::Submit(submission) => group.push(*submission),
                Request::Barrier(epoch, reply) if group.is_empty() => {
                    for worker in 0..self.workers.len() {
                        let barrier = WorkerMessage::Barrier(epoch, reply.clone());
                        self.to_do.push_back(Task::Send(worker, barrier));
                    }
                    self.to_do.extend([Task::TellCut, Task::Sweep]);
                    return Ok(());
                }
                barrier @ Request::Barrier(..) => {
                    self.inbox.push_front(barrier);
                    break;
                }
            }
        }
        let now = Now::read(self.clock.as_ref());
        let sequenced = self.sequencer.step(group, now, || Duration::ZERO)?;
        for (partition, apply) in sequenced.dispatches {
            let apply = WorkerMessage::Apply(apply);
            self.to_do.push_back(Task::Send(partition.0.into(), apply));
        }
        for (reply, outcome) in sequenced.answers {
            self.to_do.push_back(Task::Answer(reply, outcome));
        }
        self.to_do.push_back(Task::Sweep);
        Ok(())
    }

    fn sweep(&mut self) -> Result<Swept, EngineError> {
        Ok(self.sequencer.sweep(self.clock.uptime())?)
    }

    fn checkpoint_can_go_on(&self) -> bool {
        match &self.stage {
            Stage::None | Stage::Asked(_) => false,
            Stage::Placed(_, deltas) => deltas.len() == self.workers.len(),
            Stage::Gathered(..) | Stage::ClaimsDurable(..) => true,
            Stage::Committed(told, _) => {
                *told < self.workers.len() || self.keeper().returned.is_none()
            }
        }
    }

    fn checkpointer_turn(&mut self) -> Result<(), EngineError> {
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::None | Stage::Asked(_) => unreachable!("it waits"),
            Stage::Placed(placed, deltas) => {
                Stage::Gathered(placed, deltas.try_iter().map(|handed| handed.delta).collect())
            }
            Stage::Gathered(placed, deltas) => {
                self.checkpointer.sync_claims(&placed)?;
                Stage::ClaimsDurable(placed, deltas)
            }
            Stage::ClaimsDurable(placed, deltas) => {
                let (epoch, now) = (self.epoch.next(), Now::read(self.clock.as_ref()));
                self.checkpointer.commit(epoch, &placed, &deltas, None, now)?;
                self.epoch = epoch;
                Stage::Committed(0, placed.sealed)
            }
            Stage::Committed(told, sealed) if told < self.workers.len() => {
                self.workers[told].1.push_back(WorkerMessage::Committed(self.epoch));
                Stage::Committed(told + 1, sealed)
            }
            Stage::Committed(_, sealed) => {
                self.keeper().returned = Some(sealed);
                Stage::None
            }
        };
        Ok(())
    }
}

impl Keeper {
    fn has_turn(&self) -> bool {
        self.wants_more() || self.returned.is_some()
    }

    /// Of refusals none is made ahead.
    fn wants_more(&self) -> bool {
        self.ready.len() < 2 && self.ready.iter().all(Result::is_ok)
    }

    fn turn(&mut self) -> Result<(), EngineError> {
        if self.wants_more() {
            self.ready.push_back(match self.keeper.prepare() {
                Err(error) if !error.is_only_full() => return Err(error.into()),
                prepared => prepared,
            });
        } else if let Some(returned) = self.returned.take() {
            self.keeper.reclaim(returned)?;
        }
        Ok(())
    }
}
