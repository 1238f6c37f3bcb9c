//! Every compiled-in bound, in one place, with what happens at it (invariant L1).
//!
//! Bounds a user may set live in [`crate::config`]; the ones here are the walls around those, and
//! what a journal written under any configuration can be relied on to obey.

use std::time::Duration;

/// Longest customer id; a longer one answers 400.
pub const CUSTOMER_ID_BYTES_MAX: usize = 128;
/// Longest idempotency key; a longer one answers 400.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Longest request id taken from a client; a longer one is replaced by our own.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// The smallest body that `limits.body_bytes` can be set to.
pub const BODY_BYTES_MIN: u64 = KIB;
/// The largest body that `limits.body_bytes` can be set to; it fits a journal segment.
pub const BODY_BYTES_MAX: u64 = 16 * MIB;
/// Longest method; a longer one is an invalid entry.
pub const METHOD_BYTES_MAX: usize = 32;
/// Longest path, in bytes; a longer one is an invalid entry.
pub const PATH_BYTES_MAX: usize = 2_048;
/// Longest user agent, in bytes; a longer one is an invalid entry.
pub const USER_AGENT_BYTES_MAX: usize = 1_024;
/// Most bytes that the answer to one request may have had; an entry that says more is invalid.
pub const ENTRY_BYTES_MAX: u64 = 1 << 50;
/// Invalid entries listed in one answer; the rest are counted only.
pub const ENTRY_ERRORS_LISTED_MAX: usize = 20;
/// Invalid entries of one batch that are put aside; a batch with more is refused.
pub const BATCH_DEAD_LETTERS_MAX: usize = 10_000;
/// Characters that are kept of what is wrong with an entry that is put aside; the rest is cut.
pub const REASON_CHARS_MAX: usize = 200;
/// Longest header line of a CSV body, in bytes; a longer one answers 400.
pub const CSV_HEADER_BYTES_MAX: usize = 4 * 1024;
/// Places in which a format may look for its fields.
pub const FORMAT_SOURCES_MAX: usize = 24;
/// Formats that a configuration can add.
pub const FORMATS_MAX: usize = 64;
/// Templates of paths that a configuration can hold.
pub const PATH_TEMPLATES_MAX: usize = 1_000;
/// Longest template of a path, in bytes.
pub const PATH_TEMPLATE_BYTES_MAX: usize = 512;
/// Bytes of the names in one window, by path and by agent; past it new names count as those past
/// `limits.paths_per_window` do. A window is merged whole, so this bounds what a checkpoint takes.
pub const WINDOW_NAMES_BYTES_MAX: usize = 32 << 20;
/// Logarithm of the largest window that a zstd body may need; one that needs more answers 400.
/// RFC 9659 allows 8 MiB.
pub const UNPACK_WINDOW_LOG_MAX: u32 = 23;
/// How many times its size a compressed body is taken to have until it is unpacked. Logs do; if too
/// little were reserved, bodies that have been read would wait for room that none of them has.
pub const UNPACKED_TIMES: usize = 10;
/// Room that a compressed body gets at least; it doubles up to `limits.body_bytes`.
pub const UNPACK_BYTES_MIN: usize = 1024;
/// Compressed bodies, and others above this size, are decoded on a blocking thread, so that the
/// reactor does not wait for long. Up to it that takes less than the way to another thread and back
/// is worth.
pub const DECODE_INLINE_BYTES_MAX: usize = 256 * 1024;
/// Buffers for bodies of up to that size which are kept for later ones; more are given back to the
/// allocator.
pub const BODY_BUFFERS_KEPT_MAX: usize = 8;

