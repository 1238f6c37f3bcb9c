//! What each step costs that makes a batch durable and counted once.
//!
//! The server has no switch for any of them. So they are done here by its own claims and journal,
//! on one thread, group after group, a step for all groups before the next step; and beside that
//! stands what the server takes for a batch in all. A sync is told from a write by a disk that
//! leaves it out.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use logmill::claim::{Claim, ClaimStore, Lives, Receipt, Seals, Verdict};
use logmill::counts::KeyLimits;
use logmill::decode::{Format, summarise};
use logmill::disk::{Disk, Layout, RealDisk};
use logmill::entropy::{Entropy as _, SystemEntropy};
use logmill::ids::{AcceptTime, ContentDigest, Group, Incarnation, RequestId};
use logmill::journal::{Journal, Record, Rules, SegmentKeeper};
use logmill::limits::SEGMENT_BYTES;
use logmill::sequencer::receipt;
use logmill::user_agent::AgentCache;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::driver::Load;
use crate::measure::{Options, Place, median};
use crate::process::DISK;
use crate::traffic::{Random, Traffic};
use crate::unsynced::Unsynced;

const ENTRIES: usize = 20;
const CONNECTIONS: usize = 64;
const CUSTOMERS: usize = 20;
/// Batches in a group.
const GROUP: usize = 16;

/// A batch as it reaches the sequencer.
struct Batch {
    customer: String,
    key: String,
    request_id: RequestId,
    digest: ContentDigest,
    receipt: Receipt,
    record: Vec<u8>,
}

/// Microseconds a batch.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// The steps, in the order of the table.
const STEPS: [&str; 4] = [
    "(a) claim + link",
    "(b) journal: encode + write",
    "(c) journal: fdatasync",
    "(d) journal: checksum",
];

pub(crate) fn run(options: &Options) -> Result<()> {
    let traffic = Traffic::new(ENTRIES, CUSTOMERS);
    let groups = options.pick(500, 50);
    let batches = batches(&traffic, groups * GROUP)?;
    let (mut steps, mut served) = (Vec::new(), Vec::new());
    let mut group_size = Vec::new();
    for _ in 0..options.rounds() {
        steps.push(alone(&batches)?);
        let (cost, size) = whole(&traffic, options)?;
        served.push(cost);
        group_size.push(size);
    }
    let middle = |costs: &mut dyn Iterator<Item = Cost>| {
        let costs: Vec<_> = costs.collect();
        let of = |value: fn(&Cost) -> f64| median(costs.iter().map(value));
        Cost { wall: of(|cost| cost.wall), cpu: of(|cost| cost.cpu) }
    };
    let whole = middle(&mut served.into_iter());
    println!(
        "safety: {ENTRIES} entries a batch; steps alone in {groups} groups of {GROUP} batches, the \
         server with {CONNECTIONS} connections; medians of {} rounds",
        options.rounds()
    );
    println!("  {:34}{:>12}{:>12}{:>16}", "µs a batch", "time", "CPU", "÷ server's CPU");
    let line = |name: &str, Cost { wall, cpu }: Cost| {
        println!("  {name:34}{wall:>12.2}{cpu:>12.2}{:>16.3}", cpu / whole.cpu);
    };
    let mut sum = Cost { wall: 0.0, cpu: 0.0 };
    for (at, name) in STEPS.into_iter().enumerate() {
        let cost = middle(&mut steps.iter().map(|costs| costs[at]));
        line(name, cost);
        sum = Cost { wall: sum.wall + cost.wall, cpu: sum.cpu + cost.cpu };
    }
    line("together", sum);
    // Mostly a sync for each of 256 directories: the more batches share it, the less it is.
    let durable = middle(&mut steps.iter().map(|costs| costs[STEPS.len()]));
    line(&format!("a checkpoint's sync of {} claims", batches.len()), durable);
    line("the server, all it does", whole);
    println!(
        "  the server: {:.0} batches/s, {:.1} batches a group",
        1e6 / whole.wall,
        median(group_size)
    );
    Ok(())
}

fn batches(traffic: &Traffic, count: usize) -> Result<Vec<Batch>> {
    let (mut agents, mut random) = (AgentCache::new(), Random(1));
    let batch = |number| {
        let body = traffic.body(number);
        let summary = summarise(&Format::default(), body, &mut agents)?;
        Ok(Batch {
            customer: traffic.customer(&mut random),
            key: format!("0-{number}"),
            request_id: RequestId::from_random(SystemEntropy.bits128()),
            digest: ContentDigest::of(Format::default().id(), body),
            receipt: receipt(&summary),
            record: summary.to_bytes(),
        })
    };
    (0..count).map(batch).collect()
}

