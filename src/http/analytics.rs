//! `GET /analytics` and `GET /analytics/top`: a customer's windows and most frequent keys.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, Type};
use super::{App, headers};
use crate::counts::{Counts, TimedCounts};
use crate::error::EngineError;
use crate::ids::{AcceptTime, CustomerId};
use crate::limits;
use crate::query::{self, QueryError, TopBy};
use crate::telemetry::metrics;
use crate::window::{Minute, Span, WindowSize, is_late};

/// Turns for queries: a few run, some wait, more are refused.
#[derive(Debug)]
pub struct Turns {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// KiB of answers that have not been read yet.
    unread: Arc<Semaphore>,
}

/// A query's turn; over when it is dropped.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Turns {
    pub(super) fn new(running: usize, waiting: usize) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self {
            running: semaphore(running),
            waiting: semaphore(running + waiting),
            unread: semaphore(limits::ANSWERS_UNREAD_KIB_MAX),
        }
    }

    async fn take(&self) -> Result<Turn, Problem> {
        let full = || Problem::new(Type::Overloaded, "too many queries are waiting; try again");
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| full())?;
        let turn = Arc::clone(&self.running).acquire_owned();
        let turn = tokio::time::timeout(limits::QUERY_WAIT_MAX, turn).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(full)?;
        Ok((place, turn))
    }

    /// Room for an answer until it has been read: who does not read must not fill the memory.
    fn room_for(&self, json: &[u8]) -> Result<OwnedSemaphorePermit, Problem> {
        // The longest answer is longer than any bound that suits the usual ones.
        let kib = (json.len() / 1024).min(limits::ANSWERS_UNREAD_KIB_MAX);
        let kib = u32::try_from(kib).expect("the bound fits");
        Arc::clone(&self.unread).try_acquire_many_owned(kib).map_err(|_| {
            Problem::new(Type::Overloaded, "too many answers wait to be read; try again")
        })
    }
}

/// Runs blocking work for a query when it is its turn, and answers with what it makes.
async fn answer<F>(app: &Arc<App>, work: F) -> Result<Response, Problem>
where
    F: FnOnce(&App) -> Result<Vec<u8>, Problem> + Send + 'static,
{
    let result = async {
        let turn = app.queries.take().await?;
        let shared = Arc::clone(app);
        // IMPORTANT: the turn goes along. A client that hangs up ends this request, but not the
        // work; its turn is over when that is (L1).
        let work = move || {
            let (place, turn) = turn;
            let answer = work(&shared).and_then(|json| {
                let room = shared.queries.room_for(&json)?;
                Ok(Answer { json, taken: 0, _place: place, _room: room })
            });
            drop(turn);
            answer
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
            Err(Problem::new(Type::Internal, "the query failed; see the server's log"))
        })
    }
    .await;
    metrics::query(match &result {
        Ok(_) => "answered",
        Err(problem) if problem.kind().means_try_again() => "overloaded",
        Err(_) => "rejected",
    });
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    result.map(|answer| (content_type, Body::new(answer)).into_response())
}

/// An answer keeps its place and its room until the client has read it but for the last
/// [`CHUNK_BYTES`]: slow readers do not pile up (L1).
struct Answer {
    json: Vec<u8>,
    /// Bytes that the connection has taken.
    taken: usize,
    _place: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

/// What the connection takes at once. Handed over whole, a long answer would be out of sight.
const CHUNK_BYTES: usize = 64 * 1024;

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { json, taken, .. } = &mut *self;
        let rest = &json[*taken..];
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        // A copy: a part of the answer that is still to be written must not keep all of it.
        let chunk = Bytes::copy_from_slice(&rest[..rest.len().min(CHUNK_BYTES)]);
        *taken += chunk.len();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.taken == self.json.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.json.len() - self.taken) as u64)
    }
}

