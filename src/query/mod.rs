//! Answers: the store, overlaid with what is still in memory (invariant Q1).
//!
//! The workers are asked first, then the store's snapshot is opened, then what the snapshot holds
//! already is dropped from what the workers said: so nothing is missed and nothing counted twice.
//! Blocks on workers and disk; not for the reactor's threads.
//!
//! What has been folded into its hour or day past retention counts at the start of that: ranges
//! that follow each other add up, wherever they meet.

mod calendar;
mod customers;
mod filter;
#[cfg(test)]
pub(crate) mod overlaid;
mod ranking;
mod series;
mod spans;
mod summary;
#[cfg(test)]
mod tests;
mod windows;

pub use calendar::Calendar;
pub use customers::{customers, customers_of};
pub use filter::{By, Filter};
pub use ranking::{Ranked, Rows, Top, TopRow, top};
pub use series::{Series, Split, SplitPoint, series, split};
pub use spans::Spans;
pub use summary::{Summary, summary};
pub use windows::{WindowsPage, windows};

use std::cell::RefCell;
use std::sync::Arc;

use crate::counts::{Dimension, KeyLimits, Parts, Totals, WindowCounts};
use crate::ids::CustomerId;
use crate::limits;
use crate::minutes::{Minutes, NamedMinutes, within};
use crate::store::{HourNames, HourTotals, Row, Snapshot, Store, StoreError};
use crate::window::{Minute, Span, WindowSize};
use crate::worker::{CustomersOverlay, Overlay};

/// The workers did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the workers did not answer in time")]
pub struct Busy;

/// What is asked: the workers of a running engine, and its store.
pub trait Source {
    /// What the workers hold of a customer's minutes, as much as is asked for: everything
    /// acknowledged before the call that may not be in the store yet (Q1).
    ///
    /// # Errors
    /// [`Busy`] if the workers do not answer in time.
    fn overlays(
        &self,
        customer: &CustomerId,
        span: Span,
        parts: Parts,
    ) -> Result<Vec<Overlay>, Busy>;

    /// What the workers hold of every customer's requests, under the same promise.
    ///
    /// # Errors
    /// [`Busy`] if the workers do not answer in time.
    fn customers(&self, span: Span) -> Result<Vec<CustomersOverlay>, Busy>;

    /// The store.
    fn store(&self) -> &Store;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The workers are too busy.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The store failed; ends the process.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The span holds more distinct keys than an answer may add up.
    #[error(
        "the range holds more than {} distinct keys, or {} MiB of them",
        limits::TOP_KEYS_MAX,
        limits::TOP_KEYS_BYTES_MAX >> 20
    )]
    TooManyKeys {
        /// The part that holds no more; it may be empty.
        fitting: Span,
    },
    /// So does the span that it is compared with.
    #[error(
        "the period that is compared with holds more than {} distinct keys, or {} MiB of them",
        limits::TOP_KEYS_MAX,
        limits::TOP_KEYS_BYTES_MAX >> 20
    )]
    TooManyKeysBefore,
    /// The span holds requests of more customers than an answer may list.
    #[error("the range holds more than {} customers", limits::CUSTOMERS_LISTED_MAX)]
    TooManyCustomers,
}

/// Whose windows are asked for, which, and from when to when.
#[derive(Debug, Clone)]
pub struct Range {
    /// Whose.
    pub customer: CustomerId,
    /// Where windows begin.
    pub calendar: Calendar,
    /// Windows are whole: one that starts within is answered to its end.
    pub span: Span,
    /// Where the page begins, if that is not the first.
    pub resume: Option<Minute>,
}

impl Range {
    /// Windows in UTC.
    #[must_use]
    pub fn utc(customer: &CustomerId, size: WindowSize, span: Span) -> Self {
        Self { customer: customer.clone(), calendar: Calendar::utc(size), span, resume: None }
    }

    /// From the start of the first window to the end of the last; `None` if there is none.
    fn whole(&self) -> Option<Span> {
        let (from, to) = (self.calendar.ceil(self.span.from), self.calendar.ceil(self.span.to));
        Some(Span { from, to }).filter(|whole| !whole.is_empty())
    }