/// What a request of unknown size reserves before its body is read; it grows from there.
pub const ADMISSION_UNKNOWN_BYTES: u64 = 64 * 1024;
/// What the summary of a batch is taken to add to its body until it is made, in percent.
pub const ADMISSION_SUMMARY_PERCENT: u64 = 50;
/// How many times `limits.body_bytes` a batch can be expected to take: compressed, plain and summed
/// up. There must be room for one.
pub const ADMISSION_BODY_TIMES: u64 = 3;
/// Once the server is more than half full, a body that brings fewer bytes than this within a
/// [`PACE_INTERVAL`] gives its room back and is answered 503.
pub const PACE_BYTES_MIN: usize = 64 * 1024;
/// How often the pace of a body is looked at.
pub const PACE_INTERVAL: Duration = Duration::from_secs(1);
/// The last part of the room, one in this many, is kept for batches that reserve no more than
/// [`ADMISSION_SMALL_BYTES`]: large ones alone never fill the server.
pub const ADMISSION_SMALL_PART: u64 = 8;
/// What a request of unknown size reserves in all.
pub const ADMISSION_SMALL_BYTES: u64 = ADMISSION_UNKNOWN_BYTES * (100 + ADMISSION_SUMMARY_PERCENT)
    / 100
    + ADMISSION_BATCH_OVERHEAD_BYTES;
/// The least that `limits.inflight_bytes` can be set to.
pub const INFLIGHT_BYTES_MIN: u64 = MIB;
/// Memory that admission counts for a batch beside its body: headers, summary, bookkeeping.
pub const ADMISSION_BATCH_OVERHEAD_BYTES: u64 = 4 * 1024;
/// Unread bytes of a refused request that are read and thrown away, so that the client sees the
/// answer instead of a reset connection; past that, or [`DRAIN_TIME_MAX`], the connection is cut.
pub const DRAIN_BYTES_MAX: u64 = 4 * MIB;
/// How long draining a refused request may take.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// Connections served beyond `limits.connections`, one request each; further ones wait in the
/// operating system's queue.
pub const HURRIED_CONNECTIONS_MAX: usize = 64;
/// How long the head of a request may take on such a connection.
pub const HURRIED_HEADER_TIME_MAX: Duration = Duration::from_secs(1);
/// Connections that the operating system keeps until they are accepted, where it allows as many;
/// further ones wait, or are reset.
pub const LISTEN_BACKLOG: u32 = 4_096;
/// Largest request head; a longer one answers 431.
pub const HTTP_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bytes that the journal keeps of one batch; a body that comes to more, which takes bytes that are
/// no text or entries that say next to nothing, answers 413.
pub const RECORD_BYTES_MAX: u64 = BODY_BYTES_MAX + 4 * MIB;
/// Minutes that one batch may touch; a batch of more answers 413.
pub const BATCH_WINDOWS_MAX: usize = 65_536;
/// Batches that one group, and so one sync, covers.
pub const GROUP_BATCHES_MAX: usize = 1_024;
/// Bytes of bodies that one group covers, unless a single batch is larger.
pub const GROUP_BYTES_MAX: u64 = 8 * MIB;
/// Batches waiting for the sequencer; a further one answers 503, where `limits.inflight_batches`
/// has not refused it before.
pub const SEQUENCER_INBOX_MAX: usize = 65_536;
/// Messages waiting for one partition worker; the sequencer waits when it is full.
pub const WORKER_INBOX_MAX: usize = 1_024;
/// Most partitions that can be configured.
pub const PARTITIONS_MAX: u16 = 64;

/// Size of a journal segment file; a full one is closed and the next begun.
pub const SEGMENT_BYTES: u64 = 32 * MIB;
/// Frames start on multiples of this, so that a torn write cannot reach into an older frame.
pub const FRAME_ALIGN_BYTES: u64 = 4 * 1024;
/// Reclaimed segments kept for reuse; further ones are deleted.
pub const SEGMENT_SPARES_MAX: usize = 8;
/// What is read or compressed of a segment at once, to archive it; then whoever answers requests
/// has the processor for [`ARCHIVE_PAUSE`].
pub const ARCHIVE_PART_BYTES: usize = 256 * 1024;
/// Pause between two parts; there is none of segments that somebody waits for.
pub const ARCHIVE_PAUSE: Duration = Duration::from_millis(3);
/// Segments that may wait to be archived; past it there are no pauses, or the disk would fill.
pub const ARCHIVE_WAITING_MAX: usize = 8;

