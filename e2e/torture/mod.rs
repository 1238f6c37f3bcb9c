//! Torture: what tries hard to make the server lose a batch, count one twice, or fall over.
//!
//! Each case drives the real binary and keeps its oracle out of the server's reach. A case has two
//! sizes: the share that every `cargo test` runs, and with `--full` what the promises are measured
//! by. The seed is printed first; `--seed` takes the same decisions again.

use std::path::PathBuf;

use anyhow::Result;

/// One way of tormenting the server.
pub(crate) struct Case {
    /// `torture/<name>`.
    pub(crate) name: &'static str,
    /// One sentence: what holds if this passes.
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Setting) -> Result<Ending>,
}

/// What a case is run with.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) binary: PathBuf,
    pub(crate) partitions: u16,
    pub(crate) seed: u64,
    /// The whole of it, instead of the share that fits `cargo test`.
    pub(crate) full: bool,
}

/// How a case ended, if not by an error.
pub(crate) enum Ending {
    /// With the figures to report.
    Passed(String),
    /// With the reason: this machine cannot do it.
    Skipped(String),
}

/// Every case, the quick ones first.
pub(crate) const CASES: &[Case] = &[];
