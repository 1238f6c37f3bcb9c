//! Around every request: its id, its metrics, and a line in the log if it failed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use bytes::Bytes;
use tower::{BoxError, Service};

use super::App;
use super::auth::Door;
use super::problem::Problem;
use super::prometheus;
use super::unread;
use crate::ids::RequestId;
use crate::telemetry::metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All routes, observed. A service of its own and no layer of the router: a layer boxes and clones
/// at every request what one service does once.
#[derive(Clone)]
pub struct Observed {
    app: Arc<App>,
    door: Door,
    routes: Router,
}

impl Observed {
    pub(super) fn new(app: Arc<App>, door: Door, routes: Router) -> Self {
        Self { app, door, routes }
    }
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Observed
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { app, door, routes } = self.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(door);
        Box::pin(async move { Ok(unread::drain(request, |r| observe(app, routes, r)).await) })
    }
}

async fn observe(app: Arc<App>, mut routes: Router, mut request: Request) -> Response {
    let started = app.clock.uptime();
    let id = request_id(&app, &request);
    let method = method_label(request.method());
    let route = route_label(request.uri().path());
    let is_prometheus = prometheus::is_route(request.uri().path());
    request.extensions_mut().insert(id.clone());

    let Ok(mut response) = routes.call(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        log_refusal(&problem, &id, method, route);
        metrics::refused(problem.kind().name());
        response = match is_prometheus {
            true => prometheus::refusal(problem, &id),
            false => problem.render(&id),
        };
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

/// A duplicate is the normal fate of a retry and no failure; it is logged with the details. So is
/// what `auth` has turned away: anybody can send that, and `auth` writes a line for many.
fn log_refusal(problem: &Problem, id: &RequestId, method: &str, route: &str) {
    let (kind, status) = (problem.kind().name(), problem.kind().status().as_u16());
    let (id, detail) = (id.as_str(), problem.detail());
    match status {
        401 | 403 | 409 => {
            tracing::debug!(request_id = id, method, route, status, kind, detail, "refused");
        }
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

/// A client can ask for any path; only routes become a label, the files of a page as one, and
/// without their parameters.
fn route_label(path: &str) -> &'static str {
    const ROUTES: [&str; 13] = [
        "/",
        "/logs",
        "/analytics",
        "/analytics/series",
        "/analytics/top",
        "/analytics/summary",
        "/customers",
        "/metrics",
        "/livez",
        "/healthz",
        "/readyz",
        "/version",
        "/openapi.json",
    ];
    if path == "/docs" || path.starts_with("/docs/") {
        return "/docs";
    }
    if path.starts_with("/assets/") {
        return "/assets";
    }
    let known = ROUTES.into_iter().find(|route| *route == path);
    known.or_else(|| prometheus::route_label(path)).unwrap_or("other")
}
