//! Bodies of `POST /logs` against a second, slow and literal reading of the rules, and what is kept
//! of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Taken;
use super::forms::moment;
use crate::decode::{self, DecodeError, Format, TimeForm};
use crate::insight::Summary;
use crate::limits;
use crate::user_agent::{self, AgentCache};
use crate::window::Minute;

/// Requests by minute and name.
type Counted = BTreeMap<(Minute, String), u64>;

/// A body is counted exactly as a plain reading counts it, and refused exactly if that refuses it.
pub fn json_body(body: &[u8]) -> Taken {
    let decoded = decode::summarise(&Format::default(), body, &mut AgentCache::new());
    let entries = array(body);
    match (&decoded, &entries) {
        (Err(DecodeError::Syntax(_)), None) => {}
        (Err(DecodeError::TooManyWindows), Some(entries)) => {
            assert!(entries.len() > limits::BATCH_WINDOWS_MAX);
        }
        (Err(DecodeError::Empty), Some(entries)) => assert!(entries.is_empty()),
        (Err(DecodeError::Entries { count, listed }), Some(entries)) => {
            let invalid = |entry: &&&RawValue| plain(entry).is_none();
            assert_eq!(entries.iter().filter(invalid).count(), *count);
            assert_eq!(listed.len(), (*count).min(limits::ENTRY_ERRORS_LISTED_MAX));
            for error in listed {
                let entry = entries[error.index];
                assert!(plain(entry).is_none(), "{error:?}");
                let is_object = serde_json::from_str::<Pairs<'_>>(entry.get()).is_ok();
                assert_eq!(error.reason.contains("a JSON object"), !is_object, "{error:?}");
            }
        }
        (Ok(summary), Some(entries)) => {
            counts_as(summary, entries);
            is_kept(summary, body.len());
        }
        _ => panic!("decoded {decoded:?}, read {entries:?}"),
    }
    decoded.is_ok()
}

/// The elements of an array, or objects that follow one another.
pub(super) fn array(body: &[u8]) -> Option<Vec<&RawValue>> {
    let text = std::str::from_utf8(body).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    if text.trim_start().starts_with('{') {
        let objects = serde_json::Deserializer::from_str(text).into_iter();
        return objects.collect::<Result<_, _>>().ok();
    }
    serde_json::from_str(text).ok()
}

/// W2: the partial insights add up to the entries, name by name.
fn counts_as(summary: &Summary, entries: &[&RawValue]) {
    let (mut paths, mut agents) = (Counted::new(), Counted::new());
    for entry in entries {
        let (minute, path, agent) = plain(entry).expect("an entry that was counted is valid");
        *paths.entry((minute, path)).or_default() += 1;
        *agents.entry((minute, agent)).or_default() += 1;
    }
    let (mut found_paths, mut found_agents) = (Counted::new(), Counted::new());
    for window in &summary.windows {
        let parts = [(&window.paths, &mut found_paths), (&window.agents, &mut found_agents)];
        for (counts, found) in parts {
            for (name, count) in counts {
                let name = (window.minute, summary.names.get(*name).to_owned());
                let before = found.insert(name, u64::from(*count));
                assert_eq!(before, None, "a name stands once in a window");
            }
            assert_eq!(counts.iter().map(|(_, n)| n).sum::<u32>(), window.requests);
        }
    }
    assert!(summary.windows.is_sorted_by(|a, b| a.minute < b.minute));
    assert_eq!(summary.entries as usize, entries.len());
    assert_eq!((found_paths, found_agents), (paths, agents));
}

/// A2: what the journal keeps of a batch is what was counted, and takes no more than its body.
fn is_kept(summary: &Summary, body_bytes: usize) {
    let bytes = summary.to_bytes();
    assert!(bytes.len() <= body_bytes, "{} bytes of {body_bytes}", bytes.len());
    let kept = Summary::from_bytes(&bytes).expect("it was written so");
    assert_eq!((kept.entries, &kept.windows), (summary.entries, &summary.windows));
    assert!(kept.names.iter().eq(summary.names.iter()));
}

/// A2: whatever bytes stand in a record, they are refused, or are the summary that they say.
pub fn summary(bytes: &[u8]) -> Taken {
    let Some(summary) = Summary::from_bytes(bytes) else { return false };
    assert_eq!(summary.to_bytes(), bytes);
    let requests = summary.windows.iter().map(|window| window.requests);
    assert_eq!(requests.sum::<u32>(), summary.entries);
    true
}

