//! Headers that are there once, and whose batch or query it is.

use axum::http::{HeaderMap, HeaderName};

use super::problem::{Problem, Type};
use crate::ids::{CustomerId, InvalidId};

pub(super) const CUSTOMER: HeaderName = HeaderName::from_static("x-customer-id");

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
