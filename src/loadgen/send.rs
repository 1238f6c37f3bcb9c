//! One connection: takes turns from the feed, sends each batch until its fate is known, and judges
//! the answer against what the batch was.
//!
//! It must never send a batch under another key, and never take a batch for counted, or for not
//! counted, without the server's word.

#![allow(clippy::disallowed_methods, reason = "latencies and retries of a client are real time")]

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use hdrhistogram::Histogram;
use ureq::Agent;

use super::books::Books;
use super::feed::{Feed, Stop};
use super::traffic::{Batch, Counted, Traffic, Turn};
use super::{Compression, Ended};
use crate::client::{self, Answer, Patience, Pauses, Posted, Receipt, Token};
use crate::limits;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Batches of a connection that are sent before one that is to be sent again comes again.
const AGAIN_AFTER: usize = 8;
/// The longest latency that is told apart from longer ones, in µs.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Where batches go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) token: Option<Token>,
    pub(super) compression: Option<Compression>,
    pub(super) patience: Patience,
}

impl Target {
    /// The value of the header, if there is a token.
    fn authorization(&self) -> Option<String> {
        self.token.as_ref().and_then(Token::authorization)
    }
}

/// What all connections of a run share.
pub(super) struct Run<'a> {
    pub(super) target: &'a Target,
    pub(super) traffic: &'a Traffic,
    pub(super) feed: Feed<'a>,
    pub(super) stop: &'a Stop,
    pub(super) tally: Tally,
    /// Kept if they are to be compared with the server.
    pub(super) books: Option<Mutex<Books>>,
    /// Why the run ended early; the first reason counts.
    pub(super) ended: Mutex<Option<Ended>>,
    /// Whether the server has ever answered anything.
    pub(super) heard: AtomicBool,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests made, and their bodies.
    pub(super) posts: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) retries: AtomicU64,
    /// The longest time from the first try of a batch to its acknowledgement, in µs.
    pub(super) longest_us: AtomicU64,
    /// Batches sent for the first time, the bad ones among them.
    pub(super) batches: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) acknowledged_batches: AtomicU64,
    pub(super) acknowledged_entries: AtomicU64,
    /// Of these, the batches that the server knew already.
    pub(super) known_batches: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) duplicates_recognised: AtomicU64,
    pub(super) bad: AtomicU64,
    pub(super) bad_refused: AtomicU64,
    /// Batches given up before the server had said what became of them.
    pub(super) unknown: AtomicU64,
    pub(super) unexpected: AtomicU64,
    /// The first of the unexpected answers.
    pub(super) shown: Mutex<Vec<String>>,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// What became of a batch.
enum Fate {
    Posted(Posted, Receipt, Duration),
    Refused {
        status: u16,
        detail: String,
    },
    /// It was given up; it may be counted.
    Unknown,
}

impl Run<'_> {
    /// Sends until the feed has no more; the latencies of batches answered 202, in µs, and when it
    /// was done.
    pub(super) fn connection(&self) -> Connected {
        let agent = client::agent(&self.target.url, "logmill-loadgen", REQUEST_TIMEOUT);
        let mut connection = Connection {
            run: self,
            agent,
            logs_url: format!("{}/logs", self.target.url),
            again: VecDeque::new(),
            latencies: latencies(),
        };
        while let Some(turn) = self.feed.next() {
            connection.send(turn);
            if connection.again.len() > AGAIN_AFTER {
                connection.send_again();
            }
        }
        while !self.stop.is_asked() && !connection.again.is_empty() {
            connection.send_again();
        }
        Connected { latencies: connection.latencies, done: Instant::now() }
    }

    /// Ends the run early, unless it already does for another reason.
    fn end(&self, reason: Ended) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    fn in_books(&self, change: impl FnOnce(&mut Books)) {
        let Some(books) = &self.books else { return };
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut books);
        if books.is_full() {
            self.end(Ended::BooksFull);
            self.feed.close();
        }
    }

    fn unexpected(&self, batch: &Batch, what: &str) {
        let before = self.tally.unexpected.fetch_add(1, Ordering::Relaxed);
        if before < limits::LOADGEN_UNEXPECTED_SHOWN_MAX {
            let customer = &self.traffic.shape.customers[usize::from(batch.customer)];
            let text = format!("batch {} of {customer}: {what}", batch.key);
            self.tally.shown.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
        if before + 1 >= limits::LOADGEN_UNEXPECTED_MAX {
            self.end(Ended::TooManyUnexpected);
            self.stop.ask();
        }
    }
}

/// What a connection leaves.
pub(super) struct Connected {
    pub(super) latencies: Histogram<u64>,
    pub(super) done: Instant,
}

/// Latencies in µs, to three digits, in bounded memory.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MAX_US, 3).expect("the bounds are those of the library")
}

struct Connection<'a> {
    run: &'a Run<'a>,
    agent: Agent,
    logs_url: String,
    /// Acknowledged batches that are to be sent again.
    again: VecDeque<Turn>,
    latencies: Histogram<u64>,
}

