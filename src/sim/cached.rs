//! What is on a disk, and what is only in the page cache above it.
//!
//! A file is its contents and length, a directory its names; both have the same life: a change is
//! seen at once, a sync makes it durable, a power cut leaves any part of what was not. A sync that
//! fails marks what it should have written as clean: it is still seen, no later sync writes it,
//! and it is gone with the page cache, unless a later change makes its page dirty again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::testing::SeededEntropy;

const BLOCK: usize = 4_096;
const SECTOR: usize = 512;

/// One change of a file or a directory.
pub(super) trait Change {
    type Whole: Clone + Default;

    fn apply(&self, to: &mut Self::Whole);

    /// What a disk may have of a change that was under way: none, all, or some of it.
    fn apply_some(&self, to: &mut Self::Whole, chance: &SeededEntropy);

    /// Writes the pages that it made dirty, with all that is in them.
    fn write_back(&self, current: &Self::Whole, to: &mut Self::Whole);
}

/// A file or a directory, as the disk has it and as processes see it.
#[derive(Debug, Clone)]
pub(super) struct Cached<C: Change> {
    durable: C::Whole,
    current: C::Whole,
    /// Seen, and not durable.
    pending: Vec<C>,
}

impl<C: Change> Default for Cached<C> {
    fn default() -> Self {
        let (durable, current) = Default::default();
        Self { durable, current, pending: Vec::new() }
    }
}

impl<C: Change> Cached<C> {
    pub(super) fn current(&self) -> &C::Whole {
        &self.current
    }

    pub(super) fn change(&mut self, change: C) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.write_back(&self.current, &mut self.durable);
        }
    }

    pub(super) fn fail_sync(&mut self, chance: &SeededEntropy) {
        for change in self.pending.drain(..) {
            change.apply_some(&mut self.durable, chance);
        }
    }

    /// The power is cut; with `chance`, some of what was not durable is there nevertheless.
    pub(super) fn lose_power(&mut self, chance: Option<&SeededEntropy>) {
        for change in self.pending.drain(..) {
            if let Some(chance) = chance {
                change.apply_some(&mut self.durable, chance);
            }
        }
        self.current = self.durable.clone();
    }
}

/// A file's bytes in blocks; one that was never written is zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) len: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK]>>,
}

/// A change of a file.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Data { offset: u64, data: Arc<[u8]> },
    Len(u64),
}

impl Write {
    pub(super) fn data(offset: u64, data: &[u8]) -> Self {
        Self::Data { offset, data: data.into() }
    }

    /// What a write that failed has written all the same: any first part of it.
    pub(super) fn cut_short(self, chance: &SeededEntropy) -> Option<Self> {
        match self {
            Self::Data { offset, data } => {
                let len = to_usize(chance.below(data.len() as u64 + 1));
                (len > 0).then(|| Self::data(offset, &data[..len]))
            }
            Self::Len(_) => None,
        }
    }
}

impl Contents {
    /// Fills `out`; false if the file ends before.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        if offset + out.len() as u64 > self.len {
            return false;
        }
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let within = to_usize(at % BLOCK as u64);
            let piece_len = rest.len().min(BLOCK - within);
            let (piece, after) = rest.split_at_mut(piece_len);
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some(block) => piece.copy_from_slice(&block[within..within + piece_len]),
                None => piece.fill(0),
            }
            at += piece_len as u64;
            rest = after;
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
}

impl Change for Write {
    type Whole = Contents;

    fn apply(&self, to: &mut Contents) {
        match self {
            Self::Data { offset, data } => to.write(*offset, data),
            Self::Len(len) => to.set_len(*len),
        }
    }

    fn write_back(&self, current: &Contents, to: &mut Contents) {
        if let Self::Data { offset, data } = self {
            let end = offset + data.len() as u64;
            for number in offset / BLOCK as u64..end.div_ceil(BLOCK as u64) {
                match current.blocks.get(&number) {
                    Some(block) => drop(to.blocks.insert(number, Arc::clone(block))),
                    None => drop(to.blocks.remove(&number)),
                }
            }
        }
        to.set_len(current.len);
    }

    fn apply_some(&self, to: &mut Contents, chance: &SeededEntropy) {
        match (self, chance.below(3)) {
            (_, 0) => {}
            (Self::Len(_), _) | (_, 1) => self.apply(to),
            (Self::Data { offset, data }, _) => {
                // The length is the file system's matter, apart from the bytes.
                if chance.one_in(2) {
                    to.set_len(to.len.max(offset + data.len() as u64));
                }
                // Sectors are where the disk has them, not where the write begins.
                let mut at = 0;
                while at < data.len() {
                    let sector = to_usize((*offset + at as u64) % SECTOR as u64);
                    let end = (at + SECTOR - sector).min(data.len());
                    if chance.one_in(2) {
                        to.write(*offset + at as u64, &data[at..end]);
                    }
                    at = end;
                }
            }
        }
    }
}

/// The names in a directory, and the number of the node each leads to.
pub(super) type Names = BTreeMap<String, usize>;

/// A change of a directory. Each is one step, as the file system's own journal has it.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add(String, usize),
    Remove(String),
    Rename(String, usize),
}

impl Change for NameChange {
    type Whole = Names;

    fn apply(&self, to: &mut Names) {
        match self {
            Self::Add(name, node) => drop(to.insert(name.clone(), *node)),
            Self::Remove(name) => drop(to.remove(name)),
            Self::Rename(new, node) => {
                // Whatever it was called before.
                to.retain(|_, named| named != node);
                to.insert(new.clone(), *node);
            }
        }
    }

    /// A directory of few names is one page.
    fn write_back(&self, current: &Names, to: &mut Names) {
        to.clone_from(current);
    }

    fn apply_some(&self, to: &mut Names, chance: &SeededEntropy) {
        if chance.one_in(2) {
            self.apply(to);
        }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
