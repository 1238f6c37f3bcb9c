//! `GET /analytics` and what is below it: a customer's windows, their totals, its most frequent
//! keys.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::App;
use super::auth::{self, Caller};
use super::parameters::{Parameters, cursor, invalid};
use super::problem::{Problem, Type};
use crate::counts::{Counts, TimedCounts, Totals};
use crate::error::EngineError;
use crate::ids::CustomerId;
use crate::query::{self, QueryError};
use crate::responses::Responses;
use crate::store::Dimension;
use crate::tokens::Access;
use crate::window::{Minute, Span, WindowSize, is_late};
pub(super) use turns::Turns;
use turns::answer;

/// A customer's windows within a range.
pub(super) async fn windows(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Caller { customer, .. } = auth::caller(&app, &headers, Access::Read)?;
    app.answering()?;
    let (size, span) = Parameters::page(query.as_deref(), app.clock.wall())?;
    answer(&app, move |app| {
        let rules = app.settings.rules;
        let page = query::windows(app.answering()?.as_ref(), &customer, size, span, rules.keys)
            .map_err(|error| failed(app, error))?;
        let is_final = finality(app, size);
        let windows = page
            .windows
            .iter()
            .map(|window| WindowJson::new(&customer, size, window, is_final(window.0)))
            .collect();
        let next = page.next.map(|start| cursor(size, start));
        Ok(to_json(&WindowsJson { windows, next }))
    })
    .await
}

/// The totals of a customer's windows within a range.
pub(super) async fn series(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Caller { customer, .. } = auth::caller(&app, &headers, Access::Read)?;
    app.answering()?;
    let (size, span) = Parameters::page(query.as_deref(), app.clock.wall())?;
    answer(&app, move |app| {
        let page = query::series(app.answering()?.as_ref(), &customer, size, span)
            .map_err(|error| failed(app, error))?;
        let is_final = finality(app, size);
        let point = |(start, totals): &(Minute, Totals)| PointJson {
            window_start: start.to_string(),
            requests: totals.requests,
            late: totals.late,
            revision: totals.revision,
            r#final: is_final(*start),
            responses: ResponsesJson::of(&totals.responses),
        };
        Ok(to_json(&SeriesJson {
            customer_id: customer.as_str(),
            window_size: size,
            points: page.points.iter().map(point).collect(),
            next: page.next.map(|start| cursor(size, start)),
        }))
    })
    .await
}

/// Whether all that still comes for a window will be late; as of one moment for a whole answer.
fn finality(app: &App, size: WindowSize) -> impl Fn(Minute) -> bool {
    let (now, grace) = (app.clock.wall(), app.settings.rules.grace);
    move |start| is_late(Span::of(size, start).to, now, grace)
}

/// A customer's most frequent paths or agents within a range.
pub(super) async fn top(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Caller { customer, .. } = auth::caller(&app, &headers, Access::Read)?;
    app.answering()?;
    let parameters = Parameters::parse(query.as_deref(), &["from", "to", "by", "limit"])?;
    let (by, name) = match parameters.get("by") {
        None | Some("path") => (Dimension::Path, "path"),
        Some("userAgent") => (Dimension::Agent, "userAgent"),
        Some(other) => return Err(invalid("by", other, "path or userAgent")),
    };
    let limit = parameters.limit()?;
    let span = parameters.span(app.clock.wall(), WindowSize::Minute)?;
    answer(&app, move |app| {
        let top = query::top(app.answering()?.as_ref(), &customer, span, by, limit)
            .map_err(|error| failed(app, error))?;
        let listed: u64 = top.rows.iter().map(|(_, requests)| requests).sum();
        let rows = top.rows.iter();
        Ok(to_json(&TopJson {
            customer_id: customer.as_str(),
            from: span.from.to_string(),
            to: span.to.to_string(),
            by: name,
            requests: top.requests,
            others: top.requests - listed,
            top: rows.map(|(key, requests)| TopRow { key, requests: *requests }).collect(),
        }))
    })
    .await
}

/// A query that failed; a failing store ends the process.
fn failed(app: &App, error: QueryError) -> Problem {
    match error {
        QueryError::Busy(busy) => Problem::new(Type::Overloaded, format!("{busy}; try again")),
        QueryError::TooManyKeys => {
            Problem::new(Type::InvalidQuery, format!("{error}; ask for a shorter range"))
        }
        QueryError::Store(error) => {
            let detail = error.to_string();
            app.status.fail(EngineError::Store(error));
            Problem::new(Type::Unavailable, detail)
        }
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data is always JSON")
}

#[derive(Serialize)]
struct WindowsJson<'a> {
    windows: Vec<WindowJson<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WindowJson<'a> {
    customer_id: &'a str,
    window_start: String,
    window_size: WindowSize,
    requests: u64,
    late: u64,
    revision: u64,
    r#final: bool,
    #[serde(serialize_with = "as_map")]
    requests_by_path: &'a Counts,
    #[serde(serialize_with = "as_map")]
    requests_by_user_agent: &'a Counts,
    #[serde(flatten)]
    responses: ResponsesJson,
}

impl<'a> WindowJson<'a> {
    fn new(
        customer: &'a CustomerId,
        window_size: WindowSize,
        (start, window): &'a TimedCounts,
        is_final: bool,
    ) -> Self {
        Self {
            customer_id: customer.as_str(),
            window_start: start.to_string(),
            window_size,
            requests: window.totals.requests,
            late: window.totals.late,
            revision: window.totals.revision,
            r#final: is_final,
            requests_by_path: &window.paths,
            requests_by_user_agent: &window.agents,
            responses: ResponsesJson::of(&window.totals.responses),
        }
    }
}

/// What entries said of the answers they got; what none said is absent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponsesJson {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    requests_by_status: BTreeMap<u16, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl ResponsesJson {
    fn of(responses: &Responses) -> Self {
        Self { requests_by_status: responses.statuses().collect(), bytes: responses.bytes() }
    }
}

fn as_map<S: Serializer>(counts: &Counts, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(counts.len()))?;
    for (name, count) in counts.iter() {
        map.serialize_entry(name, &count)?;
    }
    map.end()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SeriesJson<'a> {
    customer_id: &'a str,
    window_size: WindowSize,
    points: Vec<PointJson>,
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PointJson {
    window_start: String,
    requests: u64,
    late: u64,
    revision: u64,
    r#final: bool,
    #[serde(flatten)]
    responses: ResponsesJson,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopJson<'a> {
    customer_id: &'a str,
    from: String,
    to: String,
    by: &'static str,
    requests: u64,
    top: Vec<TopRow<'a>>,
    others: u64,
}

#[derive(Serialize)]
struct TopRow<'a> {
    key: &'a str,
    requests: u64,
}
