//! Streams in which everything is new: ten million paths, in one minute and over a day, agents that
//! nobody has seen before, paths as long as they may be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::bodies::{Body, DAY, line};
use super::super::figures::MEMORY_MAX_MIB;
use super::super::wire::Wire;
use super::super::{Ending, Setting};
use super::attack;
use crate::server::{Server, Target};

const SENDERS: u64 = 4;
/// Entries of a batch, unless they are long.
const BATCH: u64 = 1_000;
/// As many long paths fit a body.
const LONG_BATCH: u64 = 900;
const LONG_PATH_BYTES: usize = 2_048;
/// Defaults of `limits.paths_per_window` and `limits.agents_per_window`.
const PATHS_MAX: usize = 100_000;
const AGENTS_MAX: usize = 10_000;
/// `WINDOW_NAMES_BYTES_MAX` of the server, and a name's method.
const NAMES_BYTES_MAX: usize = (32 << 20) + 16;
/// Before a refused batch is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// All tries of one batch.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream in which one thing is always new.
#[derive(Debug, Clone, Copy)]
enum Stream {
    /// Paths of one minute.
    Paths,
    /// Paths of all minutes of a day in turn.
    PathsOfADay,
    /// Minutes, over two hundred years.
    Minutes,
    /// Agents of one minute.
    Agents,
    /// Paths of one minute, as long as may be.
    LongPaths,
}

impl Stream {
    fn customer(self) -> &'static str {
        match self {
            Self::Paths => "new-paths",
            Self::PathsOfADay => "new-paths-of-a-day",
            Self::Minutes => "new-minutes",
            Self::Agents => "new-agents",
            Self::LongPaths => "new-long-paths",
        }
    }

    fn batch(self) -> u64 {
        if matches!(self, Self::LongPaths) { LONG_BATCH } else { BATCH }
    }

    fn line(self, number: u64) -> String {
        match self {
            Self::Paths => line(0, &format!("/{number:016x}"), "curl/8.5.0"),
            Self::PathsOfADay => line(60 * (number % 1_440), &format!("/{number:016x}"), "curl/8"),
            Self::Minutes => {
                let (year, minute) = (1970 + number % 220, number / 220 % (28 * 1_440));
                let (day, hour, minute) = (minute / 1_440 + 1, minute / 60 % 24, minute % 60);
                format!(
                    r#"{{"receivedAt":"{year}-02-{day:02}T{hour:02}:{minute:02}:00Z","method":"GET","path":"/","userAgent":""}}"#
                )
            }
            Self::Agents => line(0, "/", &format!("Agent{number:x}/1.0 (new)")),
            Self::LongPaths => {
                line(0, &format!("/{number:0width$x}", width = LONG_PATH_BYTES - 1), "curl/8.5.0")
            }
        }
    }
}

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server("", |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let streams = match setting.full {
        true => [
            (Stream::Paths, 10_000_000),
            (Stream::PathsOfADay, 10_000_000),
            (Stream::Minutes, 1_000_000),
            (Stream::Agents, 2_000_000),
            (Stream::LongPaths, 270_000),
        ],
        false => [
            (Stream::Paths, 150_000),
            (Stream::PathsOfADay, 50_000),
            (Stream::Minutes, 5_000),
            (Stream::Agents, 20_000),
            (Stream::LongPaths, 9_000),
        ],
    };
    let mut figures = String::new();
    for (stream, entries) in streams {
        let (outcome, watched) = attack(server, |target| send(target, stream, entries))?;
        figures.push_str(&format!("\n    {stream:?}: {entries} in {outcome}; {watched}"));
        watched.check_memory(MEMORY_MAX_MIB).with_context(|| figures.clone())?;
        check(server.target(), stream, entries)?;
    }
    Ok(Ending::Passed(figures))
}

/// Sends so many lines; what is refused is sent again.
fn send(target: &Target, stream: Stream, entries: u64) -> Result<String> {
    let (began, next, refused) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let sender = || -> Result<()> {
        let mut wire = Wire::new(target);
        loop {
            let from = next.fetch_add(stream.batch(), Ordering::Relaxed);
            if from >= entries {
                return Ok(());
            }
            let lines: Vec<_> = (from..from + stream.batch()).map(|n| stream.line(n)).collect();
            let (body, key, since) = (Body::of(&lines), format!("n{from}"), Instant::now());
            loop {
                let reply = wire.post(stream.customer(), &key, &body)?;
                match reply.status {
                    202 => break,
                    429 | 503 if since.elapsed() < PATIENCE => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(PAUSE);
                    }
                    _ => bail!("{stream:?}, tried for {:?}: {reply}", since.elapsed()),
                }
            }
        }
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(sender)).collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("returns its errors"))
    })?;
    Ok(format!("{:.1?}, {} times refused", began.elapsed(), refused.into_inner()))
}

/// Every line is counted, and no window has more names than it may.
fn check(target: &Target, stream: Stream, entries: u64) -> Result<()> {
    let mut wire = Wire::new(target);
    let query = "/analytics/top?from=1970-01-01T00:00:00Z&to=2200-01-01T00:00:00Z&by=userAgent";
    let requests = wire.get(query, stream.customer())?.json()?["requests"].clone();
    ensure!(requests == entries, "{stream:?}: {requests} of {entries} counted");
    if matches!(stream, Stream::Minutes) {
        return Ok(());
    }
    let query = format!("/analytics?from={DAY}T00:00:00Z&to={DAY}T00:01:00Z");
    let answer = wire.get(&query, stream.customer())?.json()?;
    let window = &answer["windows"][0];
    for (by, most) in [("requestsByPath", PATHS_MAX), ("requestsByUserAgent", AGENTS_MAX)] {
        let names = window[by].as_object().with_context(|| format!("{by} of {stream:?}"))?;
        let sum: u64 = names.values().filter_map(serde_json::Value::as_u64).sum();
        ensure!(window["requests"] == sum, "{stream:?}: {by} adds up to {sum}");
        let bytes: usize = names.keys().map(String::len).sum();
        ensure!(bytes <= NAMES_BYTES_MAX, "{stream:?}: {bytes} bytes of names in {by}");
        ensure!(names.len() <= most + 1, "{stream:?}: {} names in {by}", names.len());
        // What has a name of its own is lost to `(other)` only if the window is full.
        let is_full = names.len() == most + 1 || bytes + LONG_PATH_BYTES > NAMES_BYTES_MAX;
        ensure!(is_full || !names.contains_key("(other)"), "{stream:?}: {by} has room");
    }
    Ok(())
}
