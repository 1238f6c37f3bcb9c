//! Time as a handle, so that a simulator can own it: nothing else asks the machine for the time.

use std::time::Duration;

use crate::ids::AcceptTime;

/// The two clocks the engine knows.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time. May jump; [`AcceptTime`] is made monotonic by the sequencer.
    fn wall(&self) -> AcceptTime;
    /// Time since this process started; never jumps.
    fn uptime(&self) -> Duration;
}

/// One reading of both clocks, passed to the state machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time.
    pub wall: AcceptTime,
    /// Time since this process started.
    pub uptime: Duration,
}

impl Now {
    /// Reads both clocks.
    pub fn read(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), uptime: clock.uptime() }
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "the one owner of the machine's clocks")]
impl SystemClock {
    /// Starts counting uptime.
    #[must_use]
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one owner of the machine's clocks")]
    fn wall(&self) -> AcceptTime {
        let since_1970 =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        AcceptTime(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
