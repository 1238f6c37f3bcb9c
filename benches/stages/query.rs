//! Answers out of the store: one busy customer, with a thousand paths in each of the last 24 hours'
//! minutes, and 19 quiet ones whose rows stand between. No worker holds anything.

use std::cell::LazyCell;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use logmill::counts::Parts;
use logmill::ids::CustomerId;
use logmill::query::{Busy, By, Filter, Range, Ranked, Source, series, top, windows};
use logmill::store::Store;
use logmill::window::{Minute, Span, WindowSize};
use logmill::worker::{CustomersOverlay, Overlay};

use crate::scene::{Books, RULES, START, customers, deltas};

const DAY: u32 = 1_440;
/// Not on an hour: the ends are minutes.
const FROM: u32 = START + 17;
const ROWS: usize = 20;

impl Source for Books {
    fn overlays(&self, _: &CustomerId, _: Span, _: Parts) -> Result<Vec<Overlay>, Busy> {
        Ok(Vec::new())
    }

    fn customers(&self, _: Span) -> Result<Vec<CustomersOverlay>, Busy> {
        Ok(Vec::new())
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

fn span(from: u32, minutes: u32) -> Span {
    Span { from: Minute(from), to: Minute(from + minutes) }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let customers = customers(20);
    let (busy, quiet) = (&customers[..1], &customers[1..]);
    let books = LazyCell::new(|| {
        let mut books = Books::new();
        for from in (FROM..FROM + DAY).step_by(20) {
            let minutes = from..from + 20;
            let mut all = deltas(busy, minutes.clone(), 1_000);
            all.extend(deltas(quiet, minutes.clone(), 5));
            books.commit(&all, minutes.end);
        }
        // Hours that are over have rested by now, and get rows of their own.
        books.commit(&[], FROM + DAY);
        books
    });

    let mut group = criterion.benchmark_group("query");
    group.sample_size(20).measurement_time(Duration::from_secs(1));
    for (name, customer) in [("busy", &busy[0]), ("quiet", &quiet[0])] {
        let tops = [
            ("paths of 24 ragged hours", By::Path, span(FROM, DAY)),
            ("agents of 24 ragged hours", By::Agent, span(FROM, DAY)),
            ("paths of a ragged hour", By::Path, span(FROM + 600, 60)),
        ];
        for (what, by, span) in tops {
            group.bench_function(BenchmarkId::new(format!("top {what}"), name), |bencher| {
                bencher.iter(|| {
                    top(&*books, customer, &Ranked::of(span, by, ROWS)).expect("an answer")
                });
            });
        }
        group.bench_function(BenchmarkId::new("series of 1,440 minutes", name), |bencher| {
            let range = Range::utc(customer, WindowSize::Minute, span(FROM, DAY));
            bencher.iter(|| series(&*books, &range).expect("an answer"));
        });
        let pages = [
            ("60 minutes", WindowSize::Minute, span(FROM + 600, 60)),
            ("12 hours", WindowSize::Hour, span(START + 60, 12 * 60)),
            ("an unfinished day", WindowSize::Day, span(START + DAY / 2, DAY)),
        ];
        for (what, size, span) in pages {
            group.bench_function(BenchmarkId::new(format!("windows of {what}"), name), |bencher| {
                let (range, keys) = (Range::utc(customer, size, span), RULES.keys);
                let all = Filter::All;
                bencher.iter(|| windows(&*books, &range, &all, keys).expect("an answer"));
            });
        }
    }
    group.finish();
}