    /// The same, from where the page begins.
    fn page(&self) -> Option<Span> {
        let whole = self.whole()?;
        let from = self.resume.map_or(whole.from, |resume| resume.max(whole.from));
        Some(Span { from, ..whole }).filter(|page| !page.is_empty())
    }
}

/// A customer's counts as of one moment.
struct View<'e> {
    customer: &'e CustomerId,
    snapshot: Snapshot<'e>,
    /// Minutes that the snapshot does not hold yet, in the order in which they will be committed.
    overlays: Vec<Minutes>,
    /// The hours read last: the store may have no room for them, or not keep what is of a moment
    /// before the last checkpoint.
    last_totals: RefCell<Option<(Minute, HourTotals)>>,
    last_names: RefCell<Option<((Minute, Dimension), HourNames)>>,
}

/// Some of the time that a view looks at.
#[derive(Debug, Clone, Copy)]
enum Piece {
    /// A window that the store has rows of.
    Window(WindowSize, Minute),
    /// Any span, with what was folded in it.
    Span(Span),
}

/// A stored part of a piece.
#[derive(Debug, Clone, Copy)]
enum Part {
    Row(Row),
    /// Minutes of one hour.
    Minutes(Span),
}

/// Takes names with their counts, a name perhaps several times.
trait NameSink {
    fn add(&mut self, name: &str, count: u64);

    /// Takes those of some minutes.
    fn add_minutes(&mut self, named: &Arc<NamedMinutes>, span: Span) {
        named.each_sum(span, |name, sum| self.add(name, sum));
    }

    /// Whether to go on, before the part that starts at `at` is read.
    fn check(&self, at: Minute) -> Result<(), QueryError>;
}

impl<'e> View<'e> {
    /// A view that can answer from its `parts` of windows.
    fn open(
        source: &'e impl Source,
        customer: &'e CustomerId,
        span: Span,
        parts: Parts,
    ) -> Result<Self, QueryError> {
        let overlays = source.overlays(customer, span, parts)?;
        // IMPORTANT: after the workers have answered. A checkpoint that commits in between is in
        // the snapshot, and its epoch tells which of their answers it holds.
        let snapshot = source.store().snapshot()?;
        let held = snapshot.epoch();
        let newer = overlays.into_iter().filter(|overlay| overlay.epoch > held);
        let mut newer: Vec<_> = newer.collect();
        newer.sort_by_key(|overlay| overlay.epoch);
        let overlays = newer.into_iter().map(|overlay| overlay.minutes).collect();
        let (last_totals, last_names) = Default::default();
        Ok(Self { customer, snapshot, overlays, last_totals, last_names })
    }

    /// Everything that was counted in a piece.
    fn counts(&self, piece: Piece, keys: KeyLimits) -> Result<WindowCounts, QueryError> {
        let mut sum = WindowCounts::default();
        let mut add = |window: Option<WindowCounts>| {
            window.iter().for_each(|window| sum.merge(window, keys));
        };
        self.each_part(piece, |part| {
            match part {
                Part::Row(Row::Window(size, start)) => {
                    add(self.snapshot.window(self.customer, size, start)?);
                }
                Part::Row(Row::Folded(size, start)) => {
                    add(self.snapshot.folded(self.customer, size, start)?);
                }
                Part::Minutes(span) => {
                    for (start, _) in within(&self.minutes(span)?, span) {
                        add(self.snapshot.window(self.customer, WindowSize::Minute, *start)?);
                    }
                }
            }
            Ok(())
        })?;
        let overlays = self.overlays.iter().flat_map(|minutes| minutes.windows(piece.span()));
        let mut overlays: Vec<_> = overlays.collect();
        // Stable: of a minute, what is committed first stays first.
        overlays.sort_by_key(|(minute, _)| *minute);
        overlays.iter().for_each(|(_, more)| sum.merge(more, keys));
        Ok(sum)
    }

