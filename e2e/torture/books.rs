//! What is sent, as a rule, and what the server must answer when it has counted some of it.
//!
//! A batch is made of its number alone, so nothing of it has to be kept to send it again or to
//! count it. In every minute it touches it has a path of its own: the server's answers tell which
//! batches it has counted, and then everything else in them must be as that says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::dice::Dice;
use crate::client::Client;
use crate::compare::describe_difference;
use crate::traffic::{Batch, Encoding, pad};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Body of a padded batch: 63 of them fill a journal segment.
const PADDED_BYTES: usize = 512 * 1024;
/// Paths of a wide batch, and the bytes of each: 20 of them fill the smallest memory for counts.
const WIDE_PATHS: usize = 40;
const WIDE_PATH_BYTES: usize = 1_400;

/// Agents as sent, and the families they are counted as.
const AGENTS: &[(&str, &str)] = &[
    ("curl/8.5.0", "curl"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox"),
    ("python-requests/2.32", "python-requests"),
    ("GPTBot/1.2", "GPTBot"),
    ("shipper/7", "shipper"),
    ("", "(none)"),
];

/// One batch of one shipper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId {
    pub(super) shipper: usize,
    pub(super) number: usize,
}

/// How large a batch is, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Size {
    /// A few entries.
    Small = 0,
    /// The same in a large body: it fills the journal.
    Padded = 1,
    /// Many long paths: it fills the memory for counts.
    Wide = 2,
}

/// The content that a key is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Original,
    /// Another one, which must never be counted.
    Other,
}

/// How the batches of one round are made. Each round has its own days, so that what the server
/// holds of a day stays small however many rounds there are.
#[derive(Debug)]
pub(super) struct Recipe {
    seed: u64,
    round: u64,
    customers: Vec<String>,
    /// Starts of minutes that are over, and so everything in them is late.
    past: Vec<i64>,
    /// Starts of minutes that are still to come: nothing in them is late.
    future: Vec<i64>,
}

struct Entry {
    minute: i64,
    second: i64,
    path: String,
    agent: (&'static str, &'static str),
}

/// What a window of a customer must be answered as.
#[derive(Debug, Default)]
struct Window {
    requests: u64,
    /// Batches that touched a minute of it.
    touched: u64,
    paths: BTreeMap<String, u64>,
    agents: BTreeMap<&'static str, u64>,
}

impl Recipe {
    pub(super) fn new(seed: u64, round: u64) -> Self {
        let now = Timestamp::now().as_second();
        let days = i64::try_from(round).expect("few rounds") * 2;
        let today = now - now.rem_euclid(DAY);
        // Far enough from now that midnight may come in between.
        let (past, future) = (today - 3 * DAY - days * DAY, today + 2 * DAY + days * DAY);
        let minute = |day: i64, hour: i64, minute: i64| day + hour * HOUR + minute * MINUTE;
        Self {
            seed,
            round,
            customers: (0..6).map(|number| format!("customer-{number}")).collect(),
            past: vec![
                minute(past, 0, 0),
                minute(past, 9, 58),
                minute(past, 9, 59),
                minute(past, 10, 0),
                minute(past, 23, 58),
                minute(past, 23, 59),
                minute(past, 24, 0),
                minute(past, 24, 1),
            ],
            future: vec![
                minute(future, 12, 0),
                minute(future, 12, 1),
                minute(future, 13, 0),
                minute(future, 23, 59),
            ],
        }
    }

    /// The request that brings a batch.
    pub(super) fn batch(
        &self,
        id: BatchId,
        size: Size,
        content: Content,
        encoding: Option<Encoding>,
    ) -> Result<Batch> {
        let (customer, mut entries) = self.entries(id, size);
        if content == Content::Other {
            let (minute, agent) = (entries[0].minute, AGENTS[0]);
            entries.push(Entry { minute, second: 0, path: "/other-content".to_owned(), agent });
        }
        let time = |entry: &Entry| Timestamp::from_second(entry.minute + entry.second);
        let values: Vec<Value> = entries
            .iter()
            .map(|entry| {
                Ok(json!({
                    "receivedAt": time(entry)?.to_string(),
                    "method": "GET",
                    "path": entry.path,
                    "userAgent": entry.agent.0,
                }))
            })
            .collect::<Result<_>>()?;
        let mut body = serde_json::to_vec(&values)?;
        if size == Size::Padded {
            pad(&mut body, PADDED_BYTES)?;
        }
        Ok(Batch {
            customer: customer.to_owned(),
            key: format!("round-{}-{}-{}", self.round, id.shipper, id.number),
            body: encoding.map_or(Ok(body.clone()), |encoding| encoding.encode(&body))?,
            encoding,
            entries: entries.len(),
            minutes: entries.iter().map(|entry| entry.minute).collect(),
        })
    }

