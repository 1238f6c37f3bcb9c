//! Several minutes of one customer: the form in which queries read them.
//!
//! Owns counts by name in which each name is stored once and counted by its number: minutes that
//! follow each other have mostly the same names, and numbers add up much faster than names.

use std::sync::Arc;

use crate::counts::{Counts, Dimension, Parts, TimedCounts, Totals, WindowCounts};
use crate::names::{NameId, Names};
use crate::window::{Minute, Span};

/// Minutes with their totals, and with as much else as was asked for.
#[derive(Debug, Clone, Default)]
pub struct Minutes {
    /// In order of time.
    pub totals: Vec<(Minute, Totals)>,
    /// Requests by `METHOD path`.
    pub paths: Arc<NamedMinutes>,
    /// Requests by agent family.
    pub agents: Arc<NamedMinutes>,
}

impl Minutes {
    /// Minutes of which `parts` are taken over: what `each` makes for a kind of counts adds those
    /// of one minute after the other.
    pub fn new<F: FnMut(Minute, &mut NamedMinutes)>(
        totals: Vec<(Minute, Totals)>,
        parts: Parts,
        each: impl Fn(Dimension) -> F,
    ) -> Self {
        let named = |is_wanted: bool, by| {
            let (mut named, mut each) = (NamedMinutes::default(), each(by));
            for (minute, _) in totals.iter().filter(|_| is_wanted) {
                each(*minute, &mut named);
                named.end(*minute);
            }
            Arc::new(named)
        };
        let paths = named(parts.paths, Dimension::Path);
        let agents = named(parts.agents, Dimension::Agent);
        Self { totals, paths, agents }
    }

    /// The totals within a span.
    #[must_use]
    pub fn totals(&self, span: Span) -> &[(Minute, Totals)] {
        within(&self.totals, span)
    }

    /// The counts by path, or by agent.
    #[must_use]
    pub fn named(&self, by: Dimension) -> &Arc<NamedMinutes> {
        match by {
            Dimension::Path => &self.paths,
            Dimension::Agent => &self.agents,
        }
    }

    /// Everything that was asked for of the minutes within a span.
    pub fn windows(&self, span: Span) -> impl Iterator<Item = TimedCounts> {
        self.totals(span).iter().map(|(minute, totals)| {
            let (paths, agents) = (self.paths.counts(*minute), self.agents.counts(*minute));
            (*minute, WindowCounts { totals: totals.clone(), paths, agents })
        })
    }
}

/// The part of some minutes that lies within a span.
#[must_use]
pub fn within<T>(minutes: &[(Minute, T)], span: Span) -> &[(Minute, T)] {
    let from = minutes.partition_point(|(minute, _)| *minute < span.from);
    let rest = &minutes[from..];
    &rest[..rest.partition_point(|(minute, _)| *minute < span.to)]
}

/// Counts by name of several minutes, each name stored once.
#[derive(Debug, Clone, Default)]
pub struct NamedMinutes {
    names: Names,
    /// In order of time, each with where its counts end.
    minutes: Vec<(Minute, usize)>,
    /// Of all minutes, one after the other; each name once in a minute.
    ids: Vec<NameId>,
    counts: Vec<u64>,
}

impl NamedMinutes {
    /// The number of a name, which is then counted by it.
    pub fn number(&mut self, name: &str) -> NameId {
        self.names.intern(name)
    }

    /// Counts in the minute that is ended next; a name once.
    pub fn add(&mut self, id: NameId, count: u64) {
        self.ids.push(id);
        self.counts.push(count);
    }

    /// What was added since the last minute is of this one, which is later.
    pub fn end(&mut self, minute: Minute) {
        debug_assert!(self.minutes.last().is_none_or(|(last, _)| *last < minute), "in order");
        self.minutes.push((minute, self.ids.len()));
    }

