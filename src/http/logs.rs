//! `POST /logs`: one batch in, one answer out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::auth::{self, Caller};
use super::openapi::ProblemJson;
use super::problem::{Problem, Type};
use super::sender::{Key, Sender};
use super::{App, body};
use crate::admission::Permit;
use crate::claim::Receipt;
use crate::config::OnDuplicate;
use crate::decode::encoding::Encoding;
use crate::decode::{self, DecodeError, Decoded, EntryError, Rules};
use crate::ids::{ContentDigest, IdempotencyKey, RequestId};
use crate::limits;
use crate::sequencer::{Outcome, Submission};
use crate::telemetry::metrics;

/// The answer to an accepted batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    batch_id: &'a str,
    entries: u32,
    windows: u32,
    /// Invalid entries that were put aside. A duplicate does not say them again.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<usize>,
    /// What is wrong with the first of them.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<Object>>)]
    errors: &'a [EntryError],
}

/// An entry in logmill's own format.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "says what decode reads")]
struct EntryJson {
    /// RFC 3339.
    #[schema(example = "2026-11-20T10:00:07Z")]
    received_at: String,
    #[schema(example = "GET")]
    method: String,
    #[schema(example = "/pricing")]
    path: String,
    #[schema(example = "curl/8.5.0")]
    user_agent: String,
    status: Option<u16>,
    bytes: Option<u64>,
}

impl<'a> Accepted<'a> {
    fn new(key: &'a IdempotencyKey, receipt: Receipt) -> Self {
        let (entries, windows) = (receipt.entries, receipt.windows);
        Self { batch_id: key.as_str(), entries, windows, dead_letters: None, errors: &[] }
    }
}

