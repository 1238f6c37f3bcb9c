//! Claims: an idempotency key is taken by an atomic create-new of a file name, as
//! `PUT If-None-Match: *` takes an object's name on S3.
//!
//! # Format
//!
//! A claim is the name `claims/names/<1 hex>/<32 hex>`, the first 128 bits of blake3 over the
//! customer and the key, as a hard link onto a *claim page*: a file of 512 KiB, made whole before
//! it is used, to which the entries of a group are appended before their names are linked.
//!
//! ```text
//! page      header | entry | entry | … | zeros           (a repair gives up one: magic "LOGMCLM-")
//! header    magic "LOGMCLM1" | incarnation | number | server uptime in ms | xxh3-64   (5 × u64)
//! entry     length u32 | of customer u8 | of key u8 | zero u16 | checksum u64 | group u64
//!           | entries u32 | windows u32 | claim u128 | content digest u128 | customer | key
//! ```
//!
//! All numbers are little-endian. An entry's checksum is xxh3-64 over what follows it, seeded with
//! what stands before it and the page's incarnation. The store has a *seal* for each page: up to
//! which byte the last checkpoint has made it durable.
//!
//! # Rules
//!
//! - The link decides: created means won, whatever memory says. Only the sequencer claims.
//! - A name that exists is judged by the page it leads to, and the entry that was written for the
//!   loser is taken back. A page has at most one entry for a key: what has its entry on the page is
//!   judged without another, or goes on the next.
//! - An entry counts exactly if its group is not after the last group of its incarnation, which
//!   recovery writes into the store. Another is void (a crash came between claim and sync) and
//!   its name is replaced.
//! - Pages and names are made durable by the checkpoint that covers their groups; until then the
//!   journal has everything, and recovery claims it again, into pages of its own.
//! - Entries before a page's seal are as they were written, or the disk has changed them. So a key
//!   whose name leads to a page with such damage, and is not found on it, cannot be judged: nothing
//!   is stored under it until a repair gives up what is lost.
//! - A page is swept whole, oldest first, once its youngest key is past its retention; its file
//!   goes after the removal of its names is durable. A name that comes back leads to a page that
//!   still says what it said.

mod ahead;
mod check;
mod copy;
mod page;
mod probe;
mod store;
mod sweep;

#[cfg(test)]
mod tests;

pub use ahead::{MadePage, PageOrder};
pub use copy::copy;
#[cfg(any(test, fuzzing))]
pub use page::fuzz::fuzz_page;
pub use page::{Claim, Receipt, Seal};
pub use probe::{ProbeError, probe};
pub use store::{ClaimStore, ClaimSync, Lives, Seals, Verdict};
pub use sweep::{KeyRetention, Swept};
