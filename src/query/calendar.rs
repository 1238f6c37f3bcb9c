//! Where windows begin: in UTC, as the store keeps them, or by the clocks of a place.
//!
//! The rules of time zones are compiled in, so that an answer does not depend on the machine.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::window::{Minute, Span, WindowSize};

const MINUTES_PER_HOUR: i64 = 60;

/// How a range is cut into windows.
#[derive(Debug, Clone)]
pub struct Calendar {
    size: WindowSize,
    /// `None` for UTC.
    zone: Option<TimeZone>,
}

impl Calendar {
    /// Windows in UTC.
    #[must_use]
    pub fn utc(size: WindowSize) -> Self {
        Self { size, zone: None }
    }

    /// Windows of a place, by its name in the IANA time zone database; `None` if there is no such.
    #[must_use]
    pub fn of_zone(size: WindowSize, name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        let zone = Some(zone).filter(|zone| *zone != TimeZone::UTC && name != "Etc/UTC");
        Some(Self { size, zone })
    }

    /// How long windows are, as far as clocks are not changed meanwhile.
    #[must_use]
    pub fn size(&self) -> WindowSize {
        self.size
    }

    /// Whether the store has rows of these very windows.
    pub(super) fn is_stored(&self) -> bool {
        self.zone.is_none() || self.size == WindowSize::Minute
    }

    /// The start of the window that the minute lies in.
    #[must_use]
    pub fn floor(&self, minute: Minute) -> Minute {
        match (&self.zone, self.size) {
            (None, _) | (_, WindowSize::Minute) => minute.floor(self.size),
            (Some(zone), WindowSize::Hour) => hour_of(zone, minute),
            (Some(zone), WindowSize::Day) => day_of(zone, minute).unwrap_or(minute),
        }
    }

    /// The first start of a window that is not before the minute.
    #[must_use]
    pub fn ceil(&self, minute: Minute) -> Minute {
        match self.floor(minute) {
            start if start >= minute => minute,
            start => self.after(start),
        }
    }

    /// Where the window that starts at `start` ends and the next begins.
    #[must_use]
    pub fn after(&self, start: Minute) -> Minute {
        let plain = start.plus(self.size.minutes());
        let end = match (&self.zone, self.size) {
            (None, _) | (_, WindowSize::Minute) => plain,
            (Some(zone), WindowSize::Hour) => end_of_hour(zone, start),
            (Some(zone), WindowSize::Day) => end_of_day(zone, start).unwrap_or(plain),
        };
        end.max(start.plus(1))
    }

    /// The window that starts at `start`.
    #[must_use]
    pub fn window(&self, start: Minute) -> Span {
        Span { from: start, to: self.after(start) }
    }

    /// RFC 3339, with the offset of the place.
    #[must_use]
    pub fn show(&self, minute: Minute) -> String {
        let zoned = self.zone.as_ref().and_then(|zone| zoned(zone, minute));
        match zoned {
            Some(zoned) => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            None => minute.to_string(),
        }
    }
}

fn zoned(zone: &TimeZone, minute: Minute) -> Option<Zoned> {
    let moment = Timestamp::from_second(minute.unix_seconds()).ok()?;
    Some(moment.to_zoned(zone.clone()))
}

/// The first minute that does not begin before the moment.
fn minute_of(moment: Timestamp) -> Option<Minute> {
    Minute::of_unix_seconds(moment.as_second() + 59)
}

fn day_of(zone: &TimeZone, minute: Minute) -> Option<Minute> {
    minute_of(zoned(zone, minute)?.start_of_day().ok()?.timestamp())
}

fn end_of_day(zone: &TimeZone, start: Minute) -> Option<Minute> {
    let tomorrow = zoned(zone, start)?.tomorrow().ok()?;
    minute_of(tomorrow.start_of_day().ok()?.timestamp())
}

/// Minutes past a full hour in UTC at which hours of the place begin around the minute.
fn hour_shift(zone: &TimeZone, minute: Minute) -> u32 {
    let offset = match Timestamp::from_second(minute.unix_seconds()) {
        Ok(moment) => zone.to_offset(moment),
        Err(_) => Offset::UTC,
    };
    let minutes = i64::from(offset.seconds()).div_euclid(60);
    u32::try_from((-minutes).rem_euclid(MINUTES_PER_HOUR)).expect("less than an hour")
}

