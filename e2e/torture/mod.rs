//! Torture: what tries hard to make the server lose a batch, count one twice, or fall over.
//!
//! Each case drives the real binary and keeps its oracle out of the server's reach. A case has two
//! sizes: the share that every `cargo test` runs, and with `--full` what the promises are measured
//! by. The seed is printed first; `--seed` takes the same decisions again.

mod backup;
mod bodies;
mod books;
mod dead_letters;
mod demo;
pub(crate) mod dice;
mod disk_full;
mod figures;
mod fleet;
mod follow;
mod formats;
pub(crate) mod ground;
mod hostile;
mod imports;
mod isolation;
mod keys;
mod kill;
mod loadgen;
mod overload;
mod power_cut;
mod races;
mod recovery;
mod term;
mod terminal;
mod tool;
mod views;
mod volume;
mod wire;

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use crate::server::{Launch, Server};

/// Lines of the server's log that a failure shows.
const LOG_LINES: usize = 5;

/// One way of tormenting the server, or a real sender or reader that must get along with it.
pub(crate) struct Case {
    /// `torture/<name>`, `senders/<name>`, `readers/<name>` or `browser/<name>`.
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
    /// Where pictures go, if any are to be taken.
    pub(crate) screenshots: Option<PathBuf>,
}

impl Setting {
    /// Starts a server with this configuration, on top of the defaults, takes the steps and ends
    /// it; an error comes with the last lines that the server wrote.
    pub(crate) fn on_server<T>(
        &self,
        config: &str,
        steps: impl FnOnce(&mut Server) -> Result<T>,
    ) -> Result<T> {
        let (binary, partitions) = (self.binary.clone(), self.partitions);
        let launch = Launch { binary, partitions, config: toml::from_str(config)?, url: None };
        let mut server = Server::prepare(launch)?;
        let ended = server.start().and_then(|()| {
            let ended = steps(&mut server);
            // A server that is gone says more than the senders that miss it.
            server.finish().and(ended)
        });
        ended.map_err(|error| {
            let log = server.last_log_lines();
            let log = log[log.len().saturating_sub(LOG_LINES)..].join("\n");
            anyhow!("{error:#}\nthe last lines of the server's stderr:\n{log}")
        })
    }
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
        name: "loadgen",
        title: "`logmill loadgen --verify` finds a right server right, and one request too many",
        run: loadgen::run,
    },
    Case {
        name: "views",
        title: "top, series, tail and export say what was sent, and no name steers a terminal",
        run: views::run,
    },
    Case {
        name: "demo",
        title: "`logmill demo` shows traffic of two days and of now, and leaves nothing behind",
        run: demo::run,
    },
    Case {
        name: "formats",
        title: "The same entries count the same in every format, encoding and way in",
        run: formats::run,
    },
    Case {
        name: "dead-letters",
        title: "Invalid entries are put aside, and count once when their format is mended",
        run: dead_letters::run,
    },
    Case {
        name: "keys",
        title: "A derived key counts a body once, a generated one each time, and tokens choose",
        run: keys::run,
    },
    Case {
        name: "imports",
        title: "A log that is imported by several at once, and cut off, counts once",
        run: imports::run,
    },
    Case {
        name: "follow",
        title: "A log that is followed counts once, however it is rotated and what is killed",
        run: follow::run,
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
    Case {
        name: "recovery",
        title: "A journal of a million entries is replayed in under 2 s, and says how far it is",
        run: recovery::run,
    },
    Case {
        name: "races",
        title: "Of 64 senders of one key exactly one is accepted, whatever they carry",
        run: races::run,
    },
    Case {
        name: "overload",
        title: "Ten times the sustainable load: refusals with Retry-After, bounded memory, no loss",
        run: overload::run,
    },
    Case {
        name: "isolation",
        title: "One customer at a hundred times the rate of others costs them nothing",
        run: isolation::run,
    },
    Case {
        name: "hostile/connections",
        title: "Connections that dawdle, vanish or talk nonsense cost others nothing",
        run: hostile::connections::run,
    },
    Case {
        name: "hostile/bombs",
        title: "Compressed bodies take no more memory than others, whatever they grow to",
        run: hostile::bombs::run,
    },
    Case {
        name: "hostile/names",
        title: "Ten million paths, or agents, that are all new take bounded memory",
        run: hostile::names::run,
    },
    Case {
        name: "hostile/collisions",
        title: "Input that hashes send to one place takes no longer than other input",
        run: hostile::collisions::run,
    },
];
