//! Exact per-minute analytics per customer from HTTP access logs, in one process.
//!
//! Clients post batches of log entries, at least once; logmill acknowledges a batch only when it
//! is durable, counts it exactly once, and answers questions about any minute at once.
//!
//! # Layout
//!
//! In the order in which a log line travels:
//!
//! - [`http`] takes requests and gives answers; [`tokens`] says for whom, [`admission`] makes room
//!   before a body is read.
//! - [`decode`] turns a body into [`entry`]s; [`user_agent`] names who sent each, [`paths`] says
//!   which paths count as one, and invalid entries may be put aside as [`dead_letters`].
//! - [`insight`] sums a batch up: one partial insight per minute, by interned [`names`].
//! - [`sequencer`] gives batches their order: it takes their keys in [`claim`], writes them to the
//!   [`journal`], and only then has them dispatched and answered.
//! - [`partition`] says which [`worker`] owns a window; that one rolls it up into a [`delta`].
//! - [`checkpoint`] moves deltas into the [`store`], at one cut through all queues.
//! - [`query`] overlays the store with what is still in memory; [`prometheus`] asks it in the words
//!   of PromQL, and the [`dashboard`] shows it.
//!
//! Around them: [`recovery`] brings back what a crash left; [`engine`] puts the state machines on
//! threads; [`service`] joins engine and HTTP. [`import`] is the client for log files, [`loadgen`]
//! the one that makes up traffic to try a server, [`view`] the one that shows what was counted;
//! what they share is in `client`.
//!
//! For operators: [`backup`] copies a running server, asked over [`control`]; [`rebuild`] counts
//! the archived journal again into a new data directory, and [`audit`] compares that with the
//! store.
//!
//! What all share: [`ids`], [`window`], [`counts`] and [`responses`] are the words they speak;
//! [`limits`] and [`config`] bound them; [`clock`], [`entropy`] and [`disk`] are the outside world
//! as handles; [`status`], [`telemetry`] and [`error`] say how things stand; [`cli`] is what a
//! shell sees. [`failpoint`] names places to die at, in builds for tests.
//! In tests, `sim` runs the whole engine on a simulated disk, `fuzzing` feeds it hostile bytes and
//! `tidy` reads the sources.
//!
//! `ARCHITECTURE.md` has the invariants, named A1 to L1, that comments and tests refer to.

pub mod admission;
pub mod audit;
pub mod backup;
pub mod checkpoint;
pub mod claim;
pub mod cli;
mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod counts;
pub mod dashboard;
pub mod dead_letters;
pub mod decode;
pub mod delta;
pub mod disk;
pub mod engine;
pub mod entropy;
pub mod entry;
pub mod error;
pub mod failpoint;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod ids;
pub mod import;
pub mod insight;
#[cfg(test)]
mod isolation;
pub mod journal;
pub mod limits;
pub mod loadgen;
pub mod minutes;
pub mod names;
pub mod partition;
pub mod paths;
pub mod prometheus;
pub mod query;
pub mod rebuild;
pub mod recovery;
pub mod responses;
pub mod sequencer;
pub mod service;
#[cfg(test)]
mod sim;
pub mod status;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tidy;
pub mod tokens;
pub mod user_agent;
pub mod view;
pub mod window;
pub mod worker;
