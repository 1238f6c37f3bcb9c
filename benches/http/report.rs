//! Figures of all runs of a case, as a table: medians, their spread, and ratios.

use std::fmt;
use std::time::Duration;

use crate::Case;
use crate::driver::Sent;
use crate::process::Kind;
use crate::traffic::Traffic;

/// What one run gave.
struct Run {
    kind: Kind,
    batches_per_second: f64,
    p50: Duration,
    p99: Duration,
    cpu_per_batch: Duration,
    refused: u64,
    memory_bytes: u64,
}

/// All runs of a case.
pub(crate) struct Report {
    case: Case,
    body_bytes: usize,
    entries: f64,
    runs: Vec<Run>,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "batches are small")]
    pub(crate) fn new(case: Case, traffic: &Traffic) -> Self {
        let body_bytes = traffic.body_bytes();
        Self { case, body_bytes, entries: traffic.entries as f64, runs: Vec::new() }
    }

    #[expect(clippy::cast_precision_loss, reason = "runs are short")]
    pub(crate) fn add(&mut self, kind: Kind, sent: &Sent, cpu: Duration, memory_bytes: u64) {
        let batches = sent.latencies.len();
        let quantile = |share: usize| sent.latencies[(batches - 1) * share / 100];
        self.runs.push(Run {
            kind,
            batches_per_second: batches as f64 / sent.length.as_secs_f64(),
            p50: quantile(50),
            p99: quantile(99),
            cpu_per_batch: cpu.div_f64(batches as f64),
            refused: sent.refused,
            memory_bytes,
        });
    }

    fn median(&self, kind: Kind, value: impl Fn(&Run) -> f64) -> Option<f64> {
        let mut values: Vec<_> =
            self.runs.iter().filter(|run| run.kind == kind).map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// How far the runs of a server lie apart, as a share of their median.
    fn spread(&self, kind: Kind, value: impl Fn(&Run) -> f64 + Copy) -> f64 {
        let values = self.runs.iter().filter(|run| run.kind == kind).map(value);
        let (low, high) = values
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        self.median(kind, value).map_or(0.0, |median| (high - low) / median)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { entries, connections, customers } = self.case;
        writeln!(
            f,
            "{entries} entries ({} bytes), {connections} connections, {customers} customers",
            self.body_bytes
        )?;
        writeln!(
            f,
            "  {:8}{:>12}{:>14}{:>9}{:>9}{:>13}{:>8}{:>13}{:>9}",
            "",
            "batches/s",
            "entries/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/batch",
            "spread",
            "CPU ns/entry",
            "RSS MiB"
        )?;
        let cpu = |run: &Run| run.cpu_per_batch.as_secs_f64();
        for kind in Kind::ALL {
            let Some(batches) = self.median(kind, |run| run.batches_per_second) else { continue };
            let of = |value: fn(&Run) -> f64| self.median(kind, value).unwrap_or_default();
            let cpu_per_batch = of(|run| run.cpu_per_batch.as_secs_f64());
            write!(
                f,
                "  {:8}{:>12.0}{:>14.0}{:>9.2}{:>9.2}{:>13.1}{:>7.0}%{:>13.0}{:>9.0}",
                kind.name(),
                batches,
                batches * self.entries,
                of(|run| run.p50.as_secs_f64() * 1e3),
                of(|run| run.p99.as_secs_f64() * 1e3),
                cpu_per_batch * 1e6,
                self.spread(kind, cpu) * 100.0,
                cpu_per_batch * 1e9 / self.entries,
                of(|run| run.memory_bytes as f64) / 1_048_576.0,
            )?;
            let refused = self.runs.iter().filter(|run| run.kind == kind);
            match refused.map(|run| run.refused).sum::<u64>() {
                0 => writeln!(f)?,
                refused => writeln!(f, "  ({refused} refused)")?,
            }
        }
        // Work for the same CPU time.
        let Some(logmill) = self.median(Kind::Logmill, cpu) else { return Ok(()) };
        for kind in [Kind::Null, Kind::Plain] {
            if let Some(other) = self.median(kind, cpu) {
                let name = kind.name();
                writeln!(f, "  logmill ÷ {name}, per second of CPU: {:.2}", other / logmill)?;
            }
        }
        Ok(())
    }
}
