//! Requests from window to window: all of them, or by key.

use hashbrown::HashMap;

use super::ranking::rank;
use super::{By, Enough, Filter, Names, QueryError, Range, Rows, Source, View};
use crate::counts::Totals;
use crate::limits;
use crate::window::Minute;

/// The single numbers of some windows, and where the next begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// In order of time; windows without requests are absent.
    pub points: Vec<(Minute, Totals)>,
    /// The first window that is not among them.
    pub next: Option<Minute>,
}

/// The requests of some windows by key, and where the next begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The most frequent keys of the whole range, those with most requests first.
    pub keys: Vec<Box<str>>,
    /// In order of time; windows without requests are absent.
    pub points: Vec<SplitPoint>,
    /// The first window that is not among them.
    pub next: Option<Minute>,
}

/// The requests of one window by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPoint {
    /// Where the window starts.
    pub start: Minute,
    /// All of its requests that the filter takes.
    pub requests: u64,
    /// Those of each key, in the order of the keys.
    pub by_key: Vec<u64>,
}

/// The single numbers of a customer's windows that start within the range, a page of them. Reads
/// no names.
///
/// # Errors
/// [`QueryError`].
pub fn series(source: &impl Source, range: &Range) -> Result<Series, QueryError> {
    let Some(page) = range.page() else { return Ok(Series::default()) };
    let view = View::open(source, &range.customer, page)?;
    let mut points = Vec::new();
    let next = view.each_window(&range.calendar, page, |start, piece| {
        let totals = view.totals(piece)?;
        if totals.requests > 0 {
            points.push((start, totals));
        }
        Ok(Enough::when(points.len() == limits::SERIES_POINTS_MAX))
    })?;
    Ok(Series { points, next })
}

/// The requests of a customer's windows that start within the range by its `keys` most frequent
/// keys, a page of them. Without keys it is the series of what the filter takes.
///
/// # Errors
/// [`QueryError`].
pub fn split(
    source: &impl Source,
    range: &Range,
    by: By,
    filter: &Filter,
    keys: usize,
) -> Result<Split, QueryError> {
    let (Some(whole), Some(page)) = (range.whole(), range.page()) else {
        return Ok(Split::default());
    };
    let view = View::open(source, &range.customer, whole)?;
    let keys: Vec<_> = match keys {
        0 => Vec::new(),
        take => {
            let top = rank(&view, whole, by, filter)?.top(Rows { skip: 0, take });
            top.rows.into_iter().map(|row| row.key).collect()
        }
    };
    let places = keys.iter().enumerate().map(|(place, key)| (&**key, place)).collect();
    let mut window = Places { by, filter, places, requests: 0, by_key: Vec::new(), read: 0 };
    let mut points = Vec::new();
    let next = view.each_window(&range.calendar, page, |start, piece| {
        (window.requests, window.by_key) = (0, vec![0; keys.len()]);
        view.each_name(piece, by.dimension(), &mut window)?;
        if window.requests > 0 {
            let by_key = std::mem::take(&mut window.by_key);
            points.push(SplitPoint { start, requests: window.requests, by_key });
        }
        let is_full = points.len() == limits::SPLIT_POINTS_MAX;
        Ok(Enough::when(is_full || window.read >= limits::SPLIT_NAMES_MAX))
    })?;
    drop(window);
    Ok(Split { keys, points, next })
}

/// Counts of one window by the place of their key.
struct Places<'a> {
    by: By,
    filter: &'a Filter,
    places: HashMap<&'a str, usize>,
    requests: u64,
    by_key: Vec<u64>,
    /// Names that were read, of all windows.
    read: usize,
}

impl Names for Places<'_> {
    fn add(&mut self, name: &str, count: u64) {
        self.read += 1;
        if !self.filter.takes(name) {
            return;
        }
        self.requests += count;
        if let Some(place) = self.places.get(self.by.key(name)) {
            self.by_key[*place] += count;
        }
    }

    fn check(&self, _: Minute) -> Result<(), QueryError> {
        Ok(())
    }
}