/// Names linked to one claim page; ext4 allows 65,000 links to a file.
pub const CLAIM_PAGE_NAMES_MAX: u32 = 4_096;
/// Size of a claim page file; a full one is closed and the next begun.
pub const CLAIM_PAGE_BYTES: u64 = 512 * 1024;
/// A claim page is closed after this much uptime, so that its oldest key can expire.
pub const CLAIM_PAGE_AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// Directories that the names of claims are spread over, a hexadecimal digit each. A checkpoint
/// syncs each one that has changed, and ext4 takes millions of names in one.
pub const CLAIM_SHARDS: u8 = 16;
/// Names that the sequencer sweeps between two groups.
pub const CLAIM_SWEEP_NAMES_PER_STEP: usize = 32;
/// Claim page indexes kept in memory to answer duplicates.
pub const CLAIM_PAGE_CACHE_MAX: usize = 16;
/// Links raced for one name at start, to learn whether the file system can decide a race.
pub const CLAIM_PROBE_RACERS: usize = 32;

/// Distinct user agents whose family each decoding thread remembers; past it the less recently used
/// half is forgotten.
pub const AGENT_CACHE_ENTRIES_MAX: usize = 16_384;
/// Longest name taken from an unknown user agent's first product; a longer one is `(none)`.
pub const AGENT_PRODUCT_BYTES_MAX: usize = 64;
/// Earliest year that an entry may be of.
pub const YEAR_MIN: i16 = 1970;
/// Latest year that an entry may be of.
pub const YEAR_MAX: i16 = 2199;

/// Windows in one page of an answer; `next` goes on.
pub const PAGE_WINDOWS_MAX: usize = 1_440;
/// Points in one page of a series, a week of minutes; `next` goes on.
pub const SERIES_POINTS_MAX: usize = 10_080;
/// Bytes of names and counts in one page of an answer; it ends with the window that passes it.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most rows of `GET /analytics/top`.
pub const TOP_ROWS_MAX: usize = 1_000;
/// Distinct keys that one answer of `GET /analytics/top` may add up; more answer 400.
pub const TOP_KEYS_MAX: usize = 1_000_000;
/// Bytes of these keys; more answer 400.
pub const TOP_KEYS_BYTES_MAX: usize = 128 << 20;
/// Points in one page of a series that is split or filtered; `next` goes on.
pub const SPLIT_POINTS_MAX: usize = 1_440;
/// Names read for one page of such a series; it ends with the window that passes it.
pub const SPLIT_NAMES_MAX: usize = 10_000_000;
/// Bytes of the totals of hours' minutes that are kept decoded for queries.
pub const HOURS_KEPT_TOTALS_BYTES_MAX: usize = 8 << 20;
/// Bytes of the counts by name of hours' minutes that are kept decoded for queries.
pub const HOURS_KEPT_NAMES_BYTES_MAX: usize = 56 << 20;
/// Hours that are expected among these, to size their table.
pub const HOURS_KEPT_EXPECTED: usize = 1_024;
/// Parts of that table, each with a lock and its share of the bytes.
pub const HOURS_KEPT_SHARDS: usize = 4;
/// Bytes of one hour's counts by name; an hour with more is read minute by minute.
pub const HOUR_NAMES_BYTES_MAX: usize = 4 << 20;
/// Most keys that a series can be split by; the rest is added up.
pub const SPLIT_KEYS_MAX: usize = 50;
/// Agents of artificial intelligence that a summary names.
pub const SUMMARY_AI_MAX: usize = 20;
/// Customers that one answer may add up; more answer 400.
pub const CUSTOMERS_LISTED_MAX: usize = 1_000_000;
/// Longest text in a parameter of a query; a longer one answers 400.
pub const PARAMETER_BYTES_MAX: usize = PATH_BYTES_MAX + METHOD_BYTES_MAX + 1;
/// Bytes of a query in PromQL, or of a selector; a longer one answers 400.
pub const PROMQL_BYTES_MAX: usize = 16 * 1024;
/// Brackets and functions within each other in a query in PromQL; more answer 400.
pub const PROMQL_DEPTH_MAX: usize = 32;
/// Bytes that a regular expression of a query may take once it is compiled; more answer 400.
pub const PROMQL_REGEX_BYTES_MAX: usize = 64 * 1024;
/// Matchers of a selector in PromQL; more answer 400.
pub const PROMQL_MATCHERS_MAX: usize = 8;
/// Bytes of a form that is posted to the Prometheus API; a larger one answers 413.
pub const PROMETHEUS_FORM_BYTES_MAX: usize = 32 * 1024;
/// Selectors, `match[]`, of one request to the Prometheus API; more answer 400.
pub const PROMETHEUS_SELECTORS_MAX: usize = 4;
/// Points of one series, as many as Prometheus itself has; more answer 400.
pub const PROMETHEUS_POINTS_MAX: usize = 11_000;
/// Parts of windows that are read for one query; more answer 400.
pub const PROMETHEUS_TILES_MAX: usize = 50_000;
/// Counts, of a series in one part of a window, that a query may hold at once; more answer 400.
pub const PROMETHEUS_PLACES_MAX: usize = 1_000_000;
/// Series of one answer; more answer 400.
pub const PROMETHEUS_SERIES_MAX: usize = 1_000;
/// Samples of all series of one answer together; more answer 400.
pub const PROMETHEUS_SAMPLES_MAX: usize = 500_000;
/// Values of one label, or series of one metric, that are listed; the rest are left out, with a
/// warning.
pub const PROMETHEUS_VALUES_MAX: usize = 1_000;
/// Queries running at once; a further one waits, up to [`QUERY_WAIT_MAX`], then answers 503.
pub const QUERIES_RUNNING_MAX: usize = 4;
/// Queries waiting to run; a further one answers 503.
pub const QUERIES_WAITING_MAX: usize = 256;
/// KiB of answers to queries that clients have not read yet; a further one answers 503.
pub const ANSWERS_UNREAD_KIB_MAX: usize = 128 * 1024;
/// How long a query may wait for its turn, or for a busy worker.
pub const QUERY_WAIT_MAX: Duration = Duration::from_secs(10);
/// Closed hours and days rebuilt by one checkpoint; the rest wait for the next.
pub const REBUILDS_PER_CHECKPOINT_MAX: usize = 4_096;
/// Hours and days moved past retention by one checkpoint; the rest wait for the next.
pub const EXPIRIES_PER_CHECKPOINT_MAX: usize = 1_024;

