//! A disk in memory that remembers what was synced.
//!
//! Every file has its durable contents, and the writes since; every directory its durable names,
//! and the changes since. A power cut keeps what is durable and any part of the rest: each write
//! whole, torn at 512-byte sectors or not at all, each name on its own, in any order. A killed
//! process leaves everything as it was, durable or not, for the next power cut to judge.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, DiskError, DiskFile, DiskResult, LinkOutcome, LockGuard};
use crate::testing::SeededEntropy;

const BLOCK: usize = 4_096;
const SECTOR: usize = 512;

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

/// Contents as blocks; one that was never written is zero.
#[derive(Debug, Clone, Default)]
struct Contents {
    len: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK]>>,
}

#[derive(Debug, Clone)]
enum Write {
    Data { offset: u64, data: Arc<[u8]> },
    Len(u64),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    durable: Contents,
    current: Contents,
    pending: Vec<Write>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(String, usize),
    Remove(String),
    /// One step, as the file system's journal has it.
    Rename(String, String, usize),
}

#[derive(Debug, Clone, Default)]
struct Names {
    durable: BTreeMap<String, usize>,
    current: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Names>,
    operations: u64,
    /// The operation at which the machine goes down.
    down_at: Option<u64>,
}

/// The disk; a clone is a handle on the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

#[derive(Debug)]
struct NoLock;
impl LockGuard for NoLock {}

impl SimDisk {
    /// Operations that changed or synced something so far.
    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The machine goes down at the given operation, counted from now.
    pub(super) fn go_down_after(&self, operations: u64) {
        let mut state = self.state();
        state.down_at = Some(state.operations + operations);
    }

    /// A copy of the disk as it is, for another try from here.
    pub(super) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// What a new process finds after the machine, or the process, went down.
    pub(super) fn after(&self, cut: Cut, chance: &SeededEntropy) -> Self {
        let mut state = self.state().clone();
        state.down_at = None;
        if cut != Cut::Kill {
            let keep = cut == Cut::PowerKeepsSome;
            for inode in &mut state.inodes {
                for write in std::mem::take(&mut inode.pending) {
                    if keep {
                        inode.durable.apply_some(&write, chance);
                    }
                }
                inode.current = inode.durable.clone();
            }
            for names in state.dirs.values_mut() {
                for change in std::mem::take(&mut names.pending) {
                    if keep && chance.one_in(2) {
                        apply(&mut names.durable, &change);
                    }
                }
                names.current = names.durable.clone();
            }
        }
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic holds the lock")
    }

    fn error(action: &'static str, path: &Path, kind: io::ErrorKind) -> DiskError {
        DiskError::new(action, path, kind.into())
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Add(name, inode) => drop(names.insert(name.clone(), *inode)),
        NameChange::Remove(name) => drop(names.remove(name)),
        NameChange::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
    }
}

impl Contents {
    fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        if offset + out.len() as u64 > self.len {
            return false;
        }
        for (at, byte) in (offset..).zip(out.iter_mut()) {
            let block = self.blocks.get(&(at / BLOCK as u64));
            *byte = block.map_or(0, |block| block[to_usize(at % BLOCK as u64)]);
        }
        true
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.len = self.len.max(offset + data.len() as u64);
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let within = to_usize(at % BLOCK as u64);
            let (piece, after) = rest.split_at(rest.len().min(BLOCK - within));
            let block =
                self.blocks.entry(at / BLOCK as u64).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[within..within + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            rest = after;
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let kept = len.div_ceil(BLOCK as u64);
            self.blocks.retain(|block, _| *block < kept);
            if let Some(last) = self.blocks.get_mut(&(len / BLOCK as u64)) {
                Arc::make_mut(last)[to_usize(len % BLOCK as u64)..].fill(0);
            }
        }
        self.len = len;
    }

    /// A write that was not synced: none of it, all of it, or some sectors.
    fn apply_some(&mut self, write: &Write, chance: &SeededEntropy) {
        match (write, chance.below(3)) {
            (_, 0) => {}
            (Write::Len(len), _) => self.set_len(*len),
            (Write::Data { offset, data }, 1) => self.write(*offset, data),
            (Write::Data { offset, data }, _) => {
                // Sectors are where the disk has them, not where the write begins.
                let mut at = 0;
                while at < data.len() {
                    let sector = to_usize((*offset + at as u64) % SECTOR as u64);
                    let end = (at + SECTOR - sector).min(data.len());
                    if chance.one_in(2) {
                        self.write(*offset + at as u64, &data[at..end]);
                    }
                    at = end;
                }
            }
        }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}

impl State {
    /// Counts an operation; from `down_at` on nothing works any more.
    fn operation(&mut self, action: &'static str, path: &Path) -> DiskResult<()> {
        self.alive(action, path)?;
        self.operations += 1;
        self.alive(action, path)
    }

    fn alive(&self, action: &'static str, path: &Path) -> DiskResult<()> {
        match self.down_at {
            Some(at) if self.operations >= at => {
                let down = io::Error::other("the simulated machine is down");
                Err(DiskError::new(action, path, down))
            }
            _ => Ok(()),
        }
    }

    fn names(&mut self, dir: &Path) -> DiskResult<&mut Names> {
        let missing = SimDisk::error("find", dir, io::ErrorKind::NotFound);
        self.dirs.get_mut(dir).ok_or(missing)
    }

