//! Bodies of any format, framing and rule for invalid entries against a second, literal reading.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::Taken;
use super::bodies::array;
use super::forms::{FORMS, Form, at, moment, rows};
use crate::dead_letters::DeadLetters;
use crate::decode::combined;
use crate::decode::{
    self, CsvHeader, DecodeError, Decoded, Fields, Format, Formats, Framing, OnInvalid, Rules,
};
use crate::entry::is_method;
use crate::insight::Summary;
use crate::limits;
use crate::paths::PathRules;
use crate::responses::Responses;
use crate::user_agent::{self, AgentCache};
use crate::window::Minute;

const FRAMINGS: [Framing; 5] = [
    Framing::Json,
    Framing::Lines,
    Framing::Csv(CsvHeader::AsItLooks),
    Framing::Csv(CsvHeader::Present),
    Framing::Csv(CsvHeader::Absent),
];

/// A body is read by every format exactly as a plain reading reads it: what counts and what does
/// not, by number and by name. What is put aside is, as a body of its own, invalid for the same
/// reason, and good and put aside are all there is.
///
/// The input: a byte for the format, one for the framing, `s` or another for what becomes of
/// invalid entries, and the body.
pub fn body(input: &[u8]) -> Taken {
    let [which, framing, on_invalid, body @ ..] = input else { return false };
    let form = FORMS.get(usize::from(*which) % (FORMS.len() + 1));
    let name = form.map_or(Fields::ACCESS_LINE, |form| form.name);
    let fields = Formats::default().get(name).expect("known by name").clone();
    let framing = match form {
        Some(_) => FRAMINGS[usize::from(*framing) % FRAMINGS.len()],
        // Access logs in other framings are refused before this.
        None => Framing::Lines,
    };
    let format = Format { framing, fields };
    let on_invalid = if *on_invalid == b's' { OnInvalid::Skip } else { OnInvalid::Reject };
    let decoded = decode(&format, body, on_invalid);
    let entries = read(form, framing, body);
    agrees(&format, on_invalid, &decoded, entries.as_deref());
    decoded.is_ok()
}

fn decode(format: &Format, body: &[u8], on_invalid: OnInvalid) -> Result<Decoded, DecodeError> {
    let rules = Rules { on_invalid, paths: &PathRules::default() };
    decode::decode(format, body, rules, &mut AgentCache::new())
}

fn agrees(
    format: &Format,
    on_invalid: OnInvalid,
    decoded: &Result<Decoded, DecodeError>,
    entries: Option<&[Option<Entry>]>,
) {
    let Some(entries) = entries else {
        return assert!(matches!(decoded, Err(DecodeError::Syntax(_))), "{decoded:?}");
    };
    let all = entries.iter().enumerate();
    let invalid: Vec<_> = all.filter(|(_, entry)| entry.is_none()).map(|(at, _)| at).collect();
    let first = &invalid[..invalid.len().min(limits::ENTRY_ERRORS_LISTED_MAX)];
    let is_skipped = on_invalid == OnInvalid::Skip;
    let listed = match decoded {
        Err(DecodeError::TooManyWindows) => {
            return assert!(entries.len() > limits::BATCH_WINDOWS_MAX);
        }
        Err(DecodeError::Empty) => return assert!(entries.is_empty()),
        Err(DecodeError::Entries { count, listed }) => {
            assert_eq!((*count, is_skipped), (invalid.len(), false), "{decoded:?} {entries:?}");
            listed
        }
        Err(DecodeError::TooManyInvalid { count, listed }) => {
            assert_eq!((*count, is_skipped), (invalid.len(), true));
            assert!(*count > limits::BATCH_DEAD_LETTERS_MAX);
            listed
        }
        Err(DecodeError::Syntax(_)) => panic!("decoded {decoded:?}, read {entries:?}"),
        Ok(Decoded { summary, dead, listed }) => {
            let put_aside: Vec<_> = dead.iter().map(|letter| letter.index as usize).collect();
            assert_eq!(put_aside, invalid, "{decoded:?} {entries:?}");
            assert!(is_skipped || dead.is_empty());
            assert_eq!(summary.entries as usize + dead.len(), entries.len());
            counts_as(summary, entries.iter().flatten());
            let kept = Summary::from_bytes(&summary.to_bytes()).expect("it was written so");
            assert_eq!((kept.entries, &kept.windows), (summary.entries, &summary.windows));
            each_is_invalid_alone(format, dead);
            listed
        }
    };
    assert!(!entries.is_empty());
    let listed: Vec<_> = listed.iter().map(|error| error.index).collect();
    assert_eq!(listed, first, "{decoded:?} {entries:?}");
}