/// The last checkpoint of a shutdown is given up after this; the journal keeps what was accepted.
pub const SHUTDOWN_CHECKPOINT_MAX: Duration = Duration::from_secs(4);
/// A shutdown waits this long for requests that are under way, then cuts their connections.
pub const SHUTDOWN_REQUESTS_MAX: Duration = Duration::from_secs(5);

/// Largest configuration file, and largest tokens file; a larger one is refused unread.
pub const CONFIG_FILE_BYTES_MAX: u64 = MIB;
/// In this time requests without a valid token are at most one line in the log, with their number.
pub const TURNED_AWAY_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest bearer token; a shorter one could be guessed, and its file is refused.
pub const TOKEN_BYTES_MIN: usize = 20;
/// Mistakes of a tokens file that are listed; the rest are counted.
pub const TOKEN_MISTAKES_LISTED_MAX: usize = 20;

/// Entries that `logmill import` puts into one batch.
pub const IMPORT_BATCH_ENTRIES_MAX: usize = 1_000;
/// Bytes of body that `logmill import` puts into one batch.
pub const IMPORT_BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Longest line that `logmill import` reads; a longer one is reported as bad.
pub const IMPORT_LINE_BYTES_MAX: usize = 64 * 1024;
/// Logs that one import state file remembers; a further one is refused.
pub const IMPORT_LOGS_MAX: usize = 10_000;
/// Bad lines that an import reports in full; the rest are counted.
pub const IMPORT_BAD_LINES_SHOWN_MAX: u64 = 20;
/// How often `logmill import --follow` looks at its logs, and so how long a new line waits at most.
pub const IMPORT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A followed log that was rotated away is given up once nothing was written to it for this long:
/// servers write to the old file until they are told to open the new one.
pub const IMPORT_ROTATED_QUIET: Duration = Duration::from_secs(60);
/// Logs that `logmill import --follow` holds open; further ones wait until one is given up.
pub const IMPORT_FOLLOWED_MAX: usize = 512;
/// Bytes of an answer to a batch that a client reads.
pub const IMPORT_ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Counts, of a path or a family in a minute, that `logmill loadgen --verify` remembers; then it
/// sends no more. What is under way then still fits a table of 2^24 places.
pub const LOADGEN_COUNTS_MAX: usize = 14_000_000;
/// Unexpected answers after which `logmill loadgen` ends.
pub const LOADGEN_UNEXPECTED_MAX: u64 = 100;
/// Unexpected answers that `logmill loadgen` shows; the rest are counted.
pub const LOADGEN_UNEXPECTED_SHOWN_MAX: u64 = 10;
/// Differences that `logmill loadgen --verify` shows; the rest are counted.
pub const LOADGEN_DIFFERENCES_SHOWN_MAX: usize = 20;
/// Bytes of one page of an answer that a client reads. The last window of a page may pass
/// [`PAGE_BYTES_MAX`] by all of its names, and each may be escaped.
pub const PAGE_READ_BYTES_MAX: u64 = 128 * MIB;
/// Numbers that `logmill series` holds to draw them, 16 bytes each; more are refused.
pub const VIEW_NUMBERS_MAX: usize = 5_000_000;
/// Entries of the past that `logmill demo` begins with.
pub const DEMO_HISTORY_ENTRIES_MAX: u64 = 1_000_000;

