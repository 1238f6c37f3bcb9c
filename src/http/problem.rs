//! Refusals as RFC 9457 problem details.
//!
//! The type alone decides status and retry: 429 means that this customer's share is used up, 503
//! that the server is full, starting or stopping; both carry `Retry-After`, and no other code ever
//! means "try again", because common senders drop a batch for good on any other.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ids::RequestId;
use crate::limits;

/// What kind of refusal it is; the name is stable and part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// There is no token in `Authorization`, or more than one.
    MissingToken,
    /// The token in `Authorization` is not known.
    UnknownToken,
    /// The token is not for this customer.
    Forbidden,
    /// `x-customer-id` is not there.
    MissingCustomerId,
    /// `x-customer-id` breaks a rule.
    InvalidCustomerId,
    /// `idempotency-key` is not there.
    MissingIdempotencyKey,
    /// `idempotency-key` breaks a rule.
    InvalidIdempotencyKey,
    /// The body is of a type that is not taken.
    UnsupportedContentType,
    /// The body is encoded in a way that is not taken.
    UnsupportedContentEncoding,
    /// The body cannot be decompressed as `content-encoding` says.
    InvalidEncoding,
    /// The connection broke off before the end of the body.
    IncompleteBody,
    /// The body is larger than `limits.body_bytes`.
    BodyTooLarge,
    /// The body did not arrive within `http.body_timeout`.
    BodyTimeout,
    /// The body is not what its content type says.
    InvalidBody,
    /// Entries break a rule.
    InvalidEntries,
    /// There are no entries.
    EmptyBatch,
    /// The key was accepted before with the same content.
    AlreadyAccepted,
    /// The key was accepted before with other content.
    KeyReused,
    /// The customer's share of the server is used up.
    CustomerShareExceeded,
    /// The server is full.
    Overloaded,
    /// The disk is full.
    DiskFull,
    /// The server is starting, stopping or has failed.
    Unavailable,
    /// A defect in logmill; the same request would fail again.
    Internal,
    /// The query cannot be understood.
    InvalidQuery,
    /// The answer cannot be written in a form that the client takes.
    NotAcceptable,
    /// There is no such route.
    NotFound,
    /// The route does not take this method.
    MethodNotAllowed,
}

impl Type {
    /// Status, name and title.
    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MissingToken | Self::UnknownToken => {
                (401, "unauthorized", "Token is missing or not valid")
            }
            Self::Forbidden => (403, "forbidden", "Token is not for this customer"),
            Self::MissingCustomerId => (400, "missing-customer-id", "Customer id is missing"),
            Self::InvalidCustomerId => (400, "invalid-customer-id", "Customer id is invalid"),
            Self::MissingIdempotencyKey => {
                (400, "missing-idempotency-key", "Idempotency key is missing")
            }
            Self::InvalidIdempotencyKey => {
                (400, "invalid-idempotency-key", "Idempotency key is invalid")
            }
            Self::UnsupportedContentType => {
                (415, "unsupported-content-type", "Content type is not taken")
            }
            Self::UnsupportedContentEncoding => {
                (415, "unsupported-content-encoding", "Content encoding is not taken")
            }
            Self::InvalidEncoding => (400, "invalid-encoding", "Body cannot be decompressed"),
            Self::IncompleteBody => (400, "incomplete-body", "Body broke off"),
            Self::BodyTooLarge => (413, "body-too-large", "Body is too large"),
            Self::BodyTimeout => (503, "body-timeout", "Body did not arrive in time"),
            Self::InvalidBody => (400, "invalid-body", "Body is not what its type says"),
            Self::InvalidEntries => (400, "invalid-entries", "Entries are invalid"),
            Self::EmptyBatch => (400, "empty-batch", "Batch is empty"),
            Self::AlreadyAccepted => (409, "batch-already-accepted", "Batch was already accepted"),
            Self::KeyReused => {
                (422, "idempotency-key-reused", "Idempotency key was used for other content")
            }
            Self::CustomerShareExceeded => {
                (429, "customer-share-exceeded", "Customer's share is used up")
            }
            Self::Overloaded => (503, "overloaded", "Server is full"),
            Self::DiskFull => (503, "disk-full", "Disk is full"),
            Self::Unavailable => (503, "unavailable", "Server is not available"),
            Self::Internal => (500, "internal-error", "Server has a defect"),
            Self::InvalidQuery => (400, "invalid-query", "Query is invalid"),
            Self::NotAcceptable => (406, "not-acceptable", "No form of the answer is accepted"),
            Self::NotFound => (404, "not-found", "Route does not exist"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "Method is not allowed"),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().0).expect("the table holds valid codes")
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn means_try_again(self) -> bool {
        matches!(self.facts().0, 429 | 503)
    }

    /// The last part of the type's URI.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().1
    }
}

/// A refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Type,
    detail: String,
    /// Members beside the standard ones. Boxed: a refusal is the rare case of a result.
    more: Box<Map<String, Value>>,
}

impl Problem {
    /// Says what is wrong and what to do.
    pub fn new(kind: Type, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), more: Box::default() }
    }

    /// Adds a member.
    ///
    /// # Panics
    /// If the value cannot be JSON.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("members are plain data");
        self.more.insert(member.to_owned(), value);
        self
    }

    /// What kind of refusal it is.
    #[must_use]
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer, once the request has its id.
    #[must_use]
    pub fn render(self, request: &RequestId) -> Response {
        let (status, name, title) = self.kind.facts();
        let mut members = Map::new();
        members.insert("type".into(), json!(format!("/problems/{name}")));
        members.insert("title".into(), json!(title));
        members.insert("status".into(), json!(status));
        members.insert("detail".into(), json!(self.detail));
        members.insert("requestId".into(), json!(request.as_str()));
        members.extend(*self.more);
        let mut response = (self.kind.status(), Json(members)).into_response();
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, content_type);
        if self.kind.means_try_again() {
            headers.insert(header::RETRY_AFTER, limits::RETRY_AFTER_SECONDS.into());
        }
        // RFC 6750: what was wrong is said to those only who have tried.
        let challenge = match self.kind {
            Type::MissingToken => Some("Bearer realm=\"logmill\""),
            Type::UnknownToken => Some("Bearer realm=\"logmill\", error=\"invalid_token\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == 415 {
            headers.insert("accept-post", HeaderValue::from_static("application/json"));
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        response
    }
}

/// Carries the problem in the response's extensions to `observe`, which knows the
/// request's id and renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    no_such(uri.path())
}

/// There is nothing at this path.
pub(super) fn no_such(path: &str) -> Problem {
    let routes = "GET /, POST /logs, GET /analytics, /analytics/series, /analytics/top, \
                  /analytics/summary, /customers, /metrics, /livez, /readyz, /healthz, /version, \
                  /openapi.json, /docs, and for clients of Prometheus those below /api/v1";
    Problem::new(Type::NotFound, format!("there is no {path}; the routes are {routes}"))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail =
        format!("{} does not take {method}; the Allow header says what it takes", uri.path());
    Problem::new(Type::MethodNotAllowed, detail)
}
