//! The stages of the path, each alone, on one thread.
//!
//! `cargo bench --bench stages`; a filter is part of a name, and what it leaves out is not made.
//! Entries are the unit of throughput, but for claims, where keys are. Files are made in the
//! build's directory, which has to be on the disk that is to be measured.

#![allow(missing_docs, reason = "criterion's macros make what has none")]

#[allow(dead_code, reason = "its HTTP side is for the other benchmark")]
#[path = "../http/baseline/plain.rs"]
mod plain;
#[allow(dead_code, reason = "its customers are for the other benchmark")]
#[path = "../http/traffic.rs"]
mod traffic;

mod checkpoint;
mod claim;
mod decode;
mod journal;
mod merge;
mod query;
mod recovery;
mod scene;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Short, because there are many; stages that wait for the disk vary more than time would help.
fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_500))
        .sample_size(50)
        .nresamples(10_000)
}

criterion_group!(
    name = stages;
    config = criterion();
    targets = decode::bench, claim::bench, journal::bench, merge::bench, checkpoint::bench,
        query::bench, recovery::bench
);
criterion_main!(stages);
