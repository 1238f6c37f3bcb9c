//! What the stages are put on: a directory on a real disk, and what the stages before would hand
//! to them. Not a benchmark.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use logmill::claim::ClaimSync;
use logmill::clock::{Clock, Now, SystemClock};
use logmill::counts::KeyLimits;
use logmill::decode::{Format, summarise};
use logmill::delta::Delta;
use logmill::disk::{Disk, Layout, RealDisk};
use logmill::ids::{AcceptTime, CustomerId, Epoch, Group};
use logmill::insight::{PartialInsight, Summary};
use logmill::journal::Rules;
use logmill::names::Names;
use logmill::partition::partition_of;
use logmill::responses::Responses;
use logmill::store::{Checkpoint, CheckpointStats, Position, Retention, Store};
use logmill::user_agent::AgentCache;
use logmill::window::Minute;
use tempfile::TempDir;

use crate::traffic::{Traffic, path_name};

/// The limits of the default configuration.
const KEYS: KeyLimits = KeyLimits { paths: 100_000, agents: 10_000 };
pub(crate) const RULES: Rules = Rules { grace: Duration::from_secs(60), keys: KEYS, paths: 0 };
pub(crate) const STORE_CACHE_BYTES: usize = 64 << 20;
/// Nothing expires: how much would depends on the day.
pub(crate) const FOREVER: Retention = Retention::FOREVER;
pub(crate) const PARTITIONS: u16 = 4;
/// 2026-03-01T12:00Z, the first minute of the traffic.
pub(crate) const START: u32 = 20_513 * 1_440 + 720;
const FAMILIES: usize = 10;

/// A directory on the disk that is built on: the one for temporary files may be memory.
pub(crate) struct Directory {
    _root: TempDir,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let layout = Layout::new(root.path());
        Self { _root: root, disk: Arc::new(RealDisk), layout }
    }
}

/// How long some work took; what it made is given back, so that its end is not in the time.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let clock = SystemClock::new();
    let done = work();
    (done, clock.uptime())
}

/// Both clocks, at a minute.
pub(crate) fn at(minute: u32) -> Now {
    Now { wall: AcceptTime(u64::from(minute) * 60_000), uptime: Duration::ZERO }
}

pub(crate) fn customers(count: usize) -> Vec<CustomerId> {
    let customer = |n| CustomerId::new(&format!("cus-{n:05}")).expect("valid");
    (0..count).map(customer).collect()
}

pub(crate) fn summaries(traffic: &Traffic, count: usize) -> Vec<Summary> {
    let mut agents = AgentCache::new();
    let mut summary =
        |n| summarise(&Format::default(), traffic.body(n), &mut agents).expect("valid");
    (0..count).map(&mut summary).collect()
}

/// What workers hand over if each customer asked for so many paths in each minute. Half of the
/// paths are others ten hours later: what is summed up over time is not always the same.
pub(crate) fn deltas(
    customers: &[CustomerId],
    minutes: Range<u32>,
    paths: usize,
) -> Vec<Arc<Delta>> {
    let mut names = Names::default();
    let families: Vec<_> = (0..FAMILIES.min(paths))
        // Some families have a request more, unless the paths can be shared out evenly.
        .map(|n| (names.intern(&format!("Agent{n}")), (paths + FAMILIES - 1 - n) / FAMILIES))
        .map(|(name, requests)| (name, u32::try_from(requests).expect("few")))
        .collect();
    let mut partial = |minute: u32| PartialInsight {
        minute: Minute(minute),
        requests: u32::try_from(paths).expect("few"),
        paths: (0..paths)
            .map(|n| n + paths * (minute - START) as usize / 1_200)
            .map(|n| (names.intern(&format!("GET {}", path_name(n))), 1))
            .collect(),
        agents: families.clone(),
        responses: Responses::default(),
    };
    let windows: Vec<_> = minutes.map(&mut partial).collect();
    let entries = windows.iter().map(|window| window.requests).sum();
    let summary = Summary { entries, names, windows };

    let mut deltas: Vec<_> = (0..PARTITIONS).map(|_| Delta::default()).collect();
    for customer in customers {
        for (window, partial) in summary.windows.iter().enumerate() {
            let owner = partition_of(customer, partial.minute, PARTITIONS);
            let delta = &mut deltas[usize::from(owner.0)];
            delta.add(customer, &summary, window, Group(1), false, KEYS);
        }
    }
    deltas.into_iter().map(Arc::new).collect()
}

/// A store, and the checkpoint that it is at.
pub(crate) struct Books {
    pub(crate) store: Store,
    epoch: Epoch,
    // The store is closed before its directory goes.
    _dir: Directory,
}

impl Books {
    pub(crate) fn new() -> Self {
        let dir = Directory::new();
        let store = Store::open(&dir.disk, &dir.layout, STORE_CACHE_BYTES, KEYS).expect("a store");
        Self { store, epoch: Epoch(0), _dir: dir }
    }

    /// The next checkpoint, made at a minute.
    pub(crate) fn commit(&mut self, deltas: &[Arc<Delta>], minute: u32) -> CheckpointStats {
        self.epoch = self.epoch.next();
        let now = at(minute);
        let checkpoint = Checkpoint {
            position: Position { epoch: self.epoch, accepted: now.wall, ..Position::default() },
            deltas,
            claims: &ClaimSync::default(),
            lives: None,
            retention: FOREVER,
            now,
        };
        self.store.commit(&checkpoint).expect("committed")
    }
}
