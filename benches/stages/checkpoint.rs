//! The transaction of a checkpoint: counts into a store that knows none of their windows, into one
//! that has them all, and hours put together when they are over. Shapes are customers, minutes and
//! paths.

use std::cell::LazyCell;

use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput};
use logmill::window::WindowSize;

use crate::scene::{Books, START, customers, deltas, timed};

/// An hour of a few customers, and what many leave in a minute or two.
const SHAPES: [(usize, u32, usize); 2] = [(20, 60, 200), (1_000, 2, 50)];

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (of, minutes, paths) in SHAPES {
        let customers = customers(of);
        let all = deltas(&customers, START..START + minutes, paths);
        let shape = format!("{of}, {minutes}, {paths}");
        group.throughput(Throughput::Elements((of * minutes as usize * paths) as u64));
        group.bench_function(BenchmarkId::new("into an empty store", &shape), |bencher| {
            let commit = |mut books: Books| {
                books.commit(&all, START);
                books
            };
            bencher.iter_batched(Books::new, commit, BatchSize::PerIteration);
        });

        let mut books = LazyCell::new(|| {
            let mut books = Books::new();
            books.commit(&all, START);
            books
        });
        group.bench_function(BenchmarkId::new("into the same windows", &shape), |bencher| {
            bencher.iter(|| books.commit(&all, START));
        });

        // Something comes for each hour, and then nothing more until it is over.
        let last = deltas(&customers, START..START + 1, 1);
        let over = START + WindowSize::Hour.minutes();
        group.bench_function(BenchmarkId::new("hours that are over", &shape), |bencher| {
            let mut rebuild = || {
                books.commit(&last, START);
                let (stats, took) = timed(|| books.commit(&[], over));
                assert_eq!(stats.rebuilt, of, "an hour of each customer");
                took
            };
            bencher.iter_custom(|times| (0..times).map(|_| rebuild()).sum());
        });
    }
    group.finish();
}
