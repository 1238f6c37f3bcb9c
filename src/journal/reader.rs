//! Reading after a restart: which frames are there, and whether any is missing.

use std::path::{Path, PathBuf};

use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, Record, Rules, SegmentHeader, decode_records, frame_bytes,
    frame_is_valid,
};
use super::keeper::Sealed;
use crate::disk::{Disk, DiskResult, Layout, read_all};
use crate::ids::{AcceptTime, Group};
use crate::limits;

/// What is wrong with a journal. Never happens by a crash alone: the disk, or a person, did it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A segment does not say what it is.
    #[error("the header of {} is damaged; the groups in it cannot be read", path.display())]
    Header {
        /// The segment file.
        path: PathBuf,
    },
    /// Acknowledged groups are not there, although later ones are.
    #[error("groups {} to {} are damaged, group {} after them is whole", first.0, last.0, last.0 + 1)]
    Missing {
        /// The first group that is missing.
        first: Group,
        /// The last group that is missing.
        last: Group,
    },
    /// A frame is whole but what is in it makes no sense.
    #[error("group {} is whole but cannot be understood: {reason}", group.0)]
    Content {
        /// The group.
        group: Group,
        /// What is not understood.
        reason: String,
    },
}

/// Where a valid frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameAt {
    /// Its group.
    pub group: Group,
    /// When the group was accepted.
    pub accepted: AcceptTime,
    /// The rules that were in force.
    pub rules: Rules,
    path: PathBuf,
    offset: u64,
    /// Header and records, without padding.
    bytes: u64,
    records: u32,
}

/// Everything a journal holds past the checkpoint.
#[derive(Debug, Default)]
pub struct JournalScan {
    /// The frames to replay, in order of their groups.
    pub frames: Vec<FrameAt>,
    /// What is missing.
    pub damage: Vec<Damage>,
    /// All segments there are; to be reclaimed once their content is checkpointed.
    pub segments: Vec<Sealed>,
}

/// The bytes of one frame.
#[derive(Debug)]
pub struct FrameContents {
    bytes: Vec<u8>,
    records: u32,
}

/// Finds the frames of groups after `checkpoint`, in all segments.
///
/// # Errors
/// If the disk cannot be read.
pub fn scan(disk: &dyn Disk, layout: &Layout, checkpoint: Group) -> DiskResult<JournalScan> {
    let mut found = JournalScan::default();
    let names = disk.list(&layout.journal())?;
    for sequence in names.iter().filter_map(|name| Layout::parse_segment(name)) {
        let path = layout.segment(sequence);
        let mut segment = read_all(disk, &path)?;
        let mut last_group = Group(0);
        match SegmentHeader::decode(&segment).filter(|header| header.sequence == sequence) {
            None => found.damage.push(Damage::Header { path }),
            Some(header) => {
                for frame in frames_of(&mut segment, &path, &header) {
                    last_group = last_group.max(frame.group);
                    if frame.group > checkpoint {
                        found.frames.push(frame);
                    }
                }
            }
        }
        found.segments.push(Sealed { sequence, last_group });
    }
    found.frames.sort_by_key(|frame| frame.group);
    let mut expected = checkpoint.next();
    for frame in &found.frames {
        if frame.group > expected {
            let last = Group(frame.group.0 - 1);
            found.damage.push(Damage::Missing { first: expected, last });
        }
        expected = frame.group.next();
    }
    Ok(found)
}

/// Every valid frame of a segment, at whatever block it starts.
fn frames_of(segment: &mut [u8], path: &Path, header: &SegmentHeader) -> Vec<FrameAt> {
    let mut frames = Vec::new();
    let mut offset = limits::FRAME_ALIGN_BYTES;
    while let Some(rest) = usize::try_from(offset).ok().and_then(|at| segment.get_mut(at..)) {
        if rest.len() < FRAME_HEADER_BYTES {
            break;
        }
        match valid_frame(rest, header.id) {
            None => offset += limits::FRAME_ALIGN_BYTES,
            Some(frame) => {
                frames.push(FrameAt {
                    group: frame.group,
                    accepted: frame.accepted,
                    rules: header.rules,
                    path: path.to_path_buf(),
                    offset,
                    bytes: FRAME_HEADER_BYTES as u64 + frame.payload_bytes,
                    records: frame.records,
                });
                offset += frame_bytes(frame.payload_bytes);
            }
        }
    }
    frames
}

/// The header of the frame that `rest` begins with, if that is whole.
fn valid_frame(rest: &mut [u8], segment_id: u64) -> Option<FrameHeader> {
    let header = FrameHeader::decode(rest, segment_id)?;
    let payload = usize::try_from(header.payload_bytes).ok()?;
    let frame = rest.get_mut(..FRAME_HEADER_BYTES.checked_add(payload)?)?;
    frame_is_valid(frame, segment_id).then_some(header)
}

/// Reads a frame that [`scan`] found.
///
/// # Errors
/// If the disk cannot be read.
pub fn read_frame(disk: &dyn Disk, frame: &FrameAt) -> DiskResult<FrameContents> {
    let len = usize::try_from(frame.bytes).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    disk.open(&frame.path)?.read_at(frame.offset, &mut bytes)?;
    Ok(FrameContents { bytes, records: frame.records })
}

impl FrameContents {
    /// The group's batches, in order; `None` if the records do not fill the frame.
    #[must_use]
    pub fn records(&self) -> Option<Vec<Record<'_>>> {
        decode_records(&self.bytes[FRAME_HEADER_BYTES..], self.records)
    }
}
