//! Who asks: from the headers of a request to the customer it is for.
//!
//! Decided before a body is read and before room is made for it, from the headers alone: a request
//! that is turned away has changed nothing (A4), and has not learned who the customers are (T1).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::App;
use super::headers;
use super::problem::{Problem, Type};
use crate::ids::CustomerId;
use crate::limits;
use crate::tokens::{Access, Denied, Grant, SenderDefaults, Tokens};

/// Who a request is for.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose batch it brings, or whose windows it asks for.
    pub customer: CustomerId,
    /// What its token says of its batches; nothing where there are no tokens.
    pub defaults: Arc<SenderDefaults>,
}

/// Where a request has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Where everybody comes.
    Public,
    /// Where only operators can: they read every customer, without a token.
    Operators,
}

/// Whose windows a request may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readable {
    /// Everybody's.
    All,
    /// These customers'.
    These(BTreeSet<CustomerId>),
}

/// Lets requests in.
#[derive(Debug, Default)]
pub struct Gate {
    /// `None`: nobody is asked for a token.
    tokens: Option<Arc<Tokens>>,
    no_defaults: Arc<SenderDefaults>,
    turned_away: TurnedAway,
}

impl Gate {
    /// A gate that asks for these tokens.
    #[must_use]
    pub fn new(tokens: Option<Arc<Tokens>>) -> Self {
        Self { tokens, ..Self::default() }
    }

    fn caller(&self, headers: &HeaderMap, access: Access) -> Result<Caller, Problem> {
        let Some(grant) = self.grant(headers)? else {
            let customer = headers::customer(headers)?;
            return Ok(Caller { customer, defaults: Arc::clone(&self.no_defaults) });
        };
        let named = headers::named_customer(headers)?;
        let customer = grant.customer(named, access).map_err(|denied| match denied {
            Denied::NotBound => forbidden(access),
            Denied::Unnamed => headers::missing_customer(),
        })?;
        Ok(Caller { customer, defaults: Arc::clone(&grant.defaults) })
    }

    /// A gateway that names the customer may pass any route on: then that one alone is readable.
    fn readable(&self, headers: &HeaderMap) -> Result<Readable, Problem> {
        match self.grant(headers)? {
            None => Ok(Readable::These([headers::customer(headers)?].into())),
            Some(grant) if grant.operator => Ok(Readable::All),
            Some(grant) if grant.customers.is_empty() => Err(forbidden(Access::Read)),
            Some(grant) => Ok(Readable::These(grant.customers.clone())),
        }
    }

    /// What the token of a request allows; `None` if nobody is asked for one.
    fn grant(&self, headers: &HeaderMap) -> Result<Option<Arc<Grant>>, Problem> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let grant = tokens.find(presented(headers)?).ok_or_else(|| {
            let detail = "the token is not known here; ask the operator of this server for one";
            Problem::new(Type::UnknownToken, detail)
        })?;
        Ok(Some(grant))
    }
}

/// Who brings a batch.
pub(super) fn sender(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    noted(app, app.gate.caller(headers, Access::Send))
}

/// Whose windows a request asks for.
pub(super) fn reader(app: &App, request: &Parts) -> Result<CustomerId, Problem> {
    match door(request) {
        Door::Operators => headers::customer(&request.headers),
        Door::Public => {
            let caller = app.gate.caller(&request.headers, Access::Read);
            noted(app, caller).map(|caller| caller.customer)
        }
    }
}

/// Whose windows a request could ask for.
pub(super) fn readable(app: &App, request: &Parts) -> Result<Readable, Problem> {
    match door(request) {
        Door::Operators => Ok(Readable::All),
        Door::Public => noted(app, app.gate.readable(&request.headers)),
    }
}

/// Everybody's, where that is not known.
fn door(request: &Parts) -> Door {
    request.extensions.get().copied().unwrap_or(Door::Public)
}

/// Writes a line, now and then, about requests that are turned away.
fn noted<T>(app: &App, answer: Result<T, Problem>) -> Result<T, Problem> {
    if let Err(problem) = &answer
        && matches!(problem.kind().status().as_u16(), 401 | 403)
        && let Some(refused) = app.gate.turned_away.count(app.clock.uptime())
    {
        let latest = problem.kind().name();
        tracing::warn!(refused, latest, "requests were turned away by their tokens");
    }
    answer
}

/// The token in `Authorization: Bearer …` (RFC 6750).
fn presented(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |detail: String| Problem::new(Type::MissingToken, detail);
    let value = headers::single(headers, &AUTHORIZATION)
        .map_err(|invalid| refused(format!("the header authorization {invalid}")))?;
    let Some(value) = value else {
        let detail = "send the token that the operator of this server gave you, in the header \
                      authorization: Bearer …";
        return Err(refused(detail.to_owned()));
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim_matches(' ');
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && is_token {
        Ok(token)
    } else {
        Err(refused("the header authorization must be Bearer, a space, and the token".to_owned()))
    }
}

fn forbidden(access: Access) -> Problem {
    let detail = match access {
        Access::Send => "the token is not for sending as this customer",
        Access::Read => "the token is not for reading this customer",
    };
    Problem::new(Type::Forbidden, format!("{detail}; see the header x-customer-id"))
}

/// Counts requests that are turned away, so that a flood of them is one line a second in the log.
/// The metrics of requests have each.
#[derive(Debug, Default)]
struct TurnedAway {
    /// Since the latest line.
    count: AtomicU64,
    /// Uptime in milliseconds from which on the next line may be.
    next_ms: AtomicU64,
}

impl TurnedAway {
    /// How many there were since the latest line, if it is time for one.
    fn count(&self, uptime: Duration) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let now_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        let pause_ms = u64::try_from(limits::TURNED_AWAY_LOG_INTERVAL.as_millis());
        let next_ms = now_ms.saturating_add(pause_ms.unwrap_or(u64::MAX));
        let due = |at: u64| (at <= now_ms).then_some(next_ms);
        // Of requests that find it due together, one writes the line.
        let is_due = self.next_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok();
        is_due.then(|| self.count.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let value = |text: &&str| (AUTHORIZATION, HeaderValue::from_str(text).expect("a value"));
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(value) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case_and_once() {
        for good in ["Bearer t-1~+/==", "bearer t-1~+/==", "BEARER   t-1~+/=="] {
            assert_eq!(presented(&headers(&[good])).expect("a token"), "t-1~+/==", "{good}");
        }
        let bad = ["", "Bearer", "Bearer ", "Bearer\tt", "Bearert", "Basic dDo=", "Bearer a b"];
        for bad in bad.map(|bad| vec![bad]).into_iter().chain([
            vec![],
            vec!["Bearer t", "Bearer t"],
            vec!["Bearer t", "Basic dDo="],
        ]) {
            let problem = presented(&headers(&bad)).expect_err("no token");
            assert_eq!(problem.kind().status().as_u16(), 401, "{bad:?}");
        }
    }

    /// L1: a flood of refusals is a line a second, and each refusal is in one of them.
    #[test]
    fn a_flood_is_one_line_a_second() {
        let turned_away = TurnedAway::default();
        let lines: Vec<u64> = (0..2_500)
            .filter_map(|n| turned_away.count(Duration::from_millis(5_000 + n)))
            .collect();
        assert_eq!(lines, [1, 1_000, 1_000]);
    }
}
