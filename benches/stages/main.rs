//! The stages of the path, each alone, on one thread.
//!
//! `cargo bench --bench stages`; a filter is part of a name. Entries are the unit of throughput.

#![allow(missing_docs, reason = "criterion's macros make what has none")]

#[allow(dead_code, reason = "its HTTP side is for the other benchmark")]
#[path = "../http/baseline/plain.rs"]
mod plain;
#[allow(dead_code, reason = "its customers are for the other benchmark")]
#[path = "../http/traffic.rs"]
mod traffic;

mod decode;
mod merge;

use criterion::{criterion_group, criterion_main};

criterion_group!(stages, decode::bench, merge::bench);
criterion_main!(stages);