/// A letter says enough to be sent again, and what is wrong with it is still that.
fn each_is_invalid_alone(format: &Format, dead: &DeadLetters) {
    if !dead.is_empty() {
        assert_eq!(DeadLetters::from_bytes(&dead.to_bytes()).as_ref(), Some(dead));
    }
    let Some((framing, name)) = dead.kind().filter(|_| !dead.is_empty()) else { return };
    assert_eq!(name, format.fields.name());
    let format = Format { framing, fields: format.fields.clone() };
    for letter in dead.iter() {
        let body = dead.body(letter);
        if body.starts_with("\u{feff}".as_bytes()) {
            // A mark within a body is a fault, and at the beginning of one it is none.
            continue;
        }
        match decode(&format, &body, OnInvalid::Reject) {
            Err(DecodeError::Entries { count: 1, listed }) => {
                let reason: String =
                    listed[0].to_string().chars().take(limits::REASON_CHARS_MAX).collect();
                assert_eq!((listed[0].index, reason.as_str()), (0, &*letter.reason));
            }
            other => panic!("b\"{}\" {letter:?} alone: {other:?}", body.escape_ascii()),
        }
    }
}

/// What a valid entry counts as.
#[derive(Debug)]
struct Entry {
    minute: Minute,
    name: String,
    agent: String,
    status: Option<u16>,
    bytes: Option<u64>,
}

/// W2: the partial insights add up to the entries, name by name and status by status.
fn counts_as<'e>(summary: &Summary, entries: impl Iterator<Item = &'e Entry>) {
    type Names = BTreeMap<String, u64>;
    let mut expected: BTreeMap<Minute, (Names, Names, Responses)> = BTreeMap::new();
    for entry in entries {
        let (paths, agents, responses) = expected.entry(entry.minute).or_default();
        *paths.entry(entry.name.clone()).or_default() += 1;
        *agents.entry(entry.agent.clone()).or_default() += 1;
        responses.add(entry.status, entry.bytes);
    }
    let named = |counts: &[(crate::names::NameId, u32)]| -> Names {
        counts.iter().map(|(id, n)| (summary.names.get(*id).into(), u64::from(*n))).collect()
    };
    let windows = summary.windows.iter().map(|window| {
        let (paths, agents) = (named(&window.paths), named(&window.agents));
        (window.minute, (paths, agents, window.responses.clone()))
    });
    assert_eq!(windows.collect::<BTreeMap<_, _>>(), expected);
}

/// Every entry of a body, `None` for an invalid one; `None` at all if it is not what it is said to
/// be.
fn read(form: Option<&Form>, framing: Framing, body: &[u8]) -> Option<Vec<Option<Entry>>> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let header = match framing {
        Framing::Json if body.trim_ascii().is_empty() => return Some(Vec::new()),
        Framing::Json => {
            let form = form?;
            return Some(array(body)?.iter().map(|entry| object(form, entry.get())).collect());
        }
        Framing::Lines => {
            let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let lines = lines.filter(|line| !line.is_empty());
            return Some(lines.map(|line| of_line(form, line)).collect());
        }
        Framing::Csv(header) => header,
    };
    let form = form?;
    let mut rows = rows(body);
    // A row of nothing but space is none.
    rows.retain(|row| row.len() > 1 || !row[0].is_empty());
    let text = |row: &Vec<Vec<u8>>| -> Option<Vec<String>> {
        row.iter().map(|cell| String::from_utf8(cell.clone()).ok()).collect()
    };
    let first = rows.first().map(text);
    let is = |cell: &str, pointer: &str| pointer[1..].eq_ignore_ascii_case(cell.trim());
    // Of caddy's, that are deeper, a column has the whole pointer as its name.
    let is = |cell: &str, pointer: &str| match pointer[1..].contains('/') {
        true => pointer.eq_ignore_ascii_case(cell.trim()),
        false => is(cell, pointer),
    };
    let is_time = |cell: &String| form.time.iter().any(|(pointer, _)| is(cell, pointer));
    let has_header = match (header, &first) {
        (_, None) | (CsvHeader::Absent, _) => false,
        (CsvHeader::Present, Some(None)) => return None,
        (CsvHeader::AsItLooks, Some(None)) => false,
        (CsvHeader::Present, Some(Some(_))) => true,
        (CsvHeader::AsItLooks, Some(Some(cells))) => cells.iter().any(is_time),
    };
    let times = || form.time.iter().map(|(pointer, _)| *pointer);
    let places: Vec<&str> = times()
        .chain([form.method, form.path, form.query, form.request].concat())
        .chain([form.agent, form.status, form.bytes].concat())
        .collect();
    let columns: Vec<Option<&str>> = match first.flatten().filter(|_| has_header) {
        Some(cells) => {
            let column = |cell: &String| places.iter().copied().find(|place| is(cell, place));
            let columns: Vec<_> = cells.iter().map(column).collect();
            let has = |places: &[&str]| columns.iter().flatten().any(|it| places.contains(it));
            if !has(&times().collect::<Vec<_>>()) || !has(&[form.path, form.request].concat()) {
                return None;
            }
            let mut known: Vec<_> = columns.iter().flatten().collect();
            known.sort_unstable();
            if known.windows(2).any(|pair| pair[0] == pair[1]) {
                return None;
            }
            rows.remove(0);
            columns
        }
        None => {
            let firsts = [form.method, form.path, form.agent, form.status, form.bytes];
            let firsts = firsts.iter().filter_map(|places| places.first().copied());
            let columns: Vec<_> = times().take(1).chain(firsts).map(Some).collect();
            if let (CsvHeader::AsItLooks, Some(Some(cells))) = (header, rows.first().map(text)) {
                let is_time = |cell: &String| moment(form.time[0].1, cell).is_some();
                let is_method = |cell: &String| cell.is_empty() || is_method(cell);
                let has_method = !form.method.is_empty();
                if !cells.first().is_none_or(is_time)
                    || has_method && !cells.get(1).is_none_or(is_method)
                {
                    return None;
                }
            }
            columns
        }
    };
    let entry = |row: &Vec<Vec<u8>>| {
        let cells = text(row)?;
        if cells.len() > columns.len() || cells.iter().any(|cell| cell.contains('\n')) {
            return None;
        }
        let at = |pointer: &str| {
            let found = columns.iter().zip(&cells).rfind(|(it, _)| **it == Some(pointer));
            Some(found.map(|(_, cell)| Value::Text(cell.clone())))
        };
        entry_of(form, &at)
    };
    Some(rows.iter().map(entry).collect())
}

