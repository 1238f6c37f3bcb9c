//! A file whose blocks are checked whenever they are read, so that what the disk has changed is
//! not believed.
//!
//! redb has checksums in its trees and looks at them after a crash; what it reads while it serves,
//! it believes. A turned bit in a branch would hide rows without a word.
//!
//! # Format
//!
//! ```text
//! file      group | group | …
//! group     sums | block | block | …                       (512 blocks, each of 4 KiB, as sums)
//! sums      512 × xxh3-64 of a block, seeded with its number; 0: never written, all zeros
//! ```
//!
//! # Rules
//!
//! - The first block is redb's header. It is written in place, so a crash may tear it, and it has
//!   no sum here. redb keeps the roots of its last two commits in it, each with a checksum; which
//!   of the two counts is one bit that nothing checks.
//! - All other blocks are written only while no commit needs them. So it does not matter that a
//!   block and its sum can reach the disk one without the other: the commit that needs them syncs
//!   both, and until then sums can wait in memory. This needs commits in two phases, as all ours
//!   are: after one in a single phase redb would look at blocks that a crash has torn.
//! - Sums share sectors with the sums of blocks that are needed. A disk must not, in a power cut,
//!   spoil what it did not write; redb relies on that for its header, too.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::disk::{DiskFile, DiskResult};

const BLOCK_BYTES: usize = 4_096;
const BLOCK: u64 = BLOCK_BYTES as u64;
const SUM: u64 = 8;
const BLOCKS_PER_GROUP: u64 = BLOCK / SUM;
const GROUP: u64 = BLOCKS_PER_GROUP * BLOCK;
/// redb's own, without a sum.
const HEADER: Range<u64> = 0..1;
const POISON: &str = "no code that holds the lock panics";

/// The blocks of a file, numbered from 0, without their sums.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<dyn DiskFile>,
    /// Sums of blocks written since the last sync.
    waiting: RwLock<BTreeMap<u64, u64>>,
}

impl Blocks {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, waiting: RwLock::default() }
    }

    /// Bytes in all blocks.
    pub(super) fn len(&self) -> io::Result<u64> {
        let len = io(self.file.len())?;
        let (groups, rest) = (len / (BLOCK + GROUP), len % (BLOCK + GROUP));
        Ok(groups * GROUP + rest.saturating_sub(BLOCK))
    }

    /// Cuts or extends. What is new is zeros, but not for sure after a power cut: redb writes a
    /// page before it reads it.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        let cut = len.div_ceil(BLOCK)..before.div_ceil(BLOCK);
        self.waiting.write().expect(POISON).retain(|block, _| *block < cut.start);
        if let Some((blocks, _)) = in_groups(cut).next() {
            // What comes there later starts as zeros again. The sums of other groups go.
            let sums = vec![0; to_usize((blocks.end - blocks.start) * SUM)];
            io(self.file.write_at(sum_at(blocks.start), &sums))?;
        }
        io(self.file.set_len(if len == 0 { 0 } else { at(len - 1) + 1 }))
    }

    /// Reads bytes, whole blocks or parts of them.
    ///
    /// # Errors
    /// `InvalidData` if a block is not what was written.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (blocks, within) = covering(offset, out.len());
        if blocks == HEADER {
            return io(self.file.read_at(at(offset), out));
        }
        if within.len() == bytes_of(&blocks) {
            return self.read_blocks(blocks, out);
        }
        let mut whole = vec![0; bytes_of(&blocks)];
        self.read_blocks(blocks, &mut whole)?;
        out.copy_from_slice(&whole[within]);
        Ok(())
    }

    /// Writes bytes, whole blocks or parts of them.
    ///
    /// # Errors
    /// As for [`Blocks::read`], if a block is written in part.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (blocks, within) = covering(offset, data.len());
        if blocks == HEADER {
            return io(self.file.write_at(at(offset), data));
        }
        if within.len() == bytes_of(&blocks) {
            return self.write_blocks(blocks, data);
        }
        let mut whole = vec![0; bytes_of(&blocks)];
        self.read_blocks(blocks.clone(), &mut whole)?;
        whole[within].copy_from_slice(data);
        self.write_blocks(blocks, &whole)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// As for [`DiskFile::sync_data`], and as final.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.write_sums()?;
        io(self.file.sync_data())
    }

    fn read_blocks(&self, blocks: Range<u64>, out: &mut [u8]) -> io::Result<()> {
        for (blocks, bytes) in in_groups(blocks) {
            let out = &mut out[bytes];
            io(self.file.read_at(at(blocks.start * BLOCK), out))?;
            let mut sums = vec![0; to_usize((blocks.end - blocks.start) * SUM)];
            // Before sums are read: the ones that wait must not move to the file in between.
            let waiting = self.waiting.read().expect(POISON);
            io(self.file.read_at(sum_at(blocks.start), &mut sums))?;
            let (sums, _) = sums.as_chunks();
            for ((number, block), sum) in blocks.zip(out.chunks(BLOCK_BYTES)).zip(sums) {
                let recorded = waiting.get(&number).copied();
                check(number, block, recorded.unwrap_or(u64::from_le_bytes(*sum)))?;
            }
        }
        Ok(())
    }

    fn write_blocks(&self, blocks: Range<u64>, data: &[u8]) -> io::Result<()> {
        for (blocks, bytes) in in_groups(blocks) {
            let data = &data[bytes];
            io(self.file.write_at(at(blocks.start * BLOCK), data))?;
            let sums = blocks.zip(data.chunks(BLOCK_BYTES)).map(|(n, block)| (n, sum(n, block)));
            self.waiting.write().expect(POISON).extend(sums);
        }
        Ok(())
    }

    /// Writes the sums that wait, one run of neighbours after the other.
    fn write_sums(&self) -> io::Result<()> {
        let mut waiting = self.waiting.write().expect(POISON);
        let mut sums = waiting.iter().peekable();
        while let Some((first, sum)) = sums.next() {
            let mut run = sum.to_le_bytes().to_vec();
            let is_next = |block: u64, len: usize| {
                block == first + len as u64 / SUM && !block.is_multiple_of(BLOCKS_PER_GROUP)
            };
            while let Some((_, sum)) = sums.next_if(|(block, _)| is_next(**block, run.len())) {
                run.extend(sum.to_le_bytes());
            }
            io(self.file.write_at(sum_at(*first), &run))?;
        }
        waiting.clear();
        Ok(())
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // What was not synced is in no commit, but what was written should be whole.
        self.write_sums().ok();
    }
}

