//! Reads the body and says that it was accepted: what HTTP alone costs.

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::post;
use http_body_util::{BodyExt, Collected, Limited};

/// As `limits.body_bytes`.
const BODY_BYTES_MAX: usize = 2 << 20;

pub(super) fn router() -> Router {
    Router::new().route("/logs", post(read))
}

async fn read(body: Body) -> StatusCode {
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    match body.map(Collected::to_bytes) {
        Ok(body) if !body.is_empty() => StatusCode::ACCEPTED,
        _ => StatusCode::BAD_REQUEST,
    }
}
