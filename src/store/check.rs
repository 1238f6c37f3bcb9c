//! Looking at every row: what a query would refuse, and what it would believe although it is wrong.

use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::rollup::sum_of_parts;
use super::rows::{Level, RowError, RowResult, WindowTables, parse_key};
use super::{AGENTS, DIRTY, PATHS, Store, StoreError, TOTALS, guard, letters};
use crate::counts::Parts;
use crate::ids::CustomerId;
use crate::limits;
use crate::window::{Minute, WindowSize};

/// What is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// The database's own structure is damaged.
    #[error("the store's pages are damaged: rows may be missing")]
    Structure,
    /// A row cannot be read.
    #[error("a row of table {table:?} fails its checksum{}", at.as_ref().map(|at| format!(": {at}")).unwrap_or_default())]
    Checksum {
        /// The table.
        table: String,
        /// Customer and start of the window, or the name of the letter, where its key can be read.
        at: Option<String>,
    },
    /// A window has counts but no totals.
    #[error("a row of table {table:?} has no totals: {at}")]
    NoTotals {
        /// The table.
        table: String,
        /// Customer and start of the window.
        at: String,
    },
    /// Totals are not the sum over paths or agents (W2).
    #[error("the totals of {at} are not the sum of its paths and agents")]
    Sum {
        /// Customer and start of the window.
        at: String,
    },
    /// An hour or a day is not the sum of its parts (W2).
    #[error("the {size} {at} is not the sum of its parts")]
    RollUp {
        /// Its size.
        size: WindowSize,
        /// Customer and start of the window.
        at: String,
    },
}

type WindowTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Store {
    /// Whether the database's own structure is whole. Reads all of it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn is_whole(&mut self) -> Result<bool, StoreError> {
        let (database, path) = (&mut self.database, &self.path);
        match guard("check", path, || Ok(database.check_integrity()?)) {
            Err(error) if error.is_corrupt() => Ok(false),
            whole => whole,
        }
    }

    /// Looks at every window; tells how many rows are done of how many, and each fault.
    ///
    /// # Errors
    /// If the store cannot be read at all.
    pub fn check_rows(
        &self,
        progress: &dyn Fn(u64, u64),
        fault: &mut dyn FnMut(RowFault),
    ) -> Result<u64, StoreError> {
        self.reading(|database| {
            let txn = database.begin_read()?;
            let windows = WindowTables {
                totals: txn.open_table(TOTALS)?,
                paths: txn.open_table(PATHS)?,
                agents: txn.open_table(AGENTS)?,
            };
            let dirty = txn.open_table(DIRTY)?;
            let all = windows.totals.len()?;
            let mut done = 0;
            for row in windows.totals.iter()? {
                let (key, _) = row?;
                check_window(self, &windows, &dirty, key.value(), fault)?;
                done += 1;
                if done % limits::COPY_ROWS_PER_REPORT == 0 || done == all {
                    progress(done, all);
                }
            }
            for (name, table) in [("paths", &windows.paths), ("agents", &windows.agents)] {
                for row in table.iter()? {
                    let (key, _) = row?;
                    if windows.totals.get(key.value())?.is_none() {
                        let at = place(key.value()).unwrap_or_default();
                        fault(RowFault::NoTotals { table: name.into(), at });
                    }
                }
            }
            letters::check(&txn, |at| fault(RowFault::Checksum { table: "letters".into(), at }))?;
            Ok(done)
        })
    }

    /// Every customer with the days in which something was counted, in order of time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn days(&self) -> Result<std::collections::BTreeSet<(Minute, CustomerId)>, StoreError> {
        self.reading(|database| {
            let totals = database.begin_read()?.open_table(TOTALS)?;
            let mut days = std::collections::BTreeSet::new();
            for row in totals.iter()? {
                if let Some((start, customer)) = parse_key(row?.0.value()) {
                    days.insert((start.floor(WindowSize::Day), customer));
                }
            }
            Ok(days)
        })
    }
}

fn check_window(
    store: &Store,
    windows: &WindowTables<WindowTable>,
    dirty: &ReadOnlyTable<&'static [u8], u64>,
    key: &[u8],
    fault: &mut dyn FnMut(RowFault),
) -> RowResult<()> {
    let window = match windows.get(key, Parts::ALL) {
        Ok(window) => window.unwrap_or_default(),
        Err(RowError::Corrupt(table)) => {
            fault(RowFault::Checksum { table, at: place(key) });
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let at = place(key).unwrap_or_default();
    if !window.adds_up() {
        fault(RowFault::Sum { at: at.clone() });
    }
    let size = match key.first() {
        Some(level) if *level == Level::Hour as u8 => WindowSize::Hour,
        Some(level) if *level == Level::Day as u8 => WindowSize::Day,
        _ => return Ok(()),
    };
    let Some((start, customer)) = parse_key(key) else { return Ok(()) };
    if dirty.get(key)?.is_some() {
        return Ok(());
    }
    match sum_of_parts(windows, dirty, size, start, customer.as_str(), Parts::ALL, store.limits) {
        Ok(sum) => {
            if !sum.unwrap_or_default().is_same(&window) {
                fault(RowFault::RollUp { size, at });
            }
            Ok(())
        }
        // A part that cannot be read is a fault of its own.
        Err(RowError::Corrupt(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Customer and start of the window that a key stands for.
fn place(key: &[u8]) -> Option<String> {
    parse_key(key).map(|(start, customer)| format!("{customer} {start}"))
}
