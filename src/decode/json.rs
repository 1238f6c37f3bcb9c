//! JSON bodies: an array of objects, one object, or objects one after the other.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::DecodeError;
use super::records::Records;

/// Hands on each entry of a body.
///
/// # Errors
/// If the body is no JSON of such a form.
pub(super) fn read(body: &[u8], records: &mut Records<'_, '_>) -> Result<(), DecodeError> {
    // All of the body, so that nobody has to ask what an invalid byte in an ignored field means.
    let body = std::str::from_utf8(body).map_err(|error| {
        DecodeError::Syntax(format!("the body is not UTF-8: byte {}", error.valid_up_to()))
    })?;
    let not_json = |error: serde_json::Error| {
        DecodeError::Syntax(format!(
            "the body is no JSON array of log entries, nor are they one after the other: {error}"
        ))
    };
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    if body.trim_start().starts_with('{') {
        let objects = serde_json::Deserializer::from_str(body).into_iter::<&RawValue>();
        for object in objects {
            records.line(object.map_err(not_json)?.get().as_bytes());
        }
        return Ok(());
    }
    let mut decoder = serde_json::Deserializer::from_str(body);
    Elements(records).deserialize(&mut decoder).and_then(|()| decoder.end()).map_err(not_json)
}

/// Hands on the elements of an array, without keeping any.
struct Elements<'x, 'r, 's>(&'x mut Records<'r, 's>);

impl<'de> DeserializeSeed<'de> for Elements<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element::<&RawValue>()? {
            self.0.line(element.get().as_bytes());
        }
        Ok(())
    }
}
