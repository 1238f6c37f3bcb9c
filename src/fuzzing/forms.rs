//! A second table of what senders call their fields, and a second reading of a moment and of rows:
//! slow, literal, and made of nothing that the server reads with.

use serde_json::value::RawValue;

use super::Taken;
use super::bodies::{Pairs, minute_by_jiff, of_form};
use crate::decode::TimeForm;
use crate::decode::rfc3339::MinuteMemo;
use crate::limits;
use crate::window::Minute;

/// Where a format has its fields, as JSON pointers; the first that is there counts.
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) time: &'static [(&'static str, TimeForm)],
    pub(super) method: &'static [&'static str],
    pub(super) path: &'static [&'static str],
    pub(super) query: &'static [&'static str],
    pub(super) request: &'static [&'static str],
    pub(super) agent: &'static [&'static str],
    pub(super) status: &'static [&'static str],
    pub(super) bytes: &'static [&'static str],
    /// A client sends it, not a server that has logged what it got.
    pub(super) is_strict: bool,
}

const EMPTY: Form = Form {
    name: "",
    time: &[],
    method: &[],
    path: &[],
    query: &[],
    request: &[],
    agent: &[],
    status: &["/status"],
    bytes: &["/bytes"],
    is_strict: false,
};

pub(super) const FORMS: [Form; 6] = [
    Form {
        name: "logmill",
        time: &[("/receivedAt", TimeForm::Rfc3339)],
        method: &["/method"],
        path: &["/path"],
        agent: &["/userAgent"],
        is_strict: true,
        ..EMPTY
    },
    Form {
        name: "nginx",
        time: &[
            ("/time_iso8601", TimeForm::Rfc3339),
            ("/msec", TimeForm::Seconds),
            ("/time_local", TimeForm::Clf),
        ],
        method: &["/request_method"],
        path: &["/request_uri"],
        request: &["/request"],
        agent: &["/http_user_agent"],
        bytes: &["/body_bytes_sent", "/bytes_sent"],
        ..EMPTY
    },
    Form {
        name: "caddy",
        time: &[("/ts", TimeForm::Seconds)],
        method: &["/request/method"],
        path: &["/request/uri"],
        agent: &["/request/headers/User-Agent/0"],
        bytes: &["/size"],
        ..EMPTY
    },
    Form {
        name: "envoy",
        time: &[("/start_time", TimeForm::Rfc3339)],
        method: &["/method"],
        path: &["/path"],
        agent: &["/user_agent"],
        status: &["/response_code"],
        bytes: &["/bytes_sent"],
        ..EMPTY
    },
    Form {
        name: "apache",
        time: &[("/time", TimeForm::Rfc3339), ("/time_local", TimeForm::Clf)],
        method: &["/method"],
        path: &["/uri"],
        query: &["/query"],
        request: &["/request"],
        agent: &["/userAgent", "/user_agent"],
        ..EMPTY
    },
    Form {
        name: "simple",
        time: &[("/timestamp", TimeForm::Rfc3339)],
        path: &["/path"],
        agent: &["/userAgent"],
        is_strict: true,
        ..EMPTY
    },
];

/// All values that a JSON pointer leads to; `None` if something on the way cannot be read.
pub(super) fn at<'v>(value: &'v RawValue, pointer: &str) -> Option<Vec<&'v RawValue>> {
    let Some(steps) = pointer.strip_prefix('/') else { return Some(vec![value]) };
    let (step, rest) = steps.split_at(steps.find('/').unwrap_or(steps.len()));
    let below: Vec<&RawValue> = match value.get().as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(value.get()).ok()?;
            pairs.into_iter().filter(|(name, _)| name == step).map(|(_, value)| value).collect()
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            let is_at = |at: &usize| at.to_string() == step;
            elements.into_iter().enumerate().filter(|(at, _)| is_at(at)).map(|it| it.1).collect()
        }
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for value in below {
        found.extend(at(value, rest)?);
    }
    Some(found)
}

