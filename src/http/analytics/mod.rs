//! `GET /analytics`, what is below it, and `GET /customers`: windows, series, most frequent keys,
//! summaries, and who the customers are.

mod answers;
mod form;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod question;
mod turns;

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;

use super::App;
use super::auth::{self, Readable};
use super::openapi::{ByName, Refused, Requests, Times, Windows};
use super::problem::{Problem, Type};
use crate::counts::Dimension;
use crate::error::EngineError;
use crate::limits;
use crate::query::{self, By, Calendar, Filter, QueryError, Range, Ranked};
use crate::window::{Minute, Span, is_late};
pub(super) use answers::Compare;
use answers::{
    BeforeJson, CustomerJson, CustomersJson, PointJson, SeriesAnswer, SeriesJson, SplitJson,
    SplitPointJson, SummaryJson, TopJson, TopRowJson, WindowJson, WindowsJson,
};
use question::{FILTERS, Question, TIMES, WINDOWS, next_rows};
pub(super) use turns::{Turns, answer_json};
use turns::{Written, answer};

/// A customer's windows within a range.
#[utoipa::path(
    get,
    path = "/analytics",
    tag = "analytics",
    params(Times, Windows, Requests),
    responses(
        (status = 200, description = "Windows; those without requests are absent.", content(
            (WindowsJson = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        (status = 304, description = "As `if-none-match` says, the client has it."),
        Refused,
    ),
)]
pub(super) async fn windows(
    State(app): State<Arc<App>>,
    parts: Parts,
) -> Result<Response, Problem> {
    let customer = auth::reader(&app, &parts)?;
    app.answering()?;
    let question = Question::read(&parts, app.clock.wall(), &[TIMES, WINDOWS, FILTERS])?;
    let (range, filter) = (question.range(customer)?, question.filter()?);
    answer(&app, question, move |app, question| {
        let keys = app.settings.rules.keys;
        let page = query::windows(app.answering()?.as_ref(), &range, &filter, keys)
            .map_err(|error| failed(app, error))?;
        let (is_final, filtered) = (finality(app, &range.calendar), told_apart(&filter));
        let windows = page.windows.iter();
        let windows = windows.map(|w| WindowJson::new(&range, filtered, w, is_final(w.0)));
        let (next, link) = question.page_after(&range, page.next);
        Ok(Written::new(question.form, &WindowsJson { windows: windows.collect(), next }, link))
    })
    .await
}

/// The requests of a customer's windows within a range: their totals, or some of them, or by key.
#[utoipa::path(
    get,
    path = "/analytics/series",
    tag = "analytics",
    params(
        Times,
        Windows,
        Requests,
        ("split" = Option<ByName>, Query, description = "Tell the most frequent keys apart."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 50, description = "How many keys; by default 10."),
    ),
    responses(
        (status = 200, description = "Points; windows without requests are absent.", content(
            (SeriesAnswer = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        (status = 304, description = "As `if-none-match` says, the client has it."),
        Refused,
    ),
)]
pub(super) async fn series(State(app): State<Arc<App>>, parts: Parts) -> Result<Response, Problem> {
    const KNOWN: [&[&str]; 4] = [TIMES, WINDOWS, FILTERS, &["split", "limit"]];
    let customer = auth::reader(&app, &parts)?;
    app.answering()?;
    let question = Question::read(&parts, app.clock.wall(), &KNOWN)?;
    let (range, filter) = (question.range(customer)?, question.filter()?);
    let split = question.by("split", &filter)?;
    let keys = match split {
        Some(_) => question.limit(10, limits::SPLIT_KEYS_MAX)?,
        None if question.get("limit").is_some() => return Err(limit_of_nothing()),
        None => 0,
    };
    answer(&app, question, move |app, question| match split.or(told_apart(&filter)) {
        None => totals(app, question, &range),
        Some(by) => by_key(app, question, &range, (by, &filter), split.map(|_| keys)),
    })
    .await
}

fn totals(app: &App, question: &Question, range: &Range) -> Result<Written, Problem> {
    let series = query::series(app.answering()?.as_ref(), range);
    let series = series.map_err(|error| failed(app, error))?;
    let is_final = finality(app, &range.calendar);
    let points = series.points.iter().map(|(start, totals)| {
        PointJson::new(range.calendar.show(*start), totals, is_final(*start))
    });
    let (next, link) = question.page_after(range, series.next);
    let (customer_id, window_size) = (range.customer.as_str(), range.calendar.size());
    let json = SeriesJson { customer_id, window_size, points: points.collect(), next };
    Ok(Written::new(question.form, &json, link))
}

/// Without a number of keys, as one series.
fn by_key(
    app: &App,
    question: &Question,
    range: &Range,
    (by, filter): (By, &Filter),
    keys: Option<usize>,
) -> Result<Written, Problem> {
    let engine = app.answering()?;
    let split = query::split(engine.as_ref(), range, by, filter, keys.unwrap_or_default());
    let split = split.map_err(|error| failed(app, error))?;
    let is_final = finality(app, &range.calendar);
    let named = keys.map(|_| &*split.keys);
    let points = split
        .points
        .iter()
        .map(|point| SplitPointJson::new(&range.calendar, named, point, is_final(point.start)));
    let (next, link) = question.page_after(range, split.next);
    let json = SplitJson {
        customer_id: range.customer.as_str(),
        window_size: range.calendar.size(),
        split: keys.map(|_| by_name(by)),
        keys: named,
        points: points.collect(),
        next,
    };
    Ok(Written::new(question.form, &json, link))
}

/// A customer's most frequent paths, agents or kinds of agents within a range.
#[utoipa::path(
    get,
    path = "/analytics/top",
    tag = "analytics",
    params(
        Times,
        Requests,
        ("by" = Option<ByName>, Query, description = "What is ranked; by default paths."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many rows; by default 10."),
        ("cursor" = Option<String>, Query, description = "Where to go on: the `next` of an answer to the same query."),
        ("compare" = Option<Compare>, Query, description = "With the period of the same length before."),
    ),
    responses(
        (status = 200, description = "The most frequent keys first.", content(
            (TopJson = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        (status = 304, description = "As `if-none-match` says, the client has it."),
        Refused,
    ),
)]
pub(super) async fn top(State(app): State<Arc<App>>, parts: Parts) -> Result<Response, Problem> {
    const KNOWN: [&[&str]; 3] = [TIMES, FILTERS, &["by", "limit", "cursor", "compare"]];
    let customer = auth::reader(&app, &parts)?;
    app.answering()?;
    let question = Question::read(&parts, app.clock.wall(), &KNOWN)?;
    let filter = question.filter()?;
    let by = question.by("by", &filter)?.or(told_apart(&filter)).unwrap_or(By::Path);
    let rows = question.rows(10)?;
    let (calendar, span) = question.minutes(60)?;
    let compared = question.compares()?.then(|| span.before());
    answer(&app, question, move |app, question| {
        let asked = Ranked { span, compared, by, filter: &filter, rows };
        let top = query::top(app.answering()?.as_ref(), &customer, &asked)
            .map_err(|error| failed(app, error))?;
        let listed: u64 = top.rows.iter().map(|row| row.requests).sum();
        let next = next_rows(rows, top.rows.len(), top.keys);
        let link = next.as_deref().map(|next| question.link(&calendar, span, next));
        let before = compared.zip(top.before).map(|(span, requests)| BeforeJson {
            from: calendar.show(span.from),
            to: calendar.show(span.to),
            requests,
        });
        let json = TopJson {
            customer_id: customer.as_str(),
            from: calendar.show(span.from),
            to: calendar.show(span.to),
            by: by_name(by),
            requests: top.requests,
            keys: top.keys,
            top: top.rows.iter().map(|row| TopRowJson::new(by, row)).collect(),
            others: top.requests - listed,
            before,
            next,
        };
        Ok(Written::new(question.form, &json, link))
    })
    .await
}

/// A customer's range in a few figures.
#[utoipa::path(
    get,
    path = "/analytics/summary",
    tag = "analytics",
    params(Times),
    responses(
        (status = 200, description = "The range in a few figures, beside the period before.", content(
            (SummaryJson = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        (status = 304, description = "As `if-none-match` says, the client has it."),
        Refused,
    ),
)]
pub(super) async fn summary(
    State(app): State<Arc<App>>,
    parts: Parts,
) -> Result<Response, Problem> {
    let customer = auth::reader(&app, &parts)?;
    app.answering()?;
    let question = Question::read(&parts, app.clock.wall(), &[TIMES])?;
    let (calendar, span) = question.minutes(24 * 60)?;
    let before = span.before();
    answer(&app, question, move |app, question| {
        let engine = app.answering()?;
        let mut summary = query::summary(engine.as_ref(), &customer, span, before)
            .map_err(|error| failed(app, error))?;
        summary.ai.truncate(limits::SUMMARY_AI_MAX);
        let json = SummaryJson::new(&customer, &calendar, (span, before), &summary);
        Ok(Written::new(question.form, &json, None))
    })
    .await
}

/// The customers whose windows the caller may read, and that have any in the range.
#[utoipa::path(
    get,
    path = "/customers",
    tag = "analytics",
    params(
        Times,
        ("prefix" = Option<String>, Query, description = "What their ids begin with."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many; by default 100."),
        ("cursor" = Option<String>, Query, description = "Where to go on: the `next` of an answer to the same query."),
    ),
    responses(
        (status = 200, description = "Those with most requests first.", content(
            (CustomersJson = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        (status = 304, description = "As `if-none-match` says, the client has it."),
        Refused,
    ),
)]
pub(super) async fn customers(
    State(app): State<Arc<App>>,
    parts: Parts,
) -> Result<Response, Problem> {
    const KNOWN: [&[&str]; 2] = [TIMES, &["prefix", "limit", "cursor"]];
    let readable = auth::readable(&app, &parts)?;
    app.answering()?;
    let question = Question::read(&parts, app.clock.wall(), &KNOWN)?;
    let rows = question.rows(100)?;
    let (calendar, span) = question.minutes(30 * 24 * 60)?;
    answer(&app, question, move |app, question| {
        let engine = app.answering()?.as_ref();
        let prefix = question.get("prefix").unwrap_or_default();
        let customers = match &readable {
            Readable::All => query::customers(engine, span, prefix),
            Readable::These(these) => {
                let these = these.iter().filter(|customer| customer.as_str().starts_with(prefix));
                query::customers_of(engine, span, these)
            }
        };
        let customers = customers.map_err(|error| failed(app, error))?;
        let listed = customers.iter().skip(rows.skip).take(rows.take);
        let listed = listed.map(|(customer, requests)| CustomerJson {
            customer_id: customer.as_str(),
            requests: *requests,
        });
        let listed: Vec<_> = listed.collect();
        let next = next_rows(rows, listed.len(), customers.len());
        let link = next.as_deref().map(|next| question.link(&calendar, span, next));
        let (from, to) = (calendar.show(span.from), calendar.show(span.to));
        let json = CustomersJson { from, to, customers: listed, next };
        Ok(Written::new(question.form, &json, link))
    })
    .await
}

/// Whether all that still comes for a window will be late; as of one moment for a whole answer.
fn finality(app: &App, calendar: &Calendar) -> impl Fn(Minute) -> bool {
    let (now, grace) = (app.clock.wall(), app.settings.rules.grace);
    move |start| is_late(calendar.after(start), now, grace)
}

/// What a filter looks at.
fn told_apart(filter: &Filter) -> Option<By> {
    filter.dimension().map(|dimension| match dimension {
        Dimension::Path => By::Path,
        Dimension::Agent => By::Agent,
    })
}

fn by_name(by: By) -> &'static str {
    match by {
        By::Path => "path",
        By::Agent => "userAgent",
        By::Kind => "kind",
    }
}

fn limit_of_nothing() -> Problem {
    let detail = "limit is the number of keys that a series is split by; there is no split";
    Problem::new(Type::InvalidQuery, detail)
}

/// A query that failed; a failing store ends the process.
pub(super) fn failed(app: &App, error: QueryError) -> Problem {
    let detail = error.to_string();
    match error {
        QueryError::Busy(_) => Problem::new(Type::Overloaded, format!("{detail}; try again")),
        QueryError::TooManyKeys { fitting } if fitting.is_empty() => {
            let detail = format!("{detail}; ask for fewer of them, as with pathPrefix=/api/");
            Problem::new(Type::InvalidQuery, detail)
        }
        QueryError::TooManyKeys { fitting: Span { from, to } } => {
            let detail = format!("{detail}; from={from}&to={to} does not");
            Problem::new(Type::InvalidQuery, detail)
        }
        QueryError::TooManyKeysBefore => {
            let detail = format!("{detail}; ask without compare, or for a shorter range");
            Problem::new(Type::InvalidQuery, detail)
        }
        QueryError::TooManyCustomers => Problem::new(
            Type::InvalidQuery,
            format!("{detail}; ask for a shorter range, or a prefix"),
        ),
        QueryError::Store(error) => {
            app.status.fail(EngineError::Store(error));
            Problem::new(Type::Unavailable, detail)
        }
    }
}
