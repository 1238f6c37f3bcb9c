//! The service as one would write it first: owned entries, a parse of each agent, one map under one
//! lock. It keeps nothing when it stops and counts retries again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use woothee::parser::Parser;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    received_at: String,
    method: String,
    path: String,
    user_agent: String,
}

#[derive(Default)]
pub(crate) struct Window {
    requests: u64,
    by_path: HashMap<String, u64>,
    by_agent: HashMap<String, u64>,
}

pub(crate) type Windows = Arc<Mutex<HashMap<(String, i64), Window>>>;

pub(super) fn router() -> Router {
    Router::new()
        .route("/logs", post(count))
        .layer(DefaultBodyLimit::max(2 << 20))
        .with_state(Windows::default())
}

async fn count(
    State(windows): State<Windows>,
    headers: HeaderMap,
    Json(entries): Json<Vec<Entry>>,
) -> StatusCode {
    let customer = headers.get("x-customer-id").and_then(|value| value.to_str().ok());
    let Some(customer) = customer else { return StatusCode::BAD_REQUEST };
    summarise(&windows, customer, entries)
}

pub(crate) fn summarise(windows: &Windows, customer: &str, entries: Vec<Entry>) -> StatusCode {
    let parser = Parser::new();
    let mut counted = Vec::with_capacity(entries.len());
    for entry in entries {
        let Ok(time) = entry.received_at.parse::<jiff::Timestamp>() else {
            return StatusCode::BAD_REQUEST;
        };
        let minute = time.as_second().div_euclid(60);
        let agent =
            parser.parse(&entry.user_agent).map_or("UNKNOWN", |agent| agent.name).to_owned();
        counted.push((minute, format!("{} {}", entry.method, entry.path), agent));
    }
    let mut windows = windows.lock().expect("nobody panics while counting");
    for (minute, path, agent) in counted {
        let window = windows.entry((customer.to_owned(), minute)).or_default();
        window.requests += 1;
        *window.by_path.entry(path).or_default() += 1;
        *window.by_agent.entry(agent).or_default() += 1;
    }
    StatusCode::ACCEPTED
}
