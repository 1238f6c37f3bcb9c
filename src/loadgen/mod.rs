//! `logmill loadgen`: traffic that looks real against a running server, to try it, measure it, and
//! prove that it counts right.
//!
//! # Layout
//!
//! `agents` and `site` are who visits what, `draw` how often, `days` at which hours; `traffic`
//! makes batches of that; `feed` says when each is sent and when it is enough; `send` is one
//! connection; `books` counts what was acknowledged, and `verify` compares that with the server's
//! answers; `report` says what it came to.
//!
//! This is a client: it talks to the server by HTTP alone, and asks for time itself. It shares with
//! the server neither tables nor counting, so that a mistake cannot be on both sides.
//!
//! # What is expected of the server
//!
//! A batch is sent until it is acknowledged, under one key. Sent again after that, it must be
//! known. One with an invalid entry must be refused with 400. 429, 503 and lost connections are
//! retried; anything else is unexpected, and so is an acknowledgement that names other numbers. A
//! batch that was given up may be counted or not: the windows it touches are not compared.

mod agents;
mod books;
mod days;
mod draw;
mod feed;
mod report;
mod send;
mod site;
#[cfg(test)]
mod tests;
mod traffic;
mod verify;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::{Patience, Token};
use books::Books;
use feed::{Feed, Quota};
use send::{Run, Tally, Target};
use traffic::{Shape, Traffic};

pub use days::{Days, busyness_percent};
pub use feed::Stop;
pub use report::Report;

/// How often the progress line changes.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The pace of the times in entries that are sent as fast as they are taken.
pub const PACE_OF_MAX: u64 = 100_000;

/// What to send, where to, and how.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The server, without `/logs`.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Whose requests these are; at least one.
    pub customers: Vec<String>,
    /// Distinct paths of their sites; at least one.
    pub paths: usize,
    /// Entries in a batch; at least one.
    pub batch_entries: usize,
    /// Connections, each with a thread.
    pub connections: usize,
    /// Entries in a second; without it, as fast as they are taken.
    pub rate: Option<u64>,
    /// Ends the run after this time.
    pub duration: Option<Duration>,
    /// Ends the run after so many entries.
    pub entries: Option<u64>,
    /// Ends the run after so many batches.
    pub batches: Option<u64>,
    /// Percent of the batches that are sent again.
    pub duplicates: u8,
    /// Percent of the entries that are minutes to days old.
    pub late: u8,
    /// Percent of the batches that hold an invalid entry.
    pub bad: u8,
    /// The same seed, the same content.
    pub seed: u64,
    /// When the first entry was received.
    pub start: jiff::Timestamp,
    /// Spreads the entries over days, instead of at the pace of the rate.
    pub days: Option<Days>,
    /// Part of all keys.
    pub run_id: String,
    /// How bodies are compressed.
    pub compression: Option<Compression>,
    /// Compare the server's windows with what was acknowledged.
    pub verify: bool,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952
    Gzip,
    /// RFC 8878
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a run sent less than it was to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    Interrupted,
    GaveUp { seconds: u64, reason: String },
    TooManyUnexpected,
    BooksFull,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::GaveUp { seconds, reason } => {
                write!(f, "gave up a batch after {seconds} s: {reason}")
            }
            Self::TooManyUnexpected => f.write_str("too many unexpected answers"),
            Self::BooksFull => f.write_str("--verify can remember no more counts"),
        }
    }
}

/// Sends until it is enough, or `stop` asks for an end; then compares, if that is wanted.
///
/// # Errors
/// The system gives no thread for a connection.
pub fn run(options: &LoadOptions, stop: &Stop) -> io::Result<Report> {
    let patience = Patience {
        pause_min: Duration::from_millis(100),
        pause_max: Duration::from_secs(5),
        give_up_after: Duration::from_secs(2 * 60),
        ..Patience::USUAL
    };
    run_with(options, patience, stop)
}

fn run_with(options: &LoadOptions, patience: Patience, stop: &Stop) -> io::Result<Report> {
    let target = Target {
        url: options.url.clone(),
        token: options.token.clone(),
        compression: options.compression,
        patience,
    };
    let traffic = Traffic::new(shape(options));
    let run = Run {
        target: &target,
        traffic: &traffic,
        feed: Feed::new(quota(options), stop),
        stop,
        tally: Tally::default(),
        books: options.verify.then(Mutex::default),
        ended: Mutex::default(),
        heard: AtomicBool::new(false),
    };
    let (latencies, done) = send_all(&run, options)?;
    let mut ended = run.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    if ended.is_none() && stop.is_asked() {
        ended = Some(Ended::Interrupted);
    }
    let elapsed = done.duration_since(run.feed.started());
    let behind = run.feed.behind();
    let mut report =
        Report::new(&traffic.shape, &run.tally, elapsed, behind, &latencies, ended.as_ref());
    if let Some(books) = run.books {
        let books: Books = books.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.verified(verify::verify(&target, &traffic, books));
    }
    Ok(report)
}

fn shape(options: &LoadOptions) -> Shape {
    Shape {
        seed: options.seed,
        run: options.run_id.clone(),
        start_ms: options.start.as_millisecond(),
        pace: options.rate.unwrap_or(PACE_OF_MAX),
        days: options.days.clone(),
        customers: options.customers.clone(),
        paths: options.paths,
        entries: options.batch_entries,
        duplicates: options.duplicates,
        late: options.late,
        bad: options.bad,
    }
}

fn quota(options: &LoadOptions) -> Quota {
    let of_batches =
        options.batches.map(|batches| batches.saturating_mul(options.batch_entries as u64));
    let entries = [options.entries, of_batches].into_iter().flatten().min();
    Quota {
        batch_entries: options.batch_entries,
        entries: entries.unwrap_or(u64::MAX),
        duration: options.duration,
        rate: options.rate,
    }
}

/// Runs all connections to their end, and shows on a terminal how far they are.
#[allow(clippy::disallowed_methods, reason = "a person looks at the progress in real time")]
fn send_all(
    run: &Run<'_>,
    options: &LoadOptions,
) -> io::Result<(hdrhistogram::Histogram<u64>, Instant)> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut latencies = send::latencies();
    let mut done = run.feed.started();
    thread::scope(|scope| {
        let mut connections = Vec::new();
        for number in 0..options.connections {
            let builder = thread::Builder::new().name(format!("loadgen-{number}"));
            match builder.spawn_scoped(scope, || run.connection()) {
                Ok(connection) => connections.push(connection),
                Err(error) => {
                    // Or those that run already would send on to the end.
                    run.stop.ask();
                    return Err(error);
                }
            }
        }
        while connections.iter().any(|connection| !connection.is_finished()) {
            bar.set_message(progress(&run.tally));
            bar.tick();
            thread::sleep(PROGRESS_INTERVAL);
        }
        for connection in connections {
            match connection.join() {
                Ok(connected) => {
                    done = done.max(connected.done);
                    latencies.add(&connected.latencies).map_err(io::Error::other)?;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok((latencies, done))
}

fn progress(tally: &Tally) -> String {
    let entries = tally.acknowledged_entries.load(Ordering::Relaxed);
    let retries = tally.retries.load(Ordering::Relaxed);
    format!("{entries} entries acknowledged, {retries} retries")
}
