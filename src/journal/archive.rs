//! The archive: what the journal held, compressed, for as long as `archive.retention` says.
//!
//! A segment that is behind the checkpoint is compressed into `archive/`, durably, before its file
//! is reclaimed. The name says which groups are in it and when the last was accepted; the contents
//! are the segment's own bytes up to its last frame (zstd, with a checksum), so that one reader
//! knows both. An archive is never changed; the oldest go first.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::reader::{Extent, extent};
use crate::disk::{Disk, DiskError, DiskFile, DiskResult, Layout, read_all};
use crate::ids::{AcceptTime, Group};
use crate::limits;

/// How long archived segments are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveRetention {
    /// There is no archive: segments are reclaimed at once. What was archived before stays.
    #[default]
    Off,
    /// Until groups this much younger, by accept time, are archived.
    For(Duration),
    /// For ever.
    Forever,
}

/// An archived segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Its file.
    pub path: PathBuf,
    /// The first group in it.
    pub first: Group,
    /// The last group in it.
    pub last: Group,
    /// When the last group was accepted.
    pub accepted: AcceptTime,
}

/// All archived segments, in order of their groups.
///
/// # Errors
/// If the directory cannot be read; one that is not there is empty.
pub fn archived(disk: &dyn Disk, layout: &Layout) -> DiskResult<Vec<Archived>> {
    let names = match disk.list(&layout.archive()) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let entry = |name: &String| {
        let (first, last, accepted) = Layout::parse_archived(name)?;
        Some(Archived { path: layout.archive().join(name), first, last, accepted })
    };
    let mut found: Vec<_> = names.iter().filter_map(entry).collect();
    found.sort_by_key(|archived| (archived.first, archived.last));
    Ok(found)
}

/// Writes and prunes the archive.
#[derive(Debug)]
pub(super) struct Archive {
    disk: Arc<dyn Disk>,
    layout: Layout,
    retention: ArchiveRetention,
}

impl Archive {
    /// The archive of a data directory; `None` if it is off.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        layout: &Layout,
        retention: ArchiveRetention,
    ) -> DiskResult<Option<Self>> {
        if retention == ArchiveRetention::Off {
            return Ok(None);
        }
        disk.create_dir(&layout.archive())?;
        Ok(Some(Self { disk: Arc::clone(disk), layout: layout.clone(), retention }))
    }

    /// Archives a segment, durably, with a pause after each part of the work. One without a frame
    /// leaves nothing to archive.
    ///
    /// # Errors
    /// If the disk fails; the call may be repeated if it is only full.
    pub(super) fn add(&self, sequence: u64, pause: &dyn Fn()) -> DiskResult<()> {
        let path = self.layout.segment(sequence);
        let mut segment = read(self.disk.open(&path)?.as_ref(), pause)?;
        let Some(Extent { first, last, accepted, bytes }) = extent(&mut segment) else {
            return Ok(());
        };
        let to = self.layout.archived(first, last, accepted);
        let packed = pack(&segment[..bytes], pause);
        let packed = packed.map_err(|error| DiskError::new("compress", &path, error))?;
        match self.disk.create_new(&to, &packed, 0) {
            // Whoever archived it was killed before it reclaimed, or before the name was durable.
            Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.sync_dir(&self.layout.archive())
            }
            made => made.map(drop),
        }?;
        self.prune(accepted)
    }

    /// Removes what is past its retention, oldest first.
    fn prune(&self, newest: AcceptTime) -> DiskResult<()> {
        let ArchiveRetention::For(kept) = self.retention else { return Ok(()) };
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let mut pruned = false;
        for old in archived(self.disk.as_ref(), &self.layout)? {
            if old.accepted.0.saturating_add(kept_ms) > newest.0 {
                break;
            }
            self.disk.remove(&old.path)?;
            pruned = true;
        }
        if pruned {
            self.disk.sync_dir(&self.layout.archive())?;
        }
        Ok(())
    }
}

fn read(segment: &dyn DiskFile, pause: &dyn Fn()) -> DiskResult<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(segment.len()?).unwrap_or(usize::MAX)];
    for (number, part) in (0..).zip(bytes.chunks_mut(limits::ARCHIVE_PART_BYTES)) {
        segment.read_at(number * limits::ARCHIVE_PART_BYTES as u64, part)?;
        pause();
    }
    Ok(bytes)
}

fn pack(segment: &[u8], pause: &dyn Fn()) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(segment.len() as u64))?;
    for part in segment.chunks(limits::ARCHIVE_PART_BYTES) {
        encoder.write_all(part)?;
        pause();
    }
    encoder.finish()
}

/// The segment's bytes; `None` if the file is damaged.
pub(super) fn unpack(disk: &dyn Disk, archived: &Archived) -> DiskResult<Option<Vec<u8>>> {
    let packed = read_all(disk, &archived.path)?;
    let mut segment = Vec::new();
    let read = zstd::Decoder::new(packed.as_slice())
        .and_then(|decoder| decoder.take(limits::SEGMENT_BYTES + 1).read_to_end(&mut segment));
    Ok(match read {
        Ok(_) if segment.len() as u64 <= limits::SEGMENT_BYTES => Some(segment),
        _ => None,
    })
}
