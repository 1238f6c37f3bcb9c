//! Summaries into a partition's counts.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use logmill::counts::KeyLimits;
use logmill::decode::{Format, summarise};
use logmill::delta::Delta;
use logmill::ids::{CustomerId, Group};
use logmill::insight::Summary;
use logmill::user_agent::AgentCache;

use crate::traffic::Traffic;

/// Batches that one delta takes.
const BATCHES: usize = 300;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for entries in [20, 1_000] {
        let traffic = Traffic::new(entries, 20);
        let mut agents = AgentCache::new();
        let summaries: Vec<Summary> = (0..BATCHES)
            .map(|n| summarise(&Format::default(), traffic.body(n), &mut agents).expect("valid"))
            .collect();
        let customer = CustomerId::new("cus-1").expect("valid");
        group.throughput(Throughput::Elements((BATCHES * entries) as u64));
        group.bench_function(BenchmarkId::new("into a new delta", entries), |bencher| {
            bencher.iter_batched(
                Delta::default,
                |mut delta| {
                    for summary in &summaries {
                        for window in 0..summary.windows.len() {
                            let limits = KeyLimits::UNLIMITED;
                            delta.add(&customer, summary, window, Group(1), false, limits);
                        }
                    }
                    delta
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}
