//! Counts series: window by window, added up as the plan says.
//!
//! Between, only what is not 0 is kept, so that a path with one request in a week takes one place.

use std::collections::BTreeMap;

use super::BadData;
use super::catalogue::{CUSTOMER, Metric, NAME};
use super::plan::{Choice, Plan, Step};
use super::time::Grid;
use crate::counts::{Dimension, Totals};
use crate::ids::CustomerId;
use crate::limits;
use crate::window::{Minute, Span};

/// What a customer's requests in a span are.
pub trait Counted {
    /// Why it cannot be told.
    type Error: From<BadData>;

    /// The single numbers.
    ///
    /// # Errors
    /// If they cannot be read.
    fn totals(&self, span: Span) -> Result<Totals, Self::Error>;

    /// Hands on each path, or family; a name may come several times.
    ///
    /// # Errors
    /// If they cannot be read.
    fn each_name(
        &self,
        by: Dimension,
        span: Span,
        each: &mut dyn FnMut(&str, u64),
    ) -> Result<(), Self::Error>;

    /// What kind of program a family is.
    fn kind(&self, family: &str) -> &'static str;
}

/// The labels of a series, in order.
pub type Labels = BTreeMap<&'static str, Box<str>>;

/// A series: what it is called, and its samples in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The labels.
    pub labels: Labels,
    /// Moments and values.
    pub samples: Vec<(Minute, u64)>,
}

/// Values that are not 0, by the number of their window or moment, in order.
type Sparse = Vec<(u32, u64)>;

/// Counts what a plan asks for at the moments of the grid.
///
/// # Errors
/// If it cannot be read, or is more than an answer may hold.
pub fn evaluate<C: Counted>(
    counted: &C,
    customer: &CustomerId,
    plan: &Plan,
    grid: Grid,
) -> Result<Vec<Series>, C::Error> {
    let windows = Windows::of(plan.window.unwrap_or(grid.step), grid)?;
    let mut steps = plan.steps.as_slice();
    // A sum is taken at once: its parts may be far more than there is room for.
    let first = match steps.split_first() {
        Some((Step::Sum(by), rest)) => {
            steps = rest;
            Some(by.as_slice())
        }
        _ => None,
    };
    let mut reader = Reader { plan, customer, by: first, series: BTreeMap::new(), places: 0 };
    for (number, span) in windows.tiles(grid) {
        reader.read(counted, number, span)?;
    }
    let mut all = reader.series;
    let places = all.values().map(|sparse| windows.places(sparse, grid)).sum();
    must_have_room(places)?;
    for sparse in all.values_mut() {
        *sparse = windows.slide(std::mem::take(sparse), grid);
    }
    let mut is_ranked = false;
    for step in steps {
        all = match step {
            Step::Sum(by) => sum(all, by),
            Step::TopK(k) => {
                is_ranked = true;
                top(all, *k)
            }
        };
    }
    Ok(finish(all, grid, is_ranked)?)
}

/// How the windows of all moments are cut into tiles of which each is read once.
struct Windows {
    /// Minutes of a window.
    window: u32,
    /// Minutes of a tile. Windows that do not overlap are tiles; others are made of them.
    tile: u32,
}

impl Windows {
    fn of(window: u32, grid: Grid) -> Result<Self, BadData> {
        let overlap = grid.count > 1 && window > grid.step;
        let tile = if overlap { common_divisor(window, grid.step) } else { window };
        let windows = Self { window, tile };
        let tiles = windows.count(grid);
        let max = limits::PROMETHEUS_TILES_MAX;
        if tiles > max {
            return Err(BadData(format!(
                "windows of {window} minutes every {} take {tiles} parts, which is more than {max}; \
                 take a step that divides the window into few, or a shorter range",
                grid.step
            )));
        }
        Ok(windows)
    }

    fn overlap(&self) -> bool {
        self.tile < self.window
    }

    fn count(&self, grid: Grid) -> usize {
        if self.overlap() {
            let minutes = grid.step as usize * (grid.count - 1) + self.window as usize;
            minutes / self.tile as usize
        } else {
            grid.count
        }
    }

    /// All tiles in order of time, by number. What is before 1970 is empty.
    fn tiles(&self, grid: Grid) -> impl Iterator<Item = (u32, Span)> {
        let (first, every) = (i64::from(grid.first.0) - i64::from(self.window), self.every(grid));
        let (tile, count) = (i64::from(self.tile), self.count(grid));
        let minute = |at: i64| Minute(u32::try_from(at.max(0)).unwrap_or(u32::MAX));
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(move |number| {
            let from = first + i64::from(number) * every;
            (number, Span { from: minute(from), to: minute(from + tile) })
        })
    }

