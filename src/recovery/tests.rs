//! Starts that were interrupted, and what a start makes durable before it relies on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::SystemClock;
use crate::counts::KeyLimits;
use crate::disk::{DiskFile, DiskResult, LinkOutcome, RealDisk};
use crate::entropy::SystemEntropy;
use crate::status::Ceilings;

/// The real disk, with a list of the directories that were synced.
#[derive(Debug, Default)]
struct Recording {
    synced: Mutex<Vec<PathBuf>>,
}

impl Disk for Recording {
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        RealDisk.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        RealDisk.create_new(path, head, len)
    }
    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        RealDisk.open(path)
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
    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        self.synced.lock().expect("not poisoned").push(dir.to_path_buf());
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> DiskResult<u64> {
        RealDisk.free_bytes(dir)
    }
    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        RealDisk.lock(path)
    }
}

fn recovery(dir: &Path, disk: Arc<dyn Disk>) -> Recovery {
    let ceilings = Ceilings { free_bytes: 0, journal_bytes: 1 << 40, memory_bytes: 1 << 40 };
    Recovery {
        disk,
        layout: Layout::new(dir),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        agents: Arc::new(AgentCache::default()),
        status: Arc::new(Status::new(2, ceilings)),
        partitions: 2,
        rules: Rules { grace: Duration::ZERO, keys: KeyLimits { paths: 10, agents: 10 } },
        retention: Retention { minutes: Duration::MAX, hours: Duration::MAX },
        checkpoint_memory_bytes: 1 << 20,
        store_cache_bytes: 1 << 20,
        segment_bytes: crate::limits::SEGMENT_BYTES,
        repair: false,
    }
}

/// The very first start is killed while VERSION is being made: the next one goes on.
#[test]
fn a_first_start_that_was_interrupted_is_done_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let left = RealDisk.lock(&dir.path().join("LOCK")).expect("made");
    drop(left);
    RealDisk.create_new(&dir.path().join(".new-a1b2c3"), b"", 0).expect("made");
    let recovered = recovery(dir.path(), Arc::new(RealDisk)).run();
    assert!(recovered.is_ok(), "{recovered:?}");

    let other = tempfile::tempdir().expect("a directory");
    RealDisk.create_new(&other.path().join("thesis.tex"), b"", 0).expect("made");
    let refused = recovery(other.path(), Arc::new(RealDisk)).run();
    assert!(matches!(refused, Err(EngineError::NotOurs { .. })), "{refused:?}");
}

/// A process that was killed between a rename and the sync of its directory leaves a name that
/// only memory knows. The next start must not build on it before it is durable: after a power
/// cut the store would be back under its unfinished name, and be removed as such.
#[test]
fn every_start_syncs_the_names_it_relies_on() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(recovery(dir.path(), Arc::new(RealDisk)).run().expect("made"));
    let disk = Arc::new(Recording::default());
    drop(recovery(dir.path(), Arc::clone(&disk) as Arc<dyn Disk>).run().expect("opened"));
    let synced = disk.synced.lock().expect("not poisoned").clone();
    for needed in ["", "journal", "claims", "claims/pages", "claims/names"] {
        assert!(synced.contains(&dir.path().join(needed)), "{needed:?} of {synced:?}");
    }
}
