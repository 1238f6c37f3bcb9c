//! A start after a crash: a journal that no checkpoint holds, counted and claimed again, and
//! the checkpoint at the end. Each life begins where the one before left off, so that the store has
//! the windows already, and every name leads to a page of the life that crashed.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use logmill::claim::KeyRetention;
use logmill::clock::{Clock, Now};
use logmill::dead_letters::DeadLetters;
use logmill::entropy::SystemEntropy;
use logmill::ids::{AcceptTime, ContentDigest, CustomerId, Group, IdempotencyKey, RequestId};
use logmill::insight::Summary;
use logmill::journal::{ArchiveRetention, Journal};
use logmill::limits::SEGMENT_BYTES;
use logmill::recovery::{Recovered, Recovery};
use logmill::sequencer::{Sequencer, Submission};
use logmill::status::{Ceilings, Status};
use tokio::sync::oneshot;

use crate::scene::{
    Directory, FOREVER, PARTITIONS, RULES, START, STORE_CACHE_BYTES, at, summaries, timed,
};
use crate::traffic::{Random, Traffic};

/// Batches that are sequenced together.
const GROUP: usize = 64;
const RETENTION: KeyRetention =
    KeyRetention { age: Duration::from_secs(7 * 86_400), keys_max: 10_000_000 };

/// Stands still: what a checkpoint has to do must not depend on the day.
struct Noon;

impl Clock for Noon {
    fn wall(&self) -> AcceptTime {
        at(START).wall
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (batches, entries) in [(500, 1_000), (5_000, 20), (1, 1)] {
        let traffic = Traffic::new(entries, 20);
        let summaries = summaries(&traffic, batches.min(500));
        let dir = Directory::new();
        let recovery = recovery(&dir);
        let mut random = Random(11);
        let mut crashed = 0_u128;
        let mut life = |recovered| {
            crashed += 1;
            let submission = |n| {
                let customer = traffic.customer(&mut random);
                submission(&customer, (crashed << 64) | n as u128, &summaries[n % summaries.len()])
            };
            let all: Vec<_> = (0..batches).map(submission).collect();
            live(recovered, all);
            timed(|| recovery.run().expect("recovered"))
        };
        let mut last = None;
        let mut next = || {
            let before = match last.take() {
                Some(recovered) => recovered,
                None => life(recovery.run().expect("a first start")).0,
            };
            let (recovered, took) = life(before);
            last = Some(recovered);
            took
        };
        group.throughput(Throughput::Elements((batches * entries) as u64));
        group.bench_function(BenchmarkId::new(format!("{batches} batches of"), entries), |b| {
            b.iter_custom(|times| (0..times).map(|_| next()).sum());
        });
    }
    group.finish();
}

fn recovery(dir: &Directory) -> Recovery {
    let ceilings = Ceilings { free_bytes: 0, journal_bytes: 2 << 30, memory_bytes: 1 << 30 };
    Recovery {
        disk: Arc::clone(&dir.disk),
        layout: dir.layout.clone(),
        clock: Arc::new(Noon),
        entropy: Arc::new(SystemEntropy),
        status: Arc::new(Status::new(PARTITIONS, ceilings)),
        partitions: PARTITIONS,
        rules: RULES,
        retention: FOREVER,
        checkpoint_memory_bytes: 48 << 20,
        segment_bytes: SEGMENT_BYTES,
        archive: ArchiveRetention::Off,
        store_cache_bytes: STORE_CACHE_BYTES,
        until: Group(u64::MAX),
        repair: false,
    }
}

/// Everything between a start and a crash: batches are claimed and written, and that is all.
fn live(recovered: Recovered, mut batches: Vec<Submission>) {
    let Recovered { lock: _lock, claims, mut keeper, group, accepted, .. } = recovered;
    let journal = Journal::begin(Box::new(move || keeper.prepare()), group).expect("a segment");
    let mut sequencer = Sequencer::new(claims, journal, RULES, PARTITIONS, RETENTION, accepted);
    while !batches.is_empty() {
        let rest = batches.split_off(batches.len().min(GROUP));
        let group = std::mem::replace(&mut batches, rest);
        let now = Now::read(&Noon);
        let done = sequencer.step(group, now, || Duration::ZERO).expect("the disk works");
        assert!(done.accepted > 0, "keys are new");
    }
}

fn submission(customer: &str, number: u128, summary: &Summary) -> Submission {
    Submission {
        customer: CustomerId::new(customer).expect("valid"),
        key: IdempotencyKey::new(&format!("{number:032x}")).expect("valid"),
        digest: ContentDigest(number),
        request_id: RequestId::from_random(number),
        record: summary.to_bytes(),
        summary: summary.clone(),
        dead: DeadLetters::default(),
        dead_record: Vec::new(),
        permit: Box::new(()),
        reply: oneshot::channel().0,
    }
}
