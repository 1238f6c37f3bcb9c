//! A JSON array of `{"receivedAt","method","path","userAgent"}`; other fields are ignored.
//!
//! Three readings, each for what the one before gave up at: `scan.rs` takes the usual; serde_json
//! takes all that is valid; the last says what is wrong with which entries.

mod scan;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::rfc3339::MinuteMemo;
use super::{DecodeError, EntryError};
use crate::entry::{FieldError, LogEntry};
use crate::insight::Summariser;
use crate::limits;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    received_at: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    user_agent: Cow<'a, str>,
}

/// An entry as it stands in the body: an object. (A derived struct would take an array too.)
struct RawEntry<'a>(Fields<'a>);

impl Fields<'_> {
    /// The entry that the fields make, if they may; they are clean if they are known to have no
    /// control byte.
    fn check(&self, times: &mut MinuteMemo, is_clean: bool) -> Result<LogEntry<'_>, FieldError> {
        let minute = times
            .minute(&self.received_at)
            .map_err(|reason| FieldError::new("receivedAt", reason))?;
        LogEntry::new(minute, &self.method, &self.path, &self.user_agent, is_clean)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawEntry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
            type Value = RawEntry<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a log entry, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(RawEntry)
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// Adds each entry of the body, in order, to an empty sum.
///
/// # Errors
/// [`DecodeError`] says what the sender has to mend; the sum is of no use then.
pub fn decode(body: &[u8], sum: &mut Summariser<'_>) -> Result<(), DecodeError> {
    // All of the body, so that nobody has to ask what an invalid byte in an ignored field means.
    let body = std::str::from_utf8(body).map_err(|error| {
        DecodeError::Syntax(format!("the body is not UTF-8: byte {}", error.valid_up_to()))
    })?;
    let mut times = MinuteMemo::default();
    let usual = scan::scan(body, |fields, is_clean| {
        sum.add(&fields.check(&mut times, is_clean).ok()?);
        Some(())
    });
    if usual.is_some() {
        return Ok(());
    }
    sum.clear();
    let mut decoder = serde_json::Deserializer::from_str(body);
    let entries = Entries(|entry: LogEntry<'_>| sum.add(&entry));
    let read = entries.deserialize(&mut decoder).and_then(|()| decoder.end());
    read.map_err(|first| explain(body, &first))
}

/// Deserializes an array entry by entry, without keeping any.
struct Entries<F>(F);

impl<'de, F: FnMut(LogEntry<'_>)> DeserializeSeed<'de> for Entries<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(LogEntry<'_>)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of log entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        let mut times = MinuteMemo::default();
        while let Some(RawEntry(fields)) = array.next_element::<RawEntry<'de>>()? {
            let entry =
                fields.check(&mut times, false).map_err(|error| A::Error::custom(error.reason))?;
            (self.0)(entry);
        }
        Ok(())
    }
}

/// Says what is wrong with a body that did not decode.
fn explain(body: &str, first: &serde_json::Error) -> DecodeError {
    let entries: Vec<&RawValue> = match serde_json::from_str(body) {
        Ok(entries) => entries,
        Err(error) => return DecodeError::Syntax(syntax(&error)),
    };
    let mut count = 0;
    let mut listed = Vec::new();
    for (index, raw) in entries.iter().enumerate() {
        if let Err(error) = diagnose(raw.get()) {
            count += 1;
            if listed.len() < limits::ENTRY_ERRORS_LISTED_MAX {
                let field = Some(error.field).filter(|field| !field.is_empty());
                listed.push(EntryError { index, field, reason: error.reason });
            }
        }
    }
    if count == 0 {
        return DecodeError::Syntax(syntax(first));
    }
    DecodeError::Entries { count, listed }
}

fn syntax(error: &serde_json::Error) -> String {
    format!("the body is not a JSON array of log entries: {error}")
}

/// What is wrong with one entry, field by field.
fn diagnose(entry: &str) -> Result<(), FieldError> {
    const FIELDS: [&str; 4] = ["receivedAt", "method", "path", "userAgent"];
    let strict = match serde_json::from_str::<RawEntry<'_>>(entry) {
        Ok(RawEntry(fields)) => return fields.check(&mut MinuteMemo::default(), false).map(|_| ()),
        Err(error) => error,
    };
    // Raw values: fields that are ignored may hold what no value can, such as 1e999.
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(entry) else {
        return Err(FieldError::new("", "must be a JSON object"));
    };
    for field in FIELDS {
        match fields.get(field) {
            None => return Err(FieldError::new(field, "is missing")),
            Some(value) if value.get().starts_with('"') => {}
            Some(_) => return Err(FieldError::new(field, "must be a string")),
        }
    }
    let reason = strict.to_string();
    let reason = reason.split(" at line").next().unwrap_or_default();
    Err(FieldError::new("", reason))
}