fn of_line(form: Option<&Form>, line: &[u8]) -> Option<Entry> {
    let Some(form) = form else {
        let line = combined::parse_line(line).ok()?;
        let minute = Minute::of_unix_seconds(line.time.as_second())?;
        let status = line.status.map(u64::from).filter(|status| *status >= 100);
        return checked(
            minute,
            Some(&line.method),
            &line.path,
            &line.user_agent,
            status,
            line.bytes,
        );
    };
    match std::str::from_utf8(line) {
        Ok(text) => object(form, text),
        Err(_) if form.is_strict => None,
        Err(_) => object(form, &String::from_utf8_lossy(line)),
    }
}

/// What stands at a place.
#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Number(String),
    Null,
    Other,
}

fn object(form: &Form, text: &str) -> Option<Entry> {
    let object: &RawValue = serde_json::from_str(text).ok()?;
    if !object.get().starts_with('{') {
        return None;
    }
    // Also where nothing is looked for.
    at(object, "/")?;
    let at = |pointer: &str| match at(object, pointer)?[..] {
        [] => Some(None),
        [value] => Some(Some(match value.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(value.get()).map_or(Value::Other, Value::Text),
            Some(b'-' | b'0'..=b'9') => Value::Number(value.get().into()),
            Some(b'n') => Value::Null,
            _ => Value::Other,
        })),
        _ => None,
    };
    if form.is_strict {
        let is_text = |pointer: &&str| matches!(at(pointer), Some(Some(Value::Text(_))));
        let is_number = |pointer: &&str| {
            matches!(at(pointer), Some(None | Some(Value::Number(_) | Value::Null)))
        };
        let times = form.time.iter().map(|(pointer, _)| *pointer);
        let mut texts = times.chain([form.method, form.path, form.agent].concat());
        let mut numbers = form.status.iter().chain(form.bytes);
        if !texts.all(|it| is_text(&it)) || !numbers.all(is_number) {
            return None;
        }
    }
    entry_of(form, &at)
}

