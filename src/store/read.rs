//! Reading windows out of one snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadableDatabase};

use super::hours::{HourNames, HourTotals};
use super::rollup::read_window;
use super::rows::{Level, Row, RowError, RowResult, WindowTables, key, parse_key};
use super::{AGENTS, DIRTY, META, PATHS, Position, Store, StoreError, TOTALS, guard};
use crate::counts::{Dimension, Parts, Totals, WindowCounts};
use crate::ids::{AcceptTime, CustomerId, Epoch, Group, Incarnation};
use crate::limits;
use crate::minutes::NamedMinutes;
use crate::window::{Minute, Span, WindowSize};

type WindowTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The store as it was at one checkpoint.
pub struct Snapshot<'s> {
    pub(super) store: &'s Store,
    epoch: Epoch,
    meta: ReadOnlyTable<&'static str, u64>,
    pub(super) windows: WindowTables<WindowTable>,
    pub(super) dirty: ReadOnlyTable<&'static [u8], u64>,
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("store", self.store).finish_non_exhaustive()
    }
}

/// Starts of windows, as many as were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In order of time.
    pub starts: Vec<Minute>,
    /// Whether there may be more after these.
    pub is_cut: bool,
}

impl<'s> Snapshot<'s> {
    pub(super) fn open(store: &'s Store) -> Result<Self, StoreError> {
        store.reading(|database| {
            let txn = database.begin_read()?;
            let windows = WindowTables {
                totals: txn.open_table(TOTALS)?,
                paths: txn.open_table(PATHS)?,
                agents: txn.open_table(AGENTS)?,
            };
            let (meta, dirty) = (txn.open_table(META)?, txn.open_table(DIRTY)?);
            let epoch = Epoch(meta.get("epoch")?.map_or(0, |row| row.value()));
            Ok(Self { store, epoch, meta, windows, dirty })
        })
    }

    /// The last checkpoint that is in it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where the store stood.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn position(&self) -> Result<Position, StoreError> {
        let number = |name| Ok::<_, RowError>(self.meta.get(name)?.map_or(0, |row| row.value()));
        let read = || {
            Ok(Position {
                group: Group(number("checkpoint_group")?),
                epoch: self.epoch,
                incarnation: Incarnation(number("incarnation")?),
                uptime: std::time::Duration::from_millis(number("uptime_ms")?),
                accepted: AcceptTime(number("accepted_ms")?),
            })
        };
        guard("read", &self.store.path, read)
    }

    /// Starts of a customer's windows within a span, at most `max` of them.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn starts(
        &self,
        customer: &CustomerId,
        size: WindowSize,
        span: Span,
        max: usize,
    ) -> Result<Page, StoreError> {
        let read = || {
            let rows = starts_in(&self.windows.totals, size, customer, span, max)?;
            if size == WindowSize::Minute {
                return Ok(rows);
            }
            // A window that is not rebuilt yet has a mark but no row.
            let marks = starts_in(&self.dirty, size, customer, span, max)?;
            let all: BTreeSet<_> = rows.starts.into_iter().chain(marks.starts).collect();
            let is_cut = rows.is_cut || marks.is_cut || all.len() > max;
            Ok(Page { starts: all.into_iter().take(max).collect(), is_cut })
        };
        guard("read", &self.store.path, read)
    }

    /// The first start of a customer's windows within a span.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn first(
        &self,
        customer: &CustomerId,
        size: WindowSize,
        span: Span,
    ) -> Result<Option<Minute>, StoreError> {
        guard("read", &self.store.path, || {
            let row = first_in(&self.windows.totals, size, customer, span)?;
            if size == WindowSize::Minute || row == Some(span.from) {
                return Ok(row);
            }
            // A window that is not rebuilt yet has a mark but no row.
            let mark = first_in(&self.dirty, size, customer, span)?;
            Ok(row.into_iter().chain(mark).min())
        })
    }

    /// Whether a window's own row is right; else its parts are. A minute has none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn is_right(
        &self,
        customer: &CustomerId,
        size: WindowSize,
        start: Minute,
    ) -> Result<bool, StoreError> {
        let key = key(Level::of(size), start, customer.as_str());
        guard("read", &self.store.path, || {
            Ok(size == WindowSize::Minute || self.dirty.get(key.as_slice())?.is_none())
        })
    }

    /// The single numbers of a row, if it is there.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn totals(&self, customer: &CustomerId, row: Row) -> Result<Option<Totals>, StoreError> {
        let key = row.key(customer);
        guard("read", &self.store.path, || match key {
            Some(key) => Ok(self.windows.get(&key, Parts::TOTALS)?.map(|window| window.totals)),
            None => Ok(None),
        })
    }

    /// Hands on each path, or agent family, of a row with its count, if it is there. Reads nothing
    /// else of it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn each_name(
        &self,
        customer: &CustomerId,
        row: Row,
        by: Dimension,
        each: impl FnMut(&str, u64),
    ) -> Result<(), StoreError> {
        let key = row.key(customer);
        guard("read", &self.store.path, || match key {
            Some(key) => self.windows.each(&key, by, each),
            None => Ok(()),
        })
    }

    /// The totals of an hour's minutes, in order of time. They are kept until a checkpoint changes
    /// them, as far as there is room.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn minutes(&self, customer: &CustomerId, hour: Minute) -> Result<HourTotals, StoreError> {
        let (size, span) = (WindowSize::Minute, Span::of(WindowSize::Hour, hour));
        let read = || {
            let starts = starts_in(&self.windows.totals, size, customer, span, usize::MAX)?.starts;
            let totals = starts.into_iter().map(|start| {
                let key = key(Level::Minute, start, customer.as_str());
                let row = self.windows.get(&key, Parts::TOTALS)?;
                Ok((start, row.unwrap_or_default().totals))
            });
            Ok(Arc::new(totals.collect::<RowResult<_>>()?))
        };
        guard("read", &self.store.path, || {
            self.store.hours.totals(self.epoch, (hour, customer.clone()), read)
        })
    }

    /// The counts by name of an hour's minutes, unless there are more than are read at once. They
    /// are kept in the same way.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn named_minutes(
        &self,
        customer: &CustomerId,
        hour: Minute,
        by: Dimension,
    ) -> Result<HourNames, StoreError> {
        let minutes = self.minutes(customer, hour)?;
        let read = || {
            let mut named = NamedMinutes::default();
            for (start, _) in minutes.iter() {
                let key = key(Level::Minute, *start, customer.as_str());
                self.windows.each(&key, by, |name, count| {
                    let id = named.number(name);
                    named.add(id, count);
                })?;
                named.end(*start);
                if named.bytes() > limits::HOUR_NAMES_BYTES_MAX {
                    return Ok(None);
                }
            }
            named.shrink_to_fit();
            Ok(Some(Arc::new(named)))
        };
        guard("read", &self.store.path, || {
            self.store.hours.names(self.epoch, ((hour, customer.clone()), by), read)
        })
    }

    /// What the expired minutes of an hour, or hours of a day, held; `None` if none have expired.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn folded(
        &self,
        customer: &CustomerId,
        size: WindowSize,
        start: Minute,
    ) -> Result<Option<WindowCounts>, StoreError> {
        let key = Row::Folded(size, start).key(customer);
        guard("read", &self.store.path, || match key {
            Some(key) => self.windows.get(&key, Parts::ALL),
            None => Ok(None),
        })
    }

    /// A customer's window of any size; `None` if nothing was counted in it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn window(
        &self,
        customer: &CustomerId,
        size: WindowSize,
        start: Minute,
    ) -> Result<Option<WindowCounts>, StoreError> {
        let limits = self.store.limits;
        guard("read", &self.store.path, || {
            let customer = customer.as_str();
            read_window(&self.windows, &self.dirty, size, start, customer, Parts::ALL, limits)
        })
    }
}

