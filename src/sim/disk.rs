//! A disk in memory that remembers what was synced.
//!
//! Files and directories are [`Cached`]: contents, lengths and names are each durable or not, on
//! their own. A directory is durable with its name in the one above. A killed process leaves
//! everything as it was, durable or not, for the next power cut to judge. The machine can be made
//! to go down at any call, and any call can be made to fail.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cached::{Cached, Contents, NameChange, Write};
use super::fault::{Fault, Op};
use crate::disk::{Disk, DiskError, DiskFile, DiskResult, LinkOutcome, LockGuard};
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

#[derive(Debug, Clone)]
enum Node {
    File(Cached<Write>),
    Dir(Cached<NameChange>),
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The first is the directory that everything is in.
    nodes: Vec<Arc<Node>>,
    /// Calls so far.
    calls: u64,
    /// Of these, the ones that changed or synced something.
    changes: u64,
    /// The change at which the machine goes down.
    down_at: Option<u64>,
    fault: Option<Fault>,
    /// What `fault` hit first.
    failed: Option<(Op, PathBuf)>,
    /// What this process could not sync.
    unsynced: BTreeSet<usize>,
    /// What it tried to sync again, and must never.
    retried: Option<PathBuf>,
    /// Every call, if somebody wants to know.
    log: Option<Vec<(Op, PathBuf)>>,
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

/// What becomes of a call.
enum Call {
    Works,
    Fails(DiskError),
    /// The machine goes down during the call: it may have been done, nobody was told.
    GoesDown(DiskError),
    IsDown(DiskError),
}

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

impl Node {
    fn sync(&mut self) {
        match self {
            Self::File(file) => file.sync(),
            Self::Dir(dir) => dir.sync(),
        }
    }

    fn fail_sync(&mut self, chance: &SeededEntropy) {
        match self {
            Self::File(file) => file.fail_sync(chance),
            Self::Dir(dir) => dir.fail_sync(chance),
        }
    }

    fn lose_power(&mut self, chance: Option<&SeededEntropy>) {
        match self {
            Self::File(file) => file.lose_power(chance),
            Self::Dir(dir) => dir.lose_power(chance),
        }
    }
}

impl State {
    /// Counts a call and says what becomes of it.
    fn call(&mut self, op: Op, path: &Path) -> Call {
        let down = || {
            let down = io::Error::other("the simulated machine is down");
            DiskError::new(op.action(), path, down)
        };
        if self.down_at.is_some_and(|at| self.changes >= at) {
            return Call::IsDown(down());
        }
        self.calls += 1;
        if let Some(log) = &mut self.log {
            log.push((op, path.to_path_buf()));
        }
        if op.changes() {
            self.changes += 1;
            if self.down_at == Some(self.changes) {
                return Call::GoesDown(down());
            }
        }
        let hit = self.fault.filter(|fault| match &self.failed {
            None => self.calls >= fault.at && fault.failure.can_befall(op),
            Some((first, _)) => fault.lasts && *first == op,
        });
        match hit {
            Some(fault) => {
                self.failed.get_or_insert((op, path.to_path_buf()));
                Call::Fails(DiskError::new(op.action(), path, fault.failure.error()))
            }
            None => Call::Works,
        }
    }

    /// A call that only looks.
    fn look(&mut self, op: Op, path: &Path) -> DiskResult<()> {
        match self.call(op, path) {
            Call::Works => Ok(()),
            Call::Fails(error) | Call::GoesDown(error) | Call::IsDown(error) => Err(error),
        }
    }

    /// A call that changes something, whole or not at all.
    fn change(&mut self, op: Op, path: &Path, change: impl FnOnce(&mut Self)) -> DiskResult<()> {
        match self.call(op, path) {
            Call::Works => {
                change(self);
                Ok(())
            }
            Call::GoesDown(error) => {
                change(self);
                Err(error)
            }
            Call::Fails(error) | Call::IsDown(error) => Err(error),
        }
    }

    /// A call that makes the changes of a node durable.
    fn sync(&mut self, op: Op, path: &Path, node: usize) -> DiskResult<()> {
        if self.unsynced.contains(&node) {
            self.retried = Some(path.to_path_buf());
        }
        match self.call(op, path) {
            Call::Works => {
                Arc::make_mut(&mut self.nodes[node]).sync();
                Ok(())
            }
            Call::Fails(error) => {
                let chance = self.chance();
                Arc::make_mut(&mut self.nodes[node]).fail_sync(&chance);
                self.unsynced.insert(node);
                Err(DiskError { is_of_sync: true, ..error })
            }
            Call::GoesDown(error) | Call::IsDown(error) => Err(error),
        }
    }

    fn write(&mut self, op: Op, path: &Path, node: usize, write: Write) -> DiskResult<()> {
        let (written, outcome) = match self.call(op, path) {
            Call::Works => (write, Ok(())),
            Call::GoesDown(error) => (write, Err(error)),
            Call::Fails(error) => match write.cut_short(&self.chance()) {
                Some(part) => (part, Err(error)),
                None => return Err(error),
            },
            Call::IsDown(error) => return Err(error),
        };
        match Arc::make_mut(&mut self.nodes[node]) {
            Node::File(file) => file.change(written),
            Node::Dir(_) => unreachable!("only files are opened"),
        }
        outcome
    }

