//! Hours out of minutes, days out of hours: the caches, and what stands behind them.

use redb::ReadableTable;

use super::Store;
use super::commit::Tables;
use super::rows::{Level, RowError, RowResult, WindowTables, key, parse_key, parts_of};
use crate::counts::{KeyLimits, Parts, WindowCounts};
use crate::ids::{AcceptTime, Epoch};
use crate::limits;
use crate::window::{Minute, WindowSize};

impl Store {
    /// Rebuilds the rows of hours and days that are over and were not touched in this epoch.
    pub(super) fn rebuild_closed(
        &self,
        tables: &mut Tables<'_>,
        epoch: Epoch,
        now: AcceptTime,
    ) -> RowResult<usize> {
        let mut rebuilt = 0;
        // Hours before days: a day is made of hours that are right.
        for (level, size) in [(Level::Hour, WindowSize::Hour), (Level::Day, WindowSize::Day)] {
            let room = limits::REBUILDS_PER_CHECKPOINT_MAX - rebuilt;
            for (start, customer) in due(tables, level, size, epoch, now, room)? {
                let window_key = key(level, start, &customer);
                let window = self.sum(tables, size, start, &customer)?;
                tables.windows.put(&window_key, &window)?;
                tables.dirty.remove(window_key.as_slice())?;
                rebuilt += 1;
            }
        }
        Ok(rebuilt)
    }

    fn sum(
        &self,
        tables: &Tables<'_>,
        size: WindowSize,
        start: Minute,
        customer: &str,
    ) -> RowResult<WindowCounts> {
        let window = read_window(
            &tables.windows,
            &tables.dirty,
            size,
            start,
            customer,
            Parts::ALL,
            self.limits,
        )?;
        Ok(window.unwrap_or_default())
    }
}

/// Dirty windows of a level that are over and have rested since an earlier epoch, oldest first.
fn due(
    tables: &Tables<'_>,
    level: Level,
    size: WindowSize,
    epoch: Epoch,
    now: AcceptTime,
    room: usize,
) -> RowResult<Vec<(Minute, String)>> {
    let mut due = Vec::new();
    let all = key(level, Minute(0), "")..key(level, Minute(u32::MAX), "");
    for row in tables.dirty.range(all.start.as_slice()..all.end.as_slice())? {
        let (row_key, marked) = row?;
        let (start, customer) =
            parse_key(row_key.value()).ok_or_else(|| RowError::Corrupt("dirty".into()))?;
        // In order of time: what follows is not over either.
        if due.len() == room || u64::from(start.plus(size.minutes()).0) * 60_000 > now.0 {
            break;
        }
        if marked.value() < epoch.0 {
            due.push((start, customer.as_str().to_owned()));
        }
    }
    Ok(due)
}

/// Reads a window of any size: from its own row where that is right, from its parts otherwise.
pub(super) fn read_window<W, D>(
    windows: &WindowTables<W>,
    dirty: &D,
    size: WindowSize,
    start: Minute,
    customer: &str,
    parts: Parts,
    limits: KeyLimits,
) -> RowResult<Option<WindowCounts>>
where
    W: ReadableTable<&'static [u8], &'static [u8]>,
    D: ReadableTable<&'static [u8], u64>,
{
    let own = key(Level::of(size), start, customer);
    if size == WindowSize::Minute || dirty.get(own.as_slice())?.is_none() {
        return windows.get(&own, parts);
    }
    sum_of_parts(windows, dirty, size, start, customer, parts, limits)
}

/// Adds up what an hour or a day is made of; a minute is made of itself.
pub(super) fn sum_of_parts<W, D>(
    windows: &WindowTables<W>,
    dirty: &D,
    size: WindowSize,
    start: Minute,
    customer: &str,
    parts: Parts,
    limits: KeyLimits,
) -> RowResult<Option<WindowCounts>>
where
    W: ReadableTable<&'static [u8], &'static [u8]>,
    D: ReadableTable<&'static [u8], u64>,
{
    let Some((part, base)) = parts_of(size) else {
        return windows.get(&key(Level::Minute, start, customer), parts);
    };
    let mut sum = windows.get(&key(base, start, customer), parts)?;
    for at in (0..size.minutes()).step_by(part.minutes() as usize) {
        let more = read_window(windows, dirty, part, start.plus(at), customer, parts, limits)?;
        if let Some(more) = more {
            sum.get_or_insert_default().merge(&more, limits);
        }
    }
    Ok(sum)
}
