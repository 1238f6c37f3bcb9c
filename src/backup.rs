//! A consistent copy of a data directory, made while the server runs.
//!
//! The copy is what a crash right after a checkpoint would leave: the store at that checkpoint, the
//! claims of everything in it, no journal, and the archive up to it if there is one. A server can
//! be started on it, and [`crate::audit`] can check it. `VERSION` is written last, so that half a
//! copy is never taken for a data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::claim;
use crate::counts::KeyLimits;
use crate::disk::{Disk, DiskError, Layout, read_all};
use crate::error::EngineError;
use crate::ids::Group;
use crate::journal;
use crate::store::{FrozenStore, Store};

/// Memory that the copy's store may cache with while it is written.
const CACHE_BYTES: usize = 32 << 20;

/// What is being copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Rows of the store.
    Store,
    /// Pages of claims.
    Claims,
    /// Archived segments.
    Archive,
}

impl Stage {
    /// What its numbers count.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "rows",
            Self::Claims => "claim pages",
            Self::Archive => "archived segments",
        }
    }
}

/// Is told what is being copied, how much of it is done, and how much there is.
pub type Watch<'w> = &'w dyn Fn(Stage, u64, u64);

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory that the copy was to be made in.
        path: PathBuf,
    },
    /// The copy would be part of what is copied.
    #[error("{} lies in the data directory", path.display())]
    Inside {
        /// The directory that the copy was to be made in.
        path: PathBuf,
    },
    /// The engine has stopped.
    #[error("the server is stopping or has failed")]
    Stopped,
    /// Disk or store failed.
    #[error("the copy was not made")]
    Engine(#[from] EngineError),
}

impl From<DiskError> for BackupError {
    fn from(error: DiskError) -> Self {
        Self::Engine(error.into())
    }
}

/// Where a copy goes to and comes from.
#[derive(Debug)]
pub struct Backup {
    disk: Arc<dyn Disk>,
    from: Layout,
    to: Layout,
}

impl Backup {
    /// Makes the directory of a copy.
    ///
    /// # Errors
    /// If it is not empty or cannot be made.
    pub fn begin(disk: Arc<dyn Disk>, from: Layout, to: &Path) -> Result<Self, BackupError> {
        if to.starts_with(from.root()) {
            return Err(BackupError::Inside { path: to.to_path_buf() });
        }
        disk.create_dir(to)?;
        if !disk.list(to)?.is_empty() {
            return Err(BackupError::NotEmpty { path: to.to_path_buf() });
        }
        Ok(Self { disk, from, to: Layout::new(to) })
    }

    /// Writes the copy of what is in the store at a checkpoint. Everything before it must have
    /// been archived, if anything is.
    ///
    /// # Errors
    /// If disk or store fail; what was written so far is no data directory.
    pub fn write(&self, frozen: &FrozenStore, watch: Watch<'_>) -> Result<(), EngineError> {
        let (disk, to) = (self.disk.as_ref(), &self.to);
        let copied = Store::open(&self.disk, to, CACHE_BYTES, KeyLimits::UNLIMITED)?;
        frozen.copy_into(&copied, &|done, all| watch(Stage::Store, done, all))?;
        drop(copied);
        disk.create_dir(&to.journal())?;
        let pages = |done, all| watch(Stage::Claims, done, all);
        claim::copy(disk, &self.from, to, &frozen.seals()?, &pages)?;
        self.copy_archive(frozen.position().group, watch)?;
        let version = read_all(disk, &self.from.version())?;
        disk.create_new(&to.version(), &version, 0)?;
        Ok(())
    }

    fn copy_archive(&self, last: Group, watch: Watch<'_>) -> Result<(), EngineError> {
        let (disk, to) = (self.disk.as_ref(), &self.to);
        let mut archived = journal::archived(disk, &self.from)?;
        archived.retain(|archived| archived.first <= last);
        if !archived.is_empty() {
            disk.create_dir(&to.archive())?;
        }
        for (done, segment) in (1..).zip(&archived) {
            match read_all(disk, &segment.path) {
                Ok(packed) => {
                    let (first, last, accepted) = (segment.first, segment.last, segment.accepted);
                    disk.create_new(&to.archived(first, last, accepted), &packed, 0)?;
                }
                // Past its retention since it was listed.
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            watch(Stage::Archive, done, archived.len() as u64);
        }
        Ok(())
    }
}
