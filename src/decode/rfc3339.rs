//! RFC 3339 date-times to minutes: the one format in which JSON entries tell their time.
//!
//! Takes the grammar of RFC 3339, section 5.6, and no more: any offset, any fraction, `T` and `Z`
//! in either case, a leap second in any minute. Years 1970 to 2199 after conversion to UTC.

use crate::limits;
use crate::window::Minute;

/// The UTC minute of a date-time.
///
/// # Errors
/// What is wrong with the text, for the client to read.
pub fn minute(text: &str) -> Result<Minute, &'static str> {
    const FORM: &str = "must be RFC 3339 with an offset, as 2025-12-28T18:03:00Z";
    let b = text.as_bytes();
    if b.len() < 20 || b[4] != b'-' || b[7] != b'-' || b[13] != b':' || b[16] != b':' {
        return Err(FORM);
    }
    if !matches!(b[10], b'T' | b't') {
        return Err(FORM);
    }
    let number = |at, len| digits(b, at, len).ok_or(FORM);
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let offset_minutes = offset(fraction_end(b).ok_or(FORM)?).ok_or(FORM)?;
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err("is a date that does not exist");
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err("is a time of day that does not exist");
    }
    let local = days_since_1970(year, month, day) * 1_440 + hour * 60 + minute;
    let first = days_since_1970(i64::from(limits::YEAR_MIN), 1, 1) * 1_440;
    let end = days_since_1970(i64::from(limits::YEAR_MAX) + 1, 1, 1) * 1_440;
    match local - offset_minutes {
        utc if (first..end).contains(&utc) => {
            Ok(Minute(u32::try_from(utc).expect("minutes until 2200 fit 32 bits")))
        }
        _ => Err("must lie in the years 1970 to 2199"),
    }
}

/// The last minute that was worked out; what follows it in a log is mostly of the same.
#[derive(Debug, Default)]
pub struct MinuteMemo(Option<([u8; MEMO_BYTES], Minute)>);

/// Up to the minute: `2025-12-28T18:03`.
const MEMO_BYTES: usize = 16;

impl MinuteMemo {
    /// The UTC minute of a date-time, as [`minute`] says it.
    ///
    /// # Errors
    /// As [`minute`].
    pub fn minute(&mut self, text: &str) -> Result<Minute, &'static str> {
        let Some((head, tail)) = text.as_bytes().split_first_chunk() else { return minute(text) };
        if utc_second(tail) != Some(tail.len()) {
            return minute(text);
        }
        match self.0 {
            Some((known, minute)) if known == *head => Ok(minute),
            _ => {
                let minute = minute(text)?;
                self.0 = Some((*head, minute));
                Ok(minute)
            }
        }
    }

    /// The minute of the time that the text begins with, if it is the one of the time before, in
    /// UTC, and ends with a quote; and where that quote is.
    #[inline]
    pub(super) fn quoted(&self, text: &[u8]) -> Option<(Minute, usize)> {
        let (known, minute) = self.0.as_ref()?;
        let (head, tail) = text.split_first_chunk()?;
        let second = utc_second(tail)?;
        let is_same = head == known && tail.get(second) == Some(&b'"');
        is_same.then_some((*minute, MEMO_BYTES + second))
    }
}

/// How long what the text begins with is, if it can follow the minute of a time in UTC: `:59.25Z`.
#[inline]
fn utc_second(text: &[u8]) -> Option<usize> {
    let [b':', b'0'..=b'5', b'0'..=b'9', rest @ ..] = text else { return None };
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    (fraction != 1 && rest.get(fraction) == Some(&b'Z')).then_some(3 + fraction + 1)
}

fn digits(b: &[u8], at: usize, len: usize) -> Option<i64> {
    b.get(at..at + len)?.iter().try_fold(0_i64, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// What follows the seconds and their fraction, if that is well-formed.
fn fraction_end(b: &[u8]) -> Option<&[u8]> {
    let rest = &b[19..];
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let len = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (len > 0).then(|| &fraction[len..])
}

fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone {
        [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    if zone.len() != 6 || zone[3] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; years are counted from March, so
/// that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    const MARCH_1_YEAR_0_TO_1970: i64 = 719_468;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - MARCH_1_YEAR_0_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_fractions_and_leap_seconds_land_in_their_utc_minute() {
        let same = [
            "2025-12-28T18:03:00Z",
            "2025-12-28T18:03:59.999999999Z",
            "2025-12-28t18:03:60z",
            "2025-12-28T19:03:00+01:00",
            "2025-12-28T12:33:10.5-05:30",
            "2025-12-28T18:03:00-00:00",
        ];
        for text in same {
            assert_eq!(minute(text).map(|m| m.to_string()), Ok("2025-12-28T18:03:00Z".into()));
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2025-12-28",
            "2025-12-28T18:03:00",
            "2025-12-28 18:03:00Z",
            "2025-12-28T18:03Z",
            "2025-02-30T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:61Z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+24:00",
            "2025-01-01T00:00:00+0100",
            "2025-01-01T00:00:00Zx",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2200-01-01T00:00:00Z",
            "２025-01-01T00:00:00Z",
        ] {
            assert!(minute(text).is_err(), "{text}");
        }
        assert!(minute("2024-02-29T00:00:00Z").is_ok());
        assert!(minute("1969-12-31T23:59:59-00:01").is_ok());
    }

    proptest::proptest! {
        /// The calendar agrees with jiff's on every second of the years that are taken.
        #[test]
        fn agrees_with_jiff(seconds in 0_i64..7_258_118_400, offset in -1_439_i64..=1_439) {
            let local = jiff::Timestamp::from_second(seconds + offset * 60).expect("in range");
            let sign = if offset < 0 { '-' } else { '+' };
            let zone = format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60);
            let text = local.to_string().replace('Z', &zone);
            if !text.starts_with('-') {
                assert_eq!(minute(&text).ok(), Minute::of_unix_seconds(seconds), "{text}");
            }
        }

        /// Whatever came before, the memo changes no answer.
        #[test]
        fn a_memo_is_not_noticed(
            texts in proptest::collection::vec(
                "2025-(12|02)-(28|30)[Tt]18:0[34]:[0-6][0-9](\\.[0-9]{0,3})?([Zz]|\\+01:00|)", 1..20),
        ) {
            let mut memo = MinuteMemo::default();
            for text in texts {
                if let Some((known, end)) = memo.quoted(format!("{text}\",").as_bytes()) {
                    assert_eq!((Ok(known), end), (minute(&text), text.len()), "{text}");
                }
                assert_eq!(memo.minute(&text), minute(&text), "{text}");
            }
        }
    }

    #[test]
    fn the_minute_before_is_known_again_up_to_its_quote() {
        let mut memo = MinuteMemo::default();
        assert_eq!(memo.quoted(b"2025-12-28T18:03:00Z\""), None, "there was none before");
        let known = memo.minute("2025-12-28T18:03:00Z").expect("valid");
        let quoted = |second: &str| memo.quoted(format!("2025-12-28T18:03{second}").as_bytes());
        for (second, end) in [(":59Z\"", 20), (":07.25Z\",", 23)] {
            assert_eq!(quoted(second), Some((known, end)), "{second}");
        }
        for second in [":60Z\"", ":00.Z\"", ":00Z", ":00z\"", ":00+00:00\"", ":0", "", "Z\""] {
            assert_eq!(quoted(second), None, "{second}");
        }
        assert_eq!(memo.quoted(b"2025-12-28T18:04:00Z\""), None);
    }
}