/// Each step for all groups, and the sync of all claims at the end.
fn alone(batches: &[Batch]) -> Result<[Cost; STEPS.len() + 1]> {
    let dir = tempfile::tempdir_in(DISK)?;
    let layout = Layout::new(dir.path());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    disk.create_dir(&layout.journal())?;
    disk.create_dir(&layout.pages())?;
    for shard in 0..=u8::MAX {
        disk.create_dir(&layout.names(shard))?;
    }

    let now = Duration::ZERO;
    let (lives, seals) = (Lives::new(), Seals::new());
    let mut store =
        ClaimStore::open(Arc::clone(&disk), layout.clone(), Incarnation(1), lives, seals, now)?;
    let claimed = timed(batches.len(), || {
        for (number, group) in (1..).zip(batches.chunks(GROUP)) {
            let claims: Vec<_> = group.iter().map(Batch::claim).collect();
            store.reserve(&claims, now)?;
            let verdicts = store.claim(&claims, Group(number), now)?;
            ensure!(verdicts.iter().all(|verdict| *verdict == Verdict::Won), "keys are new");
        }
        Ok(())
    })?;
    let dirty = store.take_dirty();
    let durable = timed(batches.len(), || Ok(dirty.run(disk.as_ref(), &layout)?))?;

    let (synced, bytes) = journal(&disk, &layout, batches)?;
    let (written, _) = journal(&(Arc::new(Unsynced) as Arc<dyn Disk>), &layout, batches)?;
    let frame = vec![7; usize::try_from(bytes)? / batches.len() * GROUP];
    let checked = timed(batches.len(), || {
        for number in 0..batches.len() / GROUP {
            black_box(xxh3_64_with_seed(black_box(&frame), number as u64));
        }
        Ok(())
    })?;
    Ok([claimed, written.less(checked), synced.less(written), checked, durable])
}

/// Writes all groups into one segment; what that costs, and its bytes.
fn journal(disk: &Arc<dyn Disk>, layout: &Layout, batches: &[Batch]) -> Result<(Cost, u64)> {
    let keys = KeyLimits { paths: 100_000, agents: 10_000 };
    let rules = Rules { grace: Duration::from_secs(60), keys, paths: 0 };
    let entropy = Arc::new(SystemEntropy);
    let mut keeper =
        SegmentKeeper::open(Arc::clone(disk), layout.clone(), entropy, rules, SEGMENT_BYTES)?;
    let mut journal = Journal::begin(Box::new(move || keeper.prepare()), Group(0))?;
    let mut bytes = 0;
    let cost = timed(batches.len(), || {
        for (number, group) in (1..).zip(batches.chunks(GROUP)) {
            let records: Vec<_> = group.iter().map(Batch::record).collect();
            journal.reserve(records.iter().map(Journal::record_bytes).sum())?;
            bytes += journal.append(Group(number), AcceptTime(0), &records)?;
        }
        Ok(())
    })?;
    ensure!(journal.take_sealed().is_empty(), "a segment was made while the clock ran");
    Ok((cost, bytes))
}

/// What a server takes for a batch in all, and how many batches it puts into a group.
fn whole(traffic: &Traffic, options: &Options) -> Result<(Cost, f64)> {
    let length = options.pick(Duration::from_secs(4), Duration::from_millis(300));
    let place = Place::new("")?;
    let served = place.start(&[])?;
    let mut load = Load::new(traffic, CONNECTIONS, served.address());
    load.run(length / 4)?;
    let before = served.cpu()?;
    let sent = load.run(length)?;
    let (cpu, count) = (served.cpu()? - before, sent.latencies.len() as f64);
    let of_groups = |what| {
        let value = served.metric(&format!("logmill_journal_group_batches_{what}"))?;
        value.context("no groups are counted")
    };
    let size = of_groups("sum")? / of_groups("count")?;
    served.stop()?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
    Ok((Cost { wall: each(sent.length), cpu: each(cpu) }, size))
}

impl Batch {
    fn claim(&self) -> Claim<'_> {
        Claim::new(&self.customer, &self.key, self.digest, self.receipt)
    }

    fn record(&self) -> Record<'_> {
        Record {
            digest: self.digest,
            customer: &self.customer,
            key: &self.key,
            request_id: self.request_id.as_str(),
            summary: &self.record,
            dead: b"",
        }
    }
}

impl Cost {
    fn less(self, other: Self) -> Self {
        Self { wall: self.wall - other.wall, cpu: self.cpu - other.cpu }
    }
}

/// Time and CPU of this thread, each of so many.
fn timed(count: usize, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (began, before) = (Instant::now(), thread_cpu_ns()?);
    work()?;
    let (wall, cpu) = (began.elapsed().as_secs_f64() * 1e6, thread_cpu_ns()? - before);
    Ok(Cost { wall: wall / count as f64, cpu: cpu as f64 / 1e3 / count as f64 })
}

/// In the kernel too.
fn thread_cpu_ns() -> Result<u64> {
    // The kernel brings the number up to date when it looks for whom to run.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().context("schedstat is empty")?;
    Ok(first.parse()?)
}
