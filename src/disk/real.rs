//! The machine's file system.
//!
//! Assumes of it: `link(2)` and a rename without replacement are atomic; `fdatasync` on a file and
//! `fsync` on a directory return only when contents, or names, would survive a power cut.

#![expect(clippy::disallowed_methods, reason = "the one owner of the machine's files")]

#[cfg(test)]
mod syscalls;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, statvfs};

use super::layout::UNFINISHED_PREFIX;
use super::{Disk, DiskError, DiskFile, DiskResult, LinkOutcome, LockGuard};

/// What is written to a new file between two syncs: the disk takes about as long for it as for a
/// sync of little.
const PART_BYTES: usize = 256 * 1024;
static ZEROS: [u8; PART_BYTES] = [0; PART_BYTES];

/// The machine's file system, through the standard library and `tempfile`.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

/// The lock goes with the open file.
#[derive(Debug)]
struct FileLock {
    _file: File,
}

impl LockGuard for FileLock {}

/// Adds what was tried on which path to an I/O error.
trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> DiskResult<T>;

    /// The same, of what must never be tried again.
    fn sync_context(self, action: &'static str, path: &Path) -> DiskResult<T>
    where
        Self: Sized,
    {
        self.context(action, path).map_err(|error| DiskError { is_of_sync: true, ..error })
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> DiskResult<T> {
        self.map_err(|source| DiskError::new(action, path, source))
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let above = parent(dir);
        if above != dir {
            self.create_dir(above)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(DiskError::new("make the directory", dir, error))
            }
            _ => self.sync_dir(above).inspect_err(|_| {
                // Seen but not durable, it would be a trap for the next process.
                fs::remove_dir(dir).ok();
            }),
        }
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).context("list", dir)? {
            let entry = entry.context("list", dir)?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        let dir = parent(path);
        let mut new = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempfile_in(dir)
            .context("make a file in", dir)?;
        let zeros = (head.len() as u64..len).step_by(PART_BYTES).map(|from| {
            let left = usize::try_from(len - from).unwrap_or(usize::MAX);
            &ZEROS[..left.min(PART_BYTES)]
        });
        let mut unsynced = 0;
        for part in head.chunks(PART_BYTES).chain(zeros) {
            if unsynced >= PART_BYTES {
                // Part by part: whoever syncs another file meanwhile waits for a part, not for all.
                new.as_file().sync_data().context("sync", path)?;
                unsynced = 0;
            }
            new.write_all(part).context("write", path)?;
            unsynced += part.len();
        }
        new.as_file().sync_all().context("sync", path)?;
        let file = new
            .persist_noclobber(path)
            .map_err(|refused| DiskError::new("make the file", path, refused.error))?;
        if let Err(error) = self.sync_dir(dir) {
            // As for a directory.
            fs::remove_file(path).ok();
            return Err(error);
        }
        Ok(Arc::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        let file =
            fs::OpenOptions::new().read(true).write(true).open(path).context("open", path)?;
        Ok(Arc::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn link(&self, original: &Path, name: &Path) -> DiskResult<LinkOutcome> {
        match fs::hard_link(original, name) {
            Ok(()) => Ok(LinkOutcome::Created),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(LinkOutcome::Exists),
            Err(error) => Err(DiskError::new("make the link", name, error)),
        }
    }

    fn link_count(&self, path: &Path) -> DiskResult<u64> {
        Ok(fs::metadata(path).context("look at", path)?.nlink())
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        fs::rename(from, to).context("rename", from)
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        fs::remove_file(path).context("remove", path)
    }

    fn remove_tree(&self, dir: &Path) -> DiskResult<()> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.context("remove", dir),
        }
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        File::open(dir).and_then(|dir| dir.sync_all()).sync_context("sync the directory", dir)
    }

    fn free_bytes(&self, dir: &Path) -> DiskResult<u64> {
        let stat = statvfs(dir)
            .map_err(|errno| DiskError::new("measure free space of", dir, errno.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .context("open", path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(FileLock { _file: file }))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(DiskError::new("lock", path, errno.into())),
        }
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> DiskResult<u64> {
        Ok(self.file.metadata().context("measure", &self.path)?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()> {
        self.file.read_exact_at(out, offset).context("read", &self.path)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> DiskResult<()> {
        self.file.write_all_at(data, offset).context("write", &self.path)
    }

    fn set_len(&self, len: u64) -> DiskResult<()> {
        self.file.set_len(len).context("resize", &self.path)
    }

    fn sync_data(&self) -> DiskResult<()> {
        self.file.sync_data().sync_context("sync", &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_new_makes_whole_files_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b/file");
        RealDisk.create_dir(parent(&path)).expect("directories");
        let file = RealDisk.create_new(&path, b"head", 10).expect("new");
        let mut contents = [1; 10];
        file.read_at(0, &mut contents).expect("read");
        assert_eq!(&contents, b"head\0\0\0\0\0\0");
        let again = RealDisk.create_new(&path, b"other", 5).expect_err("exists");
        assert_eq!(again.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(RealDisk.list(parent(&path)).expect("list"), ["file"]);
    }

    #[test]
    fn a_long_head_and_long_zeros_are_all_there() {
        let dir = tempfile::tempdir().expect("a directory");
        for (head, len) in [(PART_BYTES * 5 / 2, 0), (PART_BYTES + 1, 3 * PART_BYTES + 7)] {
            let head: Vec<_> = (0..=u8::MAX).cycle().take(head).collect();
            let path = dir.path().join(format!("{len}"));
            let file = RealDisk.create_new(&path, &head, len as u64).expect("new");
            let mut contents = vec![1; head.len().max(len)];
            assert_eq!(file.len().expect("there"), contents.len() as u64);
            file.read_at(0, &mut contents).expect("read");
            let (start, rest) = contents.split_at(head.len());
            assert!(start == head && rest.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn one_process_holds_the_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("LOCK");
        let held = RealDisk.lock(&path).expect("lock");
        assert!(held.is_some());
        assert!(RealDisk.lock(&path).expect("second").is_none());
        drop(held);
        assert!(RealDisk.lock(&path).expect("third").is_some());
    }
}
