//! `/livez`, `/readyz`, `/version`, `/metrics`: how the process is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::openapi::ProblemJson;
use super::problem::{Problem, Type};
use crate::status::Unready;
use crate::telemetry;

/// Live: the process works. Anything but 200 means that it should be restarted.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "server",
    responses(
        (status = 200, description = "The process works.", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not.", body = ProblemJson, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub(super) async fn live(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.status.failure() {
        None => Ok((StatusCode::OK, "ok\n").into_response()),
        Some(failure) => Err(Problem::new(Type::Unavailable, failure.to_string())),
    }
}

/// Ready: recovery is done, the disk takes writes, nothing is poisoned.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "server",
    params(("verbose" = Option<String>, Query, description = "With figures, as JSON.")),
    responses(
        (status = 200, description = "Batches are taken.", content((String = "text/plain"), (Object = "application/json"))),
        (status = 503, description = "It does not.", body = ProblemJson, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub(super) async fn ready(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    // A burst that outruns a checkpoint is refused batch by batch; the server is still the one to
    // send to.
    let unready = app.unready().filter(|unready| *unready != Unready::MemoryFull);
    let verbose = query.is_some_and(|query| {
        query.split('&').any(|q| matches!(q, "verbose" | "verbose=" | "verbose=true"))
    });
    let (replayed, to_replay) = app.status.replay();
    let (inflight_bytes, inflight_batches) = app.admission.inflight();
    let details = json!({
        "ready": unready.is_none(),
        "reason": unready.map(Unready::reason),
        "replayedGroups": replayed,
        "groupsToReplay": to_replay,
        "journalPendingBytes": app.status.journal_bytes(),
        "deltaBytes": app.status.memory_bytes(),
        "inflightBytes": inflight_bytes,
        "inflightBatches": inflight_batches,
    });
    match (unready, verbose) {
        (None, false) => Ok((StatusCode::OK, "ok\n").into_response()),
        (None, true) => Ok(Json(details).into_response()),
        (Some(unready), false) => Err(unready.into()),
        (Some(unready), true) => Err(Problem::from(unready).with("details", details)),
    }
}

/// Name and version.
#[utoipa::path(
    get,
    path = "/version",
    tag = "server",
    responses(
        (status = 200, description = "Name and version.", body = Object, content_type = "application/json"),
    ),
    security(()),
)]
pub(super) async fn version() -> Response {
    let version = json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
    Json(version).into_response()
}

/// For Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses(
        (status = 200, description = "For Prometheus.", body = String, content_type = "text/plain"),
    ),
    security(()),
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (bytes, batches) = app.admission.inflight();
    telemetry::metrics::inflight(bytes, batches);
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, app.metrics.render()).into_response()
}
