//! The journal: what every accepted batch counts, durable before its answer, until a checkpoint
//! holds it.
//!
//! # Format
//!
//! A journal is a sequence of segment files of 32 MiB, numbered from 1 without end. A segment is
//! made whole — written with zeros, synced, named, directory synced — before it is used, and is
//! appended to by one process life only.
//!
//! ```text
//! segment   header block (4 KiB) | frame | frame | … | zeros, or what the file's earlier life left
//! header    magic "LOGMSEG3" | sequence | id (random) | grace in ms | limit of paths | of agents
//!           | rules of paths | xxh3-64 of all before                                    (8 × u64)
//! frame     starts on a multiple of 4 KiB, zero-padded to the next
//!           magic "LMFR" u32 | records u32 | segment id | group | accept time in ms
//!           | length of all records | checksum                            (2 × u32, then 5 × u64)
//!           | record | record | …
//! record    length of summary u32 | of customer u8 | of key u8 | of request id u8 | zero u8
//!           | content digest u128 | length of dead letters u32 | customer | key | request id
//!           | summary (`insight/bytes.rs`) | dead letters (`dead_letters.rs`)
//! ```
//!
//! All numbers are little-endian. A frame's checksum is xxh3-64 over the frame with the checksum
//! field zero, seeded with the segment's id: bytes of a file's earlier life never validate.
//!
//! # Rules
//!
//! - One frame is one group, one write, one `fdatasync`. Groups are numbered densely.
//! - A batch is summed up before it is written, and its body is not kept: what was acknowledged is
//!   replayed as it was counted, whatever a later version would make of the body.
//! - The rules by which entries are counted stand in the segment's header: a process writes with
//!   one set of rules for all its life, and a replay uses what is recorded.
//! - A write can be torn at any byte until the sync returns; afterwards it is whole. So only the
//!   last frame can be torn, and a torn frame was never acknowledged.
//! - Reading collects every valid frame at any 4 KiB boundary. Those past the checkpoint must be
//!   dense: a missing one that is followed by a later one was acknowledged and is damaged (S1).
//! - A failed sync is never retried: the process ends, recovery judges what is there (A1).
//! - With `archive.retention`, a segment is archived before it is reclaimed, see `archive.rs`.
//! - Segments are reclaimed oldest first, after the store and the claims hold all of it (S2), and
//!   may be reused under a new id. One that a power cut brings back holds nothing past the
//!   checkpoint and is reclaimed again.

mod archive;
mod format;
mod history;
mod keeper;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::{ArchiveRetention, Archived, archived};
pub use format::{Record, Rules};
pub use history::History;
pub use keeper::{Prepared, Sealed, SegmentKeeper};
#[cfg(any(test, fuzzing))]
pub use reader::fuzz::fuzz_segment;
pub use reader::{Damage, FrameAt, FrameContents, FrameReader, JournalScan, scan};
pub use writer::{Journal, SegmentSource};
