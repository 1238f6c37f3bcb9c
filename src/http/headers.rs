//! What the headers of a batch must say.

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};

use super::problem::{Problem, Type};
use crate::decode::Format;
use crate::decode::encoding::Encoding;
use crate::ids::{CustomerId, IdempotencyKey, InvalidId};

const CUSTOMER: HeaderName = HeaderName::from_static("x-customer-id");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The one value of a header; `None` if the header is not there.
pub(super) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, InvalidId> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(InvalidId("must be sent once, was sent more often".into()));
    }
    value.to_str().map(Some).map_err(|_| InvalidId("must be ASCII".into()))
}

/// The customer a request is for.
pub(super) fn customer(headers: &HeaderMap) -> Result<CustomerId, Problem> {
    named_customer(headers)?.ok_or_else(missing_customer)
}

/// The customer that a request names, if it names one.
pub(super) fn named_customer(headers: &HeaderMap) -> Result<Option<CustomerId>, Problem> {
    let invalid = |InvalidId(reason)| {
        Problem::new(Type::InvalidCustomerId, format!("the header x-customer-id {reason}"))
    };
    let value = single(headers, &CUSTOMER).map_err(invalid)?;
    value.map(CustomerId::new).transpose().map_err(invalid)
}

/// Nothing tells the customer.
pub(super) fn missing_customer() -> Problem {
    let detail = "set the header x-customer-id to the customer that the logs belong to";
    Problem::new(Type::MissingCustomerId, detail)
}

/// The key of a batch.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let invalid = |InvalidId(reason)| {
        Problem::new(Type::InvalidIdempotencyKey, format!("the header idempotency-key {reason}"))
    };
    let Some(value) = single(headers, &KEY).map_err(invalid)? else {
        let detail = "set the header idempotency-key to a name that is new for each batch and \
                      stays the same when the batch is sent again";
        return Err(Problem::new(Type::MissingIdempotencyKey, detail));
    };
    IdempotencyKey::from_header(value).map_err(invalid)
}

/// The format of the body.
pub(super) fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let refused = |found: &str| {
        let detail = format!("content-type is {found}; set the header to application/json");
        Err(Problem::new(Type::UnsupportedContentType, detail))
    };
    let value = match single(headers, &CONTENT_TYPE) {
        Ok(Some(value)) => value,
        Ok(None) => return refused("missing"),
        Err(_) => return refused("sent more than once, or not ASCII"),
    };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.filter(|part| !part.is_empty()).all(|part| {
        part.split_once('=').is_none_or(|(name, charset)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if is_json && is_utf8 { Ok(Format::Json) } else { refused(&format!("{value:?}")) }
}

/// How the body is compressed.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let refused = |found: &str| {
        let detail = format!("content-encoding is {found}; what is taken is gzip, zstd or none");
        Problem::new(Type::UnsupportedContentEncoding, detail)
    };
    let value = single(headers, &CONTENT_ENCODING)
        .map_err(|_| refused("sent more than once, or not ASCII"))?;
    let name = value.unwrap_or_default().trim().to_ascii_lowercase();
    Encoding::from_name(&name).ok_or_else(|| refused(&format!("{name:?}")))
}