/// The entry that the values at its places make; `at` says `None` for a place that is there twice.
fn entry_of(form: &Form, at: &dyn Fn(&str) -> Option<Option<Value>>) -> Option<Entry> {
    let times = form.time.iter().map(|(pointer, _)| *pointer);
    let rest = [form.method, form.path, form.query, form.request, form.agent];
    let rest = rest.iter().chain([&form.status, &form.bytes]).flat_map(|places| places.iter());
    for place in times.chain(rest.copied()) {
        at(place)?;
    }
    let there = |places: &[&str]| -> Vec<Value> {
        places.iter().filter_map(|place| at(place).flatten()).collect()
    };
    let text = |places: &[&str]| -> Option<String> {
        there(places).into_iter().find_map(|value| match value {
            Value::Text(text) if form.is_strict => Some(text),
            Value::Text(text) if text == "-" => Some(String::new()),
            Value::Text(text) => Some(without_controls(&text)),
            Value::Number(number) => Some(number),
            Value::Null => Some(String::new()),
            Value::Other => None,
        })
    };
    let time = form.time.iter().find_map(|(place, how)| match at(place).flatten()? {
        Value::Null => None,
        value => Some((value, *how)),
    });
    let minute = match time? {
        (Value::Text(text) | Value::Number(text), how) => moment(how, &text)?,
        _ => return None,
    };
    let has_method = !form.method.is_empty() || !form.request.is_empty();
    let (method, path) = match text(form.path) {
        None => {
            let line = text(form.request)?;
            let (method, path) = combined::request(line.as_bytes());
            (Some(method.into_owned()), path.into_owned())
        }
        Some(path) => {
            let method = text(form.method);
            if method.is_none() && has_method {
                return None;
            }
            let is_usable = |method: &String| form.is_strict || is_method(method.trim());
            let method = method.map(|method| if is_usable(&method) { method } else { "-".into() });
            let is_blank = path.trim().is_empty() && !form.is_strict;
            let path = if is_blank { "-".to_owned() } else { path };
            let query = text(form.query).unwrap_or_default();
            let query = query.trim();
            match query.strip_prefix('?').unwrap_or(query) {
                "" => (method, path),
                query => (method, format!("{path}?{query}")),
            }
        }
    };
    let agent = match text(form.agent) {
        None if form.is_strict => return None,
        agent => agent.unwrap_or_default(),
    };
    let status = number(there(form.status).first())?;
    let status = status.filter(|status| form.is_strict || *status >= 100);
    let bytes = number(there(form.bytes).first())?;
    checked(minute, method.as_deref(), &path, &agent, status, bytes)
}

/// A whole number where one is said; `None` if something else is.
fn number(value: Option<&Value>) -> Option<Option<u64>> {
    let text: Cow<'_, str> = match value {
        None | Some(Value::Null) => return Some(None),
        Some(Value::Text(text)) if matches!(text.trim(), "" | "-") => return Some(None),
        Some(Value::Text(text)) => text.trim().into(),
        Some(Value::Number(number)) => number.into(),
        Some(Value::Other) => return None,
    };
    let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| text.parse().ok()).flatten().map(Some)
}

fn without_controls(text: &str) -> String {
    let clean = |c: char| match c.is_ascii_control() {
        true => format!("\\x{:02x}", u32::from(c)),
        false => c.to_string(),
    };
    text.chars().map(clean).collect()
}

/// The rules that every entry must meet.
fn checked(
    minute: Minute,
    method: Option<&str>,
    path: &str,
    agent: &str,
    status: Option<u64>,
    bytes: Option<u64>,
) -> Option<Entry> {
    let (method, path, agent) = (method.map(str::trim), path.trim(), agent.trim());
    let is_clean = |text: &str| !text.contains(|c: char| c.is_ascii_control());
    let fits = method.is_none_or(is_method)
        && (1..=limits::PATH_BYTES_MAX).contains(&path.len())
        && agent.len() <= limits::USER_AGENT_BYTES_MAX
        && is_clean(path)
        && is_clean(agent)
        && status.is_none_or(|status| (100..=999).contains(&status))
        && bytes.is_none_or(|bytes| bytes <= limits::ENTRY_BYTES_MAX);
    if !fits || method.is_none() && path == "(other)" {
        return None;
    }
    let name = match method {
        Some(method) => format!("{} {path}", method.to_ascii_uppercase()),
        None => path.to_owned(),
    };
    let agent = user_agent::family(agent).into_owned();
    let status = status.and_then(|status| u16::try_from(status).ok());
    Some(Entry { minute, name, agent, status, bytes })
}

/// A2: whatever bytes stand in a record, they are refused, or are the letters that they say.
pub fn dead_letters(bytes: &[u8]) -> Taken {
    let Some(letters) = DeadLetters::from_bytes(bytes) else { return false };
    assert_eq!(letters.to_bytes(), bytes);
    assert!(letters.iter().is_sorted_by(|a, b| a.index < b.index));
    assert_eq!(letters.is_empty(), bytes.is_empty());
    assert_eq!(letters.kind().is_some(), !letters.is_empty());
    true
}
