//! Where a format has its fields, and what it takes for an entry.
//!
//! A mapping says for each field of an entry where it may stand in a sender's JSON object or CSV
//! row. It is made from the table in `presets.rs` or from the configuration, and read through a
//! [`Reader`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::combined;
use super::object::{Found, Tree};
use super::presets::Preset;
use super::rfc3339::MinuteMemo;
use super::time::TimeForm;
use crate::entry::{Field, FieldError, LogEntry, Said, is_method};
use crate::limits;
use crate::window::Minute;

/// A format of JSON objects or CSV rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    name: Box<str>,
    /// In order of preference within each part.
    sources: Vec<Source>,
    tree: Tree,
    missing: Missing,
}

/// What it means that an entry does not say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The sender has made a mistake; so has one that sends a number for a text.
    IsWrong,
    /// What a server has logged happened: a request that was none has no method and no path, and
    /// counts under `-`; a client may not say who it is. Only a field that is not there at all is
    /// wrong.
    WasLogged,
}

/// A place where a part of an entry may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    part: Part,
    /// As it was written: a JSON pointer, or a plain name.
    place: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Time(TimeForm),
    Method,
    Path,
    Query,
    Request,
    UserAgent,
    Status,
    Bytes,
}

impl Part {
    fn is(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

const TIME: Part = Part::Time(TimeForm::Rfc3339);

/// Where a format of the user's own has its fields.
#[derive(Debug, Clone, Default)]
pub struct Places<'p> {
    /// The time, and how it is written.
    pub time: (&'p [String], TimeForm),
    /// The method; without one, paths count alone.
    pub method: &'p [String],
    /// The path.
    pub path: &'p [String],
    /// A query string that stands apart.
    pub query: &'p [String],
    /// A whole request line, used where there is no path.
    pub request: &'p [String],
    /// The user agent.
    pub user_agent: &'p [String],
    /// The status.
    pub status: &'p [String],
    /// The bytes.
    pub bytes: &'p [String],
}

impl Mapping {
    /// A format of the user's own.
    ///
    /// # Errors
    /// What is wrong with the places.
    pub fn new(name: &str, places: &Places<'_>) -> Result<Self, String> {
        let mut mapping = Self::empty(name, Missing::WasLogged);
        let Places { time: (time, form), method, path, query, request, user_agent, status, bytes } =
            *places;
        for (part, places) in [
            (Part::Time(form), time),
            (Part::Method, method),
            (Part::Path, path),
            (Part::Query, query),
            (Part::Request, request),
            (Part::UserAgent, user_agent),
            (Part::Status, status),
            (Part::Bytes, bytes),
        ] {
            places.iter().try_for_each(|place| mapping.look_at(part, place))?;
        }
        if time.is_empty() || path.is_empty() && request.is_empty() {
            return Err("must say where the time is, and where the path or the request is".into());
        }
        Ok(mapping)
    }

    pub(super) fn of_preset(preset: &Preset) -> Self {
        let mut mapping = Self::empty(preset.name, preset.missing);
        let times = preset.time.iter().map(|(place, form)| (Part::Time(*form), *place));
        let parts = [
            (Part::Method, preset.method),
            (Part::Path, preset.path),
            (Part::Query, preset.query),
            (Part::Request, preset.request),
            (Part::UserAgent, preset.user_agent),
            (Part::Status, preset.status),
            (Part::Bytes, preset.bytes),
        ];
        let rest = parts.iter().flat_map(|(part, places)| places.iter().map(|at| (*part, *at)));
        for (part, place) in times.chain(rest) {
            mapping.look_at(part, place).expect("the table has no place twice");
        }
        mapping
    }

    fn empty(name: &str, missing: Missing) -> Self {
        Self { name: name.into(), sources: Vec::new(), tree: Tree::default(), missing }
    }

    fn look_at(&mut self, part: Part, place: &str) -> Result<(), String> {
        if self.sources.len() == limits::FORMAT_SOURCES_MAX {
            return Err(format!("looks at more than {} places", limits::FORMAT_SOURCES_MAX));
        }
        self.tree.insert(place, self.sources.len())?;
        self.sources.push(Source { part, place: place.into() });
        Ok(())
    }

    /// What `?format=` calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the format calls a field; the first of its names.
    #[must_use]
    pub fn name_of(&self, field: Field) -> Option<&str> {
        let parts: &[Part] = match field {
            Field::Entry => &[],
            Field::Time => &[TIME],
            Field::Method => &[Part::Method, Part::Request],
            Field::Path => &[Part::Path, Part::Request],
            Field::UserAgent => &[Part::UserAgent],
            Field::Status => &[Part::Status],
            Field::Bytes => &[Part::Bytes],
        };
        parts.iter().find_map(|part| self.places(*part).next()).map(|(_, place)| place)
    }

    /// Whether entries have a method.
    pub(super) fn has_method(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.part, Part::Method | Part::Request))
    }

