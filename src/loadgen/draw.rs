//! Drawing from lists of which some places are more frequent than others; pure.

/// How often each place of a list is drawn.
pub(super) struct Weights {
    /// For each place, the sum of the weights up to and with it.
    ends: Vec<u64>,
}

impl Weights {
    /// One weight for each place; at least one is not 0.
    pub(super) fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let mut sum = 0;
        let ends = weights.into_iter().map(|weight| {
            sum += weight;
            sum
        });
        Self { ends: ends.collect() }
    }

    /// Zipf's law: the nth place is drawn as often as 1/n.
    pub(super) fn zipf(places: usize) -> Self {
        Self::new((1..).take(places).map(|rank: u64| 1_000_000_000 / rank))
    }

    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let all = self.ends.last().copied().unwrap_or_default();
        let at = rng.u64(..all);
        self.ends.partition_point(|end| *end <= at)
    }
}

/// One of a few values, each with its weight.
pub(super) fn pick<T: Copy>(rng: &mut fastrand::Rng, choices: &[(u32, T)]) -> T {
    let all: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.u32(..all);
    for (weight, value) in choices {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *value,
        }
    }
    unreachable!("a number below the sum lies within one of the weights")
}

/// Whether something that happens so many times in 100 happens now.
pub(super) fn percent(rng: &mut fastrand::Rng, of_100: u8) -> bool {
    rng.u8(..100) < of_100
}