    fn find(&self, path: &Path) -> DiskResult<usize> {
        let (dir, name) = split(path);
        let inode = self.dirs.get(dir).and_then(|names| names.current.get(name));
        inode.copied().ok_or_else(|| SimDisk::error("open", path, io::ErrorKind::NotFound))
    }

    fn change(&mut self, dir: &Path, change: NameChange) -> DiskResult<()> {
        let names = self.names(dir)?;
        apply(&mut names.current, &change);
        names.pending.push(change);
        Ok(())
    }

    fn write(&mut self, inode: usize, write: Write) {
        let inode = &mut self.inodes[inode];
        match &write {
            Write::Data { offset, data } => inode.current.write(*offset, data),
            Write::Len(len) => inode.current.set_len(*len),
        }
        inode.pending.push(write);
    }

    fn sync(&mut self, inode: usize) {
        let inode = &mut self.inodes[inode];
        inode.pending.clear();
        inode.durable = inode.current.clone();
    }

    fn sync_names(&mut self, dir: &Path) -> DiskResult<()> {
        let names = self.names(dir)?;
        names.pending.clear();
        names.durable = names.current.clone();
        Ok(())
    }
}

fn split(path: &Path) -> (&Path, &str) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a file has a name");
    (path.parent().expect("a file is in a directory"), name)
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        state.alive("make the directory", dir)?;
        for dir in dir.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            state.dirs.entry(dir.to_path_buf()).or_default();
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        let mut state = self.state();
        state.alive("list", dir)?;
        Ok(state.names(dir)?.current.keys().cloned().collect())
    }

    /// In the steps of the real one, each of which can be the last.
    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        let (dir, name) = split(path);
        let unfinished = format!(".new-{name}");
        let mut state = self.state();
        let inode = state.inodes.len();
        state.operation("make a file in", dir)?;
        state.inodes.push(Inode::default());
        state.change(dir, NameChange::Add(unfinished.clone(), inode))?;
        state.write(inode, Write::Len(len.max(head.len() as u64)));
        state.write(inode, Write::Data { offset: 0, data: head.into() });
        state.operation("sync", path)?;
        state.sync(inode);
        if state.names(dir)?.current.contains_key(name) {
            return Err(Self::error("make the file", path, io::ErrorKind::AlreadyExists));
        }
        state.operation("rename", path)?;
        state.change(dir, NameChange::Rename(unfinished, name.to_owned(), inode))?;
        state.operation("sync the directory", dir)?;
        state.sync_names(dir)?;
        drop(state);
        self.open(path)
    }

    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive("open", path)?;
        let inode = state.find(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.to_path_buf() }))
    }

    fn link(&self, original: &Path, name: &Path) -> DiskResult<LinkOutcome> {
        let mut state = self.state();
        let inode = state.find(original)?;
        if state.find(name).is_ok() {
            return Ok(LinkOutcome::Exists);
        }
        let (dir, new) = split(name);
        state.change(dir, NameChange::Add(new.to_owned(), inode))?;
        // Down after it: whether the name is there, nobody was told.
        state.operation("make the link", name)?;
        Ok(LinkOutcome::Created)
    }

    fn link_count(&self, path: &Path) -> DiskResult<u64> {
        let state = self.state();
        state.alive("look at", path)?;
        let inode = state.find(path)?;
        let names = state.dirs.values().flat_map(|names| names.current.values());
        Ok(names.filter(|named| **named == inode).count() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let inode = state.find(from)?;
        let ((dir, old), (_, new)) = (split(from), split(to));
        state.change(dir, NameChange::Rename(old.to_owned(), new.to_owned(), inode))?;
        state.operation("rename", from)
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        let mut state = self.state();
        state.find(path)?;
        let (dir, name) = split(path);
        state.change(dir, NameChange::Remove(name.to_owned()))?;
        state.operation("remove", path)
    }

    fn remove_tree(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        state.alive("remove", dir)?;
        state.dirs.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        state.operation("sync the directory", dir)?;
        state.sync_names(dir)
    }

    fn free_bytes(&self, _dir: &Path) -> DiskResult<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        self.state().alive("lock", path)?;
        Ok(Some(Box::new(NoLock)))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> DiskResult<u64> {
        let state = self.disk.state();
        state.alive("measure", &self.path)?;
        Ok(state.inodes[self.inode].current.len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()> {
        let state = self.disk.state();
        state.alive("read", &self.path)?;
        if state.inodes[self.inode].current.read(offset, out) {
            Ok(())
        } else {
            Err(SimDisk::error("read", &self.path, io::ErrorKind::UnexpectedEof))
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> DiskResult<()> {
        let mut state = self.disk.state();
        state.alive("write", &self.path)?;
        state.write(self.inode, Write::Data { offset, data: data.into() });
        state.operation("write", &self.path)
    }

    fn set_len(&self, len: u64) -> DiskResult<()> {
        let mut state = self.disk.state();
        state.alive("resize", &self.path)?;
        state.write(self.inode, Write::Len(len));
        state.operation("resize", &self.path)
    }

    fn sync_data(&self) -> DiskResult<()> {
        let mut state = self.disk.state();
        state.operation("sync", &self.path)?;
        state.sync(self.inode);
        Ok(())
    }
}
