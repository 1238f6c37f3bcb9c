//! Exact counts by name, sorted: the form in which windows are merged, stored and answered.

use crate::ids::Group;
use crate::limits;
use crate::responses::Responses;
use crate::window::Minute;

/// The name that takes what is counted past a window's limit of distinct names.
///
/// No path key is called so (they hold a method and a space), and no agent family (they are
/// product names).
pub const OTHER: &str = "(other)";

/// Counts by name, each name once, in byte order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Box<str>, u64)>);

impl Counts {
    /// Sorts pairs of distinct names and counts.
    #[must_use]
    pub fn from_unsorted(mut pairs: Vec<(Box<str>, u64)>) -> Self {
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        debug_assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0), "names must be distinct");
        Self(pairs)
    }

    /// Takes pairs that are in order already; `None` if they are not.
    #[must_use]
    pub fn from_sorted(pairs: Vec<(Box<str>, u64)>) -> Option<Self> {
        pairs.windows(2).all(|pair| pair[0].0 < pair[1].0).then_some(Self(pairs))
    }

    /// The pairs, in byte order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_ref(), *count))
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About how many bytes of memory, or of JSON, it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, _)| name.len() + 16).sum()
    }

    /// The sum over all names.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Adds `more`. Names already there always keep counting; new ones are taken while there are
    /// fewer than `limit`, and no more than [`limits::WINDOW_NAMES_BYTES_MAX`] of them. What comes
    /// after that counts under [`OTHER`]. Sums stay exact (W2).
    pub fn merge(&mut self, more: &Counts, limit: usize) {
        let mut bytes = limits::WINDOW_NAMES_BYTES_MAX.saturating_sub(self.name_bytes());
        if self.is_empty() && more.len() <= limit && more.name_bytes() <= bytes {
            self.0.clone_from(&more.0);
            return;
        }
        let mut room = limit.saturating_sub(self.named());
        let mut other = 0;
        let mut merged = Vec::with_capacity(self.len() + more.len());
        let mut mine = std::mem::take(&mut self.0).into_iter().peekable();
        for (name, count) in &more.0 {
            while let Some(pair) = mine.next_if(|pair| pair.0 < *name) {
                merged.push(pair);
            }
            if let Some((name, before)) = mine.next_if(|pair| pair.0 == *name) {
                merged.push((name, before + count));
            } else if name.as_ref() == OTHER {
                other += count;
            } else if room > 0 && name.len() <= bytes {
                room -= 1;
                bytes -= name.len();
                merged.push((name.clone(), *count));
            } else {
                other += count;
            }
        }
        merged.extend(mine);
        self.0 = merged;
        self.add_other(other);
    }

    fn is_same(&self, other: &Counts) -> bool {
        self == other || self.is_cut() || other.is_cut()
    }

    fn covers(&self, part: &Counts) -> bool {
        let held = |name: &str| self.position(name).map_or(0, |at| self.0[at].1);
        self.is_cut() || part.is_cut() || part.iter().all(|(name, count)| held(name) >= count)
    }

    /// Whether there were more names than the limit.
    fn is_cut(&self) -> bool {
        self.position(OTHER).is_ok()
    }

    /// Names that count against the limit.
    fn named(&self) -> usize {
        self.len() - usize::from(self.is_cut())
    }

    fn name_bytes(&self) -> usize {
        self.0.iter().map(|(name, _)| name.len()).sum()
    }

    fn add_other(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        match self.position(OTHER) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (OTHER.into(), count)),
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|pair| pair.0.as_ref().cmp(name))
    }
}

/// What is read of windows beside their totals; the rest stays empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Requests by path.
    pub paths: bool,
    /// Requests by agent family.
    pub agents: bool,
}

impl Parts {
    /// Whole windows.
    pub const ALL: Self = Self { paths: true, agents: true };
    /// Totals alone.
    pub const TOTALS: Self = Self { paths: false, agents: false };

    /// One kind of counts beside the totals.
    #[must_use]
    pub fn of(by: Dimension) -> Self {
        Self { paths: by == Dimension::Path, agents: by == Dimension::Agent }
    }
}

/// What requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// `METHOD path`.
    Path,
    /// Agent family.
    Agent,
}

/// The single numbers of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests received in the window.
    pub requests: u64,
    /// Of these, those that arrived when the window was closed already.
    pub late: u64,
    /// Accepted batches that brought such late requests; grows when a final window changes.
    pub revision: u64,
    /// The first group that counted here; all of the window is in the journal from there on. What
    /// is recounted from an archive that begins later can be judged by it.
    pub first: Option<Group>,
    /// What entries said of the answers they got.
    pub responses: Responses,
}

impl Totals {
    /// Adds `more`.
    pub fn merge(&mut self, more: &Totals) {
        self.requests += more.requests;
        self.late += more.late;
        self.revision += more.revision;
        self.first = match (self.first, more.first) {
            (Some(mine), Some(other)) => Some(mine.min(other)),
            (mine, other) => mine.or(other),
        };
        self.responses.merge(&more.responses);
    }
}

/// Everything that is known of one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// The single numbers.
    pub totals: Totals,
    /// Requests by `METHOD path`.
    pub paths: Counts,
    /// Requests by agent family.
    pub agents: Counts,
}

/// How many distinct names a window keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimits {
    /// Distinct `METHOD path` keys.
    pub paths: usize,
    /// Distinct agent families.
    pub agents: usize,
}

impl KeyLimits {
    /// Every name is kept.
    pub const UNLIMITED: Self = Self { paths: usize::MAX, agents: usize::MAX };
}

