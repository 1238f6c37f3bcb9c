//! The most frequent keys of a span: whole days and hours from their own rows, the ragged ends
//! from minutes.

use hashbrown::HashMap;

use super::{By, Filter, NameSink, Piece, QueryError, Source, View};
use crate::counts::Parts;
use crate::ids::CustomerId;
use crate::limits;
use crate::window::{Minute, Span};

/// The most frequent keys of a span.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// All requests of the span that the filter takes.
    pub requests: u64,
    /// How many distinct keys they have.
    pub keys: usize,
    /// The most frequent first; equal ones in byte order.
    pub rows: Vec<TopRow>,
    /// The requests of the span that is compared with.
    pub before: Option<u64>,
}

/// A key and its requests.
#[derive(Debug, PartialEq, Eq)]
pub struct TopRow {
    /// The key.
    pub key: Box<str>,
    /// Its requests in the span.
    pub requests: u64,
    /// Its requests in the span that is compared with.
    pub before: Option<u64>,
}

/// Which rows of a ranking are wanted: some after others that are skipped.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Rows before the first one.
    pub skip: usize,
    /// At most so many.
    pub take: usize,
}

/// A ranking that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'f> {
    /// Of the requests in this span,
    pub span: Span,
    /// compared with this one,
    pub compared: Option<Span>,
    /// by this,
    pub by: By,
    /// of these requests,
    pub filter: &'f Filter,
    /// these rows.
    pub rows: Rows,
}

impl Ranked<'static> {
    /// The first rows of all requests in a span.
    #[must_use]
    pub fn of(span: Span, by: By, take: usize) -> Self {
        Self { span, compared: None, by, filter: &Filter::All, rows: Rows { skip: 0, take } }
    }
}

/// A customer's most frequent paths, agents or kinds of agents.
///
/// # Errors
/// [`QueryError`].
pub fn top(
    source: &impl Source,
    customer: &CustomerId,
    asked: &Ranked<'_>,
) -> Result<Top, QueryError> {
    let Ranked { span, compared, by, filter, rows } = *asked;
    let from = compared.map_or(span.from, |compared| compared.from.min(span.from));
    let parts = Parts::of(by.dimension());
    let view = View::open(source, customer, Span { from, to: span.to }, parts)?;
    let mut top = rank(&view, span, by, filter)?.top(rows);
    if let Some(compared) = compared {
        let before = rank(&view, compared, by, filter).map_err(|error| match error {
            // The part of it that fits is of a time that was not asked for.
            QueryError::TooManyKeys { .. } => QueryError::TooManyKeysBefore,
            other => other,
        })?;
        top.before = Some(before.requests);
        for row in &mut top.rows {
            row.before = Some(before.counts.get(&row.key).copied().unwrap_or_default());
        }
    }
    Ok(top)
}

pub(super) fn rank<'f>(
    view: &View<'_>,
    span: Span,
    by: By,
    filter: &'f Filter,
) -> Result<Ranking<'f>, QueryError> {
    let counts = HashMap::new();
    let mut ranking = Ranking { span, by, filter, requests: 0, counts, bytes: 0 };
    view.each_name(Piece::Span(span), by.dimension(), &mut ranking)?;
    Ok(ranking)
}

/// Counts by key.
pub(super) struct Ranking<'f> {
    span: Span,
    by: By,
    filter: &'f Filter,
    /// W2: the counts by any dimension add up to all requests.
    pub(super) requests: u64,
    pub(super) counts: HashMap<Box<str>, u64>,
    /// Of the keys.
    bytes: usize,
}

impl NameSink for Ranking<'_> {
    fn add(&mut self, name: &str, count: u64) {
        if !self.filter.takes(name) {
            return;
        }
        self.requests += count;
        let key = self.by.key(name);
        match self.counts.get_mut(key) {
            Some(sum) => *sum += count,
            None => {
                self.bytes += key.len();
                self.counts.insert(key.into(), count);
            }
        }
    }

    fn check(&self, at: Minute) -> Result<(), QueryError> {
        let fits =
            self.counts.len() <= limits::TOP_KEYS_MAX && self.bytes <= limits::TOP_KEYS_BYTES_MAX;
        let fitting = Span { from: self.span.from, to: at };
        fits.then_some(()).ok_or(QueryError::TooManyKeys { fitting })
    }
}

impl Ranking<'_> {
    pub(super) fn top(&self, Rows { skip, take }: Rows) -> Top {
        type Pair<'a> = (&'a Box<str>, &'a u64);
        let mut ranked: Vec<Pair<'_>> = self.counts.iter().collect();
        let order = |a: &Pair<'_>, b: &Pair<'_>| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0));
        let wanted = skip.saturating_add(take);
        if wanted < ranked.len() {
            ranked.select_nth_unstable_by(wanted, order);
            ranked.truncate(wanted);
        }
        ranked.sort_unstable_by(order);
        let row = |(key, requests): Pair<'_>| TopRow {
            key: key.clone(),
            requests: *requests,
            before: None,
        };
        Top {
            requests: self.requests,
            keys: self.counts.len(),
            rows: ranked.into_iter().skip(skip).map(row).collect(),
            before: None,
        }
    }
}
