//! A group's frame, written and synced; and summaries to the bytes in it and back.

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use logmill::entropy::SystemEntropy;
use logmill::ids::{AcceptTime, ContentDigest, Group};
use logmill::insight::Summary;
use logmill::journal::{Journal, Record, SegmentKeeper};
use logmill::limits::SEGMENT_BYTES;

use crate::scene::{Directory, RULES, summaries, timed};
use crate::traffic::Traffic;

/// Batches of which frames are made.
const BATCHES: usize = 64;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    for entries in [20, 1_000] {
        let summaries = summaries(&Traffic::new(entries, 20), BATCHES);
        let encoded: Vec<_> = summaries.iter().map(Summary::to_bytes).collect();
        group.throughput(Throughput::Elements(entries as u64));
        let mut turn = (0..BATCHES).cycle();
        let mut next = || turn.next().expect("without end");
        group.bench_function(BenchmarkId::new("summary to bytes", entries), |bencher| {
            bencher.iter(|| black_box(summaries[next()].to_bytes()));
        });
        group.bench_function(BenchmarkId::new("summary from bytes", entries), |bencher| {
            bencher.iter(|| black_box(Summary::from_bytes(&encoded[next()]).expect("valid")));
        });
    }
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for entries in [20, 1_000] {
        let summaries = summaries(&Traffic::new(entries, 20), BATCHES);
        let encoded: Vec<_> = summaries.iter().map(Summary::to_bytes).collect();
        for records in [1, 16, 64] {
            group.throughput(Throughput::Elements((entries * records) as u64));
            let id = BenchmarkId::new(format!("append {records} of"), entries);
            append(&mut group, id, &encoded[..records]);
        }
    }
    group.finish();
}

/// Segments are turned over between frames: that they are ready is the keeper's work, on a thread
/// of its own. Full ones come back and are used again, as they are while checkpoints keep up.
fn append(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, summaries: &[Vec<u8>]) {
    let dir = Directory::new();
    let (disk, layout) = (Arc::clone(&dir.disk), dir.layout.clone());
    disk.create_dir(&layout.journal()).expect("a directory");
    let entropy = Arc::new(SystemEntropy);
    let keeper = SegmentKeeper::open(disk, layout, entropy, RULES, SEGMENT_BYTES).expect("opened");
    let keeper = Arc::new(Mutex::new(keeper));
    let supply = Arc::clone(&keeper);
    let source = move || supply.lock().expect("no panic holds the lock").prepare();
    let begin = || Journal::begin(Box::new(source), Group(0)).expect("a segment");
    let mut journal = LazyCell::new(begin);

    let key = format!("{:032x}", 1);
    let record = |summary| Record {
        digest: ContentDigest(7),
        customer: "cus-00001",
        key: &key,
        request_id: &key,
        summary,
        dead: b"",
    };
    let records: Vec<_> = summaries.iter().map(|summary| record(summary)).collect();
    let bytes = records.iter().map(Journal::record_bytes).sum();
    let mut append = || {
        journal.reserve(bytes).expect("there is room");
        let sealed = journal.take_sealed();
        keeper.lock().expect("no panic holds the lock").reclaim(sealed).expect("reclaimed");
        let number = journal.last_group().next();
        timed(|| journal.append(number, AcceptTime(0), &records).expect("written")).1
    };
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| append()).sum());
    });
}
