//! Headers that are there once, and whose batch or query it is.

use axum::http::{HeaderMap, HeaderName};

use super::problem::{Problem, Type};
use crate::ids::{CustomerId, InvalidId};

const CUSTOMER: HeaderName = HeaderName::from_static("x-customer-id");

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
    let invalid = |InvalidId(reason)| {
        Problem::new(Type::InvalidCustomerId, format!("the header x-customer-id {reason}"))
    };
    let Some(value) = single(headers, &CUSTOMER).map_err(invalid)? else {
        let detail = "set the header x-customer-id to the customer that the logs belong to";
        return Err(Problem::new(Type::MissingCustomerId, detail));
    };
    CustomerId::new(value).map_err(invalid)
}