    /// Gives back what growing took too much.
    pub fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
        self.minutes.shrink_to_fit();
        self.ids.shrink_to_fit();
        self.counts.shrink_to_fit();
    }

    /// The names, in the order of their numbers.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The counts within a span, a name once for each minute.
    pub fn each(&self, span: Span) -> impl ExactSizeIterator<Item = (NameId, u64)> {
        let first = self.minutes.partition_point(|(minute, _)| *minute < span.from);
        let last = self.minutes.partition_point(|(minute, _)| *minute < span.to).max(first);
        let end = |minutes: usize| minutes.checked_sub(1).map_or(0, |last| self.minutes[last].1);
        let range = end(first)..end(last);
        let counts = self.counts[range.clone()].iter();
        self.ids[range].iter().copied().zip(counts.copied())
    }

    /// Hands on each name that was counted within a span, with its sum.
    pub fn each_sum(&self, span: Span, mut each: impl FnMut(&str, u64)) {
        let counts = self.each(span);
        if counts.len() <= self.names.len() {
            counts.for_each(|(id, count)| each(self.names.get(id), count));
            return;
        }
        let mut sums = vec![0; self.names.len()];
        counts.for_each(|(id, count)| sums[id.0 as usize] += count);
        let sums = self.names.iter().zip(sums).filter(|(_, sum)| *sum > 0);
        sums.for_each(|(name, sum)| each(name, sum));
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let counts = self.ids.len() * (size_of::<NameId>() + size_of::<u64>());
        self.names.bytes() + counts + self.minutes.len() * size_of::<(Minute, usize)>()
    }

    fn counts(&self, minute: Minute) -> Counts {
        let counts = self.each(Span { from: minute, to: minute.plus(1) });
        Counts::from_unsorted(counts.map(|(id, n)| (self.names.get(id).into(), n)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u32, to: u32) -> Span {
        Span { from: Minute(from), to: Minute(to) }
    }

    fn named() -> NamedMinutes {
        let mut named = NamedMinutes::default();
        for (minute, counts) in [(3, &[("a", 1), ("b", 2)][..]), (4, &[]), (7, &[("b", 4)])] {
            for (name, count) in counts {
                let id = named.number(name);
                named.add(id, *count);
            }
            named.end(Minute(minute));
        }
        named
    }

    #[test]
    fn spans_take_the_minutes_in_them() {
        let named = named();
        let sums = |from, to| {
            let mut sums = Vec::new();
            named.each_sum(span(from, to), |name, sum| sums.push((name.to_owned(), sum)));
            sums.sort();
            sums
        };
        let pairs = |pairs: &[(&str, u64)]| -> Vec<_> {
            pairs.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect()
        };
        assert_eq!(sums(0, 9), pairs(&[("a", 1), ("b", 6)]));
        assert_eq!(sums(3, 4), pairs(&[("a", 1), ("b", 2)]));
        assert_eq!(sums(4, 8), pairs(&[("b", 4)]));
        assert_eq!(sums(4, 7), []);
        assert_eq!(sums(8, 3), []);
        assert_eq!(named.counts(Minute(3)).len(), 2);
        assert!(named.counts(Minute(5)).is_empty());
    }

    #[test]
    fn only_what_is_wanted_is_taken_over() {
        let totals: Vec<_> = [3, 7].map(|minute| (Minute(minute), Totals::default())).into();
        let count = |by| {
            move |minute: Minute, named: &mut NamedMinutes| {
                let id = named.number(if by == Dimension::Path { "path" } else { "agent" });
                named.add(id, u64::from(minute.0));
            }
        };
        let parts = Parts { paths: true, agents: false };
        let minutes = Minutes::new(totals.clone(), parts, count);
        assert_eq!((minutes.totals(span(4, 8)).len(), minutes.totals(span(8, 3)).len()), (1, 0));
        let windows: Vec<_> = minutes.windows(span(0, 9)).collect();
        assert_eq!(windows.iter().map(|(minute, _)| minute.0).collect::<Vec<_>>(), [3, 7]);
        assert!(windows.iter().all(|(at, window)| window.paths.total() == u64::from(at.0)));
        assert!(windows.iter().all(|(_, window)| window.agents.is_empty()));
    }
}
