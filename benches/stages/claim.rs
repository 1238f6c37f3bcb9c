//! Keys: new ones taken, in groups as the sequencer has them; the sync of what was taken since a
//! checkpoint; and keys that were taken before, judged by the page in use, by pages in memory, and
//! by pages that are read for it.

use std::cell::LazyCell;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use logmill::claim::{Claim, ClaimStore, Lives, Receipt, Seals, Verdict};
use logmill::ids::{ContentDigest, Group, Incarnation};
use logmill::limits::{CLAIM_PAGE_CACHE_MAX, CLAIM_PAGE_NAMES_MAX};

use crate::scene::{Directory, timed};

const RECEIPT: Receipt = Receipt { entries: 1_000, windows: 2 };
/// Keys in a group of duplicates.
const DUPLICATES: u64 = 16;
/// Pages that are full when duplicates come, more than are kept in memory.
const PAGES: u64 = CLAIM_PAGE_CACHE_MAX as u64 + 4;

/// The claims of one life; keys are numbered as they are taken.
struct Claimer {
    dir: Directory,
    claims: ClaimStore,
    group: Group,
    taken: u64,
}

impl Claimer {
    fn new() -> Self {
        let dir = Directory::new();
        dir.disk.create_dir(&dir.layout.pages()).expect("a directory");
        for shard in 0..=u8::MAX {
            dir.disk.create_dir(&dir.layout.names(shard)).expect("a directory");
        }
        let (disk, layout, first) = (dir.disk.clone(), dir.layout.clone(), Incarnation(1));
        let (lives, seals) = (Lives::new(), Seals::new());
        let claims = ClaimStore::open(disk, layout, first, lives, seals, Duration::ZERO);
        Self { dir, claims: claims.expect("opened"), group: Group(0), taken: 0 }
    }

    /// Claims keys as a group; all of them must get the verdict.
    fn claim(&mut self, numbers: impl Iterator<Item = u64>, expected: Verdict) -> Duration {
        let keys: Vec<_> = numbers.map(|number| format!("{number:032x}")).collect();
        self.group = self.group.next();
        let (verdicts, took) = timed(|| {
            let claim = |key| Claim::new("cus-00001", key, ContentDigest(7), RECEIPT);
            let claims: Vec<_> = keys.iter().map(|key| claim(key)).collect();
            self.claims.reserve(&claims, Duration::ZERO).expect("there is room");
            self.claims.claim(&claims, self.group, Duration::ZERO).expect("the disk works")
        });
        assert!(verdicts.iter().all(|verdict| *verdict == expected), "{verdicts:?}");
        took
    }

    fn take(&mut self, count: u64) -> Duration {
        let first = self.taken;
        self.taken += count;
        self.claim(first..self.taken, Verdict::Won)
    }

    /// Takes keys until that many pages are full.
    fn fill(&mut self, pages: u64) {
        while self.taken < pages * u64::from(CLAIM_PAGE_NAMES_MAX) {
            self.take(256);
        }
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("claim");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for size in [1, 16, 256] {
        let mut claimer = LazyCell::new(Claimer::new);
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::new("new keys", size), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| claimer.take(size)).sum());
        });
    }
    for keys in [256, 4_096] {
        sync(&mut group, keys);
    }
    let mut claimer = LazyCell::new(|| {
        let mut claimer = Claimer::new();
        claimer.fill(PAGES);
        claimer.take(DUPLICATES);
        claimer
    });
    group.throughput(Throughput::Elements(DUPLICATES));
    let pages = [
        ("of the page in use", PAGES, 1),
        ("of pages in memory", PAGES - 4, 4),
        ("of pages on the disk", 0, PAGES),
    ];
    for (name, first, pages) in pages {
        let mut asked = 0;
        // Page after page: what is on more pages than are remembered is read each time.
        let mut next = || {
            asked += 1;
            let (page, place) = (first + asked % pages, asked / pages % DUPLICATES);
            page * u64::from(CLAIM_PAGE_NAMES_MAX) + place
        };
        group.bench_function(BenchmarkId::new("duplicates", name), |bencher| {
            let mut judge = || {
                let numbers: Vec<_> = (0..DUPLICATES).map(|_| next()).collect();
                claimer.claim(numbers.into_iter(), Verdict::Duplicate(RECEIPT))
            };
            bencher.iter_custom(|times| (0..times).map(|_| judge()).sum());
        });
    }
    group.finish();
}

/// The second step of a checkpoint, after so many new keys.
fn sync(group: &mut BenchmarkGroup<'_, WallTime>, keys: u64) {
    let mut claimer = LazyCell::new(Claimer::new);
    group.throughput(Throughput::Elements(keys));
    group.bench_function(BenchmarkId::new("sync", keys), |bencher| {
        let mut checkpoint = || {
            for _ in 0..keys / 256 {
                claimer.take(256);
            }
            let (dirty, dir) = (claimer.claims.take_dirty(), &claimer.dir);
            timed(|| dirty.run(dir.disk.as_ref(), &dir.layout).expect("synced")).1
        };
        bencher.iter_custom(|times| (0..times).map(|_| checkpoint()).sum());
    });
}