    fn entries(&self, id: BatchId, size: Size) -> (&str, Vec<Entry>) {
        let part = (self.round << 48) ^ ((id.shipper as u64) << 32) ^ id.number as u64;
        let mut dice = Dice::new(self.seed, part);
        let customer = dice.pick(&self.customers);
        let own = format!("/own/{}/{}/{}", self.round, id.shipper, id.number);
        let minutes: BTreeSet<i64> = (0..=dice.below(3))
            .map(|_| {
                let past = dice.percent(70);
                *dice.pick(if past { &self.past } else { &self.future })
            })
            .collect();
        let mut entries = Vec::new();
        let mut add = |dice: &mut Dice, minute: i64, path: String| {
            let second = i64::try_from(dice.below(60)).expect("below 60");
            entries.push(Entry { minute, second, path, agent: *dice.pick(AGENTS) });
        };
        for &minute in &minutes {
            add(&mut dice, minute, own.clone());
            for _ in 0..dice.below(3) {
                let common = format!("/common/{}", dice.below(4));
                add(&mut dice, minute, common);
            }
        }
        if size == Size::Wide {
            let minute = *minutes.first().expect("at least one minute");
            for number in 0..WIDE_PATHS {
                let path = format!("{own}/{number}/{:x<WIDE_PATH_BYTES$}", "");
                add(&mut dice, minute, path);
            }
        }
        (customer, entries)
    }

    /// Reads which batches of this round the server has counted, from the paths of its minutes.
    pub(super) fn counted(&self, client: &Client) -> Result<BTreeSet<BatchId>> {
        let mut counted = BTreeSet::new();
        for customer in &self.customers {
            for window in self.ask(client, customer, "minute")? {
                let paths = window["requestsByPath"].as_object().context("requestsByPath")?;
                let own = format!("GET /own/{}/", self.round);
                for rest in paths.keys().filter_map(|path| path.strip_prefix(&own)) {
                    let mut numbers = rest.split('/').map(str::parse);
                    let (Some(Ok(shipper)), Some(Ok(number))) = (numbers.next(), numbers.next())
                    else {
                        bail!("{customer} has a path that nobody sent: {own}{rest}");
                    };
                    counted.insert(BatchId { shipper, number });
                }
            }
        }
        Ok(counted)
    }

    /// Compares every minute, hour and day with what they are when exactly these batches are
    /// counted, each once.
    pub(super) fn compare(
        &self,
        client: &Client,
        counted: &(impl Iterator<Item = (BatchId, Size)> + Clone),
    ) -> Result<()> {
        for (size, seconds) in [("minute", MINUTE), ("hour", HOUR), ("day", DAY)] {
            let mut windows = self.windows(counted.clone(), seconds);
            for customer in &self.customers {
                let expected: Vec<Value> = windows
                    .remove(customer.as_str())
                    .unwrap_or_default()
                    .iter()
                    .map(|(start, window)| self.answer(customer, size, *start, window))
                    .collect::<Result<_>>()?;
                let got = self.ask(client, customer, size)?;
                if let Some(difference) = describe_difference(&expected.into(), &got.into()) {
                    bail!("round {}, {size}s of {customer}:\n{difference}", self.round);
                }
            }
        }
        Ok(())
    }

    fn windows(
        &self,
        counted: impl Iterator<Item = (BatchId, Size)>,
        seconds: i64,
    ) -> BTreeMap<&str, BTreeMap<i64, Window>> {
        let mut windows: BTreeMap<&str, BTreeMap<i64, Window>> = BTreeMap::new();
        for (id, size) in counted {
            let (customer, entries) = self.entries(id, size);
            let windows = windows.entry(customer).or_default();
            let mut touched = BTreeSet::new();
            for Entry { minute, path, agent, .. } in entries {
                let window = windows.entry(minute - minute.rem_euclid(seconds)).or_default();
                window.requests += 1;
                window.touched += u64::from(touched.insert(minute));
                *window.paths.entry(format!("GET {path}")).or_default() += 1;
                *window.agents.entry(agent.1).or_default() += 1;
            }
        }
        windows
    }

    fn answer(&self, customer: &str, size: &str, start: i64, window: &Window) -> Result<Value> {
        let is_past = start < self.future[0] - DAY;
        Ok(json!({
            "customerId": customer,
            "windowStart": Timestamp::from_second(start)?.to_string(),
            "windowSize": size,
            "requests": window.requests,
            "late": if is_past { window.requests } else { 0 },
            "revision": if is_past { window.touched } else { 0 },
            "final": is_past,
            "requestsByPath": window.paths,
            "requestsByUserAgent": window.agents,
        }))
    }

    /// All windows of a customer in the days of this round.
    fn ask(&self, client: &Client, customer: &str, size: &str) -> Result<Vec<Value>> {
        let mut windows = Vec::new();
        for (first, days) in [(self.past[0], 2), (self.future[0], 1)] {
            let from = first - first.rem_euclid(DAY);
            let time =
                |second: i64| Ok::<_, jiff::Error>(Timestamp::from_second(second)?.to_string());
            let (from, to) = (time(from)?, time(from + days * DAY)?);
            let mut cursor = None::<String>;
            loop {
                let mut query = vec![("from", from.as_str()), ("to", &to), ("windowSize", size)];
                query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let answer = client.get("/analytics", Some(customer), &query)?;
                ensure!(answer.status == 200, "asked for {size}s of {customer}: {answer}");
                let mut page = answer.json()?;
                match page["windows"].take() {
                    Value::Array(page) => windows.extend(page),
                    other => bail!("windows is no list: {other}"),
                }
                cursor = page["next"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(windows)
    }
}
