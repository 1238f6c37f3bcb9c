//! The whole engine on a simulated disk, stepped by one thread and seeded by one number.
//!
//! `disk` keeps apart what was synced from what was only written, and at a power cut drops, tears
//! and reorders the latter. `machine` steps the real state machines without threads. `oracle`
//! knows what was sent and acknowledged, and nothing else, and judges what the machine counts.
//! `crashes` puts a crash at every disk operation of a workload, and of the recovery after it.

mod crashes;
mod disk;
mod machine;
mod oracle;

use std::sync::Mutex;
use std::time::Duration;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::ids::AcceptTime;

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub(crate) struct SimClock(Mutex<(AcceptTime, Duration)>);

impl SimClock {
    pub(crate) fn at(wall_ms: u64) -> Self {
        Self(Mutex::new((AcceptTime(wall_ms), Duration::ZERO)))
    }

    fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no panic holds the lock");
        now.0.0 += u64::try_from(by.as_millis()).expect("a short time");
        now.1 += by;
    }

    /// Sets the wall clock, forward or back, as an administrator may.
    fn set_wall(&self, wall: AcceptTime) {
        self.0.lock().expect("no panic holds the lock").0 = wall;
    }
}

impl Clock for SimClock {
    fn wall(&self) -> AcceptTime {
        self.0.lock().expect("no panic holds the lock").0
    }

    fn uptime(&self) -> Duration {
        self.0.lock().expect("no panic holds the lock").1
    }
}

/// SplitMix64: small, fast, and the same everywhere (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct SimEntropy(Mutex<u64>);

impl SimEntropy {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A number below `bound`.
    fn below(&self, bound: u64) -> u64 {
        self.bits() % bound
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Entropy for SimEntropy {
    fn bits(&self) -> u64 {
        let mut state = self.0.lock().expect("no panic holds the lock");
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
