//! A disk in memory that remembers what was synced.
//!
//! Files and directories are [`Cached`]: contents, lengths and names are each durable or not, on
//! their own. A directory is durable with its name in the one above. A killed process leaves
//! everything as it was, durable or not, for the next power cut to judge. The machine can be made
//! to go down at any call, and any call can be made to fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cached::{Cached, NameChange, Write};
use super::fault::{Fault, Op, Trap};
use super::state::{Node, State, refuse, split};
use crate::disk::{Disk, DiskFile, DiskResult, LinkOutcome, LockGuard};
use crate::testing::SeededEntropy;

/// How a machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// SIGKILL: the page cache survives.
    Kill,
    /// What was not synced is lost, all of it.
    PowerKeepsNothing,
    /// What was not synced is there by chance, piece by piece.
    PowerKeepsSome,
}

/// The disk; a clone is a handle on the same one.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: usize,
    path: PathBuf,
}

#[derive(Debug)]
struct NoLock;
impl LockGuard for NoLock {}

impl Default for SimDisk {
    fn default() -> Self {
        let state =
            State { nodes: vec![Arc::new(Node::Dir(Cached::default()))], ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl SimDisk {
    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Calls that changed or synced something so far.
    pub(super) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The machine goes down at the given change, counted from now; at 0 it is down.
    pub(super) fn go_down_after(&self, changes: u64) {
        let mut state = self.state();
        state.down_at = Some(state.changes + changes);
    }

    /// Waits for a call, once.
    pub(super) fn set_trap(&self, trap: Trap) {
        self.state().trap = Some(trap);
    }

    /// Whether the trap was walked into.
    pub(super) fn is_sprung(&self) -> bool {
        self.state().trap.is_none()
    }

    /// A call fails, or some; with `None`, all work again.
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        let mut state = self.state();
        (state.fault, state.failed) = (fault, None);
    }

    /// Every call since the last time this was asked, if it was.
    pub(crate) fn log(&self) -> Vec<(Op, PathBuf)> {
        self.state().log.replace(Vec::new()).unwrap_or_default()
    }

    /// A copy of the disk as it is, for another try from here.
    pub(super) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// What a new process finds after the machine, or the process, went down.
    pub(super) fn after(&self, cut: Cut, chance: &SeededEntropy) -> Self {
        let State { mut nodes, calls, changes, retried, .. } = self.state().clone();
        assert_eq!(retried, None, "A1: a sync that failed was called again");
        let some = (cut == Cut::PowerKeepsSome).then_some(chance);
        if cut != Cut::Kill {
            nodes.iter_mut().for_each(|node| Arc::make_mut(node).lose_power(some));
        }
        Self(Arc::new(Mutex::new(State { nodes, calls, changes, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimDisk {
    fn opened(&self, node: usize, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), node, path: path.to_path_buf() })
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        self.state().make_dir(dir)
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        let mut state = self.state();
        state.look(Op::List, dir)?;
        Ok(state.dir(dir)?.1.current().keys().cloned().collect())
    }

    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        let node = self.state().make_file(path, head, len)?;
        Ok(self.opened(node, path))
    }

    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.look(Op::Open, path)?;
        let node = state.file(Op::Open, path)?;
        drop(state);
        Ok(self.opened(node, path))
    }

    fn link(&self, original: &Path, name: &Path) -> DiskResult<LinkOutcome> {
        let mut state = self.state();
        if state.find(name).is_some() && state.is_up() {
            return Ok(LinkOutcome::Exists);
        }
        let node = state.file(Op::Link, original)?;
        let (above, new) = split(name);
        state.dir(above)?;
        state.change(Op::Link, name, |state| {
            let (_, dir) = state.dir(above).expect("looked at just now");
            dir.change(NameChange::Add(new.to_owned(), node));
        })?;
        Ok(LinkOutcome::Created)
    }

    fn link_count(&self, path: &Path) -> DiskResult<u64> {
        let mut state = self.state();
        state.look(Op::Measure, path)?;
        let node = state.file(Op::Measure, path)?;
        Ok(state.names_of(node, 0))
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let node = state.file(Op::Rename, from)?;
        let (above, new) = split(to);
        state.change(Op::Rename, from, |state| {
            let (_, dir) = state.dir(above).expect("the file is in it");
            dir.change(NameChange::Rename(new.to_owned(), node));
        })
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        let mut state = self.state();
        state.file(Op::Remove, path)?;
        let (above, name) = split(path);
        state.change(Op::Remove, path, |state| {
            let (_, dir) = state.dir(above).expect("the file is in it");
            dir.change(NameChange::Remove(name.to_owned()));
        })
    }

    fn remove_tree(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        if state.find(dir).is_none() {
            return Ok(());
        }
        let (above, name) = split(dir);
        state.change(Op::Remove, dir, |state| {
            let (_, above) = state.dir(above).expect("it was found there");
            above.change(NameChange::Remove(name.to_owned()));
        })
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let (node, _) = state.dir(dir)?;
        state.sync(Op::SyncDir, dir, node)
    }

    fn free_bytes(&self, dir: &Path) -> DiskResult<u64> {
        self.state().look(Op::Measure, dir)?;
        Ok(u64::MAX)
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        self.state().look(Op::Lock, path)?;
        Ok(Some(Box::new(NoLock)))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> DiskResult<u64> {
        let mut state = self.disk.state();
        state.look(Op::Measure, &self.path)?;
        Ok(state.contents(self.node).len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()> {
        let mut state = self.disk.state();
        state.look(Op::Read, &self.path)?;
        if state.contents(self.node).read(offset, out) {
            Ok(())
        } else {
            Err(refuse(Op::Read, &self.path, io::ErrorKind::UnexpectedEof))
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> DiskResult<()> {
        let write = Write::data(offset, data);
        self.disk.state().write(Op::Write, &self.path, self.node, write)
    }

    fn set_len(&self, len: u64) -> DiskResult<()> {
        self.disk.state().write(Op::SetLen, &self.path, self.node, Write::Len(len))
    }

    fn sync_data(&self) -> DiskResult<()> {
        self.disk.state().sync(Op::SyncData, &self.path, self.node)
    }
}
