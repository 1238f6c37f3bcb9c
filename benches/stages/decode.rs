//! Bodies to summaries, beside the plain way to do it: counts by name, of one batch alone. The
//! agents have been seen before, which the plain way makes no use of.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use logmill::decode::{Format, summarise};
use logmill::user_agent::AgentCache;

use crate::plain;
use crate::traffic::Traffic;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode and summarise");
    for entries in [20, 1_000, 9_500] {
        let traffic = Traffic::new(entries, 20);
        group.throughput(Throughput::Elements(entries as u64));
        let mut agents = AgentCache::new();
        let mut number = 0;
        let mut next = || {
            number += 1;
            traffic.body(number)
        };
        group.bench_function(BenchmarkId::new("logmill", entries), |bencher| {
            bencher.iter(|| {
                black_box(summarise(&Format::default(), next(), &mut agents).expect("valid"))
            });
        });
        group.bench_function(BenchmarkId::new("plain", entries), |bencher| {
            bencher.iter(|| {
                let windows = plain::Windows::default();
                let entries = serde_json::from_slice(next()).expect("valid");
                black_box(plain::summarise(&windows, "cus-1", entries))
            });
        });
    }
    group.finish();
}