    fn places(&self, part: Part) -> impl Iterator<Item = (usize, &str)> {
        let mine = self.sources.iter().enumerate().filter(move |(_, source)| source.part.is(part));
        mine.map(|(at, source)| (at, &*source.place))
    }

    /// Which column of a CSV body is which source, by its header line.
    ///
    /// # Errors
    /// What the header lacks.
    pub(super) fn columns_of(&self, header: &[&str]) -> Result<Columns, String> {
        let column = |name: &&str| {
            let named = |source: &Source| source.place.eq_ignore_ascii_case(name.trim());
            self.sources.iter().position(named)
        };
        let columns: Vec<_> = header.iter().map(column).collect();
        for (at, name) in header.iter().enumerate() {
            if columns[at].is_some() && columns[..at].contains(&columns[at]) {
                return Err(format!("the header has the column {name} twice"));
            }
        }
        let has =
            |part: Part| columns.iter().flatten().any(|source| self.sources[*source].part.is(part));
        for (part, also) in [(TIME, TIME), (Part::Path, Part::Request)] {
            if !has(part) && !has(also) {
                let known: Vec<_> = self.places(part).map(|(_, place)| place).collect();
                return Err(format!("the header has no column {}", known.join(" or ")));
            }
        }
        Ok(Columns(columns))
    }

    /// The columns of a CSV body without a header line: the first place of time, method, path, user
    /// agent, status and bytes, those that the format has.
    pub(super) fn usual_columns(&self) -> Columns {
        Columns(self.usual_places().map(|(at, _)| Some(at)).collect())
    }

    /// What they are called.
    pub(super) fn usual_names(&self) -> Vec<&str> {
        self.usual_places().map(|(_, place)| place).collect()
    }

    fn usual_places(&self) -> impl Iterator<Item = (usize, &str)> {
        let parts = [TIME, Part::Method, Part::Path, Part::UserAgent, Part::Status, Part::Bytes];
        parts.into_iter().filter_map(|part| self.places(part).next())
    }

    /// Whether a row can be one of these columns: its time is a time, and its method a method.
    pub(super) fn fits(&self, columns: &Columns, cells: &[&str]) -> bool {
        columns.0.iter().flatten().zip(cells).all(|(source, cell)| {
            match self.sources[*source].part {
                Part::Time(form) => form.minute(cell, &mut MinuteMemo::default()).is_ok(),
                Part::Method => cell.is_empty() || is_method(cell),
                _ => true,
            }
        })
    }

    /// Whether a row of a CSV body is its header line: no time is called as its column is.
    pub(super) fn is_header(&self, cells: &[&str]) -> bool {
        let is_time = |cell: &&str| {
            self.places(TIME).any(|(_, place)| place.eq_ignore_ascii_case(cell.trim()))
        };
        cells.iter().any(is_time)
    }

    /// Reads entries of one body.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { mapping: self, times: MinuteMemo::default() }
    }
}

/// For each column of a CSV body the source that it is, if any.
#[derive(Debug)]
pub(super) struct Columns(Vec<Option<usize>>);

/// What stands at a place.
#[derive(Debug, Clone)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(&'a str),
    Null,
    Other,
}

/// What stands at each source.
type Values<'a> = [Option<Value<'a>>; limits::FORMAT_SOURCES_MAX];