impl Snapshot<'_> {
    /// The size at which a moment's counts are still told apart: its minutes may have been folded
    /// into their hour, and its hours into their day.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn finest(&self, customer: &CustomerId, at: Minute) -> Result<WindowSize, StoreError> {
        let has = |level, size| {
            let key = key(level, at.floor(size), customer.as_str());
            Ok::<_, RowError>(self.windows.totals.get(key.as_slice())?.is_some())
        };
        let read = || {
            if has(Level::DayBase, WindowSize::Day)? {
                Ok(WindowSize::Day)
            } else if has(Level::HourBase, WindowSize::Hour)? {
                Ok(WindowSize::Hour)
            } else {
                Ok(WindowSize::Minute)
            }
        };
        guard("read", &self.store.path, read)
    }
}

/// Skips from window to window: a seek for each minute that has any row, not for each row. Where
/// one window follows the other, each is found by its key, which is quicker.
fn starts_in<V: redb::Value + 'static>(
    table: &ReadOnlyTable<&'static [u8], V>,
    size: WindowSize,
    customer: &CustomerId,
    span: Span,
    max: usize,
) -> RowResult<Page> {
    let mut page = Page::default();
    let mut rest = span;
    while let Some(start) = first_in(table, size, customer, rest)? {
        if page.starts.len() == max {
            page.is_cut = true;
            break;
        }
        page.starts.push(start);
        rest.from = start.plus(size.minutes());
    }
    Ok(page)
}

fn first_in<V: redb::Value + 'static>(
    table: &ReadOnlyTable<&'static [u8], V>,
    size: WindowSize,
    customer: &CustomerId,
    span: Span,
) -> RowResult<Option<Minute>> {
    let level = Level::of(size);
    let end = key(level, span.to, "");
    let mut at = span.from;
    while at < span.to {
        let from = key(level, at, customer.as_str());
        if table.get(from.as_slice())?.is_some() {
            return Ok(Some(at));
        }
        let Some(row) = table.range(from.as_slice()..end.as_slice())?.next() else { break };
        let (row_key, _) = row?;
        let (start, found) =
            parse_key(row_key.value()).ok_or_else(|| RowError::Corrupt("totals".into()))?;
        if found == *customer {
            return Ok(Some(start));
        }
        at = start.max(at.plus(u32::from(start == at)));
    }
    Ok(None)
}
