//! `logmill import`: access logs to a running server, every line counted once.
//!
//! # Layout
//!
//! `source` opens a log as decompressed bytes with offsets; `log` goes through its lines and
//! decides where batches begin and end; `batch` builds the bodies; `cursor` remembers durably
//! how far the server has acknowledged; `post` sends; `report` tells the user.
//!
//! This is a client: it talks to the server by HTTP alone and shares no state with the engine, so
//! it reads files, the clock and the environment itself. It must never send a range of a log that
//! has not been written to the state file before, see `cursor` for why.
//!
//! # What happens to each line
//!
//! A line of an access log becomes one entry. A blank line is counted as blank. Any other line is
//! bad: reported on stderr with file, number and reason, counted, and the exit code is 1. A last
//! line without a line end is taken if it parses and has the fields that the lines before it had;
//! otherwise the server may still be writing it, so it is left for the next import, which is said.
//!
//! # Logs that change
//!
//! Growth, renaming and compression all go on where the last import stopped. A log truncated in
//! place (`copytruncate`) and written anew begins with other bytes, so it is another log, imported
//! from its start: its lines are new. A log that begins as before but is shorter than what was
//! imported of it is left alone, reported, and makes the exit code 1: neither guess, that it is an
//! older copy or that it was cut and holds new lines, is safe.

mod batch;
mod cursor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod log;
mod post;
mod report;
mod source;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use cursor::StateFile;
use post::{Patience, Poster};
use report::Reporter;

pub use report::Summary;

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Logs in the order to import them; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Whose requests these are.
    pub customer: String,
    /// The server, without `/logs`.
    pub url: String,
    /// The state file; without it the user's default one.
    pub state: Option<PathBuf>,
}

/// Why an import stopped. What was acknowledged until then stays so, and the next import goes on
/// behind it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A log cannot be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The log.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A log cannot be read on, for example because a gzip file ends too early.
    #[error("cannot read {name} after byte {offset}: {source}")]
    Read {
        /// The log.
        name: String,
        /// Decompressed bytes that were read before.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The state file cannot be read or written.
    #[error("state file {}: {source}", path.display())]
    State {
        /// The state file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another import holds the state file.
    #[error(
        "another import is using the state file {}\n\
         hint: wait for it to end, or give each its own --state",
        path.display()
    )]
    StateLocked {
        /// The state file.
        path: PathBuf,
    },
    /// The state file remembers as many logs as it can.
    #[error(
        "the state file {} remembers {logs} logs, the most it can\n\
         hint: use another --state for further logs",
        path.display()
    )]
    StateFull {
        /// The state file.
        path: PathBuf,
        /// How many logs it remembers.
        logs: usize,
    },
    /// There is no place for a default state file.
    #[error("neither XDG_STATE_HOME nor HOME is set\nhint: name a state file with --state")]
    NoStatePath,
    /// The server refused a batch, or the request cannot be made (status 0).
    #[error("{}", refusal(*status, detail))]
    Refused {
        /// The answer's status; 0 if there was none.
        status: u16,
        /// What the server said.
        detail: String,
    },
    /// The server did not take a batch for too long.
    #[error(
        "gave up after {seconds} s without progress: {reason}\n\
         hint: is the server running at that --url? the same command goes on where it stopped"
    )]
    GaveUp {
        /// How long it was tried.
        seconds: u64,
        /// Why the last try failed.
        reason: String,
    },
    /// Messages or the summary cannot be written.
    #[error("cannot write output: {0}")]
    Output(#[from] io::Error),
}

impl ImportError {
    /// The exit code of an import that stopped.
    pub const EXIT_CODE: u8 = 2;
}

fn refusal(status: u16, detail: &str) -> String {
    match status {
        0 => format!("cannot send: {detail}"),
        422 => format!(
            "the server refused a batch with 422: {detail}\n\
             hint: the batch was accepted before with other content; was the log edited?"
        ),
        _ => format!("the server refused a batch with {status}: {detail}"),
    }
}

/// Imports `options.files` one after the other; prints the summary to `out` also when it stops
/// early, and everything else to `err`.
///
/// # Errors
/// [`ImportError`] says why it stopped before the end.
pub fn run(
    options: &ImportOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Summary, ImportError> {
    run_with(options, Patience::default(), out, err)
}

#[allow(clippy::disallowed_methods, reason = "the summary says how long the user waited")]
fn run_with(
    options: &ImportOptions,
    patience: Patience,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Summary, ImportError> {
    let started = std::time::Instant::now();
    let url = options.url.trim_end_matches('/');
    let path = match &options.state {
        Some(path) => path.clone(),
        None => cursor::default_path()?,
    };
    let mut import = Import {
        url,
        customer: &options.customer,
        poster: Poster::new(url, &options.customer, patience),
        state: StateFile::open(&path)?,
        reporter: Reporter::new(err),
        summary: Summary::default(),
    };
    let outcome = options.files.iter().try_for_each(|file| log::import(&mut import, file));
    import.reporter.end();
    let mut summary = import.summary;
    summary.elapsed = started.elapsed();
    summary.print(out)?;
    outcome.map(|()| summary)
}

/// What all logs of one run share.
struct Import<'a> {
    url: &'a str,
    customer: &'a str,
    poster: Poster,
    state: StateFile,
    reporter: Reporter<'a>,
    summary: Summary,
}
