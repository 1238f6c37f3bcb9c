//! Bytes of headers, frames and records; see the module's header for the layout.

use std::time::Duration;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::counts::KeyLimits;
use crate::fields::{u32_at, u64_at, u128_at};
use crate::ids::{AcceptTime, ContentDigest, Group};
use crate::limits;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"LOGMSEG3");
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"LMFR");
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
pub(super) const FRAME_HEADER_BYTES: usize = 48;
pub(super) const CHECKSUM_AT: usize = 40;
const RECORD_HEADER_BYTES: usize = 28;

/// The rules by which the entries of a segment are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long after its end a window still takes data that is not late.
    pub grace: Duration,
    /// Distinct names a window keeps.
    pub keys: KeyLimits,
    /// Tells by which rules paths were made names, see [`crate::paths::PathRules::id`].
    pub paths: u64,
}

/// One accepted batch as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the body said, digested.
    pub digest: ContentDigest,
    /// Whose batch it is.
    pub customer: &'a str,
    /// Its idempotency key.
    pub key: &'a str,
    /// The request that brought it.
    pub request_id: &'a str,
    /// What it counts, see [`crate::insight::Summary::to_bytes`].
    pub summary: &'a [u8],
    /// What was put aside of it, see [`crate::dead_letters::DeadLetters::to_bytes`].
    pub dead: &'a [u8],
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) sequence: u64,
    pub(super) id: u64,
    pub(super) rules: Rules,
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) group: Group,
    pub(super) accepted: AcceptTime,
    pub(super) records: u32,
    pub(super) payload_bytes: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let grace_ms = u64::try_from(self.rules.grace.as_millis()).unwrap_or(u64::MAX);
        let (paths, agents) = (self.rules.keys.paths as u64, self.rules.keys.agents as u64);
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        for field in
            [SEGMENT_MAGIC, self.sequence, self.id, grace_ms, paths, agents, self.rules.paths]
        {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let field = |n: usize| u64_at(block, n * 8);
        if field(0)? != SEGMENT_MAGIC || field(7)? != xxh3_64(&block[..SEGMENT_HEADER_BYTES - 8]) {
            return None;
        }
        let keys = KeyLimits {
            paths: usize::try_from(field(4)?).ok()?,
            agents: usize::try_from(field(5)?).ok()?,
        };
        let rules = Rules { grace: Duration::from_millis(field(3)?), keys, paths: field(6)? };
        Some(Self { sequence: field(1)?, id: field(2)?, rules })
    }
}

/// Bytes of the frame that records with this many bytes in all fill, padding included.
pub(super) fn frame_bytes(payload_bytes: u64) -> u64 {
    (FRAME_HEADER_BYTES as u64 + payload_bytes).next_multiple_of(limits::FRAME_ALIGN_BYTES)
}

/// Bytes that one record fills.
pub(super) fn record_bytes(record: &Record<'_>) -> u64 {
    let text = record.customer.len() + record.key.len() + record.request_id.len();
    (RECORD_HEADER_BYTES + text + record.summary.len() + record.dead.len()) as u64
}

/// Writes a whole frame into `frame`, which is cleared first.
pub(super) fn encode_frame(
    frame: &mut Vec<u8>,
    segment_id: u64,
    group: Group,
    accepted: AcceptTime,
    records: &[Record<'_>],
) {
    let payload: u64 = records.iter().map(record_bytes).sum();
    let total = usize::try_from(frame_bytes(payload)).expect("a frame fits memory");
    frame.clear();
    frame.reserve(total);
    frame.extend(FRAME_MAGIC.to_le_bytes());
    frame.extend(u32::try_from(records.len()).expect("a group's batches fit u32").to_le_bytes());
    for field in [segment_id, group.0, accepted.0, payload, 0] {
        frame.extend(field.to_le_bytes());
    }
    for record in records {
        encode_record(frame, record);
    }
    let checksum = xxh3_64_with_seed(frame, segment_id);
    frame[CHECKSUM_AT..FRAME_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    frame.resize(total, 0);
}

fn encode_record(frame: &mut Vec<u8>, record: &Record<'_>) {
    let short = |text: &str| u8::try_from(text.len()).expect("checked when the id was made");
    let length = |part: &[u8]| u32::try_from(part.len()).expect("about a body, or less");
    frame.extend(length(record.summary).to_le_bytes());
    frame.extend([short(record.customer), short(record.key), short(record.request_id)]);
    frame.push(0);
    frame.extend(record.digest.0.to_le_bytes());
    frame.extend(length(record.dead).to_le_bytes());
    frame.extend(record.customer.as_bytes());
    frame.extend(record.key.as_bytes());
    frame.extend(record.request_id.as_bytes());
    frame.extend(record.summary);
    frame.extend(record.dead);
}

impl FrameHeader {
    /// Reads the header of a frame of the given segment, without looking at its checksum.
    pub(super) fn decode(bytes: &[u8], segment_id: u64) -> Option<Self> {
        let magic = u32_at(bytes, 0)?;
        let group = Group(u64_at(bytes, 16)?);
        // No group is the last: a journal that said so could not be gone on with.
        if magic != FRAME_MAGIC || u64_at(bytes, 8)? != segment_id || group.0 == u64::MAX {
            return None;
        }
        Some(Self {
            group,
            accepted: AcceptTime(u64_at(bytes, 24)?),
            records: u32_at(bytes, 4)?,
            payload_bytes: u64_at(bytes, 32)?,
        })
    }
}

/// Whether a frame's checksum is right; `frame` is header and payload, without padding, and is
/// afterwards as it was.
pub(super) fn frame_is_valid(frame: &mut [u8], segment_id: u64) -> bool {
    let Some(recorded) = u64_at(frame, CHECKSUM_AT) else { return false };
    frame[CHECKSUM_AT..FRAME_HEADER_BYTES].fill(0);
    let computed = xxh3_64_with_seed(frame, segment_id);
    frame[CHECKSUM_AT..FRAME_HEADER_BYTES].copy_from_slice(&recorded.to_le_bytes());
    computed == recorded
}

/// Takes the records out of a valid frame's payload; `None` if they do not fill it exactly.
pub(super) fn decode_records(mut payload: &[u8], count: u32) -> Option<Vec<Record<'_>>> {
    // The count is believed once so many records are there, not before.
    let most = payload.len() / RECORD_HEADER_BYTES;
    let mut records = Vec::with_capacity(most.min(count as usize));
    for _ in 0..count {
        let (header, rest) = payload.split_at_checked(RECORD_HEADER_BYTES)?;
        let summary_bytes = u32_at(header, 0)? as usize;
        let digest = ContentDigest(u128_at(header, 8)?);
        let dead_bytes = u32_at(header, 24)? as usize;
        let (customer, rest) = rest.split_at_checked(header[4].into())?;
        let (key, rest) = rest.split_at_checked(header[5].into())?;
        let (request_id, rest) = rest.split_at_checked(header[6].into())?;
        let (summary, rest) = rest.split_at_checked(summary_bytes)?;
        let (dead, rest) = rest.split_at_checked(dead_bytes)?;
        if header[7] != 0 {
            return None;
        }
        records.push(Record {
            digest,
            customer: std::str::from_utf8(customer).ok()?,
            key: std::str::from_utf8(key).ok()?,
            request_id: std::str::from_utf8(request_id).ok()?,
            summary,
            dead,
        });
        payload = rest;
    }
    payload.is_empty().then_some(records)
}