    /// Minutes from one tile to the next.
    fn every(&self, grid: Grid) -> i64 {
        i64::from(if self.overlap() { self.tile } else { grid.step })
    }

    /// How many moments the values of tiles come to, at most.
    fn places(&self, tiles: &Sparse, grid: Grid) -> usize {
        let moments = if self.overlap() { self.window.div_ceil(grid.step) as usize } else { 1 };
        tiles.len().saturating_mul(moments).min(grid.count)
    }

    /// From values of tiles to values of moments.
    fn slide(&self, tiles: Sparse, grid: Grid) -> Sparse {
        if !self.overlap() {
            return tiles;
        }
        let (per_window, per_step) = (self.window / self.tile, grid.step / self.tile);
        let mut moments = Sparse::new();
        // The sum of the tiles from `left` up to `right`.
        let (mut left, mut right, mut sum) = (0, 0, 0_u128);
        let count = u32::try_from(grid.count).unwrap_or(u32::MAX);
        let mut moment = 0;
        while moment < count {
            if left == right {
                // Nothing until the window reaches the next tile.
                let Some((tile, _)) = tiles.get(right) else { break };
                let first = (tile + 1).saturating_sub(per_window).div_ceil(per_step);
                moment = moment.max(first);
                if moment >= count {
                    break;
                }
            }
            let from = moment * per_step;
            while right < tiles.len() && tiles[right].0 < from + per_window {
                sum += u128::from(tiles[right].1);
                right += 1;
            }
            while left < right && tiles[left].0 < from {
                sum -= u128::from(tiles[left].1);
                left += 1;
            }
            if sum > 0 {
                // Bytes stay at the largest number that there is, as they do in a window.
                moments.push((moment, u64::try_from(sum).unwrap_or(u64::MAX)));
            }
            moment += 1;
        }
        moments
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Reads tiles into series.
struct Reader<'p> {
    plan: &'p Plan,
    customer: &'p CustomerId,
    /// The labels that are kept, if series are added up as they are read.
    by: Option<&'p [String]>,
    series: BTreeMap<Labels, Sparse>,
    /// Values that are kept.
    places: usize,
}

impl Reader<'_> {
    fn read<C: Counted>(&mut self, counted: &C, tile: u32, span: Span) -> Result<(), C::Error> {
        let metric = self.plan.choice.metric;
        match (metric, metric.dimension()) {
            (_, Some(by)) => {
                let (mut all, mut bytes) = (BTreeMap::<Box<str>, u64>::new(), 0);
                counted.each_name(by, span, &mut |name, count| {
                    if let Some(sum) = all.get_mut(name) {
                        *sum += count;
                    } else if all.len() <= limits::PROMETHEUS_PLACES_MAX
                        && bytes <= limits::TOP_KEYS_BYTES_MAX
                    {
                        bytes += name.len();
                        all.insert(name.into(), count);
                    }
                })?;
                must_have_room(all.len())?;
                if bytes > limits::TOP_KEYS_BYTES_MAX {
                    return Err(too_much().into());
                }
                for (name, count) in all {
                    let kind = (by == Dimension::Agent).then(|| counted.kind(&name));
                    let labels = match kind {
                        Some(kind) => vec![("kind", kind.into()), ("user_agent", name)],
                        None => vec![("path", name)],
                    };
                    self.add(tile, labels, count)?;
                }
            }
            (Metric::ByStatus, None) => {
                for (status, requests) in counted.totals(span)?.responses.statuses() {
                    let label = ("status", status.to_string().into());
                    self.add(tile, vec![label], requests)?;
                }
            }
            (_, None) => {
                let totals = counted.totals(span)?;
                let value = match metric {
                    Metric::Late => totals.late,
                    Metric::ResponseBytes => totals.responses.bytes().unwrap_or_default(),
                    _ => totals.requests,
                };
                self.add(tile, Vec::new(), value)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        tile: u32,
        own: Vec<(&'static str, Box<str>)>,
        value: u64,
    ) -> Result<(), BadData> {
        let Some(mut labels) = labels_of(&self.plan.choice, self.customer, own) else {
            return Ok(());
        };
        if self.plan.window.is_some() {
            labels.remove(NAME);
        }
        if let Some(by) = self.by {
            labels.retain(|label, _| by.iter().any(|kept| kept == label));
        }
        let sparse = self.series.entry(labels).or_default();
        match sparse.last_mut() {
            Some((last, sum)) if *last == tile => *sum = sum.saturating_add(value),
            _ if value == 0 => {}
            _ => {
                sparse.push((tile, value));
                self.places += 1;
            }
        }
        must_have_room(self.places)
    }
}

fn must_have_room(places: usize) -> Result<(), BadData> {
    let fits = places <= limits::PROMETHEUS_PLACES_MAX;
    fits.then_some(()).ok_or_else(too_much)
}

fn too_much() -> BadData {
    let max = limits::PROMETHEUS_PLACES_MAX;
    BadData(format!(
        "the query needs more than {max} counts, or too long names; ask for a shorter range, a \
         longer step or fewer series, as with {{path=~\"GET /api/.*\"}}"
    ))
}

/// All labels of a series, if it is one that the selector means.
pub fn labels_of(
    choice: &Choice,
    customer: &CustomerId,
    own: Vec<(&'static str, Box<str>)>,
) -> Option<Labels> {
    let mut labels: Labels = own.into_iter().collect();
    labels.insert(NAME, choice.metric.name().into());
    labels.insert(CUSTOMER, customer.as_str().into());
    let value = |label: &str| labels.get(label).map_or("", |value| value);
    choice.matchers.iter().all(|matcher| matcher.takes(value(&matcher.label))).then_some(labels)
}

fn sum(all: BTreeMap<Labels, Sparse>, by: &[String]) -> BTreeMap<Labels, Sparse> {
    let mut sums: BTreeMap<Labels, BTreeMap<u32, u64>> = BTreeMap::new();
    for (mut labels, sparse) in all {
        labels.retain(|label, _| by.iter().any(|kept| kept == label));
        let sum = sums.entry(labels).or_default();
        for (moment, value) in sparse {
            let sum = sum.entry(moment).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    sums.into_iter().map(|(labels, sum)| (labels, sum.into_iter().collect())).collect()
}

/// Of equal ones the first by their labels.
fn top(all: BTreeMap<Labels, Sparse>, k: usize) -> BTreeMap<Labels, Sparse> {
    let all: Vec<_> = all.into_iter().collect();
    let mut moments: BTreeMap<u32, Vec<(u64, usize)>> = BTreeMap::new();
    for (series, (_, sparse)) in all.iter().enumerate() {
        for (moment, value) in sparse {
            moments.entry(*moment).or_default().push((*value, series));
        }
    }
    let mut kept: Vec<Sparse> = vec![Sparse::new(); all.len()];
    for (moment, mut ranked) in moments {
        ranked.sort_unstable_by_key(|(value, series)| (std::cmp::Reverse(*value), *series));
        ranked.truncate(k);
        ranked.into_iter().for_each(|(value, series)| kept[series].push((moment, value)));
    }
    let kept = all.into_iter().zip(kept).map(|((labels, _), sparse)| (labels, sparse));
    kept.filter(|(_, sparse)| !sparse.is_empty()).collect()
}

/// A sample at each moment, unless the series were ranked: who was not among the first is absent.
fn finish(
    all: BTreeMap<Labels, Sparse>,
    grid: Grid,
    is_ranked: bool,
) -> Result<Vec<Series>, BadData> {
    let (series, points) = (all.len(), grid.count);
    let (max_series, max_samples) = (limits::PROMETHEUS_SERIES_MAX, limits::PROMETHEUS_SAMPLES_MAX);
    if series > max_series || series * points > max_samples {
        return Err(BadData(format!(
            "the answer has {series} series of {points} points; it may have {max_series} series and \
             {max_samples} points in all: ask for fewer, as with topk(10, …) or sum by (…) (…), a \
             shorter range or a longer step"
        )));
    }
    let dense = |sparse: Sparse| {
        let mut sparse = sparse.into_iter().peekable();
        let value = move |(number, at): (u32, Minute)| {
            let found = sparse.next_if(|(moment, _)| *moment == number);
            let value = found.map(|(_, value)| value).or((!is_ranked).then_some(0));
            Some((at, value?))
        };
        (0..).zip(grid.times()).filter_map(value).collect()
    };
    Ok(all.into_iter().map(|(labels, sparse)| Series { labels, samples: dense(sparse) }).collect())
}
