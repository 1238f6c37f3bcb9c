//! Requests from window to window: all of them, or by key.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::ranking::rank;
use super::{By, Enough, Filter, NameSink, QueryError, Range, Rows, Source, View};
use crate::counts::{Parts, Totals};
use crate::limits;
use crate::minutes::NamedMinutes;
use crate::window::{Minute, Span};

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
    let view = View::open(source, &range.customer, page, Parts::TOTALS)?;
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
    let view = View::open(source, &range.customer, whole, Parts::of(by.dimension()))?;
    let keys: Vec<_> = match keys {
        0 => Vec::new(),
        take => {
            let top = rank(&view, whole, by, filter)?.top(Rows { skip: 0, take });
            top.rows.into_iter().map(|row| row.key).collect()
        }
    };
    let places = keys.iter().enumerate().map(|(place, key)| (&**key, place)).collect();
    let mut window = KeyCounts::new(by, filter, places, view.overlays.len() + 1);
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
struct KeyCounts<'a> {
    by: By,
    filter: &'a Filter,
    places: HashMap<&'a str, usize>,
    /// Where the names of minutes go, by their numbers: those of what is in memory, which every
    /// window needs, and of the last hour, used last at the end.
    numbered: VecDeque<(Arc<NamedMinutes>, Vec<Place>)>,
    numbered_max: usize,
    requests: u64,
    by_key: Vec<u64>,
    /// Names that were read, of all windows.
    read: usize,
}

/// Where a name counts.
#[derive(Clone, Copy)]
enum Place {
    /// Nowhere: the filter does not take it.
    None,
    /// With the rest.
    Rest,
    Key(usize),
}

impl<'a> KeyCounts<'a> {
    fn new(
        by: By,
        filter: &'a Filter,
        places: HashMap<&'a str, usize>,
        numbered_max: usize,
    ) -> Self {
        let (numbered, by_key) = Default::default();
        Self { by, filter, places, numbered, numbered_max, requests: 0, by_key, read: 0 }
    }

    fn place(&self, name: &str) -> Place {
        if !self.filter.takes(name) {
            return Place::None;
        }
        self.places.get(self.by.key(name)).map_or(Place::Rest, |key| Place::Key(*key))
    }

    fn count(&mut self, place: Place, count: u64) {
        self.read += 1;
        match place {
            Place::None => {}
            Place::Rest => self.requests += count,
            Place::Key(key) => {
                self.requests += count;
                self.by_key[key] += count;
            }
        }
    }

    /// The places of all names of some minutes; they are looked up once.
    fn places_of(&mut self, named: &Arc<NamedMinutes>) -> Vec<Place> {
        let known = self.numbered.iter().position(|(known, _)| Arc::ptr_eq(known, named));
        match known.and_then(|at| self.numbered.remove(at)) {
            Some((_, places)) => places,
            None => named.names().iter().map(|name| self.place(name)).collect(),
        }
    }
}

impl NameSink for KeyCounts<'_> {
    fn add(&mut self, name: &str, count: u64) {
        self.count(self.place(name), count);
    }

    fn add_minutes(&mut self, named: &Arc<NamedMinutes>, span: Span) {
        let places = self.places_of(named);
        for (id, count) in named.each(span) {
            self.count(places[id.0 as usize], count);
        }
        if self.numbered.len() == self.numbered_max {
            self.numbered.pop_front();
        }
        self.numbered.push_back((Arc::clone(named), places));
    }

    fn check(&self, _: Minute) -> Result<(), QueryError> {
        Ok(())
    }
}