/// Where a byte of the blocks is in the file.
fn at(offset: u64) -> u64 {
    offset + (offset / GROUP + 1) * BLOCK
}

/// Where the sum of a block is in the file.
fn sum_at(block: u64) -> u64 {
    let (group, nth) = (block / BLOCKS_PER_GROUP, block % BLOCKS_PER_GROUP);
    group * (BLOCK + GROUP) + nth * SUM
}

/// The blocks that some bytes are in, and where in them.
fn covering(offset: u64, len: usize) -> (Range<u64>, Range<usize>) {
    let blocks = offset / BLOCK..(offset + len as u64).div_ceil(BLOCK);
    let from = to_usize(offset - blocks.start * BLOCK);
    (blocks, from..from + len)
}

fn bytes_of(blocks: &Range<u64>) -> usize {
    to_usize((blocks.end - blocks.start) * BLOCK)
}

/// Splits a run of blocks where groups end; with each part, its bytes within the run.
fn in_groups(blocks: Range<u64>) -> impl Iterator<Item = (Range<u64>, Range<usize>)> {
    let (first, mut next) = (blocks.start, blocks.start);
    std::iter::from_fn(move || {
        (next < blocks.end).then(|| {
            let from = next;
            next = blocks.end.min((from / BLOCKS_PER_GROUP + 1) * BLOCKS_PER_GROUP);
            (from..next, to_usize((from - first) * BLOCK)..to_usize((next - first) * BLOCK))
        })
    })
}

/// Never 0, which says that a block was never written.
fn sum(number: u64, block: &[u8]) -> u64 {
    xxh3_64_with_seed(block, number).max(1)
}

fn check(number: u64, block: &[u8], recorded: u64) -> io::Result<()> {
    let is_right = match (number, recorded) {
        (0, _) => true,
        (_, 0) => block.iter().all(|byte| *byte == 0),
        (_, recorded) => sum(number, block) == recorded,
    };
    if is_right {
        return Ok(());
    }
    let what = format!("block {number} of the store is not what was written");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("it is in memory")
}