/// Begins on the hour of the place's clocks; or where these were changed, if by a part of an hour.
fn hour_of(zone: &TimeZone, minute: Minute) -> Minute {
    let shift = hour_shift(zone, minute);
    // Before the first hour of 1970 there is nothing.
    let start = Minute(minute.0.saturating_sub(shift)).floor(WindowSize::Hour).plus(shift);
    let start = start.min(minute);
    if hour_shift(zone, start) == shift {
        return start;
    }
    let after = Timestamp::from_second(minute.plus(1).unix_seconds()).ok();
    let change = after.and_then(|moment| zone.preceding(moment).next());
    let change = change.and_then(|change| minute_of(change.timestamp()));
    change.map_or(start, |change| change.clamp(start, minute))
}

fn end_of_hour(zone: &TimeZone, start: Minute) -> Minute {
    let shift = hour_shift(zone, start);
    let first = Minute(start.0.saturating_sub(shift)).floor(WindowSize::Hour).plus(shift);
    let end = if first > start { first } else { first.plus(60) };
    if hour_shift(zone, Minute(end.0 - 1)) == shift {
        return end;
    }
    let moment = Timestamp::from_second(start.unix_seconds()).ok();
    let change = moment.and_then(|moment| zone.following(moment).next());
    let change = change.and_then(|change| minute_of(change.timestamp()));
    change.map_or(end, |change| change.clamp(start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> Minute {
        minute_of(text.parse().expect("a moment")).expect("after 1970")
    }

    fn windows(zone: &str, size: WindowSize, from: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::of_zone(size, zone).expect("a zone");
        let mut start = calendar.floor(minute(from));
        let mut starts = Vec::new();
        for _ in 0..count {
            starts.push(calendar.show(start));
            start = calendar.after(start);
        }
        starts
    }

    #[test]
    fn days_begin_at_midnight_of_the_place_also_when_clocks_change() {
        let spring = windows("Europe/Berlin", WindowSize::Day, "2026-03-28T12:00:00Z", 3);
        let days = ["2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"];
        assert_eq!(spring, [days[0], days[1], "2026-03-30T00:00:00+02:00"]);
        // Clocks went from midnight to one.
        let gap = windows("America/Sao_Paulo", WindowSize::Day, "2018-11-03T12:00:00Z", 2);
        assert_eq!(gap, ["2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00"]);
    }

    #[test]
    fn hours_begin_on_the_hour_of_the_place() {
        let hours = windows("Asia/Kolkata", WindowSize::Hour, "2026-03-28T12:10:00Z", 2);
        assert_eq!(hours, ["2026-03-28T17:00:00+05:30", "2026-03-28T18:00:00+05:30"]);
        // Clocks went back by half an hour at two.
        let half = windows("Australia/Lord_Howe", WindowSize::Hour, "2026-04-04T14:10:00Z", 3);
        let starts = ["2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+10:30"];
        assert_eq!(half, [starts[0], starts[1], "2026-04-05T02:00:00+10:30"]);
    }

    #[test]
    fn utc_is_what_the_store_keeps() {
        for name in ["UTC", "Etc/UTC"] {
            assert!(Calendar::of_zone(WindowSize::Day, name).expect("a zone").is_stored());
        }
        assert!(Calendar::of_zone(WindowSize::Minute, "Asia/Tokyo").expect("a zone").is_stored());
        assert!(!Calendar::of_zone(WindowSize::Hour, "Asia/Tokyo").expect("a zone").is_stored());
        assert!(Calendar::of_zone(WindowSize::Day, "Europe/Atlantis").is_none());
        let day = Calendar::utc(WindowSize::Day);
        assert_eq!(day.show(day.floor(minute("2026-03-28T12:00:00Z"))), "2026-03-28T00:00:00Z");
    }

    proptest::proptest! {
        /// Windows of any place cut time without a gap and without an overlap.
        #[test]
        fn windows_cut_time_into_pieces(
            zone in proptest::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
                "Pacific/Apia", "America/St_Johns", "UTC", "Africa/Casablanca",
            ]),
            size in proptest::sample::select(vec![WindowSize::Hour, WindowSize::Day]),
            at in 10_519_200_u32..42_076_800, // 1990 to 2050
        ) {
            let calendar = Calendar::of_zone(size, zone).expect("a zone");
            let window = calendar.window(calendar.floor(Minute(at)));
            assert!(window.contains(Minute(at)), "{window:?} does not hold {at}");
            assert_eq!(calendar.floor(window.from), window.from);
            assert_eq!(calendar.floor(window.to), window.to);
            assert_eq!(calendar.floor(Minute(window.to.0 - 1)), window.from);
            let next = if window.from == Minute(at) { window.from } else { window.to };
            assert_eq!(calendar.ceil(Minute(at)), next);
        }
    }
}
