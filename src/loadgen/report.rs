//! What a run has come to: the numbers, as text and as JSON, and the exit code.
//!
//! Owns the wording. Nothing that was sent is left out: each batch is acknowledged, refused as it
//! had to be, unexpected, or of unknown fate.

use std::io::{self, Write};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Ended;
use super::books::Comparison;
use super::send::Tally;
use super::traffic::{Shape, rfc3339};
use crate::client::AskError;

/// The numbers of one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    run_id: String,
    seed: u64,
    start: String,
    customers: usize,
    seconds: f64,
    sent: Sent,
    acknowledged: Acknowledged,
    duplicates: Met,
    bad: Met,
    retries: u64,
    unknown_batches: u64,
    unexpected_answers: u64,
    /// The first unexpected answers.
    unexpected: Vec<String>,
    entries_per_second: f64,
    /// Of batches answered 202, from the start of the request that was.
    latency_ms: Option<Latency>,
    /// From the first try of a batch to its acknowledgement, with all pauses between.
    longest_with_retries_ms: f64,
    /// How far the last batch was behind the time that `--rate` gave it.
    behind_seconds: f64,
    verification: Option<Verification>,
    ended_early: Option<String>,
    #[serde(skip)]
    gave_up: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Sent {
    batches: u64,
    entries: u64,
    requests: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledged {
    batches: u64,
    entries: u64,
    /// Of the batches, those that the server had counted before: by a try whose answer was lost, or
    /// by another run with the same id.
    known_batches: u64,
}

/// Batches that had to be answered in a certain way.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Met {
    sent: u64,
    as_expected: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What `--verify` has found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    windows: u64,
    requests: u64,
    /// Windows left out, because a batch in them is of unknown fate.
    left_out: u64,
    differences: u64,
    /// The first differences.
    shown: Vec<String>,
    /// Why the server could not be asked.
    failed: Option<String>,
}

impl Report {
    pub(super) fn new(
        shape: &Shape,
        tally: &Tally,
        elapsed: Duration,
        behind: Duration,
        latencies: &Histogram<u64>,
        ended: Option<&Ended>,
    ) -> Self {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let acknowledged = of(&tally.acknowledged_entries);
        let seconds = elapsed.as_secs_f64();
        Self {
            run_id: shape.run.clone(),
            seed: shape.seed,
            start: rfc3339(shape.start_ms),
            customers: shape.customers.len(),
            seconds,
            sent: Sent {
                batches: of(&tally.batches),
                entries: of(&tally.entries),
                requests: of(&tally.posts),
                bytes: of(&tally.bytes),
            },
            acknowledged: Acknowledged {
                batches: of(&tally.acknowledged_batches),
                entries: acknowledged,
                known_batches: of(&tally.known_batches),
            },
            duplicates: Met {
                sent: of(&tally.duplicates),
                as_expected: of(&tally.duplicates_recognised),
            },
            bad: Met { sent: of(&tally.bad), as_expected: of(&tally.bad_refused) },
            retries: of(&tally.retries),
            unknown_batches: of(&tally.unknown),
            unexpected_answers: of(&tally.unexpected),
            unexpected: tally.shown.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            entries_per_second: approximate(acknowledged) / seconds.max(0.001),
            latency_ms: (!latencies.is_empty()).then(|| Latency::of(latencies)),
            longest_with_retries_ms: approximate(of(&tally.longest_us)) / 1_000.0,
            behind_seconds: behind.as_secs_f64(),
            verification: None,
            ended_early: ended.map(ToString::to_string),
            gave_up: matches!(ended, Some(Ended::GaveUp { .. })),
        }
    }

    pub(super) fn verified(&mut self, outcome: Result<Comparison, AskError>) {
        self.verification = Some(match outcome {
            Ok(Comparison { windows, requests, unknown, differences, shown }) => Verification {
                windows,
                requests,
                left_out: unknown,
                differences,
                shown,
                failed: None,
            },
            Err(error) => Verification {
                windows: 0,
                requests: 0,
                left_out: 0,
                differences: 0,
                shown: Vec::new(),
                failed: Some(error.to_string()),
            },
        });
    }