/// Reads entries by a mapping, one after the other.
#[derive(Debug)]
pub struct Reader<'m> {
    mapping: &'m Mapping,
    times: MinuteMemo,
}

impl Reader<'_> {
    /// Hands on the entry that a JSON object is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn json(
        &mut self,
        object: &str,
        each: impl FnOnce(&LogEntry<'_>),
    ) -> Result<(), FieldError> {
        let found: Found<'_> = self.mapping.tree.find(object)?;
        let mut values = Values::default();
        for (value, found) in values.iter_mut().zip(&found) {
            *value = found.map(value_of);
        }
        if self.mapping.missing == Missing::IsWrong {
            self.check_kinds(&values)?;
        }
        self.entry(&values, each)
    }

    /// The same of a line. Servers log what clients send, bytes that are no text included; a sender
    /// of its own entries that writes such bytes has made a mistake.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub(super) fn line(
        &mut self,
        line: &[u8],
        each: impl FnOnce(&LogEntry<'_>),
    ) -> Result<(), FieldError> {
        match (std::str::from_utf8(line), self.mapping.missing) {
            (Ok(text), _) => self.json(text, each),
            (Err(_), Missing::WasLogged) => self.json(&String::from_utf8_lossy(line), each),
            (Err(_), Missing::IsWrong) => Err(FieldError::new(Field::Entry, "is not UTF-8")),
        }
    }

    /// Hands on the entry that a CSV row is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn cells(
        &mut self,
        columns: &Columns,
        cells: &[&str],
        each: impl FnOnce(&LogEntry<'_>),
    ) -> Result<(), FieldError> {
        let (has, known) = (cells.len(), columns.0.len());
        if has > known {
            let reason = format!("has {has} cells for {known} columns; is one without its quotes?");
            return Err(FieldError::new(Field::Entry, reason));
        }
        let mut values = Values::default();
        for (source, cell) in columns.0.iter().zip(cells) {
            if let Some(source) = source {
                values[*source] = Some(Value::Text(Cow::Borrowed(cell)));
            }
        }
        self.entry(&values, each)
    }

    /// Text must be text and numbers numbers.
    fn check_kinds(&self, values: &Values<'_>) -> Result<(), FieldError> {
        let text = [
            (TIME, Field::Time),
            (Part::Method, Field::Method),
            (Part::Path, Field::Path),
            (Part::UserAgent, Field::UserAgent),
        ];
        for (part, field) in text {
            let mut found = self.mapping.places(part).map(|(at, _)| &values[at]);
            match found.next() {
                None | Some(Some(Value::Text(_))) => {}
                Some(None) => return Err(FieldError::new(field, "is missing")),
                Some(Some(_)) => return Err(FieldError::new(field, "must be a string")),
            }
        }
        for (part, field) in [(Part::Status, Field::Status), (Part::Bytes, Field::Bytes)] {
            let mut found = self.mapping.places(part).filter_map(|(at, _)| values[at].as_ref());
            if found.any(|value| !matches!(value, Value::Number(_) | Value::Null)) {
                return Err(FieldError::new(field, "must be a number"));
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        values: &Values<'_>,
        each: impl FnOnce(&LogEntry<'_>),
    ) -> Result<(), FieldError> {
        let minute = self.minute(values)?;
        let (method, path) = self.request(values)?;
        let user_agent = match self.text(values, Part::UserAgent) {
            Some(agent) => agent,
            None if self.mapping.missing == Missing::WasLogged => Cow::Borrowed(""),
            None => return Err(FieldError::new(Field::UserAgent, "is missing")),
        };
        let said = Said {
            method: method.as_deref(),
            path: &path,
            user_agent: &user_agent,
            status: self.status(values)?,
            bytes: self.number(values, Part::Bytes, Field::Bytes)?,
            is_clean: false,
        };
        each(&LogEntry::new(minute, said)?);
        Ok(())
    }

    fn minute(&mut self, values: &Values<'_>) -> Result<Minute, FieldError> {
        for (at, source) in self.mapping.sources.iter().enumerate() {
            let (Part::Time(form), Some(value)) = (source.part, &values[at]) else { continue };
            let text = match value {
                Value::Text(text) => text,
                Value::Number(number) => *number,
                Value::Null => continue,
                Value::Other => return Err(FieldError::new(Field::Time, "must be a time")),
            };
            let minute = form.minute(text, &mut self.times);
            return minute.map_err(|reason| FieldError::new(Field::Time, reason));
        }
        Err(FieldError::new(Field::Time, "is missing"))
    }

    fn request<'v>(
        &self,
        values: &'v Values<'_>,
    ) -> Result<(Option<Cow<'v, str>>, Cow<'v, str>), FieldError> {
        const NOTHING: Cow<'static, str> = Cow::Borrowed("-");
        let was_logged = self.mapping.missing == Missing::WasLogged;
        let Some(path) = self.text(values, Part::Path) else {
            let line = self.text(values, Part::Request);
            let line = line.ok_or_else(|| FieldError::new(Field::Path, "is missing"))?;
            let (method, path) = combined::request(line.as_bytes());
            let (method, path) = (method.into_owned(), path.into_owned());
            return Ok((Some(Cow::Owned(method)), Cow::Owned(path)));
        };
        let method = match self.text(values, Part::Method) {
            Some(method) if was_logged && !is_method(method.trim()) => Some(NOTHING),
            Some(method) => Some(method),
            None if self.mapping.has_method() => {
                return Err(FieldError::new(Field::Method, "is missing"));
            }
            None => None,
        };
        let path = if was_logged && path.trim().is_empty() { NOTHING } else { path };
        let query = self.text(values, Part::Query).unwrap_or_default();
        Ok((method, with_query(path, query.trim())))
    }

    /// The text of a part, as far as it is there; of a server's log without what it stands for
    /// nothing with, and with control bytes as a server's log would write them.
    fn text<'v>(&self, values: &'v Values<'_>, part: Part) -> Option<Cow<'v, str>> {
        let was_logged = self.mapping.missing == Missing::WasLogged;
        let mut found = self.mapping.places(part).filter_map(|(at, _)| values[at].as_ref());
        found.find_map(|value| {
            Some(match value {
                Value::Text(text) if was_logged && text == "-" => Cow::Borrowed(""),
                Value::Text(text) if was_logged => combined::without_controls(text),
                Value::Text(text) => Cow::Borrowed(&**text),
                Value::Number(number) => Cow::Borrowed(*number),
                Value::Null => Cow::Borrowed(""),
                Value::Other => return None,
            })
        })
    }

    /// Servers log `0`, `000` and the like where there was no answer.
    fn status(&self, values: &Values<'_>) -> Result<Option<u64>, FieldError> {
        let status = self.number(values, Part::Status, Field::Status)?;
        let was_logged = self.mapping.missing == Missing::WasLogged;
        Ok(status.filter(|status| !was_logged || *status >= 100))
    }

    fn number(
        &self,
        values: &Values<'_>,
        part: Part,
        field: Field,
    ) -> Result<Option<u64>, FieldError> {
        let found = self.mapping.places(part).find_map(|(at, _)| values[at].as_ref());
        let text = match found {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Text(text)) => text.trim(),
            Some(Value::Number(number)) => number,
            Some(Value::Other) => "",
        };
        if matches!((found, text), (Some(Value::Text(_)), "" | "-")) {
            return Ok(None);
        }
        let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_whole).map(Some);
        number.ok_or_else(|| FieldError::new(field, "must be a whole number"))
    }
}

fn with_query<'p>(path: Cow<'p, str>, query: &str) -> Cow<'p, str> {
    match query.strip_prefix('?').unwrap_or(query) {
        "" => path,
        query => Cow::Owned(format!("{path}?{query}")),
    }
}

fn value_of(raw: &RawValue) -> Value<'_> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            // Nearly always without escapes; then it need not be copied.
            let inner = &text[1..text.len() - 1];
            if !inner.contains('\\') {
                return Value::Text(Cow::Borrowed(inner));
            }
            serde_json::from_str(text).map_or(Value::Other, |text| Value::Text(Cow::Owned(text)))
        }
        Some(b'-' | b'0'..=b'9') => Value::Number(text),
        Some(b'n') => Value::Null,
        _ => Value::Other,
    }
}

#[cfg(test)]
mod tests;
