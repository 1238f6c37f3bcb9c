//! Whose turn it is: a few queries run, some wait, and their answers take room until they are read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::App;
use super::super::problem::{Problem, Type};
use super::form::{self, Form};
use super::question::Question;
use crate::limits;
use crate::telemetry::metrics;

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
    pub(in crate::http) fn new(running: usize, waiting: usize) -> Self {
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
    fn room_for(&self, body: &[u8]) -> Result<OwnedSemaphorePermit, Problem> {
        // The longest answer is longer than any bound that suits the usual ones.
        let kib = (body.len() / 1024).min(limits::ANSWERS_UNREAD_KIB_MAX);
        let kib = u32::try_from(kib).expect("the bound fits");
        Arc::clone(&self.unread).try_acquire_many_owned(kib).map_err(|_| {
            Problem::new(Type::Overloaded, "too many answers wait to be read; try again")
        })
    }
}

/// What a query made.
pub(super) struct Written {
    form: Form,
    body: Vec<u8>,
    /// Where it goes on.
    link: Option<String>,
}

impl Written {
    pub(super) fn new(form: Form, answer: &impl form::Answer, link: Option<String>) -> Self {
        Self { form, body: form.write(answer), link }
    }
}

/// Runs blocking work for a query when it is its turn, and answers with what it makes, unless the
/// client has that already.
pub(super) async fn answer<F>(
    app: &Arc<App>,
    question: Question,
    work: F,
) -> Result<Response, Problem>
where
    F: FnOnce(&App, &Question) -> Result<Written, Problem> + Send + 'static,
{
    let result = async {
        let turn = app.queries.take().await?;
        let shared = Arc::clone(app);
        // IMPORTANT: the turn goes along. A client that hangs up ends this request, but not the
        // work; its turn is over when that is (L1).
        let work = move || {
            let (place, turn) = turn;
            let answer = work(&shared, &question).and_then(|written| {
                let room = shared.queries.room_for(&written.body)?;
                Ok(respond(&question, written, (place, room)))
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
    result
}

/// Late data can change any answer, so that none is ever used without being asked for again; the
/// tag makes that cheap.
fn respond(
    question: &Question,
    Written { form, body, link }: Written,
    (place, room): (OwnedSemaphorePermit, OwnedSemaphorePermit),
) -> Response {
    let tag = form::tag(form, &body, link.as_deref());
    let mut response = if question.known.has(&tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = [(header::CONTENT_TYPE, form.media_type())];
        let body = Answer { body, taken: 0, _place: place, _room: room };
        (content_type, Body::new(body)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, authorization, x-customer-id"));
    // RFC 8288. What a query consists of is encoded, so that it fits a header.
    let link = link.and_then(|to| HeaderValue::from_str(&format!("<{to}>; rel=\"next\"")).ok());
    if let Some(link) = link {
        headers.insert(header::LINK, link);
    }
    response
}

/// An answer keeps its place and its room until the client has read it but for the last
/// [`CHUNK_BYTES`]: slow readers do not pile up (L1).
struct Answer {
    body: Vec<u8>,
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
        let Self { body, taken, .. } = &mut *self;
        let rest = &body[*taken..];
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        // A copy: a part of the answer that is still to be written must not keep all of it.
        let chunk = Bytes::copy_from_slice(&rest[..rest.len().min(CHUNK_BYTES)]);
        *taken += chunk.len();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.taken == self.body.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.body.len() - self.taken) as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// L1: an answer takes room until its last part is on its way, however many parts those are.
    #[tokio::test]
    async fn unread_answers_take_room() {
        let turns = Turns::new(1, 1);
        let body = vec![b'x'; limits::ANSWERS_UNREAD_KIB_MAX * 1024 - CHUNK_BYTES / 2];
        let (place, _turn) = turns.take().await.expect("nobody else asks");
        let room = turns.room_for(&body).expect("nothing else is unread");
        let mut answer = Answer { body, taken: 0, _place: place, _room: room };
        let mut left = answer.body.len();
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
