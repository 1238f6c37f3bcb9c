//! The metrics: every name, its meaning and its buckets stand here and nowhere else.
//!
//! No label carries a customer, a path or anything else that a client chooses.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

use hashbrown::HashMap;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::store::LetterStats;

/// What sort of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric as it is documented.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What sort of number it is.
    pub sort: Sort,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $name:literal $sort:ident [$($label:literal),*] $help:literal;)*) => {
        $(const $constant: &str = $name;)*
        /// All metrics.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, sort: Sort::$sort, labels: &[$($label),*], help: $help },)*
        ];
    };
}

metrics! {
    REQUESTS "logmill_http_requests_total" Counter ["method", "route", "status"]
        "Requests answered.";
    REQUEST_SECONDS "logmill_http_request_duration_seconds" Histogram ["method", "route", "status"]
        "Time from a request's head to its answer.";
    REFUSALS "logmill_refusals_total" Counter ["problem"]
        "Requests refused, by the type of the problem.";
    CONNECTIONS "logmill_http_connections" Gauge []
        "Open connections.";
    BATCHES "logmill_batches_total" Counter ["outcome"]
        "Batches by what became of them: accepted, duplicate, conflict, rejected, overloaded.";
    ENTRIES "logmill_entries_total" Counter []
        "Entries in accepted batches.";
    DEAD_LETTERS "logmill_dead_letters" Gauge []
        "Invalid entries that are put aside, as of the last checkpoint.";
    PUT_ASIDE "logmill_dead_letters_total" Counter []
        "Invalid entries of accepted batches that were put aside.";
    LETTERS_ENDED "logmill_dead_letters_removed_total" Counter ["reason"]
        "Dead letters that are no more: replayed, dropped, expired, or crowded-out by later ones.";
    BATCH_BYTES "logmill_batch_bytes" Histogram []
        "Decompressed size of accepted batches.";
    INFLIGHT_BYTES "logmill_inflight_bytes" Gauge []
        "Memory that admission has given to batches under way.";
    INFLIGHT_BATCHES "logmill_inflight_batches" Gauge []
        "Batches under way.";
    SYNCS "logmill_journal_syncs_total" Counter []
        "Groups written and synced.";
    SYNC_SECONDS "logmill_journal_sync_duration_seconds" Histogram []
        "Time to write and sync one group.";
    GROUP_BATCHES "logmill_journal_group_batches" Histogram []
        "Accepted batches that one sync covered.";
    JOURNAL_BYTES "logmill_journal_pending_bytes" Gauge []
        "Journal that waits for a checkpoint.";
    REPLAYED "logmill_replayed_groups_total" Counter []
        "Groups replayed by the recovery at this start.";
    QUEUE "logmill_partition_queue_depth" Gauge ["partition"]
        "Messages waiting for a partition's worker.";
    APPLIED "logmill_partition_applied_total" Counter ["partition"]
        "Partial insights that a partition's worker has applied.";
    LATE "logmill_late_entries_total" Counter []
        "Entries that arrived when their minute was closed.";
    MEMORY_BYTES "logmill_delta_bytes" Gauge []
        "Memory of counts that wait for a checkpoint.";
    CHECKPOINT_SECONDS "logmill_checkpoint_duration_seconds" Histogram []
        "Time from a checkpoint's barrier to its end.";
    CHECKPOINT_AGE "logmill_checkpoint_age_seconds" Gauge []
        "Time since the last checkpoint was durable.";
    KEYS "logmill_idempotency_keys" Gauge []
        "Idempotency keys held.";
    KEYS_EARLY "logmill_idempotency_early_sweeps_total" Counter []
        "Claim pages swept before their retention, because idempotency.max_keys was passed.";
    QUERIES "logmill_queries_total" Counter ["outcome"]
        "Queries by what became of them: answered, rejected, overloaded.";
    BUILD "logmill_build_info" Gauge ["version"]
        "Always 1; the label tells the version.";
}

