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

use crate::counts::{KeyLimits, TimedCounts, Totals, WindowCounts};
use crate::ids::CustomerId;
use crate::limits;
use crate::store::{Dimension, Parts, Snapshot, Store, StoreError};
use crate::window::{Minute, Span, WindowSize};
use crate::worker::{CustomersOverlay, Overlay};

/// The workers did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the workers did not answer in time")]
pub struct Busy;

/// What is asked: the workers of a running engine, and its store.
pub trait Source {
    /// What the workers hold of a customer's minutes: everything acknowledged before the call
    /// that may not be in the store yet (Q1).
    ///
    /// # Errors
    /// [`Busy`] if the workers do not answer in time.
    fn overlays(&self, customer: &CustomerId, span: Span) -> Result<Vec<Overlay>, Busy>;

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
    /// Minutes that the snapshot does not hold yet; a minute may occur more than once.
    overlay: Vec<TimedCounts>,
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
enum Row {
    Window(WindowSize, Minute),
    /// What the expired minutes of an hour, or hours of a day, held.
    Folded(WindowSize, Minute),
}

/// Takes names with their counts, a name perhaps several times.
trait Names {
    fn add(&mut self, name: &str, count: u64);

    /// Whether to go on, before the row that starts at `at` is read.
    fn check(&self, at: Minute) -> Result<(), QueryError>;
}

impl<'e> View<'e> {
    fn open(
        source: &'e impl Source,
        customer: &'e CustomerId,
        span: Span,
    ) -> Result<Self, QueryError> {
        let overlays = source.overlays(customer, span)?;
        // IMPORTANT: after the workers have answered. A checkpoint that commits in between is in
        // the snapshot, and its epoch tells which of their answers it holds.
        let snapshot = source.store().snapshot()?;
        let held = snapshot.position()?.epoch;
        let newer = overlays.into_iter().filter(|overlay| overlay.epoch > held);
        let mut newer: Vec<_> = newer.collect();
        // In the order in which they will be committed.
        newer.sort_by_key(|overlay| overlay.epoch);
        let mut overlay: Vec<_> = newer.into_iter().flat_map(|overlay| overlay.minutes).collect();
        // Stable: of a minute, the earlier epoch stays first.
        overlay.sort_by_key(|(minute, _)| *minute);
        Ok(Self { customer, snapshot, overlay })
    }

    /// What is in memory of a span.
    fn overlay(&self, span: Span) -> impl Iterator<Item = &WindowCounts> {
        let first = self.overlay.partition_point(|(minute, _)| *minute < span.from);
        let within = self.overlay[first..].iter().take_while(move |(minute, _)| *minute < span.to);
        within.map(|(_, counts)| counts)
    }

    /// Everything that was counted in a piece.
    fn counts(&self, piece: Piece, keys: KeyLimits) -> Result<WindowCounts, QueryError> {
        let mut sum = WindowCounts::default();
        self.each_row(piece, |row| {
            if let Some(window) = self.read(row, Parts::ALL)? {
                sum.merge(&window, keys);
            }
            Ok(())
        })?;
        self.overlay(piece.span()).for_each(|more| sum.merge(more, keys));
        Ok(sum)
    }

    /// The single numbers of a piece.
    fn totals(&self, piece: Piece) -> Result<Totals, QueryError> {
        let mut sum = Totals::default();
        self.each_row(piece, |row| {
            if let Some(window) = self.read(row, Parts::TOTALS)? {
                sum.merge(&window.totals);
            }
            Ok(())
        })?;
        self.overlay(piece.span()).for_each(|more| sum.merge(&more.totals));
        Ok(sum)
    }

    /// Hands on each name of a piece with its count.
    fn each_name(
        &self,
        piece: Piece,
        by: Dimension,
        names: &mut impl Names,
    ) -> Result<(), QueryError> {
        let span = piece.span();
        for counts in self.overlay(span) {
            names.check(span.from)?;
            let counts = match by {
                Dimension::Path => &counts.paths,
                Dimension::Agent => &counts.agents,
            };
            counts.iter().for_each(|(name, count)| names.add(name, count));
        }
        self.each_row(piece, |row| {
            names.check(row.start())?;
            let mut add = |name: &str, count| names.add(name, count);
            match row {
                Row::Window(size, start) => {
                    self.snapshot.each_name(self.customer, size, start, by, &mut add)?;
                }
                Row::Folded(size, start) => {
                    self.snapshot.each_folded_name(self.customer, size, start, by, &mut add)?;
                }
            }
            Ok(())
        })?;
        names.check(span.to)
    }

    fn read(&self, row: Row, parts: Parts) -> Result<Option<WindowCounts>, QueryError> {
        Ok(match row {
            Row::Window(size, start) => self.snapshot.parts(self.customer, size, start, parts)?,
            Row::Folded(size, start) => self.snapshot.folded(self.customer, size, start, parts)?,
        })
    }

    /// Hands on the stored parts of a piece, in order of time: of a span whole days and hours, and
    /// minutes at the ragged ends.
    fn each_row(
        &self,
        piece: Piece,
        mut read: impl FnMut(Row) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let span = match piece {
            Piece::Window(size, start) => return read(Row::Window(size, start)),
            Piece::Span(span) => span,
        };
        for (size, mut part) in span.cover() {
            folded_in(size, part).into_iter().try_for_each(&mut read)?;
            loop {
                let max = limits::PAGE_WINDOWS_MAX;
                let page = self.snapshot.starts(self.customer, size, part, max)?;
                page.starts.iter().try_for_each(|start| read(Row::Window(size, *start)))?;
                match page.starts.last() {
                    Some(last) if page.is_cut => part.from = last.plus(size.minutes()),
                    _ => break,
                }
            }
        }
        Ok(())
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
        let stored = self.snapshot.first(self.customer, size, seen)?;
        let first = self.overlay.partition_point(|(minute, _)| *minute < span.from);
        let in_memory = self.overlay.get(first).map(|(minute, _)| calendar.floor(*minute));
        let first = stored.into_iter().chain(in_memory).min();
        let start = first.map(|start| calendar.floor(start.max(span.from)).max(span.from));
        Ok(start.filter(|start| *start < span.to))
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

impl Row {
    fn start(self) -> Minute {
        let (Self::Window(_, start) | Self::Folded(_, start)) = self;
        start
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
