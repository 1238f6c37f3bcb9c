//! The one transaction of a checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use redb::WriteTransaction;

use super::hours::HourKey;
use super::letters::{LetterStats, LetterTables};
use super::rows::{Level, RowError, RowResult, WindowTables, key};
use super::{
    AGENTS, DIRTY, LIVES, META, PATHS, Position, Retention, SEALS, Store, StoreError, TOTALS,
    TOUCHED,
};
use crate::claim::{ClaimSync, Lives};
use crate::clock::Now;
use crate::counts::Parts;
use crate::delta::Delta;
use crate::failpoint::{self, Failpoint};
use crate::ids::CustomerId;
use crate::window::{Minute, WindowSize};

/// What a checkpoint writes.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    /// Where the store stands afterwards.
    pub position: Position,
    /// Everything counted in groups after the last checkpoint's, up to this one's.
    pub deltas: &'a [Arc<Delta>],
    /// Claims that were made durable for it.
    pub claims: &'a ClaimSync,
    /// The lives that have ended; written by recovery only.
    pub lives: Option<&'a Lives>,
    /// How long windows are kept.
    pub retention: Retention,
    /// The time, to tell what is closed and what expires.
    pub now: Now,
}

/// What a checkpoint did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStats {
    /// Minutes that were added to.
    pub windows: usize,
    /// Closed hours and days that were rebuilt.
    pub rebuilt: usize,
    /// Hours and days whose parts went past retention.
    pub expired: usize,
    /// How the dead letters stand.
    pub letters: LetterStats,
}

/// Tables of the running transaction.
pub(super) struct Tables<'t> {
    pub(super) windows: WindowTables<redb::Table<'t, &'static [u8], &'static [u8]>>,
    pub(super) dirty: redb::Table<'t, &'static [u8], u64>,
    pub(super) touched: redb::Table<'t, &'static [u8], u64>,
    /// Hours whose minutes are other ones afterwards.
    pub(super) changed: BTreeSet<HourKey>,
}

impl Store {
    /// Commits a checkpoint, durably and whole (S1).
    ///
    /// # Errors
    /// If the store fails. IMPORTANT: the process must end: an error from commit does not mean
    /// that the transaction is not there.
    ///
    /// # Panics
    /// If the checkpoint does not follow the one before it.
    pub fn commit(&self, checkpoint: &Checkpoint<'_>) -> Result<CheckpointStats, StoreError> {
        self.writing(|txn| {
            write_position(txn, checkpoint)?;
            let mut tables = Tables::open(txn)?;
            let mut stats = CheckpointStats::default();
            let epoch = checkpoint.position.epoch;
            for delta in checkpoint.deltas {
                for (minute, customer) in delta.keys() {
                    tables.add(delta, minute, customer, self.limits)?;
                    stats.windows += 1;
                }
            }
            let changed = std::mem::take(&mut tables.changed);
            for (hour, customer) in &changed {
                tables.mark(*hour, customer, epoch.0, checkpoint.position.accepted.0)?;
            }
            tables.changed = changed;
            stats.rebuilt = self.rebuild_closed(&mut tables, epoch, checkpoint.now.wall)?;
            let (retention, now) = (checkpoint.retention, checkpoint.now.wall);
            stats.expired = self.expire(&mut tables, retention, now)?;
            let mut letters = LetterTables::open(txn)?;
            let put_aside = checkpoint.deltas.iter().flat_map(|delta| delta.dead());
            put_aside.into_iter().try_for_each(|dead| letters.put(dead))?;
            stats.letters = letters.expire(retention.letters, now)?;
            let crowded_out = checkpoint.deltas.iter().map(|delta| delta.crowded_out());
            stats.letters.crowded_out += crowded_out.sum::<u64>();
            self.hours.forget(epoch, &tables.changed);
            failpoint::reach(Failpoint::BeforeCommit);
            Ok(stats)
        })
    }
}

fn write_position(txn: &WriteTransaction, checkpoint: &Checkpoint<'_>) -> RowResult<()> {
    use redb::ReadableTable;
    let position = &checkpoint.position;
    let mut meta = txn.open_table(META)?;
    let before = |name| {
        Ok::<_, RowError>(meta.get(name)?.map_or(0, |row: redb::AccessGuard<'_, u64>| row.value()))
    };
    assert_eq!(position.epoch.0, before("epoch")? + 1, "S1: one checkpoint follows the other");
    assert!(position.group.0 >= before("checkpoint_group")?, "S1: a checkpoint never goes back");
    let uptime_ms = u64::try_from(position.uptime.as_millis()).unwrap_or(u64::MAX);
    meta.insert("epoch", position.epoch.0)?;
    meta.insert("checkpoint_group", position.group.0)?;
    meta.insert("uptime_ms", uptime_ms)?;
    meta.insert("accepted_ms", position.accepted.0)?;
    let mut seals = txn.open_table(SEALS)?;
    for (page, seal) in checkpoint.claims.seals() {
        let key = (page.incarnation.0, page.number);
        match seal {
            Some(seal) => seals.insert(key, seal.0)?,
            None => seals.remove(key)?,
        };
    }
    if let Some(lives) = checkpoint.lives {
        let mut table = txn.open_table(LIVES)?;
        table.retain(|_, _| false)?;
        for (incarnation, last_group) in lives {
            table.insert(incarnation.0, last_group.0)?;
        }
    }
    Ok(())
}

impl<'t> Tables<'t> {
    fn open(txn: &'t WriteTransaction) -> RowResult<Self> {
        let windows = WindowTables {
            totals: txn.open_table(TOTALS)?,
            paths: txn.open_table(PATHS)?,
            agents: txn.open_table(AGENTS)?,
        };
        let (dirty, touched) = (txn.open_table(DIRTY)?, txn.open_table(TOUCHED)?);
        Ok(Self { windows, dirty, touched, changed: BTreeSet::new() })
    }

    /// Adds what a delta holds of one minute.
    fn add(
        &mut self,
        delta: &Delta,
        minute: Minute,
        customer: &CustomerId,
        limits: crate::counts::KeyLimits,
    ) -> RowResult<()> {
        let Some(more) = delta.get(minute, customer) else { return Ok(()) };
        debug_assert!(more.adds_up(), "W2: totals equal the sums over paths and agents");
        let key = key(Level::Minute, minute, customer.as_str());
        let mut window = self.windows.get(&key, Parts::ALL)?.unwrap_or_default();
        window.merge(&more, limits);
        self.changed.insert((minute.floor(WindowSize::Hour), customer.clone()));
        self.windows.put(&key, &window)
    }

    /// Marks an hour and its day: their rows are not right any more.
    fn mark(
        &mut self,
        hour: Minute,
        customer: &CustomerId,
        epoch: u64,
        accepted_ms: u64,
    ) -> RowResult<()> {
        let day = hour.floor(WindowSize::Day);
        for (level, start) in [(Level::Hour, hour), (Level::Day, day)] {
            let key = key(level, start, customer.as_str());
            self.dirty.insert(key.as_slice(), epoch)?;
            self.touched.insert(key.as_slice(), accepted_ms)?;
        }
        Ok(())
    }
}
