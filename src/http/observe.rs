//! Around every request: its id, its metrics, and a line in the log if it failed.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::problem::Problem;
use crate::ids::RequestId;
use crate::telemetry::metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn observe(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = app.clock.uptime();
    let id = request_id(&app, &request);
    let method = method_label(request.method());
    let route = route_label(request.extensions().get::<MatchedPath>());
    request.extensions_mut().insert(id.clone());

    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        log_refusal(&problem, &id, method, route);
        response = problem.render(&id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let took = app.clock.uptime().saturating_sub(started);
    metrics::request(method, route, response.status().as_u16(), took);
    response
}

fn request_id(app: &App, request: &Request) -> RequestId {
    let sent = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    sent.and_then(RequestId::from_header)
        .unwrap_or_else(|| RequestId::from_random(app.entropy.bits128()))
}

/// A duplicate is the normal fate of a retry and no failure; it is logged with the details.
fn log_refusal(problem: &Problem, id: &RequestId, method: &str, route: &str) {
    let (kind, status) = (problem.kind().name(), problem.kind().status().as_u16());
    let (id, detail) = (id.as_str(), problem.detail());
    match status {
        409 => tracing::debug!(request_id = id, method, route, status, kind, detail, "refused"),
        500.. => tracing::warn!(request_id = id, method, route, status, kind, detail, "refused"),
        _ => tracing::info!(request_id = id, method, route, status, kind, detail, "refused"),
    }
}

/// A client can send any method; only known ones become a label.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

/// The route's template, never the path that was asked for.
fn route_label(matched: Option<&MatchedPath>) -> &'static str {
    const ROUTES: [&str; 8] = [
        "/logs",
        "/analytics",
        "/analytics/top",
        "/metrics",
        "/livez",
        "/healthz",
        "/readyz",
        "/version",
    ];
    let matched = matched.map_or("", MatchedPath::as_str);
    ROUTES.into_iter().find(|route| *route == matched).unwrap_or("other")
}
