//! Answers: the store, overlaid with what is still in memory (invariant Q1).
//!
//! The workers are asked first, then the store's snapshot is opened, then what the snapshot holds
//! already is dropped from what the workers said: so nothing is missed and nothing counted twice.
//! Blocks on workers and disk; not for the reactor's threads.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::counts::{KeyLimits, TimedCounts, WindowCounts};
use crate::ids::CustomerId;
use crate::limits;
use crate::store::{Dimension, Series, Snapshot, Store, StoreError};
use crate::window::{Minute, Span, WindowSize};
use crate::worker::Overlay;

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
    #[error("the range holds more than {} distinct keys", limits::TOP_KEYS_MAX)]
    TooManyKeys,
}

/// Some windows of an answer, and where the next begin.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WindowsPage {
    /// In order of time; windows without requests are absent.
    pub windows: Vec<TimedCounts>,
    /// The first window that is not in this page.
    pub next: Option<Minute>,
}

/// The most frequent keys of a span.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// All requests of the span.
    pub requests: u64,
    /// The most frequent first; equal ones in byte order.
    pub rows: Vec<(Box<str>, u64)>,
}

/// A customer's counts as of one moment.
struct View<'e> {
    snapshot: Snapshot<'e>,
    /// Minutes that the snapshot does not hold yet; a minute may occur more than once.
    overlay: Vec<TimedCounts>,
}

impl<'e> View<'e> {
    fn open(
        source: &'e impl Source,
        customer: &CustomerId,
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
        let overlay = newer.into_iter().flat_map(|overlay| overlay.minutes).collect();
        Ok(Self { snapshot, overlay })
    }
}

/// A customer's windows that start within the span, a page of them.
///
/// # Errors
/// [`QueryError`].
pub fn windows(
    source: &impl Source,
    customer: &CustomerId,
    size: WindowSize,
    span: Span,
    keys: KeyLimits,
) -> Result<WindowsPage, QueryError> {
    // Windows are whole: one that starts within the span is answered to its end.
    let whole = Span { from: span.from.ceil(size), to: span.to.ceil(size) };
    if whole.is_empty() {
        return Ok(WindowsPage::default());
    }
    let view = View::open(source, customer, whole)?;
    let mut overlay: BTreeMap<Minute, WindowCounts> = BTreeMap::new();
    for (minute, counts) in &view.overlay {
        overlay.entry(minute.floor(size)).or_default().merge(counts, keys);
    }
    let stored = view.snapshot.starts(customer, size, whole, limits::PAGE_WINDOWS_MAX + 1)?.starts;
    let mut starts: Vec<_> = stored.into_iter().chain(overlay.keys().copied()).collect();
    starts.sort_unstable();
    starts.dedup();

    let mut page = WindowsPage::default();
    let mut bytes = 0;
    for start in starts {
        let full = page.windows.len() == limits::PAGE_WINDOWS_MAX;
        if full || bytes >= limits::PAGE_BYTES_MAX {
            page.next = Some(start);
            break;
        }
        let mut window = view.snapshot.window(customer, size, start)?.unwrap_or_default();
        if let Some(more) = overlay.remove(&start) {
            window.merge(&more, keys);
        }
        bytes += window.paths.bytes() + window.agents.bytes();
        page.windows.push((start, window));
    }
    Ok(page)
}

/// The single numbers of a customer's windows that start within the span, a page of them. Reads no
/// names.
///
/// # Errors
/// [`QueryError`].
pub fn series(
    source: &impl Source,
    customer: &CustomerId,
    size: WindowSize,
    span: Span,
) -> Result<Series, QueryError> {
    let whole = Span { from: span.from.ceil(size), to: span.to.ceil(size) };
    if whole.is_empty() {
        return Ok(Series::default());
    }
    let view = View::open(source, customer, whole)?;
    let max = limits::SERIES_POINTS_MAX;
    let Series { points, next: cut } = view.snapshot.series(customer, size, whole, max)?;
    let mut points: BTreeMap<_, _> = points.into_iter().collect();
    for (minute, counts) in &view.overlay {
        points.entry(minute.floor(size)).or_default().merge(&counts.totals);
    }
    let mut points: Vec<_> = points.into_iter().collect();
    // What is in memory may lie past the store's page, or make it too long.
    let before = |cut| points.partition_point(|(start, _)| *start < cut);
    let end = cut.map_or(points.len(), before).min(max);
    let next = points.get(end).map(|(start, _)| *start).into_iter().chain(cut).min();
    points.truncate(end);
    Ok(Series { points, next })
}

/// The most frequent paths or agents of a span: whole days and hours from their own rows, the
/// ragged ends from minutes.
///
/// # Errors
/// [`QueryError`].
pub fn top(
    source: &impl Source,
    customer: &CustomerId,
    span: Span,
    by: Dimension,
    rows: usize,
) -> Result<Top, QueryError> {
    let view = View::open(source, customer, span)?;
    let mut sum = Ranking::default();
    for (_, counts) in view.overlay.iter().filter(|(minute, _)| span.contains(*minute)) {
        let names = match by {
            Dimension::Path => &counts.paths,
            Dimension::Agent => &counts.agents,
        };
        names.iter().for_each(|(name, count)| sum.add(name, count));
        sum.must_fit()?;
    }
    for (size, mut part) in span.cover() {
        loop {
            let page = view.snapshot.starts(customer, size, part, limits::PAGE_WINDOWS_MAX)?;
            for start in &page.starts {
                let mut add = |name: &str, count| sum.add(name, count);
                view.snapshot.each_name(customer, size, *start, by, &mut add)?;
                sum.must_fit()?;
            }
            match page.starts.last() {
                Some(last) if page.is_cut => part.from = last.plus(size.minutes()),
                _ => break,
            }
        }
    }
    Ok(sum.finish(rows))
}

#[derive(Default)]
struct Ranking {
    requests: u64,
    counts: HashMap<Box<str>, u64>,
}

impl Ranking {
    fn add(&mut self, name: &str, count: u64) {
        // W2: the counts by any dimension add up to all requests.
        self.requests += count;
        match self.counts.get_mut(name) {
            Some(sum) => *sum += count,
            None => drop(self.counts.insert(name.into(), count)),
        }
    }

    fn must_fit(&self) -> Result<(), QueryError> {
        let fits = self.counts.len() <= limits::TOP_KEYS_MAX;
        fits.then_some(()).ok_or(QueryError::TooManyKeys)
    }

    fn finish(self, rows: usize) -> Top {
        type Row = (Box<str>, u64);
        let mut ranked: Vec<Row> = self.counts.into_iter().collect();
        let order = |a: &Row, b: &Row| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
        if rows < ranked.len() {
            ranked.select_nth_unstable_by(rows, order);
            ranked.truncate(rows);
        }
        ranked.sort_unstable_by(order);
        Top { requests: self.requests, rows: ranked }
    }
}