/// The advised bounds for request durations of OpenTelemetry, with finer ones below.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const SYNC_BOUNDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const BYTES: &[f64] = &[
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    16_777_216.0,
];
const BATCHES_BOUNDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Gives the process its recorder; the first call counts, later ones get the same.
///
/// # Panics
/// If another recorder is installed in this process.
pub fn install() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let bounds = [
            (REQUEST_SECONDS, SECONDS),
            (CHECKPOINT_SECONDS, SECONDS),
            (SYNC_SECONDS, SYNC_BOUNDS),
            (BATCH_BYTES, BYTES),
            (GROUP_BATCHES, BATCHES_BOUNDS),
        ];
        let builder = bounds.iter().fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
            builder
                .set_buckets_for_metric(Matcher::Full((*name).into()), bounds)
                .expect("bounds are not empty")
        });
        let handle = builder.install_recorder().expect("this is the only recorder");
        describe();
        handle
    })
}

fn describe() {
    for metric in ALL {
        match metric.sort {
            Sort::Counter => describe_counter!(metric.name, metric.help),
            Sort::Gauge => describe_gauge!(metric.name, metric.help),
            Sort::Histogram => describe_histogram!(metric.name, Unit::Count, metric.help),
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // A counter that does not exist until it counts cannot be told from one that is not kept.
    for name in [ENTRIES, SYNCS, REPLAYED, LATE, KEYS_EARLY, PUT_ASIDE] {
        counter!(name).absolute(0);
    }
    for problem in WATCHED_PROBLEMS {
        counter!(REFUSALS, "problem" => problem).absolute(0);
    }
    for reason in ["replayed", "dropped", "expired", "crowded-out"] {
        counter!(LETTERS_ENDED, "reason" => reason).absolute(0);
    }
    for outcome in ["answered", "rejected", "overloaded"] {
        counter!(QUERIES, "outcome" => outcome).absolute(0);
    }
    for outcome in [Outcome::Accepted, Outcome::Duplicate, Outcome::Conflict, Outcome::Rejected] {
        counter!(BATCHES, "outcome" => outcome.label()).absolute(0);
    }
    counter!(BATCHES, "outcome" => Outcome::Overloaded.label()).absolute(0);
}

/// Problems whose first occurrence is worth an alert: to see a counter grow, it must be there
/// before.
const WATCHED_PROBLEMS: [&str; 6] = [
    "overloaded",
    "customer-share-exceeded",
    "disk-full",
    "unavailable",
    "body-timeout",
    "internal-error",
];

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable and counted.
    Accepted,
    /// Counted before.
    Duplicate,
    /// Its key was used for other content.
    Conflict,
    /// Not a valid request.
    Rejected,
    /// Refused for lack of room; to be sent again.
    Overloaded,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Overloaded => "overloaded",
        }
    }
}

/// What is counted for each request: looked up by its labels once in each thread.
type RequestMetrics = HashMap<(&'static str, &'static str, u16), (Counter, Histogram)>;

/// A request was answered.
pub fn request(method: &'static str, route: &'static str, status: u16, took: Duration) {
    thread_local! {
        static KNOWN: RefCell<RequestMetrics> = RefCell::default();
    }
    let find = || {
        let label = status.to_string();
        (
            counter!(REQUESTS, "method" => method, "route" => route, "status" => label.clone()),
            histogram!(REQUEST_SECONDS, "method" => method, "route" => route, "status" => label),
        )
    };
    KNOWN.with_borrow_mut(|known| {
        let (count, seconds) = known.entry((method, route, status)).or_insert_with(find);
        count.increment(1);
        seconds.record(took.as_secs_f64());
    });
}

/// A request was refused; the type of the problem is one of a few.
pub fn refused(problem: &'static str) {
    counter!(REFUSALS, "problem" => problem).increment(1);
}

/// A connection was opened (+1) or closed (-1).
pub fn connections(change: f64) {
    gauge!(CONNECTIONS).increment(change);
}

/// A batch was answered.
pub fn batch(outcome: Outcome) {
    counter!(BATCHES, "outcome" => outcome.label()).increment(1);
}

/// A batch was accepted.
pub fn accepted(entries: u32, bytes: usize) {
    thread_local! {
        static KNOWN: (Counter, Counter, Histogram) = (
            counter!(BATCHES, "outcome" => Outcome::Accepted.label()),
            counter!(ENTRIES),
            histogram!(BATCH_BYTES),
        );
    }
    KNOWN.with(|(batches, counted, sizes)| {
        batches.increment(1);
        counted.increment(entries.into());
        sizes.record(to_f64(bytes as u64));
    });
}

