//! The machine's disk with the syncs of open files left out, so that what a sync costs can be told
//! from what a write costs. For measuring alone: the product has no such thing.

use std::path::Path;
use std::sync::Arc;

use logmill::disk::{Disk, DiskFile, DiskResult, LinkOutcome, LockGuard, RealDisk};

#[derive(Debug)]
pub(crate) struct Unsynced;

#[derive(Debug)]
struct UnsyncedFile(Arc<dyn DiskFile>);

impl Disk for Unsynced {
    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        // A file is made before anything is timed.
        let file = RealDisk.create_new(path, head, len)?;
        Ok(Arc::new(UnsyncedFile(file)))
    }

    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        Ok(Arc::new(UnsyncedFile(RealDisk.open(path)?)))
    }

    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        RealDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        RealDisk.list(dir)
    }

    fn link(&self, original: &Path, name: &Path) -> DiskResult<LinkOutcome> {
        RealDisk.link(original, name)
    }

    fn link_count(&self, path: &Path) -> DiskResult<u64> {
        RealDisk.link_count(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        RealDisk.remove(path)
    }

    fn remove_tree(&self, dir: &Path) -> DiskResult<()> {
        RealDisk.remove_tree(dir)
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> DiskResult<u64> {
        RealDisk.free_bytes(dir)
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        RealDisk.lock(path)
    }
}

impl DiskFile for UnsyncedFile {
    fn len(&self) -> DiskResult<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> DiskResult<()> {
        self.0.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> DiskResult<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> DiskResult<()> {
        Ok(())
    }
}
