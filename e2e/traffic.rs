//! Makes log entries and batches out of a few numbers, the same ones every time.
//!
//! Entry `i` takes path and agent from the matrix `paths × agents` in turn and moves to the next
//! window after each full turn. So `entries` that is a multiple of `paths × agents × windows` puts
//! the same number everywhere, and an expected file can be written by hand. The seed decides order
//! and the moment within a minute, never the counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::scenario::Variant;

/// Seconds of the smallest window.
const MINUTE_SECONDS: i64 = 60;

/// How entries are made and split into batches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    pub(crate) customers: Customers,
    /// Starts of the minutes, in RFC 3339; `{now}` is the minute in which the run began.
    windows: Vec<String>,
    #[serde(default = "get")]
    method: String,
    paths: Vec<String>,
    agents: Vec<String>,
    /// Entries of each customer.
    entries: usize,
    /// Entries of a batch.
    batch: usize,
    /// Seed of the order of the entries; without one they go in order.
    shuffle: Option<u64>,
    /// Offsets to write the times in, in turn: `Z`, `+09:30`.
    #[serde(default = "zulu")]
    offsets: Vec<String>,
    /// Compresses the bodies.
    encoding: Option<Encoding>,
    /// Pads each body with JSON whitespace to this many bytes.
    pad_to: Option<usize>,
}

/// Who sends.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Customers {
    Named(Vec<String>),
    Numbered { prefix: String, count: usize },
}

/// A content coding of HTTP.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
    /// With the frame of RFC 1950.
    Deflate,
    Br,
}

/// One body of `POST /logs` and what must be known of it to judge the answer.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) customer: String,
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) entries: usize,
    /// The minutes it touches, in seconds since 1970.
    pub(crate) minutes: BTreeSet<i64>,
}

/// How many batches touched each minute of each customer: what `revision` must be, where all of
/// them came too late.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<(String, i64), u64>);

/// The values that placeholders in a scenario's texts stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placeholders {
    now_minute: i64,
}

impl Traffic {
    /// All batches, the customers in turn.
    pub(crate) fn batches(
        &self,
        name: &str,
        placeholders: Placeholders,
        variant: Option<&Variant>,
    ) -> Result<Vec<Batch>> {
        let size = variant.and_then(|v| v.batch).unwrap_or(self.batch);
        let shuffle = variant.and_then(|v| v.shuffle).or(self.shuffle);
        ensure!(size > 0, "[traffic.{name}] has empty batches");
        let mut windows = Vec::new();
        for start in &self.windows {
            windows.push(seconds(&placeholders.fill(start, ""))?);
        }
        let mut order: Vec<usize> = (0..self.entries).collect();
        if let Some(seed) = shuffle {
            shuffle_in_place(&mut order, seed);
        }
        let mut batches = Vec::new();
        for (number, indices) in order.chunks(size).enumerate() {
            let key = format!("{name}-{size}-{:x}-{number:05}", shuffle.unwrap_or(0));
            let (body, minutes) = self.body(indices, &windows)?;
            batches.extend(self.customers.all().into_iter().map(|customer| Batch {
                customer,
                key: key.clone(),
                body: body.clone(),
                encoding: self.encoding,
                entries: indices.len(),
                minutes: minutes.clone(),
            }));
        }
        Ok(batches)
    }

    fn body(&self, indices: &[usize], windows: &[i64]) -> Result<(Vec<u8>, BTreeSet<i64>)> {
        let combinations = self.paths.len() * self.agents.len();
        let mut minutes = BTreeSet::new();
        let mut entries = Vec::with_capacity(indices.len());
        for &index in indices {
            let minute = windows[index / combinations % windows.len()];
            minutes.insert(minute);
            let offset = &self.offsets[index % self.offsets.len()];
            entries.push(json!({
                "receivedAt": moment(minute, index, offset)?,
                "method": self.method,
                "path": self.paths[index % combinations / self.agents.len()],
                "userAgent": self.agents[index % self.agents.len()],
            }));
        }
        let mut body = serde_json::to_vec(&entries)?;
        if let Some(length) = self.pad_to {
            pad(&mut body, length)?;
        }
        let body = self.encoding.map_or(Ok(body.clone()), |encoding| encoding.encode(&body))?;
        Ok((body, minutes))
    }
}

impl Customers {
    pub(crate) fn all(&self) -> Vec<String> {
        match self {
            Self::Named(names) => names.clone(),
            Self::Numbered { prefix, count } => {
                (0..*count).map(|number| format!("{prefix}{number:03}")).collect()
            }
        }
    }
}

