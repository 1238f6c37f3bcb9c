//! The disk as a handle: every file operation of the engine goes through [`Disk`].
//!
//! The trait holds what the engine needs and no more, and each operation says what it makes
//! durable, so that a simulated disk can drop, tear and reorder everything else at a crash.
//! Errors carry what was done to which path. Nothing in here retries.

mod layout;
mod real;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use layout::{Layout, PageId};
pub use real::RealDisk;

/// A file operation that failed: what, where, why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct DiskError {
    /// What was tried, as a verb phrase.
    pub action: &'static str,
    /// The file or directory it was tried on.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
    /// Whether something that exists could not be made durable, and so must not be touched again.
    pub is_of_sync: bool,
}

impl DiskError {
    /// Wraps what the operating system said.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_path_buf(), source, is_of_sync: false }
    }

    /// Whether the same can be tried again once there is space: nothing was changed.
    #[must_use]
    pub fn is_only_full(&self) -> bool {
        self.is_out_of_space() && !self.is_of_sync
    }

    /// Whether the disk is full, or a quota is.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        is_out_of_space(&self.source)
    }
}

/// Whether the operating system says that the disk is full, or a quota is.
#[must_use]
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Result of a file operation.
pub type DiskResult<T> = Result<T, DiskError>;

/// What an atomic create-new did: exactly one of any number of racers sees `Created`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The name is new and is ours.
    Created,
    /// Somebody was first.
    Exists,
}

/// Held for as long as a directory is ours alone.
pub trait LockGuard: Send + Sync + Debug {}

/// The file operations the engine is built on.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Makes a directory, readable by its owner only, and its parents; durable. Fine if it exists.
    ///
    /// # Errors
    /// Whatever the file system says; then it was not made.
    fn create_dir(&self, dir: &Path) -> DiskResult<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn list(&self, dir: &Path) -> DiskResult<Vec<String>>;

    /// Makes a file of `len` bytes that begins with `head` and is zero after it, and only then
    /// gives it its name, unless that exists. Contents and name are durable on return.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken; otherwise whatever the file system says, and then no
    /// file of that name was made.
    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is none; otherwise whatever the file system says.
    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>>;

    /// Gives the file at `original` a second name, atomically, unless that name is taken.
    /// Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the file system says, other than that the name exists.
    fn link(&self, original: &Path, name: &Path) -> DiskResult<LinkOutcome>;

    /// How many names a file has.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn link_count(&self, path: &Path) -> DiskResult<u64>;

    /// Renames within a directory, replacing what is there. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the file system says.
    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Removes a name. Durable only after [`Disk::sync_dir`]; until then it may come back.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn remove(&self, path: &Path) -> DiskResult<()>;

    /// Removes a directory with everything in it; fine if there is none. Not durable.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn remove_tree(&self, dir: &Path) -> DiskResult<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Whatever the file system says. Never call it again after an error.
    fn sync_dir(&self, dir: &Path) -> DiskResult<()>;

    /// Bytes still free for us on the file system that holds `dir`.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn free_bytes(&self, dir: &Path) -> DiskResult<u64>;

    /// Locks a file, made if need be, for this process alone; `None` if another holds it.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>>;
}

/// An open file. Positions are given with each call; there is no cursor.
pub trait DiskFile: Send + Sync + Debug {
    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn len(&self) -> DiskResult<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn is_empty(&self) -> DiskResult<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; otherwise whatever the file system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()>;

    /// Writes all of `data` at `offset`. Durable only after [`DiskFile::sync_data`].
    ///
    /// # Errors
    /// Whatever the file system says; part of the data may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> DiskResult<()>;

    /// Cuts or extends the file with zeros.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn set_len(&self, len: u64) -> DiskResult<()>;

    /// Makes the contents durable.
    ///
    /// # Errors
    /// Whatever the file system says. IMPORTANT: never call it again after an error: the pages
    /// may be marked clean although they never reached the disk, and a second call succeeds.
    fn sync_data(&self) -> DiskResult<()>;
}

/// Reads a whole file.
///
/// # Errors
/// Whatever the file system says.
pub fn read_all(disk: &dyn Disk, path: &Path) -> DiskResult<Vec<u8>> {
    let file = disk.open(path)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut contents = vec![0; len];
    file.read_at(0, &mut contents)?;
    Ok(contents)
}