    /// Entries that the server has acknowledged.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.acknowledged.entries
    }

    /// What went wrong first, if anything did.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.unexpected.first().or(self.ended_early.as_ref()).map(String::as_str)
    }

    /// 1 if the server has done what it must not, 2 if it could not be reached to the end.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let verification = self.verification.as_ref();
        if self.unexpected_answers > 0 || verification.is_some_and(|found| found.differences > 0) {
            1
        } else if self.gave_up || verification.is_some_and(|found| found.failed.is_some()) {
            2
        } else {
            0
        }
    }

    /// For machines.
    ///
    /// # Errors
    /// What writing fails with.
    pub fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)?;
        out.flush()
    }

    /// For people.
    ///
    /// # Errors
    /// What writing fails with.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, value) in self.rows() {
            writeln!(out, "{name:<24}{value:>24}")?;
        }
        for text in &self.unexpected {
            writeln!(out, "unexpected: {text}")?;
        }
        if let Some(reason) = &self.ended_early {
            writeln!(out, "ended early: {reason}")?;
        }
        if let Some(verification) = &self.verification {
            verification.print(out)?;
        }
        out.flush()
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let of = |met: &Met| format!("{} of {}", number(met.as_expected), number(met.sent));
        let mut rows = vec![
            ("run", self.run_id.clone()),
            ("seed", self.seed.to_string()),
            ("start", self.start.clone()),
            ("seconds", format!("{:.1}", self.seconds)),
            ("batches sent", number(self.sent.batches)),
            ("entries sent", number(self.sent.entries)),
            ("requests", number(self.sent.requests)),
            ("bytes of bodies", number(self.sent.bytes)),
            ("batches acknowledged", number(self.acknowledged.batches)),
            ("entries acknowledged", number(self.acknowledged.entries)),
            ("entries/s acknowledged", format!("{:.0}", self.entries_per_second)),
        ];
        if self.acknowledged.known_batches > 0 {
            rows.push(("batches known already", number(self.acknowledged.known_batches)));
        }
        if self.duplicates.sent > 0 {
            rows.push(("duplicates recognised", of(&self.duplicates)));
        }
        if self.bad.sent > 0 {
            rows.push(("bad batches refused", of(&self.bad)));
        }
        rows.push(("retries", number(self.retries)));
        if self.unknown_batches > 0 {
            rows.push(("batches of unknown fate", number(self.unknown_batches)));
        }
        rows.push(("unexpected answers", number(self.unexpected_answers)));
        if let Some(latency) = &self.latency_ms {
            let quantiles = [
                ("latency p50", latency.p50),
                ("latency p90", latency.p90),
                ("latency p99", latency.p99),
                ("latency p99.9", latency.p999),
                ("latency max", latency.max),
            ];
            rows.extend(quantiles.map(|(name, ms)| (name, format!("{ms:.1} ms"))));
        }
        if self.retries > 0 {
            let longest = format!("{:.1} ms", self.longest_with_retries_ms);
            rows.push(("longest with retries", longest));
        }
        if self.behind_seconds >= 0.5 {
            rows.push(("behind --rate at the end", format!("{:.1} s", self.behind_seconds)));
        }
        rows
    }
}

impl Latency {
    fn of(micros: &Histogram<u64>) -> Self {
        let ms = |micros| approximate(micros) / 1_000.0;
        Self {
            p50: ms(micros.value_at_quantile(0.5)),
            p90: ms(micros.value_at_quantile(0.9)),
            p99: ms(micros.value_at_quantile(0.99)),
            p999: ms(micros.value_at_quantile(0.999)),
            max: ms(micros.max()),
        }
    }
}

impl Verification {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(reason) = &self.failed {
            return writeln!(out, "not verified: {reason}");
        }
        for text in &self.shown {
            writeln!(out, "differs: {text}")?;
        }
        let hidden = self.differences - self.shown.len() as u64;
        if hidden > 0 {
            writeln!(out, "differs: {} more", number(hidden))?;
        }
        if self.left_out > 0 {
            let windows = number(self.left_out);
            writeln!(out, "left out: {windows} windows with batches of unknown fate")?;
        }
        let (windows, requests) = (number(self.windows), number(self.requests));
        match self.differences {
            0 => writeln!(out, "verified: {windows} windows with {requests} requests are equal"),
            n => {
                writeln!(out, "wrong: {} differences in {windows} windows", number(n))?;
                writeln!(
                    out,
                    "hint: --verify wants customers for whom nothing else is counted,\n\
                     and fewer names in a minute than limits.paths_per_window"
                )
            }
        }
    }
}

/// In groups of three digits.
fn number(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "shown to a few digits")]
fn approximate(n: u64) -> f64 {
    n as f64
}
