//! What was counted of the lines that a sender was given, each of which has a path of its own.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::Value;

use crate::client::Client;

/// The customer of every line.
pub(crate) const CUSTOMER: &str = "acme";
/// Without a further line for so long, no more are expected.
const PATIENCE: Duration = Duration::from_secs(30);
/// After all have come: what is sent once more would come in this time.
const ECHO: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);

/// What became of the lines.
pub(crate) struct Tally {
    pub(crate) lines: usize,
    /// The numbers of those that were not counted.
    pub(crate) lost: Vec<usize>,
    /// Of those that were counted more than once, and how often.
    pub(crate) repeated: Vec<(usize, u64)>,
}

impl Tally {
    /// Fails unless every line was counted, and once.
    pub(crate) fn ensure_exact(&self) -> Result<()> {
        ensure!(self.lost.is_empty() && self.repeated.is_empty(), "{self}");
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, lost, repeated } = self;
        let twice: u64 = repeated.iter().map(|(_, times)| times - 1).sum();
        write!(f, "{lines} lines, {} lost, {twice} counted once more", lost.len())?;
        if let Some(first) = lost.first() {
            write!(f, "; the first that is lost is {first}")?;
        }
        if let Some((first, times)) = repeated.first() {
            write!(f, "; line {first} was counted {times} times")?;
        }
        Ok(())
    }
}

/// The path of a line.
pub(crate) fn path(number: usize) -> String {
    format!("/line/{number}")
}

/// Waits until a line is counted.
pub(crate) fn await_first(client: &Client) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while total(client)? == 0 {
        ensure!(Instant::now() < deadline, "no line is counted after {PATIENCE:?}");
        thread::sleep(POLL);
    }
    Ok(())
}

/// Waits until all lines are counted, or no more of them come, and tells what became of each.
pub(crate) fn settle(
    client: &Client,
    lines: usize,
    mut watch: impl FnMut() -> Result<()>,
) -> Result<Tally> {
    let mut progress = (0, Instant::now());
    loop {
        watch()?;
        let counted = total(client)?;
        if counted != progress.0 {
            progress = (counted, Instant::now());
        }
        let wait = if counted >= lines as u64 { ECHO } else { PATIENCE };
        if progress.1.elapsed() >= wait {
            return tally(client, lines);
        }
        thread::sleep(POLL);
    }
}

fn total(client: &Client) -> Result<u64> {
    let windows = ask(client, "/analytics/series", "points")?;
    let requests = windows.iter().map(|window| window["requests"].as_u64().context("requests"));
    requests.sum()
}

/// What became of each line by now.
pub(crate) fn tally(client: &Client, lines: usize) -> Result<Tally> {
    let mut counted = vec![0_u64; lines];
    for window in ask(client, "/analytics", "windows")? {
        for (path, requests) in window["requestsByPath"].as_object().context("requestsByPath")? {
            let number = path.strip_prefix("GET /line/").and_then(|rest| rest.parse().ok());
            let known: Option<&mut u64> = number.and_then(|number: usize| counted.get_mut(number));
            let count = known.with_context(|| format!("a path that nobody sent: {path}"))?;
            *count += requests.as_u64().context("a count")?;
        }
    }
    let numbered = || counted.iter().copied().enumerate();
    Ok(Tally {
        lines,
        lost: numbered().filter(|(_, count)| *count == 0).map(|(number, _)| number).collect(),
        repeated: numbered().filter(|(_, count)| *count > 1).collect(),
    })
}

/// The days around now, as one of the routes tells them.
fn ask(client: &Client, route: &str, list: &str) -> Result<Vec<Value>> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).start_of_day()?;
    let from = today.checked_sub(1.day())?.timestamp().to_string();
    let to = today.checked_add(2.days())?.timestamp().to_string();
    let query = [("from", from.as_str()), ("to", &to), ("windowSize", "day")];
    let answer = client.get(route, Some(CUSTOMER), &query)?;
    ensure!(answer.status == 200, "{route}: {answer}");
    let mut page = answer.json()?;
    ensure!(page["next"].is_null(), "{route} has more than a page");
    match page[list].take() {
        Value::Array(windows) => Ok(windows),
        other => bail!("{list} is no list: {other}"),
    }
}
