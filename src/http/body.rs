//! Reading and unpacking a body: counted while it comes, bounded in size, memory and time.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until};

use super::App;
use super::decoders::Decoders;
use super::problem::{Problem, Type};
use crate::admission::{Full, Permit};
use crate::decode::encoding::{Encoding, UnpackError};
use crate::ids::CustomerId;
use crate::limits;

/// How large a body may be and how long it may take.
#[derive(Debug, Clone, Copy)]
struct BodyLimits {
    bytes: u64,
    time: Duration,
    /// A body that comes in one piece may stay in the connection's buffer, which is larger than it:
    /// it is decoded at once, and waits for nothing.
    may_stay: bool,
}

/// The length that the client announces.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a batch will take in memory, as far as its body's length on the wire tells.
fn expected(encoding: Encoding, length: u64, max: u64) -> u64 {
    let unpacked = length * limits::UNPACKED_TIMES as u64;
    let body = match encoding {
        Encoding::Identity => length,
        _ => length + unpacked.max(limits::UNPACK_BYTES_MIN as u64).min(max),
    };
    body + body * limits::ADMISSION_SUMMARY_PERCENT / 100
}

/// Takes a permit, then reads the body; the permit holds what the batch is expected to take.
pub(super) async fn admit_and_read(
    app: &App,
    customer: &CustomerId,
    headers: &HeaderMap,
    encoding: Encoding,
    body: Body,
) -> Result<(Permit, Bytes), Problem> {
    let bounds = BodyLimits {
        bytes: app.settings.body_bytes,
        time: app.settings.body_timeout,
        may_stay: encoding == Encoding::Identity,
    };
    let announced = announced(headers);
    if announced.is_some_and(|bytes| bytes > bounds.bytes) {
        return Err(too_large(bounds.bytes));
    }
    let unknown = match encoding {
        Encoding::Identity => limits::ADMISSION_UNKNOWN_BYTES,
        // Then both forms of it take about as much.
        _ => limits::ADMISSION_UNKNOWN_BYTES / (1 + limits::UNPACKED_TIMES as u64),
    };
    let length = announced.unwrap_or(unknown.min(bounds.bytes));
    let expected = |length| expected(encoding, length, bounds.bytes);
    let permit =
        app.admission.admit(customer, expected(length)).map_err(|full| refused(full, customer))?;
    read(&app.decoders, permit, length, body, bounds, expected).await
}

