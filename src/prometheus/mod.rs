//! Answers in the words of Prometheus: a part of its HTTP API and of PromQL over a customer's
//! counts, so that Grafana and `promtool` can ask without a plugin. `docs/grafana.md` is for users.
//!
//! In the order in which a query travels: [`promql`] parses it, [`plan`] says what must be known
//! for it, [`time`] at which moments, [`evaluate`] counts, [`answer`] writes it down. All of this
//! is pure; `http/prometheus.rs` has the routes and knows who may ask.
//!
//! # What a value means
//!
//! The value at a moment `t` is what was counted in the window that ends at `t`: as long as the
//! step of the query, or as `sum_over_time(…[1h])` says. Windows are whole minutes. With a window
//! as long as the step each request is in exactly one of them, so the points of a chart add up to
//! its range. A window without requests is 0, not absent: that nobody asked is known.

pub mod answer;
pub mod catalogue;
pub mod evaluate;
pub mod plan;
pub mod promql;
#[cfg(test)]
mod tests;
pub mod time;

/// A query that cannot be answered: what is wrong with it, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadData(pub String);