/// A customer's windows within a range.
pub(super) async fn windows(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let customer = headers::customer(&headers)?;
    app.answering()?;
    let parameters = Parameters::parse(query.as_deref(), &["from", "to", "windowSize", "cursor"])?;
    let size = parameters.window_size()?;
    let mut span = parameters.span(app.clock.wall(), size)?;
    if let Some(cursor) = parameters.get("cursor") {
        span.from = parse_cursor(cursor, size, span)?;
    }
    answer(&app, move |app| {
        let rules = app.settings.rules;
        let page = query::windows(app.answering()?.as_ref(), &customer, size, span, rules.keys)
            .map_err(|error| failed(app, error))?;
        let now = app.clock.wall();
        let is_final = |start| is_late(Span::of(size, start).to, now, rules.grace);
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

/// A customer's most frequent paths or agents within a range.
pub(super) async fn top(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let customer = headers::customer(&headers)?;
    app.answering()?;
    let parameters = Parameters::parse(query.as_deref(), &["from", "to", "by", "limit"])?;
    let (by, name) = match parameters.get("by") {
        None | Some("path") => (TopBy::Path, "path"),
        Some("userAgent") => (TopBy::UserAgent, "userAgent"),
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

/// The query string, decoded.
struct Parameters(Vec<(String, String)>);

fn invalid(name: &str, value: &str, allowed: &str) -> Problem {
    const SHOWN: usize = 64;
    let dots = if value.chars().nth(SHOWN).is_some() { "…" } else { "" };
    let value: String = value.chars().take(SHOWN).collect();
    Problem::new(Type::InvalidQuery, format!("{name} is {value:?}{dots}; it must be {allowed}"))
}

impl Parameters {
    /// Takes a query string apart; an unknown or repeated parameter is a mistake, not ignored.
    fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let uri = format!("/?{}", query.unwrap_or_default());
        let pairs = uri
            .parse()
            .ok()
            .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
            .ok_or_else(|| Problem::new(Type::InvalidQuery, "the query string is malformed"))?
            .0;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = format!("there is no parameter {name:?}; known: {}", known.join(", "));
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
            if pairs[..at].iter().any(|(before, _)| before == name) {
                let detail = format!("the parameter {name} is given more than once");
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn window_size(&self) -> Result<WindowSize, Problem> {
        match self.get("windowSize") {
            None | Some("minute") => Ok(WindowSize::Minute),
            Some("hour") => Ok(WindowSize::Hour),
            Some("day") => Ok(WindowSize::Day),
            Some(other) => Err(invalid("windowSize", other, "minute, hour or day")),
        }
    }

    fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else { return Ok(10) };
        let allowed = 1..=limits::TOP_ROWS_MAX;
        text.parse().ok().filter(|limit| allowed.contains(limit)).ok_or_else(|| {
            invalid("limit", text, &format!("a number from 1 to {}", limits::TOP_ROWS_MAX))
        })
    }

    /// The range, half-open. Without `to`, up to the end of the current window; without `from`,
    /// the last 60 windows.
    fn span(&self, now: AcceptTime, size: WindowSize) -> Result<Span, Problem> {
        let time = |name| self.get(name).map(|text| parse_time(name, text)).transpose();
        let now = Minute(u32::try_from(now.0 / 60_000).unwrap_or(u32::MAX));
        let to = time("to")?.unwrap_or_else(|| now.floor(size).plus(size.minutes()));
        let from =
            time("from")?.unwrap_or_else(|| Minute(to.0.saturating_sub(60 * size.minutes())));
        if from > to {
            let detail = format!("from ({from}) is after to ({to})");
            return Err(Problem::new(Type::InvalidQuery, detail));
        }
        Ok(Span { from, to })
    }
}

/// The first minute that does not begin before the moment.
fn parse_time(name: &str, text: &str) -> Result<Minute, Problem> {
    let form = "RFC 3339 in the years 1970 to 2199, as 2025-12-28T18:03:00Z (write + as %2B)";
    let refused = || invalid(name, text, form);
    let moment: jiff::Timestamp = text.parse().map_err(|_| refused())?;
    let seconds = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    let first_after = 7_258_118_400; // 2200-01-01T00:00:00Z
    if !(0..=first_after).contains(&seconds) {
        return Err(refused());
    }
    Minute::of_unix_seconds(seconds + 59).ok_or_else(refused)
}

/// Where the next page begins; opaque to clients.
fn cursor(size: WindowSize, start: Minute) -> String {
    format!("{}{:08x}", &size.to_string()[..1], start.0)
}

fn parse_cursor(text: &str, size: WindowSize, span: Span) -> Result<Minute, Problem> {
    let digits = text.strip_prefix(&size.to_string()[..1]).filter(|digits| digits.len() == 8);
    digits
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map(Minute)
        .filter(|start| span.contains(*start) && start.floor(size) == *start)
        .ok_or_else(|| invalid("cursor", text, "the next of an answer to the same query"))
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
        }
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// L1: an answer takes room until its last part is on its way, however many parts those are.
    #[tokio::test]
    async fn unread_answers_take_room() {
        let turns = Turns::new(1, 1);
        let json = vec![b'x'; limits::ANSWERS_UNREAD_KIB_MAX * 1024 - CHUNK_BYTES / 2];
        let (place, _turn) = turns.take().await.expect("nobody else asks");
        let room = turns.room_for(&json).expect("nothing else is unread");
        let mut answer = Answer { json, taken: 0, _place: place, _room: room };
        let mut left = answer.json.len();
        while left > 0 {
            assert!(turns.room_for(&[0; 64 * 1024]).is_err(), "{left} bytes are still unread");
            assert_eq!(answer.size_hint().exact(), Some(left as u64));
            let chunk = answer.frame().await.expect("more to come").expect("infallible");
            let chunk = chunk.into_data().expect("data");
            assert!(chunk.len() <= CHUNK_BYTES);
            left -= chunk.len();
        }
        assert!(answer.is_end_stream());
        drop(answer);
        assert!(turns.room_for(&[0; 64 * 1024]).is_ok(), "it has been read");
    }

    #[test]
    fn the_longest_answer_fits() {
        let longest = vec![b'x'; (limits::ANSWERS_UNREAD_KIB_MAX + 1) * 1024];
        assert!(Turns::new(1, 1).room_for(&longest).is_ok());
    }
}
