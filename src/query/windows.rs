//! Whole windows, a page of them.

use super::{Enough, Filter, QueryError, Range, Source, View};
use crate::counts::{Counts, Dimension, KeyLimits, Parts, TimedCounts, Totals, WindowCounts};
use crate::limits;
use crate::window::Minute;

/// Some windows of an answer, and where the next begin.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WindowsPage {
    /// In order of time; windows without requests are absent.
    pub windows: Vec<TimedCounts>,
    /// The first window that is not in this page.
    pub next: Option<Minute>,
}

/// A customer's windows that start within the span, a page of them. Filtered ones hold only the
/// names that the filter takes, and of the totals their sum alone.
///
/// # Errors
/// [`QueryError`].
pub fn windows(
    source: &impl Source,
    range: &Range,
    filter: &Filter,
    keys: KeyLimits,
) -> Result<WindowsPage, QueryError> {
    let Some(span) = range.page() else { return Ok(WindowsPage::default()) };
    let view = View::open(source, &range.customer, span, Parts::ALL)?;
    let mut windows = Vec::new();
    let mut bytes = 0;
    let next = view.each_window(&range.calendar, span, |start, piece| {
        let counts = view.counts(piece, keys)?;
        // What was read counts against the page, whether or not the filter takes it.
        bytes += counts.paths.bytes() + counts.agents.bytes();
        let window = match filter.dimension() {
            None => counts,
            Some(by) => only(&counts, by, filter),
        };
        if window.totals.requests > 0 {
            windows.push((start, window));
        }
        let is_full = windows.len() == limits::PAGE_WINDOWS_MAX;
        Ok(Enough::when(is_full || bytes >= limits::PAGE_BYTES_MAX))
    })?;
    Ok(WindowsPage { windows, next })
}

/// What a filter takes of a window.
fn only(window: &WindowCounts, by: Dimension, filter: &Filter) -> WindowCounts {
    let taken = |counts: &Counts| {
        let taken = counts.iter().filter(|(name, _)| filter.takes(name));
        Counts::from_unsorted(taken.map(|(name, count)| (name.into(), count)).collect())
    };
    let (paths, agents) = match by {
        Dimension::Path => (taken(&window.paths), Counts::default()),
        Dimension::Agent => (Counts::default(), taken(&window.agents)),
    };
    let requests = paths.total() + agents.total();
    WindowCounts { totals: Totals { requests, ..Totals::default() }, paths, agents }
}
