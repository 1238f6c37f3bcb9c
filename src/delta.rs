//! What a partition has counted since the last checkpoint.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use crate::counts::{Counts, Dimension, KeyLimits, OTHER, Parts, Totals, WindowCounts};
use crate::dead_letters::PutAside;
use crate::ids::{CustomerId, Group};
use crate::insight::{NameCount, Summary};
use crate::limits::WINDOW_NAMES_BYTES_MAX;
use crate::minutes::{Minutes, NamedMinutes};
use crate::names::{NameId, Names};
use crate::window::{Minute, Span};

/// Counts by (customer, minute), with names stored once for all of them.
#[derive(Debug, Default)]
pub struct Delta {
    names: Names,
    customers: HashMap<CustomerId, BTreeMap<Minute, WindowDelta>>,
    /// Distinct (window, name) pairs and windows, to estimate memory.
    pairs: usize,
    windows: usize,
    letters: HashMap<CustomerId, Letters>,
    dead_bytes: usize,
    crowded_out: u64,
}

/// A customer's dead letters, the oldest first.
#[derive(Debug, Default)]
struct Letters {
    batches: VecDeque<PutAside>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct WindowDelta {
    totals: Totals,
    paths: NamedCounts,
    agents: NamedCounts,
}

impl WindowDelta {
    fn named(&self, by: Dimension) -> &NamedCounts {
        match by {
            Dimension::Path => &self.paths,
            Dimension::Agent => &self.agents,
        }
    }
}

#[derive(Debug, Default)]
struct NamedCounts {
    /// Found by the hashes of the names themselves: for what is counted here already, the set of
    /// all names need not be asked.
    counts: HashTable<(NameId, u64)>,
    /// Of their names.
    bytes: usize,
}

/// About what a hash map takes for one pair, its free slots included.
const BYTES_PER_PAIR: usize = 32;
/// About what a customer takes: the first node of its minutes.
const BYTES_PER_CUSTOMER: usize = 2_048;
/// About what an empty window takes.
const BYTES_PER_WINDOW: usize = 320;

impl Delta {
    /// Adds one partial insight of a batch of a group: the `window`th of its summary.
    pub fn add(
        &mut self,
        customer: &CustomerId,
        summary: &Summary,
        window: usize,
        group: Group,
        late: bool,
        limits: KeyLimits,
    ) {
        let partial = &summary.windows[window];
        let requests = u64::from(partial.requests);
        let windows = self.customers.entry_ref(customer).or_default();
        let delta = windows.entry(partial.minute).or_insert_with(|| {
            self.windows += 1;
            WindowDelta::default()
        });
        delta.totals.merge(&Totals {
            requests,
            late: if late { requests } else { 0 },
            revision: u64::from(late),
            first: Some(group),
            responses: partial.responses.clone(),
        });
        let names = &mut self.names;
        self.pairs += delta.paths.add(&partial.paths, summary, names, limits.paths);
        self.pairs += delta.agents.add(&partial.agents, summary, names, limits.agents);
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.bytes()
            + self.pairs * BYTES_PER_PAIR
            + self.windows * BYTES_PER_WINDOW
            + self.customers.len() * BYTES_PER_CUSTOMER
            + self.dead_bytes
    }

    /// Takes dead letters along. Of a customer that brings more than `max` bytes the oldest go at
    /// once: the store would not keep them, and one customer's must not fill the memory of all.
    pub fn put_aside(&mut self, dead: Vec<PutAside>, max: u64) {
        for dead in dead {
            let bytes = dead.bytes();
            let held = self.letters.entry_ref(&dead.batch.customer).or_default();
            held.bytes += bytes;
            self.dead_bytes += bytes;
            held.batches.push_back(dead);
            while held.bytes as u64 > max
                && let Some(oldest) = held.batches.pop_front()
            {
                held.bytes -= oldest.bytes();
                self.dead_bytes -= oldest.bytes();
                self.crowded_out += oldest.batch.letters.len() as u64;
            }
        }
    }

    /// The dead letters taken along.
    pub fn dead(&self) -> impl Iterator<Item = &PutAside> {
        self.letters.values().flat_map(|held| &held.batches)
    }

