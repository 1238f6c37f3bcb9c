//! What the figures share: their sizes, places for servers, and numbers.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
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
        if served.metric("logmill_journal_pending_bytes")?.is_some_and(|bytes| bytes < 1.0) {
            return Ok(());
        }
        ensure!(began.elapsed() < MOST, "no checkpoint comes");
    }
}

/// How many checkpoints a server has made since its start.
pub(crate) fn checkpoints(served: &Served) -> Result<f64> {
    // The metric comes with the first.
    Ok(served.metric("logmill_checkpoint_duration_seconds_count")?.unwrap_or(0.0))
}

/// CPU time in ticks: of all, while nothing was to do, and of this program with its servers that
/// have ended.
pub(crate) struct Ticks {
    all: u64,
    idle: u64,
    own: u64,
}

impl Ticks {
    pub(crate) fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().context("/proc/stat is empty")?;
        // What guests take stands in `user` already.
        let ticks = first.split_whitespace().skip(1).take(8).map(str::parse);
        let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let (_, fields) = stat.rsplit_once(") ").context("no name in /proc/self/stat")?;
        let own = fields.split(' ').skip(11).take(4).map(str::parse::<u64>);
        Ok(Self {
            all: ticks.iter().sum(),
            idle: ticks.iter().skip(3).take(2).sum(),
            own: own.sum::<Result<_, _>>()?,
        })
    }

    /// The share of the machine that others took since then, in percent.
    pub(crate) fn of_others(&self) -> Result<f64> {
        let now = Self::now()?;
        let all = (now.all - self.all) as f64;
        let ours_or_idle = (now.idle - self.idle + now.own - self.own) as f64;
        Ok(((all - ours_or_idle) / all * 100.0).max(0.0))
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
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