/// Takes a batch; the answer leaves when the batch is durable (A1).
#[utoipa::path(
    post,
    path = "/logs",
    tag = "logs",
    params(
        ("x-customer-id" = Option<String>, Header, description = "Whose batch it is; a token for one customer says it too."),
        ("idempotency-key" = Option<String>, Header, description = "New for each batch, the same for its retries."),
        ("content-encoding" = Option<String>, Header, description = "gzip, zstd, deflate, br or none."),
        ("format" = Option<String>, Query, description = "What entries are like; by default logmill."),
        ("key" = Option<String>, Query, description = "What a batch without a key is given: reject, derive or generate."),
        ("on_invalid" = Option<String>, Query, description = "What becomes of invalid entries: reject or skip."),
    ),
    request_body(
        description = "Entries: an array of objects, one object a line, or a table.",
        content(
            (Vec<EntryJson> = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
            (String = "text/plain"),
        ),
    ),
    responses(
        (status = 202, description = "The batch is durable, and counts once.", body = Accepted),
        (status = 400, description = "Something of it breaks a rule; its key is free.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 401, description = "There is no token, or none that is known.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 403, description = "The token is not for this customer.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 409, description = "It was accepted before, and counts once.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 413, description = "It is too large.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 415, description = "Its type or encoding is not taken.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 422, description = "Its key was accepted with other content.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 429, description = "This customer's share is used up: try again.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 500, description = "A defect.", body = ProblemJson, content_type = "application/problem+json"),
        (status = 503, description = "The server is full, starting or stopping: try again.", body = ProblemJson, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn post(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let request_id = head.extensions.remove().expect("every request has its id");
    match take(&app, request_id, head, body).await {
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

async fn take(app: &Arc<App>, request_id: RequestId, head: Parts, body: Body) -> Answer {
    let headers = &head.headers;
    let Caller { customer, defaults } = auth::sender(app, headers)?;
    let defaults = app.settings.senders.with(&defaults);
    let sender = Sender::read(headers, head.uri.query(), &app.formats, defaults)?;
    let engine = Arc::clone(app.accepting()?);
    let (permit, body) =
        body::admit_and_read(app, &customer, headers, sender.encoding, body).await?;
    // Who never named a batch cannot make sense of a conflict.
    let on_duplicate = match sender.key {
        Key::Given(_) => app.settings.on_duplicate,
        Key::Derived | Key::Generated => OnDuplicate::Replay,
    };
    let mut batch = decode(app, sender, body, permit).await?;
    let Decoded { summary, dead, .. } = &batch.decoded;
    let held = batch.record.len() + batch.dead_record.len() + summary.bytes() + dead.bytes();
    batch.permit.resize(held as u64).map_err(|full| body::refused(full, &customer))?;
    let Decoded { summary, dead, listed } = batch.decoded;
    let (entries, put_aside) = (summary.entries, dead.len());

    let (reply, outcome) = oneshot::channel();
    let submission = Submission {
        customer,
        key: batch.key.clone(),
        digest: batch.digest,
        request_id,
        record: batch.record,
        summary,
        dead_record: batch.dead_record,
        dead,
        permit: Box::new(batch.permit),
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
        metrics::accepted(entries, batch.body_bytes);
        metrics::put_aside(put_aside);
    }
    answer(outcome, &batch.key, on_duplicate, put_aside, &listed)
}

/// What became of a batch: an answer, or why there is none.
type Answer = Result<Response, Problem>;

/// A batch that is ready to be sequenced.
struct Batch {
    permit: Permit,
    key: IdempotencyKey,
    /// Decompressed.
    body_bytes: usize,
    digest: ContentDigest,
    decoded: Decoded,
    record: Vec<u8>,
    dead_record: Vec<u8>,
}

/// Unpacks, decodes and sums up; long work is done on another thread, so that the reactor never
/// waits.
async fn decode(
    app: &Arc<App>,
    sender: Sender,
    body: Bytes,
    mut permit: Permit,
) -> Result<Batch, Problem> {
    let is_short =
        sender.encoding == Encoding::Identity && body.len() <= limits::DECODE_INLINE_BYTES_MAX;
    let decode = move |app: &App| {
        let Sender { key, format, encoding, on_invalid } = sender;
        let body = body::unpack(&mut permit, encoding, body, app.settings.body_bytes)?;
        let rules = Rules { on_invalid, paths: &app.paths };
        let decoded = app.decoders.work(|agents| decode::decode(&format, &body, rules, agents))?;
        let digest = ContentDigest::of(format.id(), &body);
        let key = key.of(&format, &body, app.entropy.as_ref());
        let body_bytes = body.len();
        app.decoders.give_back(body);
        let (record, dead_record) = (decoded.summary.to_bytes(), decoded.dead.to_bytes());
        if (record.len() + dead_record.len()) as u64 > limits::RECORD_BYTES_MAX {
            let detail = "what the batch says has more bytes than the server keeps of one batch; \
                          send smaller batches";
            return Err(Problem::new(Type::BodyTooLarge, detail));
        }
        Ok(Batch { permit, key, body_bytes, digest, decoded, record, dead_record })
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
            DecodeError::Syntax(_) => Self::new(Type::InvalidBody, detail),
            DecodeError::Empty => Self::new(Type::EmptyBatch, detail),
            DecodeError::TooManyWindows => Self::new(Type::BodyTooLarge, detail),
            DecodeError::Entries { listed, .. } | DecodeError::TooManyInvalid { listed, .. } => {
                Self::new(Type::InvalidEntries, detail).with("errors", listed)
            }
        }
    }
}

fn answer(
    outcome: Outcome,
    key: &IdempotencyKey,
    on_duplicate: OnDuplicate,
    put_aside: usize,
    errors: &[EntryError],
) -> Answer {
    match (outcome, on_duplicate) {
        (Outcome::Accepted(receipt), _) => {
            let dead_letters = (put_aside > 0).then_some(put_aside);
            let accepted = Accepted { dead_letters, errors, ..Accepted::new(key, receipt) };
            Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
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
