//! A new data directory out of archive and journal, counted by the code that counted it first.
//!
//! The new directory gets the archived segments and the journal and then is recovered as after a
//! crash, with a store that knows nothing: every group is replayed, every key claimed. What it is
//! made of is only read.

use std::path::PathBuf;

use crate::claim::ClaimSync;
use crate::clock::Now;
use crate::counts::KeyLimits;
use crate::disk::{Disk, DiskResult, Layout, read_all};
use crate::error::EngineError;
use crate::ids::{Epoch, Group};
use crate::journal::{ArchiveRetention, History};
use crate::recovery::{LAYOUT_VERSION, Recovered, Recovery};
use crate::store::{Checkpoint, Position, Store};

/// Why nothing can be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Something is there already.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The new directory.
        path: PathBuf,
    },
    /// There is nothing to count.
    #[error("neither archive nor journal in {} hold any batch", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// What came first is only in the store.
    #[error("groups 1 to {} are not in the archive: it was off, or they are past its retention", first.0 - 1)]
    Incomplete {
        /// The first group that can be counted.
        first: Group,
    },
    /// Disk, store or recovery failed.
    #[error("nothing was rebuilt")]
    Engine(#[from] EngineError),
}

impl From<crate::disk::DiskError> for RebuildError {
    fn from(error: crate::disk::DiskError) -> Self {
        Self::Engine(error.into())
    }
}

/// What was rebuilt.
#[derive(Debug)]
pub struct Rebuilt {
    /// The new directory's parts, its store first; nothing runs on it.
    pub recovered: Recovered,
    /// The first group in it.
    pub first: Group,
    /// The last group in it.
    pub last: Group,
}

/// Counts a history again. `recovery` says how; its layout is the new directory. With `partial`
/// groups that the history does not have are left out, otherwise they are an error.
///
/// # Errors
/// [`RebuildError`]; half a directory is no data directory.
pub fn rebuild(
    recovery: &Recovery,
    from: &Layout,
    history: &History,
    partial: bool,
) -> Result<Rebuilt, RebuildError> {
    let (disk, to) = (recovery.disk.as_ref(), &recovery.layout);
    if history.frames.is_empty() {
        return Err(RebuildError::Nothing { path: from.root().to_path_buf() });
    }
    if history.first > Group(1) && !partial {
        return Err(RebuildError::Incomplete { first: history.first });
    }
    disk.create_dir(to.root())?;
    if !disk.list(to.root())?.is_empty() {
        return Err(RebuildError::NotEmpty { path: to.root().to_path_buf() });
    }
    copy_history(disk, from, to, history)?;
    if history.first > Group(1) {
        begin_after(recovery, Group(history.first.0 - 1))?;
    }
    let version = format!("{LAYOUT_VERSION}\n");
    disk.create_new(&to.version(), version.as_bytes(), 0)?;
    let mut recovered = recovery.run()?;
    if recovery.archive != ArchiveRetention::Off {
        recovered.keeper.reclaim([]).map_err(EngineError::from)?;
    }
    Ok(Rebuilt { recovered, first: history.first, last: history.last })
}

fn copy_history(disk: &dyn Disk, from: &Layout, to: &Layout, history: &History) -> DiskResult<()> {
    disk.create_dir(&to.archive())?;
    disk.create_dir(&to.journal())?;
    for archived in &history.archived {
        let copy = to.archived(archived.first, archived.last, archived.accepted);
        disk.create_new(&copy, &read_all(disk, &archived.path)?, 0)?;
    }
    let names = disk.list(&from.journal())?;
    for sequence in names.iter().filter_map(|name| Layout::parse_segment(name)) {
        // IMPORTANT: a copy, never a link: segments are written to again.
        let segment = read_all(disk, &from.segment(sequence))?;
        disk.create_new(&to.segment(sequence), &segment, 0)?;
    }
    Ok(())
}

/// A store that has seen the groups up to `group`, and counted nothing in them.
fn begin_after(recovery: &Recovery, group: Group) -> Result<(), EngineError> {
    let (disk, layout) = (&recovery.disk, &recovery.layout);
    let store = Store::open(disk, layout, recovery.store_cache_bytes, KeyLimits::UNLIMITED)?;
    let position = Position { group, epoch: Epoch(1), ..store.position()? };
    store.commit(&Checkpoint {
        position,
        deltas: &[],
        claims: &ClaimSync::default(),
        lives: None,
        retention: recovery.retention,
        now: Now::read(recovery.clock.as_ref()),
    })?;
    Ok(())
}