/// The rows of a CSV body, cell by cell: RFC 4180, and where that is silent, as little as possible
/// is refused. Blank lines are no rows, and no cell has space at its ends.
pub(super) fn rows(body: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_quoted, mut is_fresh) = (false, true);
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let was_fresh = std::mem::replace(&mut is_fresh, false);
        match byte {
            b'"' if is_quoted && bytes.next_if_eq(&b'"').is_some() => cell.push(b'"'),
            b'"' if is_quoted => is_quoted = false,
            b'"' if was_fresh => is_quoted = true,
            _ if is_quoted => cell.push(byte),
            b',' => {
                row.push(std::mem::take(&mut cell));
                is_fresh = true;
            }
            b'\r' | b'\n' => {
                if !(was_fresh && row.is_empty()) {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                is_fresh = true;
            }
            _ => cell.push(byte),
        }
    }
    if !is_fresh || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows.iter().map(|row| row.iter().map(|cell| cell.trim_ascii().to_vec()).collect()).collect()
}

/// A moment is put into a minute exactly as its form says, by jiff and by plain division. The first
/// byte of the input says which form.
pub fn time(input: &[u8]) -> Taken {
    const FORMS: [TimeForm; 6] = [
        TimeForm::Rfc3339,
        TimeForm::Seconds,
        TimeForm::Millis,
        TimeForm::Micros,
        TimeForm::Nanos,
        TimeForm::Clf,
    ];
    let Some((which, text)) = input.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let form = FORMS[usize::from(*which) % FORMS.len()];
    let mut memo = MinuteMemo::default();
    let found = form.minute(text, &mut memo);
    assert_eq!(found.ok(), moment(form, text), "{form:?} {text:?}: {found:?}");
    // And once more when it is known already.
    assert_eq!(form.minute(text, &mut memo), found);
    found.is_ok()
}

/// The minute of a moment.
pub(super) fn moment(form: TimeForm, text: &str) -> Option<Minute> {
    let text = text.trim();
    let per_second = match form {
        TimeForm::Clf => return clf(text),
        _ if text.as_bytes().get(4) == Some(&b'-') => return with_loose_offset(text),
        TimeForm::Rfc3339 => return None,
        TimeForm::Seconds => 1,
        TimeForm::Millis => 1_000,
        TimeForm::Micros => 1_000_000,
        TimeForm::Nanos => 1_000_000_000,
    };
    let is_of = |text: &str, bytes: &[u8]| text.bytes().all(|byte| bytes.contains(&byte));
    if !text.starts_with(|first: char| first.is_ascii_digit()) || !is_of(text, b"0123456789.eE+") {
        return None;
    }
    let mut parts = text.split('.');
    let whole = parts.next()?;
    let is_decimal = is_of(whole, b"0123456789")
        && parts.next().is_none_or(|fraction| is_of(fraction, b"0123456789"))
        && parts.next().is_none();
    let number = if is_decimal {
        whole.parse::<u64>().ok()?
    } else {
        let number = text.parse::<f64>().ok().filter(|number| *number < 9e15)?;
        number.trunc().to_string().parse().ok()?
    };
    let seconds = i64::try_from(number / per_second).ok()?;
    let year = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC).year();
    let years = limits::YEAR_MIN..=limits::YEAR_MAX;
    years.contains(&year).then(|| Minute::of_unix_seconds(seconds)).flatten()
}

/// RFC 3339, or the same without the colon of the offset.
fn with_loose_offset(text: &str) -> Option<Minute> {
    minute_by_jiff(text).or_else(|| {
        let (head, zone) = text.split_at_checked(text.len().checked_sub(5)?)?;
        of_form(zone, "+0000").filter(|rest| rest.is_empty())?;
        minute_by_jiff(&format!("{head}{}:{}", &zone[..3], &zone[3..]))
    })
}

fn clf(text: &str) -> Option<Minute> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let form = |month: &str| format!("00/{month}/0000:00:00:00");
    let read = |month: &str| of_form(bare, &form(month));
    let (month, rest) = (1..).zip(MONTHS).find_map(|(n, month)| Some((n, read(month)?)))?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    of_form(zone, " +0000").filter(|rest| rest.is_empty())?;
    let (day, year, time) = (&bare[..2], &bare[7..11], &bare[12..20]);
    if time.ends_with("60") {
        return None;
    }
    let (hours, minutes) = (&zone[1..4], &zone[4..]);
    minute_by_jiff(&format!("{year}-{month:02}-{day}T{time}{hours}:{minutes}"))
}