impl Connection<'_> {
    fn send(&mut self, turn: Turn) {
        let batch = self.run.traffic.batch(turn);
        let tally = &self.run.tally;
        add(&tally.batches, 1);
        add(&tally.entries, turn.entries as u64);
        let fate = self.post(&batch);
        if batch.is_bad {
            self.judge_bad(&batch, &fate);
            return;
        }
        match fate {
            Fate::Posted(posted, receipt, latency) => {
                add(&tally.acknowledged_batches, 1);
                add(&tally.acknowledged_entries, turn.entries as u64);
                match posted {
                    Posted::Accepted => self.latencies.saturating_record(micros(latency)),
                    Posted::Already => add(&tally.known_batches, 1),
                }
                self.check_receipt(&batch, &receipt);
                self.run.in_books(|books| books.count(batch.customer, &batch.counted));
                if batch.again {
                    self.again.push_back(turn);
                }
            }
            Fate::Refused { status, detail } => {
                self.run.unexpected(&batch, &format!("refused with {status}: {detail}"));
                if status >= 500 {
                    self.leave_out(&batch);
                }
            }
            Fate::Unknown => self.leave_out(&batch),
        }
    }

    /// A batch with an invalid entry must be refused, whole.
    fn judge_bad(&self, batch: &Batch, fate: &Fate) {
        add(&self.run.tally.bad, 1);
        match fate {
            Fate::Refused { status: 400, .. } => add(&self.run.tally.bad_refused, 1),
            Fate::Refused { status, detail } => {
                let what = format!("its invalid entry was answered {status}: {detail}");
                self.run.unexpected(batch, &what);
            }
            Fate::Posted(..) => {
                self.run.unexpected(batch, "accepted, though one of its entries is invalid");
            }
            Fate::Unknown => add(&self.run.tally.unknown, 1),
        }
    }

    /// Sends the batch that has waited longest to be sent again.
    fn send_again(&mut self) {
        let Some(turn) = self.again.pop_front() else { return };
        let batch = self.run.traffic.batch(turn);
        add(&self.run.tally.duplicates, 1);
        match self.post(&batch) {
            Fate::Posted(Posted::Already, receipt, _) => {
                add(&self.run.tally.duplicates_recognised, 1);
                self.check_receipt(&batch, &receipt);
            }
            Fate::Posted(Posted::Accepted, ..) => {
                self.run.unexpected(&batch, "accepted a second time under the same key");
            }
            Fate::Refused { status, detail } => {
                let what = format!("sent again, it was refused with {status}: {detail}");
                self.run.unexpected(&batch, &what);
            }
            Fate::Unknown => {}
        }
    }

    /// An acknowledgement must be of this batch.
    fn check_receipt(&self, batch: &Batch, receipt: &Receipt) {
        let minutes = distinct_minutes(&batch.counted);
        let expected =
            Receipt { batch_id: batch.key.clone(), entries: batch.counted.len(), windows: minutes };
        if *receipt != expected {
            let Receipt { batch_id, entries, windows } = receipt;
            let what = format!(
                "acknowledged as {batch_id:?} with {entries} entries in {windows} minutes, \
                 sent with {} in {minutes}",
                batch.counted.len()
            );
            self.run.unexpected(batch, &what);
        }
    }

    fn leave_out(&self, batch: &Batch) {
        add(&self.run.tally.unknown, 1);
        self.run.in_books(|books| books.leave_out(batch.customer, &batch.counted));
    }

    /// Sends a batch until there is an answer that lasts.
    fn post(&self, batch: &Batch) -> Fate {
        let Run { target, stop, tally, .. } = self.run;
        let body = match encode(&batch.body, target.compression) {
            Ok(body) => body,
            Err(error) => return Fate::Refused { status: 0, detail: error.to_string() },
        };
        let began = Instant::now();
        let mut pauses = Pauses::new(target.patience);
        loop {
            add(&tally.posts, 1);
            add(&tally.bytes, body.len() as u64);
            let sent = Instant::now();
            let (reason, after) = match self.post_once(batch, &body) {
                Answer::Posted(posted, receipt) => {
                    tally.longest_us.fetch_max(micros(began.elapsed()), Ordering::Relaxed);
                    return Fate::Posted(posted, receipt, sent.elapsed());
                }
                Answer::Refused { status, detail } => return Fate::Refused { status, detail },
                Answer::Later { reason, after } => (reason, after),
            };
            let waited = began.elapsed();
            let heard = self.run.heard.load(Ordering::Relaxed);
            let Some(wait) = pauses.next(waited, heard, after) else {
                self.run.end(Ended::GaveUp { seconds: waited.as_secs(), reason });
                stop.ask();
                return Fate::Unknown;
            };
            if stop.wait(wait) {
                return Fate::Unknown;
            }
            add(&tally.retries, 1);
        }
    }

    fn post_once(&self, batch: &Batch, body: &[u8]) -> Answer {
        let Run { target, traffic, heard, .. } = self.run;
        let customer = &traffic.shape.customers[usize::from(batch.customer)];
        let authorization = target.authorization();
        let (agent, url, authorization) = (&self.agent, &self.logs_url, authorization.as_deref());
        let mut request = client::request(agent, url, customer, &batch.key, authorization);
        if let Some(compression) = target.compression {
            request = request.header("content-encoding", compression.name());
        }
        match request.send(body) {
            Ok(response) => {
                heard.store(true, Ordering::Relaxed);
                client::judge(response)
            }
            Err(error) => client::failed(&error),
        }
    }
}

/// The same bytes of the same body, so that a retry is one to every server.
fn encode(body: &[u8], compression: Option<Compression>) -> std::io::Result<Vec<u8>> {
    match compression {
        None => Ok(body.to_vec()),
        Some(Compression::Gzip) => {
            let mut gzip = GzEncoder::new(Vec::new(), Level::fast());
            gzip.write_all(body)?;
            gzip.finish()
        }
        Some(Compression::Zstd) => zstd::bulk::compress(body, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

fn distinct_minutes(entries: &[Counted]) -> usize {
    let mut minutes: Vec<u32> = entries.iter().map(|entry| entry.minute).collect();
    minutes.sort_unstable();
    minutes.dedup();
    minutes.len()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
