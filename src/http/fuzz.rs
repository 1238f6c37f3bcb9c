//! Entrance for fuzzers: headers as they come off the wire.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;

pub use super::analytics::fuzz::query_string;
use super::headers::customer;
use super::problem::Problem;
use super::sender::{format, idempotency_key};
use crate::decode::Formats;
use crate::fuzzing::Taken;
use crate::ids::{CustomerId, IdempotencyKey, RequestId};
use crate::limits;

/// T1: whatever the headers, one line each, a customer or key that is taken is one that the
/// documentation allows, sent exactly once, and means what was sent.
pub fn headers(lines: &[u8]) -> Taken {
    if let Ok(text) = std::str::from_utf8(lines) {
        ids(text);
    }
    let mut sent = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        // As hyper has it: spaces around the value are not of it.
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            sent.append(name, value);
        }
    }
    let once = |name: &str| {
        let mut values = sent.get_all(name).iter();
        let value = values.next().and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        value.filter(|_| values.next().is_none())
    };
    let (customer, key) = (customer(&sent), idempotency_key(&sent));
    let (id, name) = (once("x-customer-id"), once("idempotency-key"));
    let expected = id.filter(|id| is_customer_id(id));
    assert_eq!(customer.as_ref().ok().map(CustomerId::as_str), expected);
    let expected = name.and_then(key_in);
    let taken_key = key.as_ref().ok().and_then(Option::as_ref);
    assert_eq!(taken_key.map(IdempotencyKey::as_str), expected.as_deref());
    assert!(sent.contains_key("idempotency-key") || matches!(key, Ok(None)));
    let format = format(&sent, None, &Formats::default());
    if let Ok(format) = &format {
        let kind = once("content-type").expect("one value").to_ascii_lowercase();
        let (group, subtype) = kind.trim_start().split_once('/').expect("a media type");
        assert!(matches!(group, "application" | "text"));
        assert_eq!(subtype.starts_with("json") && !subtype.starts_with("jsonl"), {
            format.framing == crate::decode::Framing::Json
        });
    }
    let taken = customer.is_ok() && matches!(key, Ok(Some(_)));
    for problem in [customer.err(), key.err(), format.err()].into_iter().flatten() {
        can_be_told(problem);
    }
    taken
}

/// T1: ids are taken out of any text exactly as the documentation says.
pub(crate) fn ids(text: &str) {
    assert_eq!(CustomerId::new(text).is_ok(), is_customer_id(text), "{text:?}");
    let key = IdempotencyKey::from_header(text);
    assert_eq!(key.as_ref().ok().map(IdempotencyKey::as_str), key_in(text).as_deref(), "{text:?}");
    if let Ok(key) = &key {
        let quoted = key.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        let again = IdempotencyKey::from_header(&format!("\"{quoted}\""));
        assert_eq!(again.as_ref(), Ok(key), "both spellings are the same key");
    }
    let visible = text.chars().all(|c| ('!'..='~').contains(&c));
    let expected = visible && (1..=limits::REQUEST_ID_BYTES_MAX).contains(&text.len());
    assert_eq!(RequestId::from_header(text).is_some(), expected, "{text:?}");
}

/// 1–128 of `A-Z a-z 0-9 . _ : @ -`, first a letter or digit.
fn is_customer_id(text: &str) -> bool {
    let is_alphanumeric = |b: u8| matches!(b, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9');
    let is_allowed = |b: u8| is_alphanumeric(b) || matches!(b, b'.' | b'_' | b':' | b'@' | b'-');
    let bytes = text.as_bytes();
    bytes.len() <= limits::CUSTOMER_ID_BYTES_MAX
        && bytes.first().is_some_and(|first| is_alphanumeric(*first))
        && bytes.iter().all(|byte| is_allowed(*byte))
}

/// The key that a header names: 1–255 visible ASCII characters, bare or as an RFC 8941 string.
fn key_in(value: &str) -> Option<String> {
    let mut key = value.to_owned();
    if let Some(quoted) = value.strip_prefix('"') {
        key.clear();
        let mut bytes = quoted.bytes();
        loop {
            match bytes.next()? {
                b'"' if bytes.len() == 0 => break,
                b'"' => return None,
                b'\\' => key.push(bytes.next().filter(|b| b"\"\\".contains(b))?.into()),
                byte @ b'!'..=b'~' => key.push(byte.into()),
                _ => return None,
            }
        }
    }
    let fits = (1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    (fits && key.bytes().all(|byte| matches!(byte, b'!'..=b'~'))).then_some(key)
}

/// A refusal becomes an answer, whatever its words quote.
pub(super) fn can_be_told(problem: Problem) {
    assert!(!problem.detail().contains(|c: char| c.is_control()), "{}", problem.detail());
    let status = problem.kind().status();
    let answer = problem.clone().into_response();
    assert!(answer.extensions().get::<Problem>().is_some() && answer.status() == status);
    assert_eq!(problem.render(&RequestId::from_random(0)).status(), status);
}
