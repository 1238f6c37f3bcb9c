//! Who the customers are, and how many requests each had.

use hashbrown::HashMap;

use super::{Piece, QueryError, Source, View};
use crate::counts::Parts;
use crate::ids::CustomerId;
use crate::limits;
use crate::window::Span;

/// Every customer with requests in the span whose id begins so, and how many; those with most
/// first.
///
/// # Errors
/// [`QueryError`].
pub fn customers(
    source: &impl Source,
    span: Span,
    prefix: &str,
) -> Result<Vec<(CustomerId, u64)>, QueryError> {
    let overlays = source.customers(span)?;
    // IMPORTANT: after the workers have answered, as for a view.
    let snapshot = source.store().snapshot()?;
    let held = snapshot.epoch();
    let (mut sums, mut are_too_many) = (HashMap::<CustomerId, u64>::new(), false);
    let mut add = |customer: &CustomerId, requests: u64| {
        if !customer.as_str().starts_with(prefix) {
            return;
        }
        if let Some(sum) = sums.get_mut(customer) {
            *sum += requests;
        } else if sums.len() < limits::CUSTOMERS_LISTED_MAX {
            sums.insert(customer.clone(), requests);
        } else {
            are_too_many = true;
        }
    };
    for overlay in overlays.iter().filter(|overlay| overlay.epoch > held) {
        overlay.requests.iter().for_each(|(customer, requests)| add(customer, *requests));
    }
    snapshot.each_customer(span, &mut add)?;
    if are_too_many {
        return Err(QueryError::TooManyCustomers);
    }
    Ok(sorted(sums.into_iter().collect()))
}

/// Those of these customers with requests in the span, in the same order.
///
/// # Errors
/// [`QueryError`].
pub fn customers_of<'c>(
    source: &impl Source,
    span: Span,
    customers: impl IntoIterator<Item = &'c CustomerId>,
) -> Result<Vec<(CustomerId, u64)>, QueryError> {
    let mut found = Vec::new();
    for customer in customers {
        let view = View::open(source, customer, span, Parts::TOTALS)?;
        let requests = view.totals(Piece::Span(span))?.requests;
        if requests > 0 {
            found.push((customer.clone(), requests));
        }
    }
    Ok(sorted(found))
}

fn sorted(mut customers: Vec<(CustomerId, u64)>) -> Vec<(CustomerId, u64)> {
    customers.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    customers
}
