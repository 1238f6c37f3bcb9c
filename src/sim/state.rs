//! What is behind [`super::disk::SimDisk`]: a tree of files and directories, and what becomes of
//! each call.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cached::{Cached, Contents, NameChange, Write};
use super::fault::{Failure, Fault, Op, Spring, Trap};
use crate::disk::{DiskError, DiskResult};
use crate::testing::SeededEntropy;

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Cached<Write>),
    Dir(Cached<NameChange>),
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The first is the directory that everything is in.
    pub(super) nodes: Vec<Arc<Node>>,
    /// Calls so far.
    pub(super) calls: u64,
    /// Of these, the ones that changed or synced something.
    pub(super) changes: u64,
    /// The change at which the machine goes down.
    pub(super) down_at: Option<u64>,
    pub(super) fault: Option<Fault>,
    pub(super) trap: Option<Trap>,
    /// What `fault` hit first.
    pub(super) failed: Option<(Op, PathBuf)>,
    /// What this process could not sync.
    pub(super) unsynced: BTreeSet<usize>,
    /// What it tried to sync again, and must never.
    pub(super) retried: Option<PathBuf>,
    /// Every call, if somebody wants to know.
    pub(super) log: Option<Vec<(Op, PathBuf)>>,
}

/// What becomes of a call.
enum Call {
    Works,
    Fails(DiskError),
    /// It is done, and reported as failed.
    IsDoneAndFails(DiskError),
    /// The machine goes down during the call: it may have been done, nobody was told.
    GoesDown(DiskError),
    IsDown(DiskError),
}

impl Node {
    pub(super) fn sync(&mut self) {
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

    pub(super) fn lose_power(&mut self, chance: Option<&SeededEntropy>) {
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
        let walks_in = |trap: &Trap| trap.op == op && path.to_string_lossy().contains(trap.part);
        if let Some(mut trap) = self.trap.take_if(|trap| walks_in(trap)) {
            let io = || DiskError::new(op.action(), path, Failure::Io.error());
            match trap.spring {
                _ if trap.skip > 0 => {
                    trap.skip -= 1;
                    self.trap = Some(trap);
                }
                Spring::GoDown => {
                    self.down_at = Some(self.changes);
                    return Call::GoesDown(down());
                }
                Spring::Fail => return Call::Fails(io()),
                Spring::FailWhenDone => return Call::IsDoneAndFails(io()),
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
    pub(super) fn look(&mut self, op: Op, path: &Path) -> DiskResult<()> {
        match self.call(op, path) {
            Call::Works => Ok(()),
            Call::Fails(error)
            | Call::IsDoneAndFails(error)
            | Call::GoesDown(error)
            | Call::IsDown(error) => Err(error),
        }
    }

    /// A call that changes something, whole or not at all.
    pub(super) fn change(
        &mut self,
        op: Op,
        path: &Path,
        change: impl FnOnce(&mut Self),
    ) -> DiskResult<()> {
        match self.call(op, path) {
            Call::Works => {
                change(self);
                Ok(())
            }
            Call::IsDoneAndFails(error) | Call::GoesDown(error) => {
                change(self);
                Err(error)
            }
            Call::Fails(error) | Call::IsDown(error) => Err(error),
        }
    }

    /// A call that makes the changes of a node durable.
    pub(super) fn sync(&mut self, op: Op, path: &Path, node: usize) -> DiskResult<()> {
        if self.unsynced.contains(&node) {
            self.retried = Some(path.to_path_buf());
        }
        match self.call(op, path) {
            Call::Works => {
                Arc::make_mut(&mut self.nodes[node]).sync();
                Ok(())
            }
            Call::IsDoneAndFails(error) => {
                Arc::make_mut(&mut self.nodes[node]).sync();
                Err(error)
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

    pub(super) fn write(
        &mut self,
        op: Op,
        path: &Path,
        node: usize,
        write: Write,
    ) -> DiskResult<()> {
        let (written, outcome) = match self.call(op, path) {
            Call::Works => (write, Ok(())),
            Call::IsDoneAndFails(error) | Call::GoesDown(error) => (write, Err(error)),
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

    pub(super) fn dir(&mut self, path: &Path) -> DiskResult<(usize, &mut Cached<NameChange>)> {
        let missing = DiskError::new("find", path, io::ErrorKind::NotFound.into());
        let Some(node) = self.find(path) else { return Err(missing) };
        match Arc::make_mut(&mut self.nodes[node]) {
            Node::Dir(dir) => Ok((node, dir)),
            Node::File(_) => Err(missing),
        }
    }

    /// The node that a path leads to.
    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for name in path.iter().filter(|name| *name != ".") {
            let Node::Dir(dir) = self.nodes[node].as_ref() else { return None };
            node = *dir.current().get(name.to_str()?)?;
        }
        Some(node)
    }

    pub(super) fn file(&self, op: Op, path: &Path) -> DiskResult<usize> {
        self.find(path)
            .ok_or_else(|| DiskError::new(op.action(), path, io::ErrorKind::NotFound.into()))
    }

    pub(super) fn contents(&self, node: usize) -> &Contents {
        match self.nodes[node].as_ref() {
            Node::File(file) => file.current(),
            Node::Dir(_) => unreachable!("only files are opened"),
        }
    }

    /// How many names lead from a directory and the ones below it to a node.
    pub(super) fn names_of(&self, node: usize, below: usize) -> u64 {
        let Node::Dir(dir) = self.nodes[below].as_ref() else { return 0 };
        let names = dir.current().values();
        names.map(|named| u64::from(*named == node) + self.names_of(node, *named)).sum()
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(Arc::new(node));
        self.nodes.len() - 1
    }

    /// In the steps of the real one.
    pub(super) fn make_dir(&mut self, path: &Path) -> DiskResult<()> {
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
    pub(super) fn make_file(&mut self, path: &Path, head: &[u8], len: u64) -> DiskResult<usize> {
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

    pub(super) fn is_up(&self) -> bool {
        self.down_at.is_none_or(|at| self.changes < at)
    }
}

pub(super) fn split(path: &Path) -> (&Path, &str) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a file has a name");
    (path.parent().expect("a file is in a directory"), name)
}

pub(super) fn refuse(op: Op, path: &Path, kind: io::ErrorKind) -> DiskError {
    DiskError::new(op.action(), path, kind.into())
}