async fn read(
    decoders: &Decoders,
    mut permit: Permit,
    mut length: u64,
    mut body: Body,
    bounds: BodyLimits,
    expected: impl Fn(u64) -> u64,
) -> Result<(Permit, Bytes), Problem> {
    let max = bounds.bytes;
    let mut read = BytesMut::new();
    // One timer for both: the next look at the pace, or the end of all patience.
    let began = Instant::now();
    let deadline = began + bounds.time;
    let mut timer = pin!(sleep_until(deadline.min(began + limits::PACE_INTERVAL)));
    let mut paced = 0;
    let mut whole = None;
    loop {
        let frame = tokio::select! {
            // What has come already needs no timer.
            biased;
            frame = body.frame() => frame,
            () = &mut timer => {
                let now = timer.deadline();
                if now >= deadline {
                    return Err(timed_out(bounds.time));
                }
                // Room must not be held by whoever sends slowest: no timeout is short enough.
                if read.len() - paced < limits::PACE_BYTES_MIN && permit.is_scarce() {
                    return Err(too_slow());
                }
                paced = read.len();
                timer.as_mut().reset(deadline.min(now + limits::PACE_INTERVAL));
                continue;
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|_| Problem::new(Type::IncompleteBody, "the body broke off before its end"))?;
        // Trailers are of no use here.
        let Ok(data) = frame.into_data() else { continue };
        let bytes = (read.len() + data.len()) as u64;
        if bytes > max {
            return Err(too_large(max));
        }
        if bytes > length {
            // Growing is refused at once when there is no room, so that bodies half read cannot
            // wait for one another.
            length = (bytes * 2).min(max);
            if let Err(full) = permit.resize(expected(length)) {
                return Err(refused(full, permit.customer()));
            }
        }
        if read.is_empty() {
            if bounds.may_stay && body.is_end_stream() {
                whole = Some(data);
                break;
            }
            read = decoders.buffer(usize::try_from(length).unwrap_or_default());
        }
        read.extend_from_slice(&data);
    }
    let read = whole.unwrap_or_else(|| read.freeze());
    let shrunk = permit.resize(expected(read.len() as u64));
    debug_assert!(shrunk.is_ok(), "a permit can always shrink");
    Ok((permit, read))
}

/// The plain bytes of a body; while they are made, the permit holds both.
///
/// Works without a pause: a large body belongs on a blocking thread.
pub(super) fn unpack(
    permit: &mut Permit,
    encoding: Encoding,
    body: Bytes,
    max: u64,
) -> Result<Bytes, Problem> {
    let packed = body.len();
    let make_room = |plain: usize| permit.reserve((packed + plain) as u64);
    let plain = encoding.unpack(body, usize::try_from(max).unwrap_or(usize::MAX), make_room);
    plain.map_err(|error| match error {
        UnpackError::TooLarge => too_large(max),
        UnpackError::Refused(full) => refused(full, permit.customer()),
        UnpackError::Broken(error) => {
            let detail = format!("the body is not what content-encoding says: {error}");
            Problem::new(Type::InvalidEncoding, detail)
        }
    })
}

fn too_large(max: u64) -> Problem {
    let detail = format!(
        "the body has more than {max} bytes, or has them after decompression; send smaller \
         batches, or raise limits.body_bytes"
    );
    Problem::new(Type::BodyTooLarge, detail)
}

fn timed_out(time: Duration) -> Problem {
    let seconds = time.as_secs_f64();
    let detail = format!("the body did not arrive within {seconds} s; send it again");
    Problem::new(Type::BodyTimeout, detail)
}

fn too_slow() -> Problem {
    let detail = "the server is short of room and the body arrives too slowly to keep its place; \
                  try again";
    Problem::new(Type::Overloaded, detail)
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

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;

    use super::*;
    use crate::admission::{Admission, AdmissionLimits};

    /// With the tightest limits that the configuration allows, a server at rest takes every body.
    #[test]
    fn a_server_at_rest_has_room_for_the_largest_body() {
        let overhead = limits::ADMISSION_BATCH_OVERHEAD_BYTES;
        for max in [1, 5, 8, 100, 256, 2_048, 16_384].map(|kib| kib * limits::KIB) {
            let needed = max * limits::ADMISSION_BODY_TIMES + overhead;
            let inflight =
                (max * (limits::ADMISSION_BODY_TIMES + 1)).max(limits::INFLIGHT_BYTES_MIN);
            let customer_percent = (needed * 100).div_ceil(inflight);
            let share = AdmissionLimits {
                bytes: inflight,
                batches: 100,
                customer_percent,
                customer_shares: HashMap::new(),
            };
            let admission = Admission::new(share);
            let customer = CustomerId::new("a").expect("valid");
            for encoding in [Encoding::Identity, Encoding::Gzip] {
                let bytes = expected(encoding, max, max);
                assert!(admission.admit(&customer, bytes).is_ok(), "{encoding:?} of {max}");
            }
        }
    }

    /// What is admitted as small may use the room that is kept for small batches.
    #[test]
    fn requests_of_unknown_length_are_small() {
        let max = 2 * limits::MIB;
        let overhead = limits::ADMISSION_BATCH_OVERHEAD_BYTES;
        let plain = expected(Encoding::Identity, limits::ADMISSION_UNKNOWN_BYTES, max);
        let packed = limits::ADMISSION_UNKNOWN_BYTES / (1 + limits::UNPACKED_TIMES as u64);
        for bytes in
            [plain, expected(Encoding::Zstd, packed, max), expected(Encoding::Gzip, 200, max)]
        {
            assert!(bytes + overhead <= limits::ADMISSION_SMALL_BYTES, "{bytes}");
        }
    }
}