/// Dead letters that are read, or removed, at once for an operator.
pub const LETTERS_PER_READ: usize = 256;
/// Longest request on the control socket; a longer one is refused.
pub const CONTROL_LINE_BYTES_MAX: u64 = MIB;
/// How long a request on the control socket may take to arrive.
pub const CONTROL_LINE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a client of the control socket may take to read a line of the answer; then it is left.
pub const CONTROL_WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Clients of the control socket that are answered at once; further ones wait.
pub const CONTROL_CONNECTIONS_MAX: usize = 8;
/// Rows copied between two reports of progress.
pub const COPY_ROWS_PER_REPORT: u64 = 1_000;
/// Findings that an audit lists; the rest are counted.
pub const AUDIT_FINDINGS_LISTED_MAX: usize = 20;

/// How long a start that found the disk full waits before it tries again.
pub const SPACE_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Seconds a refused sender is told to wait.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Bytes in one KiB.
pub const KIB: u64 = 1024;
/// Bytes in one MiB.
pub const MIB: u64 = 1024 * KIB;
/// Bytes in one GiB.
pub const GIB: u64 = 1024 * MIB;
/// Bytes in one TiB.
pub const TIB: u64 = 1024 * GIB;

// How the bounds relate; a change that breaks one of these does not compile.
const _: () = assert!(
    GROUP_BYTES_MAX + RECORD_BYTES_MAX + MIB <= SEGMENT_BYTES - 2 * FRAME_ALIGN_BYTES,
    "a group that is all but full, one more batch of the largest size, and all ids fit a segment"
);
const _: () = assert!(
    2 * (100 + ADMISSION_SUMMARY_PERCENT) <= ADMISSION_BODY_TIMES * 100,
    "a body of the largest size has room, even one that compression does not make smaller"
);
const _: () = assert!(
    HOUR_NAMES_BYTES_MAX < HOURS_KEPT_NAMES_BYTES_MAX / HOURS_KEPT_SHARDS / 2,
    "an hour that is read at once finds room"
);
const _: () = assert!(CLAIM_SHARDS == 16, "one for each value of a digit");
const _: () = assert!(CLAIM_PAGE_NAMES_MAX < 65_000, "ext4 allows 65,000 links to one file");
const _: () = assert!(
    (GROUP_BATCHES_MAX * 512) as u64 <= CLAIM_PAGE_BYTES * 2,
    "a group of longest keys must fit two claim pages"
);
