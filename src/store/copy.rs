//! A copy of the store as it was at one checkpoint, made while later ones go on.

use std::sync::Arc;

use redb::{
    ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use super::letters::{LETTERS, LETTERS_HELD};
use super::rows::RowResult;
use super::{
    AGENTS, DIRTY, LIVES, META, PATHS, Position, SEALS, Store, StoreError, TOTALS, TOUCHED, seals,
};
use crate::claim::Seals;
use crate::ids::{Group, Incarnation};
use crate::limits;

/// The store at one checkpoint, whatever is committed after it.
pub struct FrozenStore {
    store: Arc<Store>,
    txn: ReadTransaction,
    position: Position,
}

impl std::fmt::Debug for FrozenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenStore").field("position", &self.position).finish_non_exhaustive()
    }
}

/// Is told how many rows are copied, and how many there are.
type Progress<'p> = &'p dyn Fn(u64, u64);

impl Store {
    /// Holds the store as it is now. IMPORTANT: what is held takes space until it is let go.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn freeze(store: &Arc<Self>) -> Result<FrozenStore, StoreError> {
        let position = store.position()?;
        let txn = store.reading(|database| Ok(database.begin_read()?))?;
        Ok(FrozenStore { store: Arc::clone(store), txn, position })
    }
}

impl FrozenStore {
    /// Where the store stood.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Reads what is held.
    pub(super) fn reading<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> RowResult<T>,
    ) -> Result<T, StoreError> {
        self.store.reading(|_| read(&self.txn))
    }

    /// Up to where each claim page is durable.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn seals(&self) -> Result<Seals, StoreError> {
        self.reading(seals)
    }

    /// Writes all rows into an empty store. The life that runs has not ended, but for the copy it
    /// has: with the checkpoint, and whatever it claimed later is void there.
    ///
    /// # Errors
    /// If either store fails.
    pub fn copy_into(&self, to: &Store, progress: Progress<'_>) -> Result<(), StoreError> {
        let mut rows = Rows { from: &self.txn, done: 0, all: 0, progress };
        rows.all = self.store.reading(|_| rows.count())?;
        to.writing(|txn| {
            rows.copy(txn, TOTALS)?;
            rows.copy(txn, PATHS)?;
            rows.copy(txn, AGENTS)?;
            rows.copy(txn, DIRTY)?;
            rows.copy(txn, TOUCHED)?;
            rows.copy(txn, META)?;
            rows.copy(txn, LIVES)?;
            rows.copy(txn, SEALS)?;
            rows.copy(txn, LETTERS)?;
            rows.copy(txn, LETTERS_HELD)?;
            let Position { incarnation: Incarnation(life), group: Group(last), .. } = self.position;
            txn.open_table(LIVES)?.insert(life, last)?;
            Ok(())
        })
    }
}

struct Rows<'f> {
    from: &'f ReadTransaction,
    done: u64,
    all: u64,
    progress: Progress<'f>,
}

impl Rows<'_> {
    fn count(&self) -> RowResult<u64> {
        let windows = [TOTALS, PATHS, AGENTS];
        let mut all = 0;
        for table in windows {
            all += self.from.open_table(table)?.len()?;
        }
        for table in [DIRTY, TOUCHED] {
            all += self.from.open_table(table)?.len()?;
        }
        all += self.from.open_table(SEALS)?.len()?;
        all += self.from.open_table(LETTERS)?.len()?;
        all += self.from.open_table(LETTERS_HELD)?.len()?;
        Ok(all + self.from.open_table(META)?.len()? + self.from.open_table(LIVES)?.len()?)
    }

    fn copy<K: redb::Key + 'static, V: redb::Value + 'static>(
        &mut self,
        txn: &redb::WriteTransaction,
        definition: TableDefinition<'static, K, V>,
    ) -> RowResult<()> {
        let mut to = txn.open_table(definition)?;
        for row in self.from.open_table(definition)?.iter()? {
            let (key, value) = row?;
            to.insert(key.value(), value.value())?;
            self.done += 1;
            if self.done.is_multiple_of(limits::COPY_ROWS_PER_REPORT) || self.done == self.all {
                (self.progress)(self.done, self.all);
            }
        }
        Ok(())
    }
}
