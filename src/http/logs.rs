//! `POST /logs`: one batch in, one answer out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use super::auth::{self, Caller};
use super::problem::{Problem, Type};
use super::{App, body, headers};
use crate::admission::Permit;
use crate::claim::Receipt;
use crate::config::OnDuplicate;
use crate::decode::encoding::Encoding;
use crate::decode::{self, DecodeError, Format};
use crate::ids::{ContentDigest, IdempotencyKey, RequestId};
use crate::insight::Summary;
use crate::limits;
use crate::sequencer::{Outcome, Submission};
use crate::telemetry::metrics;
use crate::tokens::Access;

/// The answer to an accepted batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    batch_id: &'a str,
    entries: u32,
    windows: u32,
}

impl<'a> Accepted<'a> {
    fn new(key: &'a IdempotencyKey, receipt: Receipt) -> Self {
        Self { batch_id: key.as_str(), entries: receipt.entries, windows: receipt.windows }
    }
}

/// Takes a batch; the answer leaves when the batch is durable (A1).
pub(super) async fn post(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let request_id = head.extensions.remove().expect("every request has its id");
    match take(&app, request_id, &head.headers, body).await {
        Ok(response) => response,
        Err(problem) => {
            metrics::batch(match problem.kind() {
                Type::AlreadyAccepted => metrics::Outcome::Duplicate,
                Type::KeyReused => metrics::Outcome::Conflict,
                kind if kind.means_try_again() => metrics::Outcome::Overloaded,
                _ => metrics::Outcome::Rejected,
            });
            problem.into_response()
        }
    }
}

async fn take(
    app: &Arc<App>,
    request_id: RequestId,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Caller { customer, .. } = auth::caller(app, headers, Access::Send)?;
    let key = headers::idempotency_key(headers)?;
    let (format, encoding) = (headers::format(headers)?, headers::encoding(headers)?);
    let engine = Arc::clone(app.accepting()?);
    let limits =
        body::BodyLimits { bytes: app.settings.body_bytes, time: app.settings.body_timeout };
    let (permit, body) =
        body::admit_and_read(&app.admission, &customer, headers, encoding, body, limits).await?;
    let mut decoded = decode(app, format, encoding, body, permit).await?;
    let held = decoded.record.len() + decoded.summary.bytes();
    decoded.permit.resize(held as u64).map_err(|full| body::refused(full, &customer))?;
    let (entries, bytes) = (decoded.summary.entries, decoded.body_bytes);

    let (reply, outcome) = oneshot::channel();
    let submission = Submission {
        customer,
        key: key.clone(),
        digest: decoded.digest,
        request_id,
        record: decoded.record,
        summary: decoded.summary,
        permit: Box::new(decoded.permit),
        reply,
    };
    engine.submit(submission).map_err(|_refused| {
        Problem::new(Type::Overloaded, "the server has as much under way as it takes; try again")
    })?;
    // Without an answer the engine has failed: whether the batch is there, its retry will tell.
    let outcome = outcome.await.map_err(|_| {
        let detail = "the server failed before it could answer; send the batch again";
        Problem::new(Type::Unavailable, detail)
    })?;
    if let Outcome::Accepted(_) = outcome {
        metrics::accepted(entries, bytes);
    }
    answer(outcome, &key, app.settings.on_duplicate)
}

struct Decoded {
    permit: Permit,
    /// Decompressed.
    body_bytes: usize,
    digest: ContentDigest,
    summary: Summary,
    record: Vec<u8>,
}

/// Unpacks, decodes and sums up; long work is done on another thread, so that the reactor never
/// waits.
async fn decode(
    app: &Arc<App>,
    format: Format,
    encoding: Encoding,
    body: Bytes,
    mut permit: Permit,
) -> Result<Decoded, Problem> {
    let is_short = encoding == Encoding::Identity && body.len() <= limits::DECODE_INLINE_BYTES_MAX;
    let decode = move |app: &App| {
        let body = body::unpack(&mut permit, encoding, body, app.settings.body_bytes)?;
        let summary = app.decoders.work(|agents| decode::summarise(format, &body, agents))?;
        let digest = ContentDigest::of(format.number(), &body);
        let record = summary.to_bytes();
        Ok(Decoded { permit, body_bytes: body.len(), digest, summary, record })
    };
    if is_short {
        decode(app)
    } else {
        let turn = Arc::clone(&app.decoders.turns).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let app = Arc::clone(app);
        // IMPORTANT: turn and permit go along. A sender that hangs up ends this request, but not
        // the work; what that takes must stay counted until it is done (L1).
        let work = move || {
            let decoded = decode(&app);
            drop(turn);
            decoded
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Problem::new(Type::Internal, "decoding failed; see the server's log"))?
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let detail = error.to_string();
        match error {
            DecodeError::Syntax(_) => Self::new(Type::InvalidJson, detail),
            DecodeError::Empty => Self::new(Type::EmptyBatch, detail),
            DecodeError::Entries { listed, .. } => {
                Self::new(Type::InvalidEntries, detail).with("errors", listed)
            }
        }
    }
}

fn answer(
    outcome: Outcome,
    key: &IdempotencyKey,
    on_duplicate: OnDuplicate,
) -> Result<Response, Problem> {
    match (outcome, on_duplicate) {
        (Outcome::Accepted(receipt), _) => {
            Ok((StatusCode::ACCEPTED, Json(Accepted::new(key, receipt))).into_response())
        }
        (Outcome::Duplicate(receipt), OnDuplicate::Replay) => {
            let replayed = [("idempotency-replayed", HeaderValue::from_static("true"))];
            let accepted = Json(Accepted::new(key, receipt));
            metrics::batch(metrics::Outcome::Duplicate);
            Ok((StatusCode::ACCEPTED, replayed, accepted).into_response())
        }
        (Outcome::Duplicate(receipt), OnDuplicate::Conflict) => {
            let detail = "this batch was accepted before and is counted once; do not send it again";
            Err(Problem::new(Type::AlreadyAccepted, detail)
                .with("accepted", Accepted::new(key, receipt)))
        }
        (Outcome::Conflict, _) => Err(Problem::new(
            Type::KeyReused,
            "the idempotency key was used for a batch of other content; nothing was stored: give \
             each batch a key of its own",
        )),
        (Outcome::Unreadable, _) => Err(Problem::new(
            Type::Unavailable,
            "the idempotency key was used before, and the server cannot read for what: its claim \
             page is damaged. Nothing was stored; the operator has to repair the data directory",
        )),
        (Outcome::NoSpace, _) => Err(Problem::new(
            Type::DiskFull,
            "the server's disk has no room for the batch; try again when there is space",
        )),
    }
}