impl Encoding {
    /// The value of `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::Br => "br",
        }
    }

    pub(crate) fn encode(self, body: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                Ok(encoder.finish()?)
            }
            Self::Zstd => Ok(zstd::encode_all(body, 3)?),
            Self::Deflate => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                Ok(encoder.finish()?)
            }
            Self::Br => {
                const BUFFER_BYTES: usize = 64 * 1024;
                const QUALITY: u32 = 3;
                const WINDOW_LOG: u32 = 22;
                let mut bytes = Vec::new();
                let mut encoder =
                    brotli::CompressorWriter::new(&mut bytes, BUFFER_BYTES, QUALITY, WINDOW_LOG);
                encoder.write_all(body)?;
                drop(encoder);
                Ok(bytes)
            }
        }
    }
}

impl Ledger {
    pub(crate) fn record(&mut self, batch: &Batch) {
        for &minute in &batch.minutes {
            *self.0.entry((batch.customer.clone(), minute)).or_default() += 1;
        }
    }

    /// The sum over the minutes of a window.
    pub(crate) fn batches(&self, customer: &str, start: &str, size: &str) -> Result<u64> {
        let start = seconds(start)?;
        let length = match size {
            "minute" => MINUTE_SECONDS,
            "hour" => 60 * MINUTE_SECONDS,
            "day" => 24 * 60 * MINUTE_SECONDS,
            other => anyhow::bail!("there is no window size {other:?}"),
        };
        let from = (customer.to_owned(), start);
        let to = (customer.to_owned(), start + length);
        Ok(self.0.range(from..to).map(|(_, batches)| batches).sum())
    }
}

impl Placeholders {
    pub(crate) fn starting_now() -> Self {
        let now = Timestamp::now().as_second();
        Self { now_minute: now - now.rem_euclid(MINUTE_SECONDS) }
    }

    /// `text` with `{now}`, `{now+1m}` and `{customer}` filled in.
    pub(crate) fn fill(self, text: &str, customer: &str) -> String {
        let minute = |second| Timestamp::from_second(second).map(|t| t.to_string());
        let now = minute(self.now_minute).expect("the present is a valid time");
        let next = minute(self.now_minute + MINUTE_SECONDS).expect("so is the minute after");
        text.replace("{now}", &now).replace("{now+1m}", &next).replace("{customer}", customer)
    }
}

/// Pads a JSON body with whitespace before its last byte to exactly `length` bytes.
pub(crate) fn pad(body: &mut Vec<u8>, length: usize) -> Result<()> {
    ensure!(body.len() <= length, "{} bytes cannot be padded to {length}", body.len());
    let last = body.pop().context("an empty body cannot be padded")?;
    body.resize(length - 1, b' ');
    body.push(last);
    Ok(())
}

/// The next number of the splitmix64 sequence; `state` is the seed.
pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fisher–Yates.
pub(crate) fn shuffle_in_place(items: &mut [usize], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        let below = last as u64 + 1;
        let other = usize::try_from(splitmix64(&mut state) % below).expect("an index fits");
        items.swap(last, other);
    }
}

/// A moment within the minute that starts at `minute`, written with `offset`. It depends on the
/// entry's number alone, so an entry is the same in every variant.
fn moment(minute: i64, index: usize, offset: &str) -> Result<String> {
    let mut state = index as u64;
    let within = i64::try_from(splitmix64(&mut state) % 60_000)?;
    let shifted = minute * 1000 + within + offset_seconds(offset)? * 1000;
    let text = Timestamp::from_millisecond(shifted)?.to_string();
    Ok(text.replace('Z', offset))
}

/// The seconds of `Z` or `+HH:MM`.
fn offset_seconds(offset: &str) -> Result<i64> {
    if offset == "Z" {
        return Ok(0);
    }
    let (hours, minutes) = offset.split_once(':').context("an offset is Z or +HH:MM")?;
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    Ok(hours.parse::<i64>()? * 3600 + sign * minutes.parse::<i64>()? * 60)
}

/// Seconds since 1970 of a time in RFC 3339.
fn seconds(time: &str) -> Result<i64> {
    let time: Timestamp = time.parse().with_context(|| format!("{time:?} is not a time"))?;
    Ok(time.as_second())
}

fn get() -> String {
    "GET".to_owned()
}

fn zulu() -> Vec<String> {
    vec!["Z".to_owned()]
}
