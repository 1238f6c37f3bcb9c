//! Minutes, hours and days: the spans that requests are counted in, and when data is late.
//!
//! All arithmetic is on whole minutes since 1970 in UTC. Pure: it is told the time, never asks.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::AcceptTime;

/// Minutes since 1970-01-01T00:00Z. Years 1970 to 2199 fit many times over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub u32);

/// How long a window is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum WindowSize {
    /// The size everything is counted at.
    Minute,
    /// 60 minutes from a full hour, UTC.
    Hour,
    /// 24 hours from midnight, UTC.
    Day,
}

/// A half-open span of time, from the first minute up to and without the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first minute in it.
    pub from: Minute,
    /// The first minute after it.
    pub to: Minute,
}

impl Minute {
    /// The minute that a moment, in seconds since 1970, lies in; `None` before 1970.
    #[must_use]
    pub fn of_unix_seconds(seconds: i64) -> Option<Self> {
        u32::try_from(seconds.div_euclid(60)).ok().filter(|_| seconds >= 0).map(Self)
    }

    /// Seconds from 1970 to the start of the minute.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        i64::from(self.0) * 60
    }

    /// The start of the window of the given size that the minute lies in.
    #[must_use]
    pub fn floor(self, size: WindowSize) -> Self {
        Self(self.0 - self.0 % size.minutes())
    }

    /// The first start of a window of the given size that is not before the minute.
    #[must_use]
    pub fn ceil(self, size: WindowSize) -> Self {
        Self(self.0.next_multiple_of(size.minutes()))
    }

    /// The minute `minutes` later.
    #[must_use]
    pub fn plus(self, minutes: u32) -> Self {
        Self(self.0.saturating_add(minutes))
    }
}

/// RFC 3339 in UTC, as in `2025-12-28T18:03:00Z`.
impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.unix_seconds()) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "minute {} since 1970", self.0),
        }
    }
}

impl WindowSize {
    /// Length in minutes.
    #[must_use]
    pub const fn minutes(self) -> u32 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 1_440,
        }
    }
}

impl fmt::Display for WindowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        })
    }
}

impl Span {
    /// The window of the given size that starts at `start`.
    #[must_use]
    pub fn of(size: WindowSize, start: Minute) -> Self {
        Self { from: start, to: start.plus(size.minutes()) }
    }

    /// Whether it holds no minute at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.from >= self.to
    }

    /// Whether the minute lies in it.
    #[must_use]
    pub fn contains(self, minute: Minute) -> bool {
        self.from <= minute && minute < self.to
    }

    /// The span of the same length that ends where this one begins; it does not reach before 1970.
    #[must_use]
    pub fn before(self) -> Self {
        let length = self.to.0.saturating_sub(self.from.0);
        Self { from: Minute(self.from.0.saturating_sub(length)), to: self.from }
    }

    /// Cuts the span into the largest aligned windows: whole days in the middle, whole hours
    /// around them, minutes at the ragged ends; in order of time.
    #[must_use]
    pub fn cover(self) -> Vec<(WindowSize, Span)> {
        let mut parts = Vec::with_capacity(5);
        let mut push = |size, from, to| {
            let part = Span { from, to };
            if !part.is_empty() {
                parts.push((size, part));
            }
        };
        let hours = self.aligned(WindowSize::Hour);
        if hours.is_empty() {
            push(WindowSize::Minute, self.from, self.to);
            return parts;
        }
        push(WindowSize::Minute, self.from, hours.from);
        let days = self.aligned(WindowSize::Day);
        if days.is_empty() {
            push(WindowSize::Hour, hours.from, hours.to);
        } else {
            push(WindowSize::Hour, hours.from, days.from);
            push(WindowSize::Day, days.from, days.to);
            push(WindowSize::Hour, days.to, hours.to);
        }
        push(WindowSize::Minute, hours.to, self.to);
        parts
    }

    /// The part of the span that whole windows of the given size fill.
    fn aligned(self, size: WindowSize) -> Self {
        Self { from: self.from.ceil(size), to: self.to.floor(size) }
    }
}

/// When data for a window counts as late: its batch is accepted at the window's end plus the
/// grace, or after.
///
/// The accept time is in the journal, so that a replay comes to the same answer.
#[must_use]
pub fn is_late(window_end: Minute, accepted: AcceptTime, grace: Duration) -> bool {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let closes_ms = (u64::from(window_end.0) * 60_000).saturating_add(grace_ms);
    accepted.0 >= closes_ms
}

/// How long `90m`, `24h`, `7d` or `2w` is, in seconds; `None` if the text is no number of minutes,
/// hours, days or weeks.
#[must_use]
pub fn seconds_of(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| is_number)?;
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_late_from_its_end_plus_grace() {
        let end = Minute(10);
        let grace = Duration::from_secs(60);
        assert!(!is_late(end, AcceptTime(659_999), grace));
        assert!(is_late(end, AcceptTime(660_000), grace));
    }

    #[test]
    fn minutes_before_1970_do_not_exist() {
        assert_eq!(Minute::of_unix_seconds(0), Some(Minute(0)));
        assert_eq!(Minute::of_unix_seconds(119), Some(Minute(1)));
        assert_eq!(Minute::of_unix_seconds(-1), None);
    }

    #[test]
    fn minutes_print_as_rfc_3339() {
        assert_eq!(Minute(29_449_563).to_string(), "2025-12-29T02:03:00Z");
    }

    proptest::proptest! {
        /// W2: the parts of a cover join without gap or overlap and are aligned to their size.
        #[test]
        fn a_cover_is_the_span(from in 0_u32..10_000, len in 0_u32..10_000) {
            let span = Span { from: Minute(from), to: Minute(from + len) };
            let mut at = span.from;
            for (size, part) in span.cover() {
                assert_eq!(part.from, at);
                assert_eq!(part.from.floor(size), part.from);
                assert_eq!(part.to.floor(size), part.to);
                at = part.to;
            }
            assert!(at == span.to || len == 0);
        }
    }
}