/// Minute, `METHOD path` and agent family of a valid entry.
fn plain(entry: &RawValue) -> Option<(Minute, String, String)> {
    let Pairs(pairs) = serde_json::from_str(entry.get()).ok()?;
    let values = |field: &str| -> Vec<&RawValue> {
        pairs.iter().filter(|(name, _)| name == field).map(|(_, value)| *value).collect()
    };
    let text = |field: &str| -> Option<String> {
        let [value] = values(field)[..] else { return None };
        serde_json::from_str(value.get()).ok()
    };
    let is_number_up_to = |field: &str, most: u64| match values(field)[..] {
        [] => true,
        [value] => {
            let digits = value.get();
            let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits == "null" || is_whole && digits.parse().is_ok_and(|n: u64| n <= most)
        }
        _ => false,
    };
    let has_status = values("status").first().is_some_and(|status| status.get() != "null");
    let status = values("status").first().and_then(|status| status.get().parse::<u64>().ok());
    if !is_number_up_to("status", 999) || !is_number_up_to("bytes", limits::ENTRY_BYTES_MAX) {
        return None;
    }
    if has_status && status.is_none_or(|status| status < 100) {
        return None;
    }
    let (time, method) = (text("receivedAt")?, text("method")?);
    let (path, agent) = (text("path")?, text("userAgent")?);
    let (method, path, agent) = (method.trim(), path.trim(), agent.trim());
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let fits = (1..=limits::METHOD_BYTES_MAX).contains(&method.len())
        && (1..=limits::PATH_BYTES_MAX).contains(&path.len())
        && agent.len() <= limits::USER_AGENT_BYTES_MAX;
    let is_clean = |text: &str| !text.contains(|c: char| c.is_ascii_control());
    if !fits || !method.chars().all(is_token) || !is_clean(path) || !is_clean(agent) {
        return None;
    }
    let path = format!("{} {path}", method.to_ascii_uppercase());
    Some((moment(TimeForm::Rfc3339, &time)?, path, user_agent::family(agent).into_owned()))
}

/// The members of an object in their order, repeated ones included.
pub(super) struct Pairs<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    pairs.push((Cow::Owned(name), value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A date-time is taken, and put into a minute, exactly as jiff does it, jiff being held to the
/// grammar of RFC 3339 first: it takes more.
pub fn rfc3339(text: &[u8]) -> Taken {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let found = decode::rfc3339::minute(text);
    assert_eq!(found.ok(), minute_by_jiff(text), "{text:?}: {found:?}");
    found.is_ok()
}

pub(super) fn minute_by_jiff(text: &str) -> Option<Minute> {
    let rest = of_form(text, "0000-00-00T00:00:00")?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = &fraction[..fraction.len() - zone.len()];
            (Some(digits).filter(|digits| !digits.is_empty())?, zone)
        }
        None => ("0", rest),
    };
    let is_zone = of_form(zone, "Z").or_else(|| of_form(zone, "+00:00")) == Some("");
    // The sign is not in the form's alphabet of its own; jiff takes offsets past 23:59.
    if !is_zone || zone.get(1..3).is_some_and(|hours| hours > "23") {
        return None;
    }
    // jiff keeps nanoseconds and refuses more digits.
    let fraction = &fraction[..fraction.len().min(9)];
    let moment = format!("{}.{fraction}{zone}", &text[..19]).parse::<jiff::Timestamp>().ok()?;
    // A moment at 0.5 s before 1970 has second 0 in jiff's split, rounded towards zero.
    let year = jiff::tz::Offset::UTC.to_datetime(moment).year();
    let years = limits::YEAR_MIN..=limits::YEAR_MAX;
    years.contains(&year).then(|| Minute::of_unix_seconds(moment.as_second())).flatten()
}

/// What follows a text that has the form: `0` stands for a digit, `+` for a sign, letters for
/// themselves in either case.
pub(super) fn of_form<'t>(text: &'t str, form: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(form.len())?;
    let fits = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'+' => matches!(byte, b'+' | b'-'),
        _ => byte.eq_ignore_ascii_case(&form),
    };
    head.bytes().zip(form.bytes()).all(fits).then_some(rest)
}
