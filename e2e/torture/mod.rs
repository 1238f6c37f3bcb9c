//! Torture: what tries hard to make the server lose a batch, count one twice, or fall over.
//!
//! Each case drives the real binary and keeps its oracle out of the server's reach. A case has two
//! sizes: the share that every `cargo test` runs, and with `--full` what the promises are measured
//! by. The seed is printed first; `--seed` takes the same decisions again.

mod backup;
mod books;
mod dice;
mod disk_full;
mod fleet;
mod ground;
mod kill;
mod power_cut;
mod term;
mod volume;

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
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "backup",
        title: "A copy of a running server is whole, and can be audited, served and rebuilt",
        run: backup::run,
    },
    Case {
        name: "power-cut",
        title: "A power cut loses no acknowledged batch and counts none twice",
        run: power_cut::run,
    },
    Case {
        name: "disk-full",
        title: "A full or read-only disk loses nothing, and space is all it takes to go on",
        run: disk_full::run,
    },
    Case {
        name: "term",
        title: "SIGTERM ends the server in good order and leaves nothing to be replayed",
        run: term::run,
    },
    Case {
        name: "kill",
        title: "SIGKILL at any moment loses no acknowledged batch and counts none twice",
        run: kill::run,
    },
];
