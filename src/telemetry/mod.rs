//! What the process tells of itself: logs on stderr, metrics at `/metrics`.

pub mod logging;
pub mod metrics;
