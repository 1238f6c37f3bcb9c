//! Files of given bytes, to be read by code that takes a disk.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskError, DiskFile, DiskResult, LinkOutcome, LockGuard};

/// A disk that has some files and lets none be changed.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<PathBuf, Arc<[u8]>>);

#[derive(Debug)]
struct Bytes {
    path: PathBuf,
    bytes: Arc<[u8]>,
}

impl Files {
    /// One file.
    pub(crate) fn one(path: PathBuf, bytes: &[u8]) -> Self {
        Self(BTreeMap::from([(path, bytes.into())]))
    }
}

fn refused<T>(path: &Path) -> DiskResult<T> {
    Err(DiskError::new("change", path, ErrorKind::ReadOnlyFilesystem.into()))
}

impl Disk for Files {
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        refused(dir)
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        let name = |path: &PathBuf| Some(path.strip_prefix(dir).ok()?.to_str()?.to_owned());
        Ok(self.0.keys().filter_map(name).collect())
    }

    fn create_new(&self, path: &Path, _head: &[u8], _len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        refused(path)
    }

    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        match self.0.get(path) {
            Some(bytes) => Ok(Arc::new(Bytes { path: path.into(), bytes: Arc::clone(bytes) })),
            None => Err(DiskError::new("open", path, ErrorKind::NotFound.into())),
        }
    }

    fn link(&self, _original: &Path, name: &Path) -> DiskResult<LinkOutcome> {
        refused(name)
    }

    fn link_count(&self, _path: &Path) -> DiskResult<u64> {
        Ok(1)
    }

    fn rename(&self, from: &Path, _to: &Path) -> DiskResult<()> {
        refused(from)
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        refused(path)
    }

    fn remove_tree(&self, dir: &Path) -> DiskResult<()> {
        refused(dir)
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        refused(dir)
    }

    fn free_bytes(&self, _dir: &Path) -> DiskResult<u64> {
        Ok(0)
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        refused(path)
    }
}

impl DiskFile for Bytes {
    fn len(&self) -> DiskResult<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()> {
        let from = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at..));
        match from.and_then(|bytes| bytes.get(..out.len())) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(DiskError::new("read", &self.path, ErrorKind::UnexpectedEof.into())),
        }
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> DiskResult<()> {
        refused(&self.path)
    }

    fn set_len(&self, _len: u64) -> DiskResult<()> {
        refused(&self.path)
    }

    fn sync_data(&self) -> DiskResult<()> {
        refused(&self.path)
    }
}
