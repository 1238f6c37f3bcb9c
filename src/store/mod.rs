//! The store: what checkpoints have made of the journal. One redb file, each block of it with a
//! checksum (`blocks.rs`).
//!
//! # Format
//!
//! Keys of windows are `level u8 | start minute u32, big-endian | customer`: time before customer,
//! because inserts then touch few pages. Totals, counts by path and counts by agent are separate
//! values, so that a chart of totals reads little. Every value ends with the xxh3-64 of its key
//! and what stands before, checked at each read.
//!
//! ```text
//! table     key                        value
//! totals    window                     requests, late, revision, first group           (varints),
//!                                      responses, if any were said     (see `responses.rs`)
//! paths     window                     number of names, then each: length, name, count (varints)
//! agents    window                     the same
//! dirty     window (hour or day)       epoch that last changed something in it            (u64)
//! touched   window (hour or day)       accept time of the last change, in ms              (u64)
//! meta      name                       checkpoint_group, epoch, incarnation, …            (u64)
//! lives     incarnation                its last group                                     (u64)
//! seals     claim page                 up to where it is durable, in bytes                (u64)
//! letters   customer, 0, group, place, when accepted, framing (varints), key, request id, format,
//!           index (big-endian)         reason, body (each with its length before it)
//! letters_held  customer               number of letters, and their bytes          (u64, u64)
//! ```
//!
//! # Rules
//!
//! - One transaction a checkpoint, synced: it holds exactly the batches of groups up to
//!   `checkpoint_group` (S1). Any error ends the process: one from commit does not mean that the
//!   transaction is not there.
//! - Minutes are the truth. An hour or day row is a cache: it is right unless it has a dirty mark,
//!   which is written with the change. Closed ones that have rested for an epoch are rebuilt.
//! - Minutes that queries have read are kept decoded (`hours.rs`) until a checkpoint changes them.
//! - Past retention an hour's minutes are folded into its *base* row, and a day's hours into the
//!   day's; hour = base + minutes and day = base + hours hold always, late data included (W2).

mod backend;
mod blocks;
mod check;
mod commit;
mod copy;
mod customers;
mod expire;
mod hours;
mod letters;
mod read;
mod rollup;
mod rows;

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

pub use check::RowFault;
pub use commit::{Checkpoint, CheckpointStats};
pub use copy::FrozenStore;
pub use hours::{HourNames, HourTotals};
pub use letters::{LetterId, LetterRetention, LetterStats, StoredLetter};
pub use read::{Page, Snapshot};
pub use rows::Row;
#[cfg(any(test, fuzzing))]
pub use rows::fuzz::fuzz_rows;

use crate::claim::{Lives, Seal, Seals};
use crate::counts::KeyLimits;
use crate::disk::{Disk, DiskError, Layout, PageId};
use crate::ids::{AcceptTime, Epoch, Group, Incarnation};
use backend::{Contained, DiskBackend};
use hours::Hours;
use letters::{LETTERS, LETTERS_HELD};

type Bytes = &'static [u8];
const TOTALS: TableDefinition<Bytes, Bytes> = TableDefinition::new("totals");
const PATHS: TableDefinition<Bytes, Bytes> = TableDefinition::new("paths");
const AGENTS: TableDefinition<Bytes, Bytes> = TableDefinition::new("agents");
const DIRTY: TableDefinition<Bytes, u64> = TableDefinition::new("dirty");
const TOUCHED: TableDefinition<Bytes, u64> = TableDefinition::new("touched");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const LIVES: TableDefinition<u64, u64> = TableDefinition::new("lives");
const SEALS: TableDefinition<(u64, u64), u64> = TableDefinition::new("seals");

/// Why the store cannot be read or written. Always ends the process.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The database refuses or fails.
    #[error("cannot {action} the store {}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// What redb said.
        source: Box<redb::Error>,
    },
    /// The database panics, as it does on some damaged pages.
    #[error("cannot {action} the store {}: the database gave up: {message}", path.display())]
    Panicked {
        /// What was tried.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// Its last words.
        message: String,
    },
    /// A row is not what was written.
    #[error("the store {} is damaged: a row of table {table:?} fails its checksum", path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// The table.
        table: String,
    },
}

/// What the store says of where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The last group that is in the store.
    pub group: Group,
    /// The last checkpoint.
    pub epoch: Epoch,
    /// The process life that began last; a checkpoint leaves it as it is.
    pub incarnation: Incarnation,
    /// Uptime of the server over all its lives, at the last checkpoint.
    pub uptime: Duration,
    /// The latest accept time of any group in the store.
    pub accepted: AcceptTime,
}

/// How long windows are kept at each size; days are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Minutes, counted from the window's end and from its last change, whichever is later.
    pub minutes: Duration,
    /// Hours, counted the same way.
    pub hours: Duration,
    /// Dead letters.
    pub letters: LetterRetention,
}

impl Retention {
    /// Everything is kept.
    pub const FOREVER: Self =
        Self { minutes: Duration::MAX, hours: Duration::MAX, letters: LetterRetention::FOREVER };
}