/// Invalid entries of an accepted batch were put aside.
pub fn put_aside(entries: usize) {
    if entries > 0 {
        counter!(PUT_ASIDE).increment(entries as u64);
    }
}

/// Why a dead letter is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterEnd {
    /// It counts now.
    Replayed,
    /// An operator said so.
    Dropped,
}

/// Dead letters were removed on an operator's word.
pub fn letters_ended(end: LetterEnd, letters: u64) {
    let reason = match end {
        LetterEnd::Replayed => "replayed",
        LetterEnd::Dropped => "dropped",
    };
    counter!(LETTERS_ENDED, "reason" => reason).increment(letters);
}

/// So many dead letters are there no more.
pub fn letters_removed(letters: u64) {
    gauge!(DEAD_LETTERS).decrement(to_f64(letters));
}

/// How the dead letters stand after a checkpoint.
pub fn letters(stats: LetterStats) {
    gauge!(DEAD_LETTERS).set(to_f64(stats.held));
    for (reason, letters) in [("expired", stats.expired), ("crowded-out", stats.crowded_out)] {
        if letters > 0 {
            counter!(LETTERS_ENDED, "reason" => reason).increment(letters);
        }
    }
}

/// A query was answered.
pub fn query(outcome: &'static str) {
    counter!(QUERIES, "outcome" => outcome).increment(1);
}

/// Admission holds this much; told when somebody looks.
pub fn inflight(bytes: u64, batches: u64) {
    gauge!(INFLIGHT_BYTES).set(to_f64(bytes));
    gauge!(INFLIGHT_BATCHES).set(to_f64(batches));
}

/// A group of accepted batches was synced.
pub fn synced(batches: usize, took: Duration) {
    thread_local! {
        static KNOWN: (Counter, Histogram, Histogram) =
            (counter!(SYNCS), histogram!(SYNC_SECONDS), histogram!(GROUP_BATCHES));
    }
    KNOWN.with(|(syncs, seconds, sizes)| {
        syncs.increment(1);
        seconds.record(took.as_secs_f64());
        sizes.record(to_f64(batches as u64));
    });
}

/// So many keys are held.
pub fn keys(held: u64) {
    thread_local! {
        static KNOWN: Gauge = gauge!(KEYS);
    }
    KNOWN.with(|keys| keys.set(to_f64(held)));
}

/// A claim page is swept before its time.
pub fn swept_early() {
    counter!(KEYS_EARLY).increment(1);
}

/// Recovery replayed so many groups.
pub fn replayed(groups: u64) {
    counter!(REPLAYED).absolute(groups);
}

/// What one partition's worker counts.
#[derive(Clone)]
pub struct Partition {
    applied: Counter,
    late: Counter,
    queue: Gauge,
}

impl Partition {
    /// The metrics of a partition; there are at most [`crate::limits::PARTITIONS_MAX`].
    #[must_use]
    pub fn new(partition: u16) -> Self {
        let label = partition.to_string();
        Self {
            applied: counter!(APPLIED, "partition" => label.clone()),
            late: counter!(LATE),
            queue: gauge!(QUEUE, "partition" => label),
        }
    }

    /// The worker applied something.
    pub fn applied(&self, insights: usize, late: u64) {
        self.applied.increment(insights as u64);
        self.late.increment(late);
    }

    /// So many messages wait for the worker.
    pub fn queue_depth(&self, messages: usize) {
        self.queue.set(to_f64(messages as u64));
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").finish_non_exhaustive()
    }
}

/// A checkpoint is durable.
pub fn checkpointed(took: Duration) {
    histogram!(CHECKPOINT_SECONDS).record(took.as_secs_f64());
}

/// What waits for a checkpoint, and for how long.
pub fn pending(journal_bytes: u64, memory_bytes: u64, age: Duration) {
    gauge!(JOURNAL_BYTES).set(to_f64(journal_bytes));
    gauge!(MEMORY_BYTES).set(to_f64(memory_bytes));
    gauge!(CHECKPOINT_AGE).set(age.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a metric may be off by 2^-53")]
fn to_f64(number: u64) -> f64 {
    number as f64
}
