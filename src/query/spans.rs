//! A customer's counts span by span, all as of one moment: for answers whose windows begin and end
//! wherever they like.

use super::{NameSink, Piece, QueryError, Source, View};
use crate::counts::{Dimension, Parts, Totals};
use crate::ids::CustomerId;
use crate::window::{Minute, Span};

/// A customer's counts as of one moment.
pub struct Spans<'e>(View<'e>);

impl<'e> Spans<'e> {
    /// What can be asked of spans within this one.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn open(
        source: &'e impl Source,
        customer: &'e CustomerId,
        span: Span,
    ) -> Result<Self, QueryError> {
        Ok(Self(View::open(source, customer, span, Parts::ALL)?))
    }

    /// The single numbers of a span.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn totals(&self, span: Span) -> Result<Totals, QueryError> {
        self.0.totals(Piece::Span(span))
    }

    /// Hands on each path, or agent family, of a span with its count; a name may come several
    /// times.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn each_name(
        &self,
        span: Span,
        by: Dimension,
        each: &mut dyn FnMut(&str, u64),
    ) -> Result<(), QueryError> {
        self.0.each_name(Piece::Span(span), by, &mut Handed(each))
    }
}

struct Handed<'f>(&'f mut dyn FnMut(&str, u64));

impl NameSink for Handed<'_> {
    fn add(&mut self, name: &str, count: u64) {
        (self.0)(name, count);
    }

    /// Whoever takes the names has bounds of its own.
    fn check(&self, _: Minute) -> Result<(), QueryError> {
        Ok(())
    }
}
