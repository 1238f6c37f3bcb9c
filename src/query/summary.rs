//! A range in a few figures.

use super::ranking::rank;
use super::{By, Calendar, Enough, Filter, Piece, QueryError, Source, View};
use crate::counts::{Dimension, Parts, Totals};
use crate::ids::CustomerId;
use crate::user_agent::{Kind, kind};
use crate::window::{Minute, Span, WindowSize};

/// A range in a few figures.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The range's totals.
    pub totals: Totals,
    /// Those of the range that is compared with.
    pub before: Totals,
    /// The minute with most requests, the earliest of equal ones, and these. Minutes that have been
    /// folded into their hour are not told apart any more.
    pub peak: Option<(Minute, u64)>,
    /// Requests of each kind of agent that has any.
    pub kinds: Vec<(Kind, u64)>,
    /// Agents of artificial intelligence, those with most requests first.
    pub ai: Vec<(Box<str>, u64)>,
    /// Distinct agent families.
    pub agents: usize,
}

/// A customer's range in a few figures, beside another one.
///
/// # Errors
/// [`QueryError`].
pub fn summary(
    source: &impl Source,
    customer: &CustomerId,
    span: Span,
    compared: Span,
) -> Result<Summary, QueryError> {
    let from = compared.from.min(span.from);
    let parts = Parts::of(Dimension::Agent);
    let view = View::open(source, customer, Span { from, to: span.to }, parts)?;
    let mut peak: Option<(Minute, u64)> = None;
    view.each_window(&Calendar::utc(WindowSize::Minute), span, |start, piece| {
        let requests = view.totals(piece)?.requests;
        if requests > peak.map_or(0, |(_, most)| most) {
            peak = Some((start, requests));
        }
        Ok(Enough::No)
    })?;
    let agents = rank(&view, span, By::Agent, &Filter::All)?.counts;
    let of_kind = |wanted| {
        let agents = agents.iter().filter(|(family, _)| kind(family) == wanted);
        (wanted, agents.map(|(_, requests)| requests).sum())
    };
    let kinds = Kind::ALL.into_iter().map(of_kind).filter(|(_, requests)| *requests > 0);
    let ai = agents.iter().filter(|(family, _)| kind(family) == Kind::Ai);
    let mut ai: Vec<_> = ai.map(|(family, requests)| (family.clone(), *requests)).collect();
    ai.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(Summary {
        totals: view.totals(Piece::Span(span))?,
        before: view.totals(Piece::Span(compared))?,
        peak,
        kinds: kinds.collect(),
        ai,
        agents: agents.len(),
    })
}
