//! Retention: what is too old at one size is folded into the next larger one.

use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::ReadableTable;

use super::commit::Tables;
use super::hours::HourKey;
use super::rows::{Level, RowError, RowResult, key, parse_key};
use super::{Retention, Store};
use crate::counts::Parts;
use crate::ids::{AcceptTime, CustomerId};
use crate::limits;
use crate::window::{Minute, WindowSize};

/// One of the two folds: minutes into hours, hours into days.
struct Fold {
    /// The window that parts are folded into, and its size.
    whole: Level,
    size: WindowSize,
    base: Level,
    part: Level,
    part_minutes: u32,
    after: Duration,
}

impl Store {
    /// Folds some windows whose parts are past retention; the search goes on at the next call
    /// where this one ended.
    pub(super) fn expire(
        &self,
        tables: &mut Tables<'_>,
        retention: Retention,
        now: AcceptTime,
    ) -> RowResult<usize> {
        let minutes = Fold {
            whole: Level::Hour,
            size: WindowSize::Hour,
            base: Level::HourBase,
            part: Level::Minute,
            part_minutes: 1,
            after: retention.minutes,
        };
        let hours = Fold {
            whole: Level::Day,
            size: WindowSize::Day,
            base: Level::DayBase,
            part: Level::Hour,
            part_minutes: 60,
            after: retention.hours,
        };
        let mut expired = 0;
        for (fold, at) in [minutes, hours].iter().zip(&self.expiry_at) {
            let from = Minute(u32::try_from(at.load(Ordering::Relaxed)).unwrap_or(0));
            let (due, next) = fold.due(tables, from, now)?;
            at.store(next.0.into(), Ordering::Relaxed);
            for (start, customer) in due {
                expired += usize::from(fold.fold(tables, start, &customer)?);
            }
        }
        Ok(expired)
    }
}

impl Fold {
    /// Windows from `from` on that ended, and were last changed, longer ago than the retention;
    /// and where to search next.
    fn due(
        &self,
        tables: &Tables<'_>,
        from: Minute,
        now: AcceptTime,
    ) -> RowResult<(Vec<HourKey>, Minute)> {
        let kept_ms = u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX);
        let is_past = |moment_ms: u64| moment_ms.saturating_add(kept_ms) <= now.0;
        let (first, end) = (key(self.whole, from, ""), key(self.whole, Minute(u32::MAX), ""));
        let range = (Bound::Included(first.as_slice()), Bound::Excluded(end.as_slice()));
        let mut due = Vec::new();
        for (looked_at, row) in tables.touched.range::<&[u8]>(range)?.enumerate() {
            let (row_key, touched) = row?;
            let (start, customer) =
                parse_key(row_key.value()).ok_or_else(|| RowError::Corrupt("touched".into()))?;
            let ended_ms = u64::from(start.plus(self.size.minutes()).0) * 60_000;
            if !is_past(ended_ms) {
                break;
            }
            if looked_at >= limits::EXPIRIES_PER_CHECKPOINT_MAX && start > from {
                return Ok((due, start));
            }
            if is_past(touched.value()) {
                due.push((start, customer));
            }
        }
        Ok((due, Minute(0)))
    }

    /// Keeps the whole as the base and removes its parts; not if the whole is not right, or has
    /// parts that are made of something themselves.
    fn fold(
        &self,
        tables: &mut Tables<'_>,
        start: Minute,
        customer: &CustomerId,
    ) -> RowResult<bool> {
        let hour = (start, customer.clone());
        let customer = customer.as_str();
        let whole = key(self.whole, start, customer);
        if tables.dirty.get(whole.as_slice())?.is_some() {
            return Ok(false);
        }
        let parts = (0..self.size.minutes()).step_by(self.part_minutes as usize);
        let parts: Vec<_> = parts.map(|at| start.plus(at)).collect();
        for part in &parts {
            if tables.touched.get(key(self.part, *part, customer).as_slice())?.is_some() {
                return Ok(false);
            }
        }
        let Some(window) = tables.windows.get(&whole, Parts::ALL)? else { return Ok(false) };
        tables.windows.put(&key(self.base, start, customer), &window)?;
        for part in &parts {
            tables.windows.remove(&key(self.part, *part, customer))?;
            if self.part == Level::Hour {
                tables.windows.remove(&key(Level::HourBase, *part, customer))?;
            }
        }
        if self.part == Level::Minute {
            tables.changed.insert(hour);
        }
        tables.touched.remove(whole.as_slice())?;
        Ok(true)
    }
}
