//! Reading a body: counted while it comes, bounded in size, memory and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::headers::is_encoded;
use super::problem::{Problem, Type};
use crate::admission::{Admission, Full, Permit};
use crate::ids::CustomerId;
use crate::limits;
use std::sync::Arc;

/// How large a body may be and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// The length that the client announces, if that is the length of what will be counted.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    (!is_encoded(headers)).then_some(length)
}

/// Takes a permit, then reads the body; the permit ends up holding what the body takes.
pub(super) async fn admit_and_read(
    admission: &Arc<Admission>,
    customer: &CustomerId,
    headers: &HeaderMap,
    body: Body,
    limits: BodyLimits,
) -> Result<(Permit, Bytes), Problem> {
    let announced = announced(headers);
    if announced.is_some_and(|bytes| bytes > limits.bytes) {
        drain(headers, body).await;
        return Err(too_large(limits.bytes));
    }
    let reserve = announced.unwrap_or(limits::ADMISSION_UNKNOWN_BYTES.min(limits.bytes));
    let permit = match admission.admit(customer, reserve) {
        Ok(permit) => permit,
        Err(full) => {
            drain(headers, body).await;
            return Err(refused(full, customer));
        }
    };
    match tokio::time::timeout(limits.time, read(permit, reserve, body, limits.bytes)).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err((problem, rest))) => {
            if let Some(rest) = rest {
                drain(headers, rest).await;
            }
            Err(problem)
        }
        Err(_) => {
            let seconds = limits.time.as_secs_f64();
            let detail = format!("the body did not arrive within {seconds} s; send it again");
            Err(Problem::new(Type::BodyTimeout, detail))
        }
    }
}

/// A refusal, with what is left of the body if it is worth draining.
type Broken = (Problem, Option<Body>);

async fn read(
    mut permit: Permit,
    mut reserved: u64,
    mut body: Body,
    max: u64,
) -> Result<(Permit, Bytes), Broken> {
    let mut read = BytesMut::with_capacity(usize::try_from(reserved).unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (broken(&error), None))?;
        // Trailers are of no use here.
        let Ok(data) = frame.into_data() else { continue };
        let bytes = (read.len() + data.len()) as u64;
        if bytes > max {
            return Err((too_large(max), Some(body)));
        }
        if bytes > reserved {
            // Growing is refused at once when there is no room, so that bodies half read cannot
            // wait for one another.
            reserved = (bytes * 2).min(max);
            if let Err(full) = permit.resize(reserved) {
                return Err((refused(full, permit.customer()), Some(body)));
            }
        }
        read.extend_from_slice(&data);
    }
    let shrunk = permit.resize(read.len() as u64);
    debug_assert!(shrunk.is_ok(), "a permit can always shrink");
    Ok((permit, read.freeze()))
}

fn too_large(max: u64) -> Problem {
    let detail = format!(
        "the body has more than {max} bytes after decompression; send smaller batches, or raise \
         limits.body_bytes"
    );
    Problem::new(Type::BodyTooLarge, detail)
}

pub(super) fn refused(full: Full, customer: &CustomerId) -> Problem {
    match full {
        Full::Customer => Problem::new(
            Type::CustomerShareExceeded,
            format!("customer {customer} has its share of the server's room under way; try again"),
        ),
        Full::Server => Problem::new(
            Type::Overloaded,
            "the server has as much under way as it takes; try again",
        ),
    }
}

/// The cause at the bottom tells whether the network broke off or the decompression did.
fn broken(error: &axum::Error) -> Problem {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
        if cause.is::<hyper::Error>() {
            return Problem::new(Type::IncompleteBody, "the body broke off before its end");
        }
    }
    let detail = format!("the body is not what content-encoding says: {cause}");
    Problem::new(Type::InvalidEncoding, detail)
}

/// Reads and throws away what a refused client is still sending, within bounds: answered and
/// closed at once, it would see a reset connection instead of the answer.
async fn drain(headers: &HeaderMap, mut body: Body) {
    if headers.contains_key(header::EXPECT) {
        // The client waits for a word before it sends; the refusal is that word.
        return;
    }
    let throw_away = async {
        let mut left = limits::DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // What is not read by then is cut off with the connection.
    tokio::time::timeout(limits::DRAIN_TIME_MAX, throw_away).await.ok();
}