/// redb speaks `io::Error` and shows no cause: path, action and reason stay in its text.
fn io<T>(result: DiskResult<T>) -> io::Result<T> {
    result
        .map_err(|error| io::Error::new(error.source.kind(), format!("{error}: {}", error.source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, RealDisk};
    use crate::testing::DataDir;

    fn open(dir: &DataDir) -> Blocks {
        let path = dir.layout.store();
        let names = RealDisk.list(dir.layout.root()).expect("readable");
        Blocks::new(match names.iter().any(|name| path.ends_with(name)) {
            true => RealDisk.open(&path).expect("there"),
            false => RealDisk.create_new(&path, &[], 0).expect("made"),
        })
    }

    #[test]
    fn sums_stand_before_their_blocks() {
        assert_eq!(
            (at(0), at(GROUP - 1), at(GROUP)),
            (BLOCK, BLOCK + GROUP - 1, 2 * BLOCK + GROUP)
        );
        assert_eq!((sum_at(0), sum_at(511), sum_at(512)), (0, 511 * SUM, BLOCK + GROUP));
        let parts: Vec<_> = in_groups(510..1_025).map(|(blocks, _)| blocks).collect();
        assert_eq!(parts, [510..512, 512..1_024, 1_024..1_025]);
    }

    /// Every bit counts, in blocks and in sums; those of the header are redb's to check.
    #[test]
    fn a_changed_bit_is_told() {
        let dir = DataDir::new();
        let blocks = open(&dir);
        blocks.set_len(3 * BLOCK).expect("works");
        blocks.write(BLOCK, &[7; BLOCK_BYTES]).expect("works");
        blocks.sync_data().expect("works");
        let read = || blocks.read(0, &mut [0; 3 * BLOCK_BYTES]).map_err(|error| error.kind());
        read().expect("a block, and one of zeros");
        let told =
            [sum_at(1), sum_at(2), at(BLOCK), at(2 * BLOCK - 1), at(2 * BLOCK), at(3 * BLOCK - 1)];
        for offset in told {
            dir.flip(&dir.layout.store(), offset);
            assert_eq!(read(), Err(io::ErrorKind::InvalidData), "at {offset}");
            dir.flip(&dir.layout.store(), offset);
        }
        dir.flip(&dir.layout.store(), at(0));
        read().expect("the header");
    }

    /// A block of another place, whole as it is, is not this one.
    #[test]
    fn a_block_in_the_wrong_place_is_told() {
        let dir = DataDir::new();
        let blocks = open(&dir);
        blocks.set_len(3 * BLOCK).expect("works");
        blocks.write(BLOCK, &[7; BLOCK_BYTES]).expect("works");
        blocks.sync_data().expect("works");
        let mut sum = [0; 8];
        blocks.file.read_at(sum_at(1), &mut sum).expect("works");
        blocks.file.write_at(sum_at(2), &sum).expect("works");
        blocks.file.write_at(at(2 * BLOCK), &[7; BLOCK_BYTES]).expect("works");
        assert!(blocks.read(2 * BLOCK, &mut [0; BLOCK_BYTES]).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        /// Whatever is written, cut and extended, it reads as a plain file does.
        #[test]
        fn it_is_a_file(
            calls in proptest::collection::vec(
                (0_u64..1_100, 0_u64..9, 0_u64..4 * BLOCK, 0_u8..4), 1..20),
        ) {
            let dir = DataDir::new();
            let mut plain = Vec::new();
            let mut blocks = open(&dir);
            for (byte, (block, of_block, len, call)) in (1..).zip(calls) {
                match call {
                    1 => blocks.sync_data().expect("works"),
                    2 => {
                        drop(blocks);
                        blocks = open(&dir);
                    }
                    _ => {}
                }
                let offset = block * BLOCK + of_block.saturating_sub(6) * 1_000;
                if call == 0 || offset + len > plain.len() as u64 {
                    plain.resize(to_usize((offset + len).next_multiple_of(BLOCK)), 0);
                    blocks.set_len(plain.len() as u64).expect("works");
                    proptest::prop_assert_eq!(blocks.len().expect("works"), plain.len() as u64);
                }
                let data = vec![byte; to_usize(len)];
                blocks.write(offset, &data).expect("works");
                plain[to_usize(offset)..to_usize(offset + len)].copy_from_slice(&data);
                let mut read = vec![0; plain.len()];
                blocks.read(0, &mut read).expect("works");
                proptest::prop_assert!(read == plain);
            }
        }
    }
}
