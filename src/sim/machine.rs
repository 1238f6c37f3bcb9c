//! The engine's real state machines, stepped by hand: no threads, no sockets, no clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::unbounded;
use tokio::sync::oneshot;

use super::disk::SimDisk;
use crate::checkpoint::Checkpointer;
use crate::claim::{KeyRetention, Swept};
use crate::clock::{Clock, Now};
use crate::counts::{KeyLimits, TimedCounts};
use crate::decode::{self, Format};
use crate::disk::Layout;
use crate::error::EngineError;
use crate::ids::{ContentDigest, CustomerId, Epoch, Group, IdempotencyKey, RequestId};
use crate::journal::{ArchiveRetention, Journal, Rules, SegmentKeeper};
use crate::query::{self, Busy, Source};
use crate::recovery::{Recovered, Recovery};
use crate::sequencer::{Outcome, Sequencer, Submission};
use crate::status::{Ceilings, Status};
use crate::store::{Retention, Store};
use crate::testing::{ManualClock, SeededEntropy};
use crate::user_agent::AgentCache;
use crate::window::{Minute, Span, WindowSize};
use crate::worker::{Overlay, OverlayRequest, PartitionWorker, WorkerMessage};

const DAY: Duration = Duration::from_secs(86_400);
pub(super) const KEYS: KeyLimits = KeyLimits { paths: 1_000, agents: 100 };

/// A batch as a sender has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) customer: String,
    pub(super) key: String,
    pub(super) body: String,
}

/// What a machine is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) partitions: u16,
    pub(super) segment_bytes: u64,
    /// Past this many keys, the oldest are swept.
    pub(super) keys_max: u64,
    pub(super) grace: Duration,
}

/// A running engine.
pub(super) struct Machine {
    clock: Arc<ManualClock>,
    sequencer: Sequencer,
    workers: Mutex<Vec<PartitionWorker>>,
    checkpointer: Checkpointer,
    keeper: Arc<Mutex<SegmentKeeper>>,
    store: Arc<Store>,
    epoch: Epoch,
    agents: Arc<AgentCache>,
}

impl Machine {
    /// Recovers what is on the disk and begins a new life on it.
    pub(super) fn boot(
        disk: &SimDisk,
        clock: &Arc<ManualClock>,
        entropy: Arc<SeededEntropy>,
        setup: Setup,
    ) -> Result<Self, EngineError> {
        let ceilings = Ceilings { free_bytes: 0, journal_bytes: u64::MAX, memory_bytes: u64::MAX };
        let agents = Arc::new(AgentCache::default());
        let recovery = Recovery {
            disk: Arc::new(disk.clone()),
            layout: Layout::new("data"),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            entropy,
            agents: Arc::clone(&agents),
            status: Arc::new(Status::new(setup.partitions, ceilings)),
            partitions: setup.partitions,
            rules: Rules { grace: setup.grace, keys: KEYS },
            retention: Retention { minutes: 90 * DAY, hours: 730 * DAY },
            checkpoint_memory_bytes: 3_000,
            segment_bytes: setup.segment_bytes,
            archive: ArchiveRetention::Off,
            store_cache_bytes: 1 << 20,
            until: Group(u64::MAX),
            repair: false,
        };
        let Recovered { store, claims, keeper, workers, group, epoch, accepted, .. } =
            recovery.run()?;
        let keeper = Arc::new(Mutex::new(keeper));
        let supply = Arc::clone(&keeper);
        let source = move || supply.lock().expect("no panic holds the lock").prepare();
        let journal = Journal::begin(Box::new(source), group)?;
        let keys = KeyRetention { age: 7 * DAY, keys_max: setup.keys_max };
        let (rules, partitions) = (recovery.rules, setup.partitions);
        Ok(Self {
            clock: Arc::clone(clock),
            sequencer: Sequencer::new(claims, journal, rules, partitions, keys, accepted),
            workers: Mutex::new(workers),
            checkpointer: Checkpointer {
                disk: Arc::clone(&recovery.disk),
                layout: recovery.layout.clone(),
                store: Arc::clone(&store),
                retention: recovery.retention,
            },
            keeper,
            store,
            epoch,
            agents,
        })
    }

