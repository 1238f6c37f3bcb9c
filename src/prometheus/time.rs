//! At which moments a query is answered: whole minutes, a step apart.

use super::BadData;
use crate::ids::AcceptTime;
use crate::limits;
use crate::window::{Minute, Span};

/// The moments of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first one.
    pub first: Minute,
    /// Minutes from one to the next.
    pub step: u32,
    /// How many there are.
    pub count: usize,
}

/// The last second that can be told, of the year 2199; what is after it is taken for it.
const LAST_SECOND: f64 = 7_258_118_399.0;

impl Grid {
    /// One moment: the last whole minute.
    #[must_use]
    pub fn instant(time: f64) -> Self {
        Self { first: minute_before(time), step: 1, count: 1 }
    }

    /// From the first whole minute that is not before `start` to the last that is not after `end`,
    /// nor after now: a window that has not ended would look like a fall.
    ///
    /// # Errors
    /// If there are more points than an answer may have.
    pub fn range(start: f64, end: f64, step: u32, now: AcceptTime) -> Result<Self, BadData> {
        if end < start {
            return Err(BadData("end is before start".into()));
        }
        let first = minute_after(start);
        let now = Minute(u32::try_from(now.0 / 60_000).unwrap_or(u32::MAX));
        let last = minute_before(end).min(now);
        let count = match last.0.checked_sub(first.0) {
            Some(minutes) => minutes as usize / step as usize + 1,
            None => 0,
        };
        let max = limits::PROMETHEUS_POINTS_MAX;
        if count > max {
            let fits = (last.0 - first.0) as usize / max + 1;
            return Err(BadData(format!(
                "the range holds {count} points, which is more than {max}; a step of {fits}m fits"
            )));
        }
        Ok(Self { first, step, count })
    }

    /// The time that windows of so many minutes reach over; `None`: as many as the step.
    #[must_use]
    pub fn span(self, window: Option<u32>) -> Span {
        let from = Minute(self.first.0.saturating_sub(window.unwrap_or(self.step)));
        Span { from, to: self.times().last().unwrap_or(from) }
    }

    /// The moments.
    pub fn times(self) -> impl Iterator<Item = Minute> {
        // The bound of points fits.
        (0..u32::try_from(self.count).unwrap_or(u32::MAX))
            .map(move |point| self.first.plus(point.saturating_mul(self.step)))
    }
}

/// The whole minutes from `start` to `end`, without what is after now.
#[must_use]
pub fn span(start: f64, end: f64, now: AcceptTime) -> Span {
    let now = Minute(u32::try_from(now.0 / 60_000).unwrap_or(u32::MAX)).plus(1);
    Span { from: minute_before(start), to: minute_after(end).min(now) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn minute_before(time: f64) -> Minute {
    Minute((time.clamp(0.0, LAST_SECOND) / 60.0).floor() as u32)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn minute_after(time: f64) -> Minute {
    Minute((time.clamp(0.0, LAST_SECOND) / 60.0).ceil() as u32)
}

/// Seconds since 1970, from those or from RFC 3339.
///
/// # Errors
/// If it is neither.
pub fn parse_time(name: &str, text: &str) -> Result<f64, BadData> {
    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
    #[expect(clippy::cast_precision_loss, reason = "a year has fewer milliseconds than 2^53")]
    let of_moment = |moment: jiff::Timestamp| moment.as_millisecond() as f64 / 1_000.0;
    seconds.or_else(|| text.parse().ok().map(of_moment)).ok_or_else(|| {
        let form = "seconds since 1970 or RFC 3339, as 2025-12-28T18:03:00Z";
        BadData(format!("{name} is {:?}; it must be {form}", shown(text)))
    })
}

/// A step in minutes, rounded up, from seconds or a duration.
///
/// # Errors
/// If it is neither, or not above 0.
pub fn parse_step(text: &str) -> Result<u32, BadData> {
    let seconds = text.parse().ok().or_else(|| duration_seconds(text));
    seconds.and_then(duration_minutes).ok_or_else(|| {
        let form = "seconds or a duration like 5m, above 0 and up to 10 years";
        BadData(format!("step is {:?}; it must be {form}", shown(text)))
    })
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Whole minutes, rounded up; at least one, at most ten years.
#[must_use]
pub fn duration_minutes(seconds: f64) -> Option<u32> {
    const TEN_YEARS: f64 = 3_653.0 * 86_400.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    let minutes = |seconds: f64| (seconds / 60.0).ceil() as u32;
    (seconds > 0.0 && seconds <= TEN_YEARS).then(|| minutes(seconds))
}

/// A duration as Prometheus writes it: `1h30m`, the larger units first.
#[must_use]
pub fn duration_seconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] = [
        ("y", 31_536_000.0),
        ("w", 604_800.0),
        ("d", 86_400.0),
        ("h", 3_600.0),
        ("m", 60.0),
        ("s", 1.0),
        ("ms", 0.001),
    ];
    let (mut rest, mut units, mut sum) = (text, UNITS.as_slice(), 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let at = units.iter().position(|(unit, _)| *unit == &rest[..end])?;
        sum += f64::from(number) * units[at].1;
        (rest, units) = (&rest[end..], &units[at + 1..]);
    }
    (!text.is_empty()).then_some(sum)
}
