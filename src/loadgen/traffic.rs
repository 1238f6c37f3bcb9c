//! Batches of log entries that look like those of real sites, from a seed.
//!
//! Pure: a batch is made of its number and the [`Shape`] alone, whichever connection sends it and
//! when. So a batch can be made again to be sent again, and another run of the same shape sends the
//! same bytes. Beside each body stands what it must be counted as.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::agents::Agents;
use super::days::Days;
use super::draw::{Weights, percent};
use super::site::{self, METHODS, Resource};
use crate::limits;

const MINUTE_MS: i64 = 60_000;
/// Entries are received up to so long before their turn: logs are not quite in order.
const DISORDER_MS: i64 = 400;

/// What a run sends, but for how much of it.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) seed: u64,
    pub(super) run: String,
    /// When the first entry was received, in ms since 1970.
    pub(super) start_ms: i64,
    /// Entries received in a second.
    pub(super) pace: u64,
    /// Instead of at that pace, as visitors come by day and by night.
    pub(super) days: Option<Days>,
    pub(super) customers: Vec<String>,
    pub(super) paths: usize,
    /// In a batch.
    pub(super) entries: usize,
    /// Percent of the batches that are sent again.
    pub(super) duplicates: u8,
    /// Percent of the entries that are minutes to days old.
    pub(super) late: u8,
    /// Percent of the batches that hold an invalid entry.
    pub(super) bad: u8,
}

/// Makes the batches of a run.
pub(super) struct Traffic {
    pub(super) shape: Shape,
    pub(super) resources: Vec<Resource>,
    pub(super) agents: Agents,
    by_path: Weights,
    by_customer: Weights,
}

/// Which batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) number: u64,
    pub(super) entries: usize,
}

/// One body, and what the server must make of it.
pub(super) struct Batch {
    /// Place in [`Shape::customers`].
    pub(super) customer: u16,
    pub(super) key: String,
    pub(super) body: Vec<u8>,
    /// Its entries, or those beside the invalid one.
    pub(super) counted: Vec<Counted>,
    /// It holds an invalid entry, so nothing of it may count.
    pub(super) is_bad: bool,
    /// It is to be sent again when it was acknowledged.
    pub(super) again: bool,
}

/// What one entry is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Since 1970.
    pub(super) minute: u32,
    /// Place of the method in [`METHODS`].
    pub(super) method: u8,
    /// Place in [`Traffic::resources`].
    pub(super) resource: u32,
    /// Place in [`Agents::families`].
    pub(super) family: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    received_at: &'a str,
    method: &'a str,
    path: &'a str,
    status: u16,
    bytes: u32,
    user_agent: &'a str,
}

impl Traffic {
    pub(super) fn new(shape: Shape) -> Self {
        let (by_path, by_customer) =
            (Weights::zipf(shape.paths), Weights::zipf(shape.customers.len()));
        let (resources, agents) = (site::resources(shape.paths), Agents::new());
        Self { shape, resources, agents, by_path, by_customer }
    }

    pub(super) fn batch(&self, turn: Turn) -> Batch {
        let Shape { seed, run, duplicates, bad, .. } = &self.shape;
        let seed = xxh3_64_with_seed(&turn.number.to_le_bytes(), *seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let customer = self.by_customer.draw(&mut rng);
        let is_bad = percent(&mut rng, *bad);
        let again = percent(&mut rng, *duplicates) && !is_bad;
        let invalid = is_bad.then(|| rng.usize(..turn.entries));
        let mut body = Vec::with_capacity(turn.entries * 300);
        let mut counted = Vec::with_capacity(turn.entries);
        for place in 0..turn.entries {
            body.push(if place == 0 { b'[' } else { b',' });
            if invalid == Some(place) {
                body.extend_from_slice(self.invalid(turn, &mut rng).as_bytes());
            } else {
                counted.push(self.entry(turn, place, &mut body, &mut rng));
            }
        }
        body.push(b']');
        Batch {
            customer: u16::try_from(customer).unwrap_or(u16::MAX),
            key: format!("load-{run}-{:07}", turn.number),
            body,
            counted,
            is_bad,
            again,
        }
    }

    fn entry(
        &self,
        turn: Turn,
        place: usize,
        body: &mut Vec<u8>,
        rng: &mut fastrand::Rng,
    ) -> Counted {
        let time_ms = self.time_ms(turn.number, place) - rng.i64(0..DISORDER_MS) - self.age_ms(rng);
        let at = self.by_path.draw(rng);
        let resource = &self.resources[at];
        let method = resource.method(rng);
        let (status, bytes) = resource.answer(method, rng);
        let agent = self.agents.draw(rng);
        let entry = Entry {
            received_at: &rfc3339(time_ms),
            method: METHODS[usize::from(method)],
            path: &resource.path,
            status,
            bytes,
            user_agent: &agent.text,
        };
        serde_json::to_writer(&mut *body, &entry).expect("an entry is JSON and a Vec takes all");
        let minute = u32::try_from(time_ms.div_euclid(MINUTE_MS)).unwrap_or_default();
        let resource = u32::try_from(at).unwrap_or(u32::MAX);
        Counted { minute, method, resource, family: agent.family }
    }

    /// When the turn of an entry comes, at the pace of the run.
    fn time_ms(&self, number: u64, place: usize) -> i64 {
        let before = u128::from(number) * self.shape.entries as u128 + place as u128;
        if let Some(days) = &self.shape.days {
            return self.shape.start_ms.saturating_add(days.time_ms(before));
        }
        let ms = before * 1_000 / u128::from(self.shape.pace);
        self.shape.start_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// How much older than that it is: nothing, or from 2 minutes to 3 days, short more often.
    fn age_ms(&self, rng: &mut fastrand::Rng) -> i64 {
        if !percent(rng, self.shape.late) {
            return 0;
        }
        let minutes = 1_i64 << rng.u32(1..12);
        (minutes + rng.i64(0..minutes)) * MINUTE_MS
    }

    /// An entry that breaks one of the rules.
    fn invalid(&self, turn: Turn, rng: &mut fastrand::Rng) -> String {
        let time = rfc3339(self.time_ms(turn.number, 0));
        let entry = |time: &str, method: &str, path: &str, agent: &str| {
            format!(
                r#"{{"receivedAt":"{time}","method":"{method}","path":"{path}","userAgent":"{agent}"}}"#
            )
        };
        match rng.u8(..8) {
            0 => entry("yesterday at noon", "GET", "/", "curl/8.5.0"),
            1 => entry("1969-12-31T23:59:59Z", "GET", "/", "curl/8.5.0"),
            2 => entry(&time, "GET /", "/", "curl/8.5.0"),
            3 => entry(&time, "GET", "", "curl/8.5.0"),
            4 => entry(&time, "GET", &"/x".repeat(limits::PATH_BYTES_MAX), "curl/8.5.0"),
            5 => entry(&time, "GET", "/", r"curl\u0007"),
            6 => format!(r#"{{"receivedAt":"{time}","method":"GET","userAgent":"curl/8.5.0"}}"#),
            _ => "null".to_owned(),
        }
    }
}

/// In UTC, to the millisecond.
pub(super) fn rfc3339(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{ms} ms after 1970"),
    }
}
