//! The ways in which senders write a moment, to minutes.

use serde::{Deserialize, Serialize};

use super::combined;
use super::rfc3339::MinuteMemo;
use crate::limits;
use crate::window::Minute;

/// How a moment is written. RFC 3339 is taken in place of any number: it cannot be mistaken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeForm {
    /// RFC 3339, as in `2025-12-28T18:03:00Z`; the colon of the offset may be missing.
    #[default]
    #[serde(rename = "rfc3339")]
    Rfc3339,
    /// Seconds since 1970, with or without a fraction.
    #[serde(rename = "s")]
    Seconds,
    /// Thousandths of them.
    #[serde(rename = "ms")]
    Millis,
    /// Millionths.
    #[serde(rename = "us")]
    Micros,
    /// Billionths.
    #[serde(rename = "ns")]
    Nanos,
    /// As Apache and nginx write it in their log files: `17/May/2015:10:05:03 +0000`, in brackets
    /// or not.
    #[serde(rename = "clf")]
    Clf,
}

impl TimeForm {
    /// The UTC minute of a moment written so.
    ///
    /// # Errors
    /// What is wrong with the text, for the sender to read.
    pub fn minute(self, text: &str, memo: &mut MinuteMemo) -> Result<Minute, &'static str> {
        let text = text.trim();
        let per_second = match self {
            Self::Clf => return clf(text),
            _ if text.as_bytes().get(4) == Some(&b'-') => return loose_rfc3339(text, memo),
            Self::Rfc3339 => return memo.minute(text),
            Self::Seconds => 1,
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        };
        let number = whole(text).ok_or("must be a number since 1970, or RFC 3339")?;
        let seconds = i64::try_from(number / per_second).ok();
        let minute = seconds.and_then(Minute::of_unix_seconds).filter(|minute| *minute < END);
        minute.ok_or("must lie in the years 1970 to 2199; is its unit the right one?")
    }
}

/// The first minute that no entry can be of.
const END: Minute = Minute(days_to(limits::YEAR_MAX as u32 + 1) * 1_440);

/// Days from 1970 to the first of January of a year before 2200.
const fn days_to(year: u32) -> u32 {
    // 2100 has no leap day; 2000 has one, as every fourth year from 1972 on.
    (year - 1970) * 365 + (year - 1969) / 4 - (year > 2100) as u32
}

/// A decimal number without its fraction; of one with an exponent, what a double holds of it.
fn whole(text: &str) -> Option<u64> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.is_empty() && is_digits(digits) && is_digits(fraction) {
        return digits.parse().ok();
    }
    let is_number = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+".contains(&byte));
    let number: f64 = text.parse().ok().filter(|_| is_number)?;
    // Past 2^53 a double has no whole numbers of its own, and no such moment is taken.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just looked at")]
    (0.0..9e15).contains(&number).then_some(number as u64)
}

fn loose_rfc3339(text: &str, memo: &mut MinuteMemo) -> Result<Minute, &'static str> {
    match text.as_bytes() {
        [.., b'+' | b'-', a, b, c, d] if [a, b, c, d].iter().all(|b| b.is_ascii_digit()) => {
            let (head, minutes) = text.split_at(text.len() - 2);
            memo.minute(&format!("{head}:{minutes}"))
        }
        _ => memo.minute(text),
    }
}

fn clf(text: &str) -> Result<Minute, &'static str> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let minute = combined::parse_time(bare.as_bytes())
        .and_then(|time| Minute::of_unix_seconds(time.as_second()));
    minute.ok_or("must be a time such as 17/May/2015:10:05:03 +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(form: TimeForm, text: &str) -> Result<String, &'static str> {
        form.minute(text, &mut MinuteMemo::default()).map(|minute| minute.to_string())
    }

    #[test]
    fn each_form_says_the_same_minute() {
        use TimeForm::{Clf, Micros, Millis, Nanos, Rfc3339, Seconds};
        for (form, text) in [
            (Rfc3339, "2025-12-28T18:03:59.999Z"),
            (Rfc3339, "2025-12-28T19:03:00+01:00"),
            (Rfc3339, "2025-12-28T13:33:00-0430"),
            (Seconds, "1766945039"),
            (Seconds, "1766944980.000"),
            (Seconds, "1766945039.99999999999"),
            (Seconds, "1.76694498e9"),
            (Seconds, "2025-12-28T18:03:00Z"),
            (Millis, "1766944980123"),
            (Micros, "1766944980123456"),
            (Nanos, "1766944980123456789"),
            (Nanos, "2025-12-28T19:03:00+0100"),
            (Clf, "28/Dec/2025:18:03:01 +0000"),
            (Clf, "[28/Dec/2025:16:33:01 -0130]"),
        ] {
            assert_eq!(minute(form, text).as_deref(), Ok("2025-12-28T18:03:00Z"), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        use TimeForm::{Clf, Millis, Nanos, Rfc3339, Seconds};
        for (form, text) in [
            (Rfc3339, "1766944980"),
            (Rfc3339, "2025-12-28 18:03:00"),
            (Rfc3339, "2025-12-28T18:03:00"),
            (Seconds, "-1"),
            (Seconds, ""),
            (Seconds, ".5"),
            (Seconds, "1e99"),
            (Seconds, "inf"),
            (Seconds, "0x10"),
            (Seconds, "1766944980123"),
            (Millis, "NaN"),
            (Nanos, "99999999999999999999999"),
            (Clf, "28/Feb/2025"),
            (Clf, "30/Feb/2025:18:03:01 +0000"),
        ] {
            assert!(minute(form, text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_minute_is_of_2199() {
        assert_eq!(minute(TimeForm::Seconds, "7258118399").as_deref(), Ok("2199-12-31T23:59:00Z"));
        assert!(minute(TimeForm::Seconds, "7258118400").is_err());
        assert_eq!(minute(TimeForm::Seconds, "0").as_deref(), Ok("1970-01-01T00:00:00Z"));
    }
}
