//! What the figures share: their sizes, places for servers, and numbers.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::process::{DISK, Served};

/// How large everything is.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) full: bool,
}

impl Options {
    pub(crate) fn pick<T>(&self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }

    /// Runs of each setting, in turns.
    pub(crate) fn rounds(&self) -> usize {
        self.pick(3, 1)
    }
}

/// A data directory with a configuration, for one server after the other. Removed at the end.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new(config: &str) -> Result<Self> {
        let dir = tempfile::tempdir_in(DISK)?;
        let place = Self { dir };
        place.configure(config)?;
        Ok(place)
    }

    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        Ok(std::fs::write(self.config(), config)?)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("logmill.toml")
    }

    /// A server; back when it takes batches.
    pub(crate) fn start(&self, flags: &[String]) -> Result<Served> {
        let mut all = vec![format!("--config={}", self.config().display())];
        all.extend_from_slice(flags);
        Served::start_on(&self.data(), &all)
    }
}

/// Waits until a checkpoint has taken all of the journal.
pub(crate) fn settle(served: &Served) -> Result<()> {
    const MOST: Duration = Duration::from_secs(300);
    // The metric is brought up to date ten times a second.
    const STEP: Duration = Duration::from_millis(150);
    let began = Instant::now();
    loop {
        thread::sleep(STEP);
        if served.metric("logmill_journal_pending_bytes")? < 1.0 {
            return Ok(());
        }
        ensure!(began.elapsed() < MOST, "no checkpoint comes");
    }
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How far values lie apart, in percent of their median.
pub(crate) fn spread(values: impl IntoIterator<Item = f64> + Clone) -> f64 {
    let ends = (f64::MAX, f64::MIN);
    let (low, high) = values
        .clone()
        .into_iter()
        .fold(ends, |(low, high), value| (low.min(value), high.max(value)));
    (high - low) / median(values) * 100.0
}

/// The value, in milliseconds, that so many of a thousand are not above; sorted before.
pub(crate) fn quantile_ms(sorted: &[Duration], of_thousand: usize) -> f64 {
    sorted[(sorted.len() - 1) * of_thousand / 1_000].as_secs_f64() * 1e3
}

/// Nanoseconds for each.
pub(crate) fn ns_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// With commas between thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