    /// The single numbers of a piece.
    fn totals(&self, piece: Piece) -> Result<Totals, QueryError> {
        let mut sum = Totals::default();
        self.each_right_part(piece, |part| {
            match part {
                Part::Row(row) => {
                    let totals = self.snapshot.totals(self.customer, row)?;
                    totals.iter().for_each(|more| sum.merge(more));
                }
                Part::Minutes(span) => {
                    let minutes = self.minutes(span)?;
                    within(&minutes, span).iter().for_each(|(_, more)| sum.merge(more));
                }
            }
            Ok(())
        })?;
        let overlays = self.overlays.iter().flat_map(|minutes| minutes.totals(piece.span()));
        overlays.for_each(|(_, more)| sum.merge(more));
        Ok(sum)
    }

    /// Hands on each name of a piece with its count.
    fn each_name(
        &self,
        piece: Piece,
        by: Dimension,
        names: &mut impl NameSink,
    ) -> Result<(), QueryError> {
        let span = piece.span();
        for minutes in &self.overlays {
            names.add_minutes(minutes.named(by), span);
            names.check(span.from)?;
        }
        self.each_right_part(piece, |part| {
            let minutes = match part {
                Part::Row(row) => return self.each_name_of(row, by, names),
                Part::Minutes(span) => span,
            };
            names.check(minutes.from)?;
            if let Some(named) = self.named_minutes(minutes, by)? {
                names.add_minutes(&named, minutes);
                return Ok(());
            }
            (minutes.from.0..minutes.to.0).try_for_each(|start| {
                self.each_name_of(Row::Window(WindowSize::Minute, Minute(start)), by, names)
            })
        })?;
        names.check(span.to)
    }

    fn each_name_of(
        &self,
        row: Row,
        by: Dimension,
        names: &mut impl NameSink,
    ) -> Result<(), QueryError> {
        names.check(row.start())?;
        Ok(self.snapshot.each_name(self.customer, row, by, |name, count| names.add(name, count))?)
    }

    /// The totals of the hour that some minutes are in.
    fn minutes(&self, span: Span) -> Result<HourTotals, StoreError> {
        let hour = span.from.floor(WindowSize::Hour);
        remembered(&self.last_totals, hour, || self.snapshot.minutes(self.customer, hour))
    }

    /// The counts by name of the hour that some minutes are in, unless there are too many.
    fn named_minutes(&self, span: Span, by: Dimension) -> Result<HourNames, StoreError> {
        let hour = span.from.floor(WindowSize::Hour);
        let read = || self.snapshot.named_minutes(self.customer, hour, by);
        remembered(&self.last_names, (hour, by), read)
    }

    /// Hands on the stored parts of a piece, in order of time: of a span whole days and hours, and
    /// minutes at the ragged ends.
    fn each_part(
        &self,
        piece: Piece,
        mut read: impl FnMut(Part) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let span = match piece {
            Piece::Window(WindowSize::Minute, start) => {
                return read(Part::Minutes(Span::of(WindowSize::Minute, start)));
            }
            Piece::Window(size, start) => return read(Part::Row(Row::Window(size, start))),
            Piece::Span(span) => span,
        };
        for (size, mut part) in span.cover() {
            folded_in(size, part).into_iter().try_for_each(|row| read(Part::Row(row)))?;
            while let Some(start) = self.first(size, part)? {
                if size == WindowSize::Minute {
                    let next = start.floor(WindowSize::Hour).plus(WindowSize::Hour.minutes());
                    read(Part::Minutes(Span { from: start, to: next.min(part.to) }))?;
                    part.from = next;
                } else {
                    read(Part::Row(Row::Window(size, start)))?;
                    part.from = start.plus(size.minutes());
                }
            }
        }
        Ok(())
    }

    /// The same, with the parts of each row that is not right.
    fn each_right_part(
        &self,
        piece: Piece,
        mut read: impl FnMut(Part) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.each_part(piece, |part| match part {
            Part::Row(Row::Window(size, start)) => self.each_part_of(size, start, &mut read),
            other => read(other),
        })
    }

