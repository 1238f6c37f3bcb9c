//! Reading after a restart: which frames are there, and whether any is missing.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::archive::{Archived, archived, unpack};
use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, Record, Rules, SegmentHeader, decode_records, frame_bytes,
    frame_is_valid,
};
use super::keeper::Sealed;
use crate::disk::{Disk, DiskResult, Layout, read_all};
use crate::ids::{AcceptTime, Group};
use crate::limits;

/// What is wrong with a journal, or with claims. Never happens by a crash alone: the disk, or a
/// person, did it.
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
    /// Two frames say that they are the same group; counting both would count batches twice.
    #[error("group {} is there more than once", group.0)]
    Twice {
        /// The group.
        group: Group,
    },
    /// A claim page does not say what it is.
    #[error("the claim page {} is damaged; the keys on it cannot be told from new ones", path.display())]
    ClaimPage {
        /// The page's file.
        path: PathBuf,
    },
    /// Entries of a claim page are not what a checkpoint has made durable.
    #[error("entries of the claim page {} are damaged; the keys in them cannot be told from new ones", path.display())]
    ClaimEntries {
        /// The page's file.
        path: PathBuf,
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

impl Damage {
    /// Whether it is of claims: keys are lost by it, and no batch.
    #[must_use]
    pub fn is_of_claims(&self) -> bool {
        matches!(self, Self::ClaimPage { .. } | Self::ClaimEntries { .. })
    }

    /// The groups that are lost by it, where they are known.
    #[must_use]
    pub fn lost(&self) -> Option<RangeInclusive<Group>> {
        match self {
            Self::Missing { first, last } => Some(*first..=*last),
            Self::Content { group, .. } => Some(*group..=*group),
            _ => None,
        }
    }
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
    home: Home,
    offset: u64,
    /// Header and records, without padding.
    bytes: u64,
    segment_id: u64,
}

impl FrameAt {
    /// Writes the frame over itself and syncs it: that it can be read does not say that the disk
    /// has it. Pages whose sync has failed count as clean, so that syncing alone does nothing.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write_again(&self, disk: &dyn Disk) -> DiskResult<()> {
        // What is archived is durable.
        let Home::Segment(path) = &self.home else { return Ok(()) };
        let file = disk.open(path)?;
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        file.read_at(self.offset, &mut bytes)?;
        file.write_at(self.offset, &bytes)?;
        file.sync_data()
    }
}

/// The file that a frame is in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    Segment(PathBuf),
    Archive(Archived),
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

/// Reads frames that a scan found.
#[derive(Debug)]
pub struct FrameReader<'d> {
    disk: &'d dyn Disk,
    /// The archived segment that was read last: its frames are asked for one after the other.
    unpacked: Option<(PathBuf, Vec<u8>)>,
}

/// The bytes of one frame.
#[derive(Debug)]
pub struct FrameContents {
    bytes: Vec<u8>,
    /// How many there are; `None` if the bytes are not the frame that was found.
    records: Option<u32>,
}

/// Finds the frames of groups after `checkpoint`, in all segments. Archived ones are looked into
/// where they go on after the checkpoint: when the store is new, or older than the archive.
///
/// # Errors
/// If the disk cannot be read.
pub fn scan(disk: &dyn Disk, layout: &Layout, checkpoint: Group) -> DiskResult<JournalScan> {
    let mut found = scan_segments(disk, layout, checkpoint)?;
    add_archived(disk, layout, checkpoint, &mut found)?;
    found.frames.sort_by_key(|frame| frame.group);
    let mut expected = checkpoint.next();
    for frame in &found.frames {
        if frame.group < expected {
            found.damage.push(Damage::Twice { group: frame.group });
        }
        if frame.group > expected {
            let last = Group(frame.group.0 - 1);
            found.damage.push(Damage::Missing { first: expected, last });
        }
        expected = frame.group.next();
    }
    found.frames.dedup_by_key(|frame| frame.group);
    Ok(found)
}

/// The frames of groups after `checkpoint` in the journal's own segments, in no order.
pub(super) fn scan_segments(
    disk: &dyn Disk,
    layout: &Layout,
    checkpoint: Group,
) -> DiskResult<JournalScan> {
    let mut found = JournalScan::default();
    let names = disk.list(&layout.journal())?;
    for sequence in names.iter().filter_map(|name| Layout::parse_segment(name)) {
        let path = layout.segment(sequence);
        let mut segment = read_all(disk, &path)?;
        let mut last_group = Group(0);
        match SegmentHeader::decode(&segment).filter(|header| header.sequence == sequence) {
            None => found.damage.push(Damage::Header { path }),
            Some(header) => {
                for frame in frames_of(&mut segment, &Home::Segment(path), &header) {
                    last_group = last_group.max(frame.group);
                    if frame.group > checkpoint {
                        found.frames.push(frame);
                    }
                }
            }
        }
        found.segments.push(Sealed { sequence, last_group });
    }
    Ok(found)
}

/// Adds what the archive has and the segments have not: a crash between archiving and reclaiming
/// leaves a group in both.
fn add_archived(
    disk: &dyn Disk,
    layout: &Layout,
    checkpoint: Group,
    found: &mut JournalScan,
) -> DiskResult<()> {
    let mut known: BTreeSet<_> = found.frames.iter().map(|frame| frame.group).collect();
    for archived in archived(disk, layout)?.into_iter().filter(|a| a.last > checkpoint) {
        let Some(frames) = archived_frames(disk, &archived)? else {
            found.damage.push(Damage::Header { path: archived.path });
            continue;
        };
        for frame in frames {
            if frame.group > checkpoint && known.insert(frame.group) {
                found.frames.push(frame);
            }
        }
    }
    Ok(())
}

