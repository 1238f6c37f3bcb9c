//! Makes segments ahead of their use and takes used ones back: archives and reclaims them.
//!
//! First touch of a file's pages is what costs; a reclaimed segment is warm and is reused.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::archive::{Archive, ArchiveRetention};
use super::format::{Rules, SegmentHeader};
use crate::disk::{Disk, DiskFile, DiskResult, Layout};
use crate::entropy::Entropy;
use crate::failpoint::{self, Failpoint};
use crate::ids::Group;
use crate::limits;

/// A segment that is durable, named and empty.
#[derive(Debug)]
pub struct Prepared {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) sequence: u64,
    pub(super) id: u64,
    /// Size of the file.
    pub(super) bytes: u64,
}

/// A segment that is not appended to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed {
    /// Its place in the sequence.
    pub sequence: u64,
    /// The last group in it, or one before.
    pub last_group: Group,
}

/// The one owner of the segment files' names.
pub struct SegmentKeeper {
    disk: Arc<dyn Disk>,
    layout: Layout,
    entropy: Arc<dyn Entropy>,
    rules: Rules,
    segment_bytes: u64,
    next_sequence: u64,
    /// Numbers of the spare files, see [`Layout::spare`].
    spares: Vec<u64>,
    /// Where segments go before they are reclaimed.
    archive: Option<Archive>,
    /// Taken back, and not archived and reclaimed yet.
    waiting: BTreeSet<Sealed>,
}

impl fmt::Debug for SegmentKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentKeeper")
            .field("next_sequence", &self.next_sequence)
            .field("spares", &self.spares)
            .finish_non_exhaustive()
    }
}

impl SegmentKeeper {
    /// Looks at what segments and spares there are; new ones are numbered after all of them.
    ///
    /// # Errors
    /// If the journal's directory cannot be read.
    pub fn open(
        disk: Arc<dyn Disk>,
        layout: Layout,
        entropy: Arc<dyn Entropy>,
        rules: Rules,
        segment_bytes: u64,
    ) -> DiskResult<Self> {
        let names = disk.list(&layout.journal())?;
        let spares: Vec<u64> = names.iter().filter_map(|n| Layout::parse_spare(n)).collect();
        let segments = names.iter().filter_map(|name| Layout::parse_segment(name));
        let last = segments.chain(spares.iter().copied()).max().unwrap_or(0);
        let next_sequence = last + 1;
        Ok(Self {
            disk,
            layout,
            entropy,
            rules,
            segment_bytes,
            next_sequence,
            spares,
            archive: None,
            waiting: BTreeSet::new(),
        })
    }

    /// Archives segments before they are reclaimed, for as long as the retention says.
    ///
    /// # Errors
    /// If the archive's directory cannot be made.
    pub fn with_archive(mut self, retention: ArchiveRetention) -> DiskResult<Self> {
        self.archive = Archive::open(&self.disk, &self.layout, retention)?;
        Ok(self)
    }

    /// Makes the next segment: from a spare if there is one, from nothing otherwise.
    ///
    /// # Errors
    /// If the disk is full or fails; the call may be repeated, nothing depends on it yet.
    pub fn prepare(&mut self) -> DiskResult<Prepared> {
        let header = SegmentHeader {
            sequence: self.next_sequence,
            id: self.entropy.bits(),
            rules: self.rules,
        };
        let path = self.layout.segment(header.sequence);
        let block = header.encode();
        let file = match self.spares.pop() {
            None => self.disk.create_new(&path, &block, self.segment_bytes)?,
            Some(spare) => {
                // Taken out of the list first: after an error it is never written to again.
                let spare = self.layout.spare(spare);
                let file = self.disk.open(&spare)?;
                file.write_at(0, &block)?;
                file.sync_data()?;
                failpoint::reach(Failpoint::BeforeReuse);
                self.disk.rename(&spare, &path)?;
                self.disk.sync_dir(&self.layout.journal())?;
                file
            }
        };
        self.next_sequence += 1;
        let bytes = file.len()?;
        Ok(Prepared { file, sequence: header.sequence, id: header.id, bytes })
    }

    /// Puts the segments of a damaged journal aside, for a person to look at. IMPORTANT: only
    /// after the store and the claims durably hold all of them that can be read (S2).
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_aside(&mut self, segments: &[Sealed]) -> DiskResult<()> {
        for segment in segments {
            if let Some(archive) = &self.archive {
                archive.add(segment.sequence, &|| ())?;
            }
            let path = self.layout.segment(segment.sequence);
            self.disk.rename(&path, &Layout::aside(&path))?;
        }
        self.disk.sync_dir(&self.layout.journal())
    }

    /// Takes segments back, to be archived and reclaimed one after the other. IMPORTANT: only
    /// after the store and the claims durably hold everything in them (S2).
    pub fn take_back(&mut self, segments: impl IntoIterator<Item = Sealed>) {
        self.waiting.extend(segments);
    }

    /// Whether some of what was taken back is not reclaimed yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes segments back and reclaims all that it can.
    ///
    /// # Errors
    /// As for [`SegmentKeeper::reclaim_next`].
    pub fn reclaim(&mut self, segments: impl IntoIterator<Item = Sealed>) -> DiskResult<()> {
        self.take_back(segments);
        while self.reclaim_next(&|| ())? {}
        Ok(())
    }

    /// Archives and reclaims the oldest segment that was taken back; `false` if there is none, or
    /// no space to archive it, and then it stays where it is. Calls `pause` between parts of the
    /// work, unless so many wait that the disk would fill.
    ///
    /// # Errors
    /// If the disk fails; what was not reclaimed is harmless and is reclaimed at the next start.
    pub fn reclaim_next(&mut self, pause: &dyn Fn()) -> DiskResult<bool> {
        let Some(segment) = self.waiting.first().copied() else { return Ok(false) };
        let is_hurried = self.waiting.len() > limits::ARCHIVE_WAITING_MAX;
        let pause = if is_hurried { &|| () } else { pause };
        if let Some(archive) = &self.archive
            && let Err(error) = archive.add(segment.sequence, pause)
        {
            if !error.is_only_full() {
                return Err(error);
            }
            tracing::warn!(%error, source = %error.source, "no room to archive a segment");
            return Ok(false);
        }
        if self.archive.is_some() {
            failpoint::reach(Failpoint::AfterArchive);
        }
        self.waiting.remove(&segment);
        failpoint::reach(Failpoint::BeforeReclaim);
        let path = self.layout.segment(segment.sequence);
        if self.spares.len() < limits::SEGMENT_SPARES_MAX {
            self.disk.rename(&path, &self.layout.spare(segment.sequence))?;
            self.spares.push(segment.sequence);
        } else {
            self.disk.remove(&path)?;
        }
        // A spare must not be written to while its old name may still come back.
        self.disk.sync_dir(&self.layout.journal())?;
        failpoint::reach(Failpoint::AfterReclaim);
        Ok(true)
    }
}