    /// Sequences batches as one group; the answers, in order.
    pub(super) fn group(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, EngineError> {
        let (submissions, answers): (Vec<_>, Vec<_>) =
            batches.iter().map(|batch| self.submission(batch)).unzip();
        let now = Now::read(self.clock.as_ref());
        let sequenced = self.sequencer.step(submissions, now, || Duration::ZERO)?;
        for (partition, apply) in sequenced.dispatches {
            self.workers()[usize::from(partition.0)].step(WorkerMessage::Apply(apply));
        }
        for (reply, outcome) in sequenced.answers {
            reply.send(outcome).expect("somebody waits");
        }
        let answer = |mut answer: oneshot::Receiver<_>| answer.try_recv().expect("an answer");
        Ok(answers.into_iter().map(answer).collect())
    }

    /// The five steps of a checkpoint.
    pub(super) fn checkpoint(&mut self) -> Result<(), EngineError> {
        self.checkpoint_watched(|_| {})
    }

    /// A checkpoint, with a look at the machine between its steps.
    pub(super) fn checkpoint_watched(&mut self, look: impl Fn(&Self)) -> Result<(), EngineError> {
        let epoch = self.epoch.next();
        let (reply, handed_over) = unbounded();
        for worker in self.workers().iter_mut() {
            worker.step(WorkerMessage::Barrier(epoch, reply.clone()));
        }
        let now = Now::read(self.clock.as_ref());
        let mut placed = self.sequencer.barrier(now.uptime);
        let deltas: Vec<_> = handed_over.try_iter().map(|handed| handed.delta).collect();
        look(self);
        self.checkpointer.write(epoch, &mut placed, &deltas, None, now)?;
        self.epoch = epoch;
        look(self);
        for worker in self.workers().iter_mut() {
            worker.step(WorkerMessage::Committed(epoch));
        }
        look(self);
        self.keeper.lock().expect("no panic holds the lock").reclaim(placed.sealed)?;
        Ok(())
    }

    /// Sweeps until no page is due.
    pub(super) fn sweep(&mut self) -> Result<(), EngineError> {
        while self.sequencer.sweep(self.clock.uptime())? != Swept::Nothing {}
        Ok(())
    }

    /// Every minute of a customer, as `GET /analytics` has it.
    pub(super) fn minutes(&self, customer: &str) -> Vec<TimedCounts> {
        let customer = CustomerId::new(customer).expect("valid");
        let span = Span { from: Minute(0), to: Minute(100_000_000) };
        let page = query::windows(self, &customer, WindowSize::Minute, span, KEYS);
        page.expect("a query that is answered").windows
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<PartitionWorker>> {
        self.workers.lock().expect("no panic holds the lock")
    }

    fn submission(&self, batch: &Batch) -> (Submission, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        let body = Bytes::from(batch.body.clone());
        let submission = Submission {
            customer: CustomerId::new(&batch.customer).expect("valid"),
            key: IdempotencyKey::new(&batch.key).expect("valid"),
            digest: ContentDigest::of(Format::Json.number(), &body),
            format: Format::Json,
            request_id: RequestId::from_random(0),
            summary: decode::summarise(Format::Json, &body, &self.agents).expect("valid"),
            body,
            permit: Box::new(()),
            reply,
        };
        (submission, answer)
    }
}

impl Source for Machine {
    fn overlays(&self, customer: &CustomerId, span: Span) -> Result<Vec<Overlay>, Busy> {
        let (reply, answers) = unbounded();
        for worker in self.workers().iter_mut() {
            let request = OverlayRequest { customer: customer.clone(), span, reply: reply.clone() };
            worker.step(WorkerMessage::Overlay(request));
        }
        Ok(answers.try_iter().flatten().collect())
    }

    fn store(&self) -> &Store {
        &self.store
    }
}
