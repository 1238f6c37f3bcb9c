//! Seeded decisions of a case.

use std::time::Duration;

use crate::traffic::splitmix64;

/// A sequence of decisions; the same seed takes the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of one part of a case: each part has its own, so that what one of them does
    /// leaves the others' decisions as they are.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        let mut state = part;
        Self(seed ^ splitmix64(&mut state))
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        splitmix64(&mut self.0) % end
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// The index of one of so many items.
    pub(crate) fn index(&mut self, items: usize) -> usize {
        usize::try_from(self.below(items as u64)).expect("an index fits")
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Any length from `from` to `to`.
    pub(crate) fn time(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_micros();
        let span = u64::try_from(span).expect("a case takes less than an age");
        from + Duration::from_micros(self.below(span + 1))
    }
}
