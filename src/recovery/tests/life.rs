//! One data directory and the lives of processes on it, stepped without threads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use super::super::*;
use crate::claim::KeyRetention;
use crate::disk::{DiskError, RealDisk};
use crate::journal::{Journal, Sealed};
use crate::sequencer::{Outcome, Sequencer};
use crate::status::Ceilings;
use crate::testing::{DataDir, ManualClock, RULES, SeededEntropy, customer, submission, wall};
use crate::window::{Minute, Span, WindowSize};

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: KeyRetention = KeyRetention { age: Duration::from_secs(7 * 86_400), keys_max: 1 << 40 };
const CUSTOMERS: [&str; 3] = ["a", "b", "c"];

/// A data directory, and how the next process is started on it.
pub(super) struct Server {
    pub(super) dir: DataDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) entropy: Arc<SeededEntropy>,
    pub(super) partitions: u16,
    pub(super) memory_bytes: usize,
    pub(super) repair: bool,
}

/// One life of a process.
pub(super) struct Life {
    /// Let go of by a test that goes on without it.
    pub(super) lock: Option<Box<dyn LockGuard>>,
    pub(super) store: Arc<Store>,
    keeper: Arc<Mutex<SegmentKeeper>>,
    workers: Vec<PartitionWorker>,
    sequencer: Sequencer,
    checkpointer: Checkpointer,
    pub(super) epoch: Epoch,
    clock: Arc<ManualClock>,
}

/// Requests by customer, minute and path.
pub(super) type Counted = BTreeMap<(String, u32, String), u64>;

impl Server {
    pub(super) fn new() -> Self {
        let (clock, entropy) = (Arc::<ManualClock>::default(), Arc::default());
        clock.set_wall(wall(100));
        let dir = DataDir::new();
        Self { dir, clock, entropy, partitions: 3, memory_bytes: usize::MAX, repair: false }
    }

    pub(super) fn recovery(&self) -> Recovery {
        let ceilings = Ceilings { free_bytes: 0, journal_bytes: 1 << 40, memory_bytes: 1 << 40 };
        Recovery {
            disk: self.dir.disk(),
            layout: self.dir.layout.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            agents: Arc::new(AgentCache::new()),
            status: Arc::new(Status::new(self.partitions, ceilings)),
            partitions: self.partitions,
            rules: RULES,
            retention: Retention { minutes: 100_000 * DAY, hours: 100_000 * DAY },
            checkpoint_memory_bytes: self.memory_bytes,
            segment_bytes: crate::limits::SEGMENT_BYTES,
            archive: ArchiveRetention::Off,
            store_cache_bytes: 1 << 20,
            until: Group(u64::MAX),
            repair: self.repair,
        }
    }

    pub(super) fn start(&self) -> Life {
        self.try_start().expect("recovered")
    }

    pub(super) fn try_start(&self) -> Result<Life, EngineError> {
        let recovery = self.recovery();
        let Recovered { lock, store, claims, keeper, workers, group, epoch, accepted } =
            recovery.run()?;
        let keeper = Arc::new(Mutex::new(keeper));
        let source = Arc::clone(&keeper);
        let journal =
            Journal::begin(Box::new(move || source.lock().expect("whole").prepare()), group)?;
        let partitions = self.partitions;
        Ok(Life {
            lock: Some(lock),
            keeper,
            workers,
            sequencer: Sequencer::new(claims, journal, RULES, partitions, WEEK, accepted),
            checkpointer: Checkpointer {
                disk: self.dir.disk(),
                layout: self.dir.layout.clone(),
                store: Arc::clone(&store),
                retention: recovery.retention,
            },
            store,
            epoch,
            clock: self.clock.clone(),
        })
    }

    /// What stands in the way of a start.
    pub(super) fn refused(&self) -> EngineError {
        self.try_start().err().expect("refused")
    }

    /// The only segment with frames in it.
    pub(super) fn segment(&self) -> PathBuf {
        let disk = RealDisk;
        let found = journal::scan(&disk, &self.dir.layout, Group(0)).expect("readable");
        let holding = |segment: &&Sealed| segment.last_group > Group(0);
        let segment = found.segments.iter().find(holding).expect("frames");
        self.dir.layout.segment(segment.sequence)
    }
}

impl Life {
    /// One group of batches: customer, key, body.
    pub(super) fn send(&mut self, group: &[(&str, &str, &str)]) -> Vec<Outcome> {
        self.try_send(group).expect("the disk works")
    }

    pub(super) fn try_send(
        &mut self,
        group: &[(&str, &str, &str)],
    ) -> Result<Vec<Outcome>, DiskError> {
        let group = group.iter().map(|(of, key, body)| submission(of, key, body).0).collect();
        let now = Now::read(self.clock.as_ref());
        let sequenced = self.sequencer.step(group, now, || Duration::ZERO)?;
        for (partition, apply) in sequenced.dispatches {
            self.workers[usize::from(partition.0)].step(WorkerMessage::Apply(apply));
        }
        Ok(sequenced.answers.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// All five steps.
    pub(super) fn checkpoint(&mut self) {
        let (epoch, now) = (self.epoch.next(), Now::read(self.clock.as_ref()));
        let (reply, handed_over) = unbounded();
        for worker in &mut self.workers {
            worker.step(WorkerMessage::Barrier(epoch, reply.clone()));
        }
        let deltas: Vec<_> = handed_over.try_iter().map(|handed| handed.delta).collect();
        let mut placed = self.sequencer.barrier(now.uptime);
        self.checkpointer.write(epoch, &mut placed, &deltas, None, now).expect("written");
        for worker in &mut self.workers {
            worker.step(WorkerMessage::Committed(epoch));
        }
        self.keeper.lock().expect("whole").reclaim(placed.sealed).expect("reclaimed");
        self.epoch = epoch;
    }

    /// Everything in the store, minute by minute; hours and days must agree with it (W2).
    pub(super) fn counted(&self) -> Counted {
        let snapshot = self.store.snapshot().expect("readable");
        let mut counted = Counted::new();
        let span = Span { from: Minute(0), to: Minute(10_000) };
        for of in CUSTOMERS {
            let starts = |size| snapshot.starts(&customer(of), size, span, 10_000).expect("read");
            let get = |size, start| snapshot.window(&customer(of), size, start).expect("readable");
            let total = |size| {
                let starts = starts(size).starts.into_iter();
                starts.filter_map(|start| get(size, start)).map(|w| w.totals.requests).sum::<u64>()
            };
            for minute in starts(WindowSize::Minute).starts {
                let window = get(WindowSize::Minute, minute).expect("counted");
                assert!(window.adds_up());
                for (path, requests) in window.paths.iter() {
                    counted.insert((of.into(), minute.0, path.into()), requests);
                }
            }
            assert_eq!(total(WindowSize::Hour), total(WindowSize::Minute));
            assert_eq!(total(WindowSize::Day), total(WindowSize::Minute));
        }
        counted
    }
}
