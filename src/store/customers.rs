//! Requests of every customer, out of rows that stand next to each other.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{Level, RowError, RowResult, key, parse_key, parts_of, totals_of};
use super::{Snapshot, StoreError, guard};
use crate::ids::CustomerId;
use crate::window::{Minute, Span, WindowSize};

/// Is told of customers and requests; of each perhaps several times.
type Add<'a> = dyn FnMut(&CustomerId, u64) + 'a;

impl Snapshot<'_> {
    /// Hands on all customers with requests in a span, and how many; a customer may come several
    /// times. What was folded into an hour or a day counts at the start of that.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn each_customer(&self, span: Span, add: &mut Add<'_>) -> Result<(), StoreError> {
        guard("read", &self.store.path, || {
            for (size, part) in span.cover() {
                let folded: &[_] = match size {
                    WindowSize::Minute => &[Level::HourBase, Level::DayBase],
                    WindowSize::Hour => &[Level::DayBase],
                    WindowSize::Day => &[],
                };
                for level in folded {
                    self.each_row_of(*level, part, &mut |_, customer, n| add(customer, n))?;
                }
                self.each_of(size, part, None, add)?;
            }
            Ok(())
        })
    }

    /// Windows of a size that start within the span, of these customers or of all.
    fn each_of(
        &self,
        size: WindowSize,
        span: Span,
        only: Option<&BTreeSet<CustomerId>>,
        add: &mut Add<'_>,
    ) -> RowResult<()> {
        let wanted = |customer: &CustomerId| only.is_none_or(|only| only.contains(customer));
        let mut dirty: BTreeMap<Minute, BTreeSet<CustomerId>> = BTreeMap::new();
        let level = Level::of(size);
        if size != WindowSize::Minute {
            let (from, to) = (key(level, span.from, ""), key(level, span.to, ""));
            for row in self.dirty.range(from.as_slice()..to.as_slice())? {
                let (start, customer) = whose(row?.0.value(), "dirty")?;
                if wanted(&customer) {
                    dirty.entry(start).or_default().insert(customer);
                }
            }
        }
        self.each_row_of(level, span, &mut |start, customer, requests| {
            let is_right = dirty.get(&start).is_none_or(|dirty| !dirty.contains(customer));
            if is_right && wanted(customer) {
                add(customer, requests);
            }
        })?;
        for (start, customers) in &dirty {
            let Some((part, base)) = parts_of(size) else { continue };
            let own = Span { from: *start, to: start.plus(1) };
            self.each_row_of(base, own, &mut |_, customer, requests| {
                if customers.contains(customer) {
                    add(customer, requests);
                }
            })?;
            self.each_of(part, Span::of(size, *start), Some(customers), add)?;
        }
        Ok(())
    }

    fn each_row_of(
        &self,
        level: Level,
        span: Span,
        each: &mut dyn FnMut(Minute, &CustomerId, u64),
    ) -> RowResult<()> {
        let (from, to) = (key(level, span.from, ""), key(level, span.to, ""));
        for row in self.windows.totals.range(from.as_slice()..to.as_slice())? {
            let (row_key, value) = row?;
            let (start, customer) = whose(row_key.value(), "totals")?;
            let totals = totals_of(row_key.value(), value.value())?;
            each(start, &customer, totals.requests);
        }
        Ok(())
    }
}

fn whose(key: &[u8], table: &str) -> RowResult<(Minute, CustomerId)> {
    parse_key(key).ok_or_else(|| RowError::Corrupt(table.into()))
}