    fn dir(&mut self, path: &Path) -> DiskResult<(usize, &mut Cached<NameChange>)> {
        let missing = DiskError::new("find", path, io::ErrorKind::NotFound.into());
        let Some(node) = self.find(path) else { return Err(missing) };
        match Arc::make_mut(&mut self.nodes[node]) {
            Node::Dir(dir) => Ok((node, dir)),
            Node::File(_) => Err(missing),
        }
    }

    /// The node that a path leads to.
    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for name in path.iter().filter(|name| *name != ".") {
            let Node::Dir(dir) = self.nodes[node].as_ref() else { return None };
            node = *dir.current().get(name.to_str()?)?;
        }
        Some(node)
    }

    fn file(&self, op: Op, path: &Path) -> DiskResult<usize> {
        self.find(path)
            .ok_or_else(|| DiskError::new(op.action(), path, io::ErrorKind::NotFound.into()))
    }

    fn contents(&self, node: usize) -> &Contents {
        match self.nodes[node].as_ref() {
            Node::File(file) => file.current(),
            Node::Dir(_) => unreachable!("only files are opened"),
        }
    }

    /// How many names lead from a directory and the ones below it to a node.
    fn names_of(&self, node: usize, below: usize) -> u64 {
        let Node::Dir(dir) = self.nodes[below].as_ref() else { return 0 };
        let names = dir.current().values();
        names.map(|named| u64::from(*named == node) + self.names_of(node, *named)).sum()
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(Arc::new(node));
        self.nodes.len() - 1
    }

    /// In the steps of the real one.
    fn make_dir(&mut self, path: &Path) -> DiskResult<()> {
        if self.find(path).is_some() {
            return Ok(());
        }
        let (above, name) = split(path);
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        self.make_dir(above)?;
        self.change(Op::MakeDir, path, |state| {
            let node = state.add(Node::Dir(Cached::default()));
            let (_, dir) = state.dir(above).expect("made just now");
            dir.change(NameChange::Add(name.to_owned(), node));
        })?;
        self.sync_name(above, name)
    }

    /// Takes back what could not be made durable.
    fn sync_name(&mut self, above: &Path, name: &str) -> DiskResult<()> {
        let (node, _) = self.dir(above)?;
        self.sync(Op::SyncDir, above, node).inspect_err(|_| {
            if self.is_up() {
                let (_, dir) = self.dir(above).expect("looked at just now");
                dir.change(NameChange::Remove(name.to_owned()));
            }
        })
    }

    /// In the steps of the real one, each of which can be the last.
    fn make_file(&mut self, path: &Path, head: &[u8], len: u64) -> DiskResult<usize> {
        let (above, name) = split(path);
        let unfinished = format!(".new-{name}");
        self.dir(above)?;
        let node = self.add(Node::File(Cached::default()));
        self.change(Op::MakeFile, above, |state| {
            let (_, dir) = state.dir(above).expect("looked at just now");
            dir.change(NameChange::Add(unfinished.clone(), node));
        })?;
        let len = len.max(head.len() as u64);
        let made = self
            .write(Op::Write, path, node, Write::Len(len))
            .and_then(|()| self.write(Op::Write, path, node, Write::data(0, head)))
            .and_then(|()| {
                // Nobody has seen it yet.
                let synced = self.sync(Op::SyncData, path, node);
                synced.map_err(|error| DiskError { is_of_sync: false, ..error })
            })
            .and_then(|()| {
                let (_, dir) = self.dir(above)?;
                if dir.current().contains_key(name) {
                    return Err(refuse(Op::MakeFile, path, io::ErrorKind::AlreadyExists));
                }
                self.change(Op::Rename, path, |state| {
                    let (_, dir) = state.dir(above).expect("looked at just now");
                    dir.change(NameChange::Rename(name.to_owned(), node));
                })
            });
        if let Err(error) = made {
            if self.is_up() {
                let (_, dir) = self.dir(above)?;
                dir.change(NameChange::Remove(unfinished));
            }
            return Err(error);
        }
        self.sync_name(above, name)?;
        Ok(node)
    }

    /// Another for each fault.
    fn chance(&self) -> SeededEntropy {
        let kind = self.fault.map_or(0, |fault| fault.failure as u64 * 2 + u64::from(fault.lasts));
        SeededEntropy::seeded(self.calls << 8 | kind)
    }

    fn is_up(&self) -> bool {
        self.down_at.is_none_or(|at| self.changes < at)
    }
}

fn split(path: &Path) -> (&Path, &str) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a file has a name");
    (path.parent().expect("a file is in a directory"), name)
}

fn refuse(op: Op, path: &Path, kind: io::ErrorKind) -> DiskError {
    DiskError::new(op.action(), path, kind.into())
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
