//! What the server has acknowledged, counted here, to be compared with what it says it has counted.
//!
//! Owns the counts and the comparison; pure. It knows methods, paths and families by their places
//! in the tables of the generator, and shares no code with the server's own counting.
//!
//! **Memory**: 17 bytes of a table for each path, and each family, of each minute of each customer;
//! at most [`limits::LOADGEN_COUNTS_MAX`] of them, a table of 272 MiB. At that the run sends no
//! more, compares what it has, and says so. Besides, one page of the server's answer is held.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

use super::site::METHODS;
use super::traffic::{Counted, Traffic};
use crate::limits;

/// A minute of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Window {
    pub(super) customer: u16,
    pub(super) minute: u32,
}

/// What is counted in a window, in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name(u32);

impl Name {
    /// All requests of the window.
    const REQUESTS: Self = Self(u32::MAX);
    const FAMILY: u32 = 1 << 31;

    fn path(method: u8, resource: u32) -> Self {
        Self(resource << 3 | u32::from(method))
    }

    fn family(place: u32) -> Self {
        Self(Self::FAMILY | place)
    }
}

/// Counts of one run.
#[derive(Debug, Default)]
pub(super) struct Books {
    counts: HashMap<(Window, Name), u32>,
    /// Windows of batches of which nobody knows whether they are counted.
    unknown: HashSet<Window>,
}

/// One of the windows of an answer to `GET /analytics`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    pub(super) window_start: String,
    requests: u64,
    requests_by_path: BTreeMap<String, u64>,
    requests_by_user_agent: BTreeMap<String, u64>,
}

/// What comparing has come to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Windows that were compared, with or without a difference.
    pub(super) windows: u64,
    /// Requests that are in them by these books.
    pub(super) requests: u64,
    /// Windows left out, because of a batch of unknown fate.
    pub(super) unknown: u64,
    /// Numbers that differ.
    pub(super) differences: u64,
    /// The first of them, for people.
    pub(super) shown: Vec<String>,
}

impl Comparison {
    fn differ(&mut self, text: impl FnOnce() -> String) {
        self.differences += 1;
        if self.shown.len() < limits::LOADGEN_DIFFERENCES_SHOWN_MAX {
            self.shown.push(text());
        }
    }
}

impl Books {
    /// Counts a batch that was acknowledged.
    pub(super) fn count(&mut self, customer: u16, entries: &[Counted]) {
        for entry in entries {
            let window = Window { customer, minute: entry.minute };
            let path = Name::path(entry.method, entry.resource);
            for name in [Name::REQUESTS, path, Name::family(entry.family)] {
                *self.counts.entry((window, name)).or_default() += 1;
            }
        }
    }

    /// Leaves out the windows of a batch that may or may not be counted.
    pub(super) fn leave_out(&mut self, customer: u16, entries: &[Counted]) {
        self.unknown.extend(entries.iter().map(|entry| Window { customer, minute: entry.minute }));
    }

    /// Whether there is no room for another batch.
    pub(super) fn is_full(&self) -> bool {
        self.counts.len() + self.unknown.len() >= limits::LOADGEN_COUNTS_MAX
    }

    /// The first and the last minute of each customer.
    pub(super) fn spans(&self) -> BTreeMap<u16, (u32, u32)> {
        let mut spans = BTreeMap::new();
        for (Window { customer, minute }, name) in self.counts.keys() {
            if *name == Name::REQUESTS {
                let (first, last) = spans.entry(*customer).or_insert((*minute, *minute));
                (*first, *last) = (*minute.min(first), *minute.max(last));
            }
        }
        spans
    }

    /// Compares a window that the server has, and takes it out of the books.
    pub(super) fn compare(
        &mut self,
        traffic: &Traffic,
        places: &Places<'_>,
        window: Window,
        answered: &Answered,
        comparison: &mut Comparison,
    ) {
        if self.unknown.contains(&window) {
            return;
        }
        let at = window.describe(traffic);
        if let Some(sent) = self.counts.remove(&(window, Name::REQUESTS)) {
            comparison.windows += 1;
            comparison.requests += u64::from(sent);
            if u64::from(sent) != answered.requests {
                comparison.differ(|| {
                    format!("{at}: {sent} requests sent, {} counted", answered.requests)
                });
            }
        } else {
            let counted = answered.requests;
            comparison.differ(|| format!("{at}: {counted} requests counted, none sent"));
            return;
        }
        let paths = answered.requests_by_path.iter().map(|(text, n)| (text, n, places.path(text)));
        let agents =
            answered.requests_by_user_agent.iter().map(|(text, n)| (text, n, places.family(text)));
        for (text, counted, name) in paths.chain(agents) {
            let sent = name.and_then(|name| self.counts.remove(&(window, name))).unwrap_or(0);
            if u64::from(sent) != *counted {
                comparison.differ(|| format!("{at} {text:?}: {sent} sent, {counted} counted"));
            }
        }
    }

    /// Everything that no answer of the server has named is missing there.
    pub(super) fn close(self, traffic: &Traffic, comparison: &mut Comparison) {
        comparison.unknown = self.unknown.len() as u64;
        let known = |(window, _): &&(Window, Name)| !self.unknown.contains(window);
        let mut left: Vec<_> = self.counts.keys().filter(known).copied().collect();
        left.sort_unstable_by_key(|(window, name)| (*window, *name != Name::REQUESTS, *name));
        let mut missing = BTreeSet::new();
        for (window, name) in left {
            let sent = self.counts[&(window, name)];
            let at = window.describe(traffic);
            if name == Name::REQUESTS {
                missing.insert(window);
                comparison.windows += 1;
                comparison.requests += u64::from(sent);
                comparison.differ(|| format!("{at}: {sent} requests sent, the window is missing"));
            } else if !missing.contains(&window) {
                let text = name.describe(traffic);
                comparison.differ(|| format!("{at} {text:?}: {sent} sent, none counted"));
            }
        }
    }
}

impl Window {
    fn describe(self, traffic: &Traffic) -> String {
        let customer = &traffic.shape.customers[usize::from(self.customer)];
        match jiff::Timestamp::from_second(i64::from(self.minute) * 60) {
            Ok(start) => format!("{customer} {start}"),
            Err(_) => format!("{customer} minute {}", self.minute),
        }
    }
}

impl Name {
    fn describe(self, traffic: &Traffic) -> String {
        if self.0 & Self::FAMILY != 0 {
            return traffic.agents.families[(self.0 & !Self::FAMILY) as usize].to_owned();
        }
        let resource = &traffic.resources[(self.0 >> 3) as usize];
        format!("{} {}", METHODS[(self.0 & 7) as usize], resource.path)
    }
}

/// Names as the server writes them, to their places.
pub(super) struct Places<'a> {
    resources: HashMap<&'a str, u32>,
    families: HashMap<&'a str, u32>,
}

impl<'a> Places<'a> {
    pub(super) fn new(traffic: &'a Traffic) -> Self {
        let paths = traffic.resources.iter().map(|resource| &*resource.path);
        let families = traffic.agents.families.iter().copied();
        Self { resources: paths.zip(0..).collect(), families: families.zip(0..).collect() }
    }

    fn path(&self, text: &str) -> Option<Name> {
        let (method, path) = text.split_once(' ')?;
        let (_, method) = METHODS.iter().zip(0..).find(|(known, _)| **known == method)?;
        self.resources.get(path).map(|resource| Name::path(method, *resource))
    }

    fn family(&self, text: &str) -> Option<Name> {
        self.families.get(text).map(|family| Name::family(*family))
    }
}