impl WindowCounts {
    /// Adds `more` under the limits.
    pub fn merge(&mut self, more: &WindowCounts, limits: KeyLimits) {
        self.totals.merge(&more.totals);
        self.paths.merge(&more.paths, limits.paths);
        self.agents.merge(&more.agents, limits.agents);
    }

    /// Whether two counts of the same requests agree. Which names went into [`OTHER`] depends on
    /// the order in which they came, so past a limit the totals decide.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.totals == other.totals
            && self.paths.is_same(&other.paths)
            && self.agents.is_same(&other.agents)
    }

    /// Whether everything that `part` counted is counted here, among more.
    #[must_use]
    pub fn covers(&self, part: &Self) -> bool {
        self.totals.requests >= part.totals.requests
            && self.totals.late >= part.totals.late
            && self.totals.revision >= part.totals.revision
            && self.totals.responses.covers(&part.totals.responses)
            && self.paths.covers(&part.paths)
            && self.agents.covers(&part.agents)
    }

    /// Whether totals equal the sums over paths and over agents, and no more requests have a status
    /// than there are (W2).
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let Totals { requests, responses, .. } = &self.totals;
        *requests == self.paths.total()
            && *requests == self.agents.total()
            && *requests >= responses.requests()
    }
}

/// A window with the time it starts at.
pub type TimedCounts = (Minute, WindowCounts);

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Counts {
        Counts::from_unsorted(pairs.iter().map(|(name, n)| ((*name).into(), *n)).collect())
    }

    #[test]
    fn merging_adds_up_name_by_name() {
        let mut all = counts(&[("a", 1), ("c", 3)]);
        all.merge(&counts(&[("b", 2), ("c", 1), ("d", 4)]), 10);
        assert_eq!(all, counts(&[("a", 1), ("b", 2), ("c", 4), ("d", 4)]));
    }

    /// L1: however few they are, names have only so many bytes.
    #[test]
    fn long_names_fill_a_window_too() {
        let long = |n: usize| n.to_string() + &"-".repeat(limits::WINDOW_NAMES_BYTES_MAX / 3 - 9);
        let part = |from: usize| {
            Counts::from_unsorted((from..from + 2).map(|n| (long(n).into(), 1)).collect())
        };
        let mut all = Counts::default();
        all.merge(&part(0), 10);
        all.merge(&part(2), 10);
        all.merge(&part(0), 10);
        all.merge(&counts(&[("x", 1)]), 10);
        let names: Vec<_> = all.iter().map(|(name, n)| (name.len() > 9, n)).collect();
        assert_eq!(names, [(false, 1), (true, 2), (true, 2), (true, 1), (false, 1)]);
        let mut more_than_that = Counts::default();
        more_than_that.merge(&Counts([part(0).0, part(2).0].concat()), 10);
        assert_eq!((more_than_that.named(), more_than_that.total()), (3, 4));
    }

    #[test]
    fn past_the_limit_the_rest_is_exact_in_total() {
        let mut all = counts(&[("a", 1), ("b", 2)]);
        all.merge(&counts(&[("(other)", 7), ("b", 1), ("c", 3), ("d", 4)]), 3);
        assert_eq!(all, counts(&[("(other)", 11), ("a", 1), ("b", 3), ("c", 3)]));
        all.merge(&counts(&[("a", 1), ("e", 1)]), 3);
        assert_eq!(all, counts(&[("(other)", 12), ("a", 2), ("b", 3), ("c", 3)]));
    }

    fn window() -> impl proptest::strategy::Strategy<Value = WindowCounts> {
        use proptest::prelude::*;
        let said = (0_u64..9, proptest::option::of(100_u16..104), proptest::option::of(0_u64..9));
        (said, 0_u64..3, proptest::option::of(1_u64..9), "[a-c]").prop_map(
            |(said, late, first, name)| {
                let (requests, status, bytes) = said;
                let mut responses = Responses::default();
                (0..requests).for_each(|_| responses.add(status, bytes));
                let named = counts(&[(&name, requests)]);
                let first = first.map(Group);
                let totals = Totals { requests, late, revision: late, first, responses };
                WindowCounts { totals, paths: named.clone(), agents: named }
            },
        )
    }

    proptest::proptest! {
        /// W2: windows with and without responses merge the same in any order and grouping.
        #[test]
        fn windows_merge_in_any_order(a in window(), b in window(), c in window()) {
            let merge = |a: &WindowCounts, b: &WindowCounts| {
                let mut sum = a.clone();
                sum.merge(b, KeyLimits::UNLIMITED);
                sum
            };
            assert_eq!(merge(&a, &b), merge(&b, &a));
            let sum = merge(&merge(&a, &b), &c);
            assert_eq!(sum, merge(&a, &merge(&b, &c)));
            assert_eq!(sum.totals.late, a.totals.late + b.totals.late + c.totals.late);
            assert_eq!(sum.totals.first, [&a, &b, &c].iter().filter_map(|w| w.totals.first).min());
            assert!(sum.adds_up() && sum.covers(&a) && sum.covers(&b) && sum.covers(&c));
            assert_eq!(merge(&a, &WindowCounts::default()), a);
        }

        /// W2: no merge under any limit loses or invents a request.
        #[test]
        fn totals_survive_any_limit(
            parts in proptest::collection::vec(
                proptest::collection::btree_map("[a-f]|\\(other\\)", 1_u64..9, 0..6), 0..6),
            limit in 0_usize..5,
        ) {
            let mut all = Counts::default();
            let mut sum = 0;
            for part in parts {
                let pairs = part.into_iter().map(|(name, n)| (name.into(), n)).collect();
                let part = Counts::from_unsorted(pairs);
                sum += part.total();
                all.merge(&part, limit);
                assert_eq!(all.total(), sum);
                assert!(all.named() <= limit);
            }
        }
    }
}