/// The open store.
pub struct Store {
    database: Contained,
    path: PathBuf,
    limits: KeyLimits,
    hours: Hours,
    /// Where the search for expired windows goes on, a start minute for hours and one for days.
    expiry_at: [AtomicU64; 2],
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, or makes an empty one under another name that is then renamed.
    ///
    /// # Errors
    /// If the disk fails or the file is not a store.
    pub fn open(
        disk: &Arc<dyn Disk>,
        layout: &Layout,
        cache_bytes: usize,
        limits: KeyLimits,
    ) -> Result<Self, StoreError> {
        let path = layout.store();
        let is_new = !disk.list(layout.root())?.iter().any(|name| path.ends_with(name));
        let opened = if is_new { layout.new_store() } else { path.clone() };
        let file = if is_new { disk.create_new(&opened, &[], 0)? } else { disk.open(&opened)? };
        let open = || {
            let mut builder = Database::builder();
            Ok(builder.set_cache_size(cache_bytes).create_with_backend(DiskBackend::new(file))?)
        };
        let database = Contained::new(guard("open", &path, open)?);
        let expiry_at = [AtomicU64::new(0), AtomicU64::new(0)];
        let store = Self { database, path, limits, hours: Hours::default(), expiry_at };
        if is_new {
            store.create_tables()?;
            disk.rename(&opened, &store.path)?;
            disk.sync_dir(layout.root()).inspect_err(|_| {
                // Seen but not durable, it would be a trap for the next process.
                disk.rename(&store.path, &opened).ok();
            })?;
        }
        Ok(store)
    }

    /// Where the store stands.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn position(&self) -> Result<Position, StoreError> {
        self.snapshot()?.position()
    }

    /// The last groups of all lives that have ended.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn lives(&self) -> Result<Lives, StoreError> {
        self.reading(|database| {
            let table = database.begin_read()?.open_table(LIVES)?;
            let mut lives = Lives::new();
            for row in table.iter()? {
                let (incarnation, group) = row?;
                lives.insert(Incarnation(incarnation.value()), Group(group.value()));
            }
            Ok(lives)
        })
    }

    /// Up to where each claim page is durable.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn seals(&self) -> Result<Seals, StoreError> {
        self.reading(|database| seals(&database.begin_read()?))
    }

    /// Begins a new life of the process, durably; its number was never used before.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn begin_life(&self) -> Result<Incarnation, StoreError> {
        self.writing(|txn| {
            let mut meta = txn.open_table(META)?;
            let before = meta.get("incarnation")?.map_or(0, |row| row.value());
            meta.insert("incarnation", before + 1)?;
            Ok(Incarnation(before + 1))
        })
    }

    /// A consistent view of the store as of its last checkpoint.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        Snapshot::open(self)
    }

    fn create_tables(&self) -> Result<(), StoreError> {
        self.writing(|txn| {
            txn.open_table(TOTALS)?;
            txn.open_table(PATHS)?;
            txn.open_table(AGENTS)?;
            txn.open_table(DIRTY)?;
            txn.open_table(TOUCHED)?;
            txn.open_table(META)?;
            txn.open_table(LIVES)?;
            txn.open_table(SEALS)?;
            txn.open_table(LETTERS)?;
            txn.open_table(LETTERS_HELD)?;
            Ok(())
        })
    }

    fn reading<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, rows::RowError>,
    ) -> Result<T, StoreError> {
        guard("read", &self.path, || read(&self.database))
    }

    /// Runs `write` in one synced transaction.
    fn writing<T>(
        &self,
        write: impl FnOnce(&redb::WriteTransaction) -> Result<T, rows::RowError>,
    ) -> Result<T, StoreError> {
        let transact = || {
            let mut txn = self.database.begin_write()?;
            txn.set_durability(redb::Durability::Immediate)?;
            txn.set_quick_repair(true);
            let result = write(&txn)?;
            txn.commit()?;
            Ok(result)
        };
        guard("write", &self.path, transact)
    }
}

fn seals(txn: &redb::ReadTransaction) -> rows::RowResult<Seals> {
    let mut seals = Seals::new();
    for row in txn.open_table(SEALS)?.iter()? {
        let (page, seal) = row?;
        let (incarnation, number) = page.value();
        seals.insert(PageId { incarnation: Incarnation(incarnation), number }, Seal(seal.value()));
    }
    Ok(seals)
}

/// Does something with the database. It panics on some damaged pages: that ends here, as an error
/// that says so, and like any error of the store it ends the process.
fn guard<T>(
    action: &'static str,
    path: &Path,
    run: impl FnOnce() -> rows::RowResult<T>,
) -> Result<T, StoreError> {
    // Nothing that `run` leaves half done is used again: the process ends.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => done.map_err(|error| match error {
            rows::RowError::Corrupt(table) => {
                StoreError::Corrupt { path: path.to_path_buf(), table }
            }
            rows::RowError::Database(error) => StoreError::database(action, path, error),
        }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let message = text.unwrap_or("it panicked").to_owned();
            Err(StoreError::Panicked { action, path: path.to_path_buf(), message })
        }
    }
}

impl StoreError {
    /// Whether stored bytes are not what was written.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Panicked { .. } => true,
            Self::Database { source, .. } => match source.as_ref() {
                redb::Error::Corrupted(_) => true,
                redb::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
                _ => false,
            },
            Self::Disk(_) => false,
        }
    }

    /// Whether the disk is full, or a quota is.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_out_of_space(),
            Self::Database { source, .. } => match source.as_ref() {
                redb::Error::Io(error) => crate::disk::is_out_of_space(error),
                _ => false,
            },
            Self::Corrupt { .. } | Self::Panicked { .. } => false,
        }
    }

    fn database(action: &'static str, path: &Path, error: impl Into<redb::Error>) -> Self {
        Self::Database { action, path: path.to_path_buf(), source: Box::new(error.into()) }
    }
}
