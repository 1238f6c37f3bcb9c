//! Hours whose minutes were read: decoded once, for as long as they stay as they are.
//!
//! Pages that are watched ask for the same hours again and again, and few of these change. What is
//! kept here is as it stands in the store; what is still in memory is not the store's.
//!
//! # Rules
//!
//! - IMPORTANT: a checkpoint has what it changes forgotten before its transaction ends. So a
//!   snapshot finds only what is right in it (Q1).
//! - What an older snapshot reads is not kept: a checkpoint may have had it forgotten already. And
//!   an older snapshot does not take what a newer one has read.
//! - Of an hour with too many names it is kept that it has: it is read minute by minute.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::rows::RowResult;
use crate::counts::{Dimension, Totals};
use crate::ids::{CustomerId, Epoch};
use crate::limits;
use crate::minutes::NamedMinutes;
use crate::window::Minute;

/// A customer's hour.
pub(super) type HourKey = (Minute, CustomerId);

/// The totals of the minutes of an hour, in order of time.
pub type HourTotals = Arc<Vec<(Minute, Totals)>>;

/// The counts by name of an hour's minutes, unless there are too many.
pub type HourNames = Option<Arc<NamedMinutes>>;

/// Hours that were read.
pub(super) struct Hours {
    /// The last checkpoint that has had forgotten what it changes; 0 before the first one.
    epoch: RwLock<Epoch>,
    totals: Kept<HourKey, HourTotals>,
    names: Kept<(HourKey, Dimension), HourNames>,
}

impl Default for Hours {
    fn default() -> Self {
        Self {
            epoch: RwLock::default(),
            totals: kept(limits::HOURS_KEPT_TOTALS_BYTES_MAX),
            names: kept(limits::HOURS_KEPT_NAMES_BYTES_MAX),
        }
    }
}

impl Hours {
    /// The totals of an hour as a snapshot of `epoch` has them.
    pub(super) fn totals(
        &self,
        epoch: Epoch,
        key: HourKey,
        read: impl FnOnce() -> RowResult<HourTotals>,
    ) -> RowResult<HourTotals> {
        self.get(&self.totals, epoch, key, read)
    }

    /// The names of an hour as a snapshot of `epoch` has them.
    pub(super) fn names(
        &self,
        epoch: Epoch,
        key: (HourKey, Dimension),
        read: impl FnOnce() -> RowResult<HourNames>,
    ) -> RowResult<HourNames> {
        self.get(&self.names, epoch, key, read)
    }

    /// Forgets what the checkpoint of `epoch` changes, which is about to be committed.
    pub(super) fn forget(&self, epoch: Epoch, changed: &BTreeSet<HourKey>) {
        let mut current = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        *current = epoch;
        self.totals.retain(|key, _| !changed.contains(key));
        self.names.retain(|(key, _), _| !changed.contains(key));
    }

    fn get<K: Eq + Hash + Clone, V: Clone>(
        &self,
        kept: &Kept<K, V>,
        epoch: Epoch,
        key: K,
        read: impl FnOnce() -> RowResult<V>,
    ) -> RowResult<V>
    where
        Weight: Weighter<K, (Epoch, V)>,
    {
        if let Some((since, hour)) = kept.get(&key)
            && since <= epoch
        {
            return Ok(hour);
        }
        let hour = read()?;
        // Held until it is kept: no checkpoint comes in between.
        let last = self.epoch.read().unwrap_or_else(PoisonError::into_inner);
        if epoch >= *last {
            kept.insert(key, (epoch, hour.clone()));
        }
        Ok(hour)
    }
}

/// Each with the snapshot that it was read from.
type Kept<K, V> = Cache<K, (Epoch, V), Weight>;

fn kept<K: Eq + Hash, V: Clone>(bytes: usize) -> Kept<K, V>
where
    Weight: Weighter<K, (Epoch, V)>,
{
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(limits::HOURS_KEPT_EXPECTED).weight_capacity(bytes as u64);
    let options = options.shards(limits::HOURS_KEPT_SHARDS).build().expect("all that it needs");
    Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

/// Bytes of memory.
#[derive(Clone)]
struct Weight;

/// About what an hour takes beside its counts: its key, twice, and its place.
const BYTES_PER_HOUR: usize = 256;

impl Weighter<HourKey, (Epoch, HourTotals)> for Weight {
    fn weight(&self, _: &HourKey, (_, totals): &(Epoch, HourTotals)) -> u64 {
        let minute = |(_, totals): &(Minute, Totals)| {
            size_of::<(Minute, Totals)>() + totals.responses.heap_bytes()
        };
        (BYTES_PER_HOUR + totals.iter().map(minute).sum::<usize>()) as u64
    }
}

impl Weighter<(HourKey, Dimension), (Epoch, HourNames)> for Weight {
    fn weight(&self, _: &(HourKey, Dimension), (_, names): &(Epoch, HourNames)) -> u64 {
        (BYTES_PER_HOUR + names.as_ref().map_or(0, |names| names.bytes())) as u64
    }
}
