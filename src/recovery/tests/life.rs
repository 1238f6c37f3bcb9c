//! One data directory and the lives of processes on it, stepped without threads.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::super::*;
use crate::claim::KeyRetention;
use crate::disk::RealDisk;
use crate::journal::Sealed;
use crate::sequencer::Outcome;
use crate::sim::machine::{Batch, Machine};
use crate::status::Ceilings;
use crate::testing::{DataDir, ManualClock, RULES, SeededEntropy, customer, wall};
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
pub(super) struct Life(Machine);

impl Deref for Life {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.0
    }
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
            status: Arc::new(Status::new(self.partitions, ceilings)),
            partitions: self.partitions,
            rules: RULES,
            retention: Retention {
                minutes: 100_000 * DAY,
                hours: 100_000 * DAY,
                ..Retention::FOREVER
            },
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
        Machine::boot(&self.recovery(), WEEK, 0).map(Life)
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
    pub(super) fn send(&self, group: &[(&str, &str, &str)]) -> Vec<Outcome> {
        self.try_send(group).expect("the disk works")
    }

    pub(super) fn try_send(
        &self,
        group: &[(&str, &str, &str)],
    ) -> Result<Vec<Outcome>, EngineError> {
        let batch = |(customer, key, body): &(&str, &str, &str)| Batch {
            customer: (*customer).into(),
            key: (*key).into(),
            body: (*body).into(),
        };
        self.group(&group.iter().map(batch).collect::<Vec<_>>())
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