    /// How many dead letters went because there were too many.
    #[must_use]
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    /// Whether nothing was counted or put aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.customers.is_empty() && self.letters.is_empty()
    }

    /// As much as is asked for of one customer's minutes within a span.
    #[must_use]
    pub fn minutes_of(&self, customer: &CustomerId, span: Span, parts: Parts) -> Minutes {
        let Some(windows) = self.customers.get(customer) else { return Minutes::default() };
        let within = windows.range(span.from..span.to.max(span.from));
        let totals = within.map(|(minute, delta)| (*minute, delta.totals.clone()));
        let named = |by| {
            // Numbers for numbers: names are looked at once, not once a minute.
            let mut numbers = HashMap::new();
            move |minute: Minute, named: &mut NamedMinutes| {
                for (id, count) in &windows[&minute].named(by).counts {
                    let number = numbers.entry(*id);
                    let number = number.or_insert_with(|| named.number(self.names.get(*id)));
                    named.add(*number, *count);
                }
            }
        };
        Minutes::new(totals.collect(), parts, named)
    }

    /// Every customer's requests in a span.
    #[must_use]
    pub fn requests_in(&self, span: Span) -> Vec<(CustomerId, u64)> {
        let range = span.from..span.to.max(span.from);
        let requests = |windows: &BTreeMap<Minute, WindowDelta>| {
            windows.range(range.clone()).map(|(_, delta)| delta.totals.requests).sum()
        };
        let all = self.customers.iter().map(|(of, windows)| (of.clone(), requests(windows)));
        all.filter(|(_, requests)| *requests > 0).collect()
    }

    /// Where everything is, sorted as the store's keys are: by minute, then by customer.
    #[must_use]
    pub fn keys(&self) -> Vec<(Minute, &CustomerId)> {
        let mut keys = Vec::with_capacity(self.windows);
        for (customer, windows) in &self.customers {
            keys.extend(windows.keys().map(|minute| (*minute, customer)));
        }
        keys.sort_unstable();
        keys
    }

    /// What was counted for one customer in one minute.
    #[must_use]
    pub fn get(&self, minute: Minute, customer: &CustomerId) -> Option<WindowCounts> {
        self.customers.get(customer)?.get(&minute).map(|delta| self.resolve(delta))
    }

    fn resolve(&self, delta: &WindowDelta) -> WindowCounts {
        let named = |named: &NamedCounts| {
            let counts = named.counts.iter();
            Counts::from_unsorted(counts.map(|(id, n)| (self.names.get(*id).into(), *n)).collect())
        };
        WindowCounts {
            totals: delta.totals.clone(),
            paths: named(&delta.paths),
            agents: named(&delta.agents),
        }
    }
}

impl NamedCounts {
    /// Adds a batch's counts; past the limit of names, new ones count under [`OTHER`]. Returns how
    /// many names are new in the window.
    fn add(
        &mut self,
        more: &[NameCount],
        summary: &Summary,
        names: &mut Names,
        limit: usize,
    ) -> usize {
        let before = self.counts.len();
        for (id, requests) in more {
            let (name, hash) = (summary.names.get(*id), summary.names.hash_of(*id));
            let requests = u64::from(*requests);
            if let Some((_, count)) = self.counts.find_mut(hash, |(id, _)| names.get(*id) == name) {
                *count += requests;
                continue;
            }
            let has_room =
                self.counts.len() < limit && self.bytes + name.len() <= WINDOW_NAMES_BYTES_MAX;
            // A full window must not intern what it will not keep: names are what takes memory.
            let new = if has_room { names.intern_hashed(name, hash) } else { names.intern(OTHER) };
            let hash_of = |(id, _): &(NameId, u64)| names.hash_of(*id);
            match self.counts.entry(names.hash_of(new), |(id, _)| *id == new, hash_of) {
                Entry::Occupied(mut counted) => counted.get_mut().1 += requests,
                Entry::Vacant(free) => {
                    free.insert((new, requests));
                    self.bytes += names.get(new).len();
                }
            }
        }
        self.counts.len() - before
    }
}

#[cfg(test)]
mod tests;
