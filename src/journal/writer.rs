//! Appending: one frame a group, one write, one sync.

use std::fmt;

use super::format::{self, Record};
use super::keeper::{Prepared, Sealed};
use crate::disk::DiskResult;
use crate::failpoint::{self, Failpoint};
use crate::ids::{AcceptTime, Group};
use crate::limits;

/// Where the next segment comes from.
pub type SegmentSource = Box<dyn FnMut() -> DiskResult<Prepared> + Send>;

/// The journal of one process life. Owned by the sequencer.
pub struct Journal {
    source: SegmentSource,
    current: Prepared,
    /// Where the next frame goes in the current segment.
    offset: u64,
    last_group: Group,
    sealed: Vec<Sealed>,
    /// The frame being built, kept to save the allocation.
    frame: Vec<u8>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("sequence", &self.current.sequence)
            .field("offset", &self.offset)
            .field("last_group", &self.last_group)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Begins a journal after `last_group`, in a segment of its own.
    ///
    /// # Errors
    /// If no segment can be made.
    pub fn begin(mut source: SegmentSource, last_group: Group) -> DiskResult<Self> {
        let current = source()?;
        let offset = limits::FRAME_ALIGN_BYTES;
        Ok(Self { source, current, offset, last_group, sealed: Vec::new(), frame: Vec::new() })
    }

    /// Bytes that a record adds to its frame.
    #[must_use]
    pub fn record_bytes(record: &Record<'_>) -> u64 {
        format::record_bytes(record)
    }

    /// Makes sure that a frame with this many bytes of records can be appended, whatever else
    /// happens on the disk. Nothing has been claimed or written when this fails.
    ///
    /// # Errors
    /// If a new segment is needed and cannot be made.
    pub fn reserve(&mut self, payload_bytes: u64) -> DiskResult<()> {
        if self.offset + format::frame_bytes(payload_bytes) <= self.current.bytes {
            return Ok(());
        }
        self.turn_over()
    }

    /// Closes the segment that is written to and begins the next, unless nothing is in it.
    ///
    /// # Errors
    /// If the next segment cannot be made; the journal goes on in the one it has.
    pub fn seal(&mut self) -> DiskResult<()> {
        if self.offset == limits::FRAME_ALIGN_BYTES {
            return Ok(());
        }
        self.turn_over()
    }

    fn turn_over(&mut self) -> DiskResult<()> {
        let next = (self.source)()?;
        let full = std::mem::replace(&mut self.current, next);
        self.offset = limits::FRAME_ALIGN_BYTES;
        self.sealed.push(Sealed { sequence: full.sequence, last_group: self.last_group });
        Ok(())
    }

    /// Writes and syncs a group's frame (A1); returns how many bytes of journal it takes.
    ///
    /// # Errors
    /// If the disk fails. IMPORTANT: the caller must end the process; whether the frame is there
    /// is for recovery to judge.
    ///
    /// # Panics
    /// If the space was not reserved, or the group is not the next.
    pub fn append(
        &mut self,
        group: Group,
        accepted: AcceptTime,
        records: &[Record<'_>],
    ) -> DiskResult<u64> {
        assert_eq!(group, self.last_group.next(), "groups are dense");
        format::encode_frame(&mut self.frame, self.current.id, group, accepted, records);
        let bytes = self.frame.len() as u64;
        assert!(self.offset + bytes <= self.current.bytes, "space is reserved before");
        failpoint::reach(Failpoint::BeforeJournalWrite);
        self.current.file.write_at(self.offset, &self.frame)?;
        failpoint::reach(Failpoint::BeforeJournalSync);
        self.current.file.sync_data()?;
        failpoint::reach(Failpoint::AfterJournalSync);
        self.offset += bytes;
        self.last_group = group;
        // A group of the largest bodies must not keep its memory for ever.
        self.frame.clear();
        self.frame.shrink_to(usize::try_from(limits::GROUP_BYTES_MAX).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    /// The last group that was appended.
    #[must_use]
    pub fn last_group(&self) -> Group {
        self.last_group
    }

    /// Hands over the segments that are full; each holds groups up to its `last_group` only.
    pub fn take_sealed(&mut self) -> Vec<Sealed> {
        std::mem::take(&mut self.sealed)
    }
}