/// The frames of an archived segment; `None` if it cannot be read.
pub(super) fn archived_frames(
    disk: &dyn Disk,
    archived: &Archived,
) -> DiskResult<Option<Vec<FrameAt>>> {
    Ok(unpack(disk, archived)?.and_then(|mut segment| {
        let header = SegmentHeader::decode(&segment)?;
        Some(frames_of(&mut segment, &Home::Archive(archived.clone()), &header))
    }))
}

/// Every valid frame of a segment, at whatever block it starts.
fn frames_of(segment: &mut [u8], home: &Home, header: &SegmentHeader) -> Vec<FrameAt> {
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
                    home: home.clone(),
                    offset,
                    bytes: FRAME_HEADER_BYTES as u64 + frame.payload_bytes,
                    segment_id: header.id,
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

/// What of a segment is worth archiving: the groups in it, and how far they reach.
pub(super) struct Extent {
    pub(super) first: Group,
    pub(super) last: Group,
    pub(super) accepted: AcceptTime,
    /// Bytes up to the end of the last frame.
    pub(super) bytes: usize,
}

/// Measures a segment; `None` if no frame is in it.
pub(super) fn extent(segment: &mut [u8]) -> Option<Extent> {
    let header = SegmentHeader::decode(segment)?;
    let frames = frames_of(segment, &Home::Segment(PathBuf::new()), &header);
    let (first, last) = (frames.first()?, frames.last()?);
    let bytes = usize::try_from(last.offset + last.bytes).ok()?;
    Some(Extent { first: first.group, last: last.group, accepted: last.accepted, bytes })
}

impl<'d> FrameReader<'d> {
    /// A reader of one disk's frames.
    #[must_use]
    pub fn new(disk: &'d dyn Disk) -> Self {
        Self { disk, unpacked: None }
    }

    /// Reads a frame that [`scan`] found, and checks it again: after a failed sync the bytes that
    /// the scan saw may have been in memory only, and the disk may give others once they are
    /// evicted.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn read(&mut self, frame: &FrameAt) -> DiskResult<FrameContents> {
        let len = usize::try_from(frame.bytes).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        match &frame.home {
            Home::Segment(path) => self.disk.open(path)?.read_at(frame.offset, &mut bytes)?,
            Home::Archive(archived) => {
                let segment = self.unpacked(archived)?;
                let at = usize::try_from(frame.offset).unwrap_or(usize::MAX);
                if let Some(found) = segment.get(at..).and_then(|rest| rest.get(..len)) {
                    bytes.copy_from_slice(found);
                }
            }
        }
        let header = valid_frame(&mut bytes, frame.segment_id);
        let header = header.filter(|header| header.group == frame.group);
        Ok(FrameContents { bytes, records: header.map(|header| header.records) })
    }

    fn unpacked(&mut self, archived: &Archived) -> DiskResult<&[u8]> {
        if self.unpacked.as_ref().is_none_or(|(path, _)| *path != archived.path) {
            let segment = unpack(self.disk, archived)?.unwrap_or_default();
            self.unpacked = Some((archived.path.clone(), segment));
        }
        Ok(self.unpacked.as_ref().map_or(&[], |(_, segment)| segment))
    }
}

impl FrameContents {
    /// The group's batches, in order; `None` if the frame is not whole any more or the records do
    /// not fill it.
    #[must_use]
    pub fn records(&self) -> Option<Vec<Record<'_>>> {
        decode_records(&self.bytes[FRAME_HEADER_BYTES..], self.records?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::counts::KeyLimits;
    use crate::disk::RealDisk;
    use crate::entropy::SystemEntropy;
    use crate::ids::ContentDigest;
    use crate::journal::{Journal, SegmentKeeper};

    fn rules() -> Rules {
        Rules { grace: Duration::ZERO, keys: KeyLimits { paths: 9, agents: 9 }, paths: 7 }
    }

    fn record(summary: &[u8]) -> Record<'_> {
        let (digest, customer, key) = (ContentDigest(1), "c", "k");
        Record { digest, customer, key, request_id: "r", summary, dead: b"dead" }
    }

    /// A frame that was whole in memory and is not on the disk must not be counted, even where
    /// what the disk has instead looks like records (A2).
    #[test]
    fn a_frame_that_changes_after_the_scan_is_not_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        disk.create_dir(&layout.journal()).expect("made");
        let entropy = Arc::new(SystemEntropy);
        let bytes = limits::SEGMENT_BYTES;
        let mut keeper =
            SegmentKeeper::open(Arc::clone(&disk), layout.clone(), entropy, rules(), bytes)
                .expect("opened");
        let mut journal =
            Journal::begin(Box::new(move || keeper.prepare()), Group(0)).expect("begun");
        journal.append(Group(1), AcceptTime(1), &[record(b"one")]).expect("written");
        let found = scan(disk.as_ref(), &layout, Group(0)).expect("scanned");
        let read = || FrameReader::new(disk.as_ref()).read(&found.frames[0]).expect("read");
        assert_eq!(read().records(), Some(vec![record(b"one")]));

        let body_at = limits::FRAME_ALIGN_BYTES + found.frames[0].bytes - 3;
        let segment = disk.open(&layout.segment(1)).expect("there");
        segment.write_at(body_at, b"two").expect("written");
        assert_eq!(read().records(), None);
    }
}
