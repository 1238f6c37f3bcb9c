//! Entrance for fuzzers: a segment file of any bytes.

use super::{Damage, FrameReader, scan};
use crate::disk::Layout;
use crate::fields::u64_at;
use crate::fuzzing::{Files, Taken};
use crate::ids::Group;
use crate::journal::format::{
    CHECKSUM_AT, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, encode_frame, frame_bytes,
};
use crate::limits;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// In the length of a chunk: its checksum is to be made right.
const SEAL: u16 = 1 << 15;

/// Whatever is in a segment, reading does not panic, and a frame that is understood is, byte for
/// byte, the frame that its records make (A2).
///
/// The input is read as a file, and as chunks that are laid on the blocks of one: a length (u16,
/// little-endian), then so many bytes. No fuzzer finds a checksum, so a chunk whose length has
/// its highest bit set gets the right one, as header or as frame.
pub fn fuzz_segment(input: &[u8]) -> Taken {
    let whole = read_back(input);
    let laid_out = read_back(&lay_out(input));
    whole || laid_out
}

fn lay_out(mut input: &[u8]) -> Vec<u8> {
    let block = usize::try_from(limits::FRAME_ALIGN_BYTES).expect("small");
    let mut segment = Vec::new();
    while let Some((head, rest)) = input.split_first_chunk::<2>() {
        let head = u16::from_le_bytes(*head);
        let (chunk, rest) = rest.split_at(usize::from(head & !SEAL).min(rest.len()));
        input = rest;
        let at = segment.len();
        segment.extend(chunk);
        if head & SEAL != 0 {
            let id = u64_at(&segment, 16).unwrap_or_default();
            if at == 0 { seal_header(&mut segment) } else { seal_frame(&mut segment[at..], id) }
        }
        segment.resize(segment.len().next_multiple_of(block), 0);
    }
    segment
}

fn seal_header(segment: &mut [u8]) {
    if let Some(header) = segment.get_mut(..SEGMENT_HEADER_BYTES) {
        let (fields, checksum) = header.split_at_mut(SEGMENT_HEADER_BYTES - 8);
        checksum.copy_from_slice(&xxh3_64(fields).to_le_bytes());
    }
}

/// As far as the frame's own word for its length can be believed.
fn seal_frame(frame: &mut [u8], segment_id: u64) {
    let payload = u64_at(frame, 32).and_then(|bytes| usize::try_from(bytes).ok());
    let end = payload.and_then(|payload| payload.checked_add(FRAME_HEADER_BYTES));
    if let Some(frame) = end.and_then(|end| frame.get_mut(..end)) {
        frame[CHECKSUM_AT..FRAME_HEADER_BYTES].fill(0);
        let sum = xxh3_64_with_seed(frame, segment_id);
        frame[CHECKSUM_AT..FRAME_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
}

fn read_back(segment: &[u8]) -> Taken {
    let layout = Layout::new("data");
    let disk = Files::one(layout.segment(1), segment);
    let found = scan(&disk, &layout, Group(0)).expect("the file can be read");
    assert_eq!(found.segments.len(), 1);
    assert!(found.frames.is_sorted_by(|a, b| a.group < b.group), "A2: a group is there once");
    let mut missing = 0;
    for damage in &found.damage {
        assert!(!damage.to_string().is_empty());
        missing += match damage {
            Damage::Missing { first, last } => last.0 - first.0 + 1,
            _ => 0,
        };
    }
    let last = found.frames.last().map_or(0, |frame| frame.group.0);
    assert_eq!(found.frames.len() as u64 + missing, last, "each group is there or missing");
    let mut taken = false;
    for frame in &found.frames {
        let contents = FrameReader::new(&disk).read(frame).expect("the file can be read");
        let Some(records) = contents.records() else { continue };
        let mut again = Vec::new();
        encode_frame(&mut again, frame.segment_id, frame.group, frame.accepted, &records);
        let at = usize::try_from(frame.offset).expect("small");
        let bytes = usize::try_from(frame.bytes).expect("small");
        assert_eq!(again.len() as u64, frame_bytes(frame.bytes - FRAME_HEADER_BYTES as u64));
        assert_eq!(again[..bytes], segment[at..at + bytes]);
        taken = true;
    }
    taken
}