    fn each_part_of(
        &self,
        size: WindowSize,
        start: Minute,
        read: &mut dyn FnMut(Part) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        if self.snapshot.is_right(self.customer, size, start)? {
            return read(Part::Row(Row::Window(size, start)));
        }
        read(Part::Row(Row::Folded(size, start)))?;
        if size == WindowSize::Hour {
            return read(Part::Minutes(Span::of(size, start)));
        }
        let hours = (start.0..start.0 + size.minutes()).step_by(60);
        hours.map(Minute).try_for_each(|hour| self.each_part_of(WindowSize::Hour, hour, read))
    }

    /// Hands on the windows of a calendar that may have been counted in, in order of time, until
    /// `each` has enough; then says where the next one begins.
    fn each_window(
        &self,
        calendar: &Calendar,
        whole: Span,
        mut each: impl FnMut(Minute, Piece) -> Result<Enough, QueryError>,
    ) -> Result<Option<Minute>, QueryError> {
        let mut at = whole.from;
        let mut enough = Enough::No;
        while let Some(start) = self.next_window(calendar, Span { from: at, to: whole.to })? {
            if enough == Enough::Yes {
                return Ok(Some(start));
            }
            let piece = if calendar.is_stored() {
                Piece::Window(calendar.size(), start)
            } else {
                Piece::Span(calendar.window(start))
            };
            enough = each(start, piece)?;
            at = calendar.after(start);
        }
        Ok(None)
    }

    /// The first window that starts within the span and may have been counted in.
    fn next_window(&self, calendar: &Calendar, span: Span) -> Result<Option<Minute>, QueryError> {
        let size = if calendar.is_stored() { calendar.size() } else { WindowSize::Day };
        let seen = Span { from: span.from.floor(size), to: span.to };
        let stored = self.first(size, seen)?;
        let in_memory = self.overlays.iter().filter_map(|minutes| {
            minutes.totals(Span { from: span.from, to: Minute(u32::MAX) }).first()
        });
        let in_memory = in_memory.map(|(minute, _)| calendar.floor(*minute));
        let first = stored.into_iter().chain(in_memory).min();
        let start = first.map(|start| calendar.floor(start.max(span.from)).max(span.from));
        Ok(start.filter(|start| *start < span.to))
    }

    /// The first start of a stored window within a span.
    fn first(&self, size: WindowSize, mut span: Span) -> Result<Option<Minute>, StoreError> {
        if size == WindowSize::Minute && !span.is_empty() {
            let minutes = self.minutes(span)?;
            if let Some((start, _)) = within(&minutes, span).first() {
                return Ok(Some(*start));
            }
            span.from = span.from.floor(WindowSize::Hour).plus(WindowSize::Hour.minutes());
        }
        self.snapshot.first(self.customer, size, span)
    }
}

/// What was read last, if it is that; else reads it.
fn remembered<K: Copy + PartialEq, V: Clone>(
    last: &RefCell<Option<(K, V)>>,
    key: K,
    read: impl FnOnce() -> Result<V, StoreError>,
) -> Result<V, StoreError> {
    let mut last = last.borrow_mut();
    match &*last {
        Some((known, value)) if *known == key => Ok(value.clone()),
        _ => {
            let value = read()?;
            *last = Some((key, value.clone()));
            Ok(value)
        }
    }
}

/// Whether a page has room for another window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enough {
    Yes,
    No,
}

impl Enough {
    fn when(is_full: bool) -> Self {
        if is_full { Self::Yes } else { Self::No }
    }
}

impl Piece {
    fn span(self) -> Span {
        match self {
            Self::Window(size, start) => Span::of(size, start),
            Self::Span(span) => span,
        }
    }
}

/// Where a part of a span holds what minutes, or hours, were folded into.
fn folded_in(size: WindowSize, part: Span) -> Vec<Row> {
    let starts = |of: WindowSize| {
        let starts = (part.from.ceil(of).0..part.to.0).step_by(of.minutes() as usize);
        starts.map(move |start| Row::Folded(of, Minute(start)))
    };
    match size {
        WindowSize::Minute => starts(WindowSize::Day).chain(starts(WindowSize::Hour)).collect(),
        WindowSize::Hour => starts(WindowSize::Day).collect(),
        WindowSize::Day => Vec::new(),
    }
}
