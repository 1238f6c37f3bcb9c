//! `logmill import`: access logs to a running server, every line counted once.
//!
//! # Layout
//!
//! `files` finds the logs; `source` opens one as decompressed bytes with offsets; `log` goes
//! through its lines and decides where batches begin and end; `batch` builds the bodies; `cursor`
//! remembers durably how far the server has acknowledged; `post` sends; `report` and `notes` tell
//! the user.
//! With `--follow`, `watch` looks at the names again and again, `follow` keeps the logs that are
//! open, and `rotated` finds those that lost their names meanwhile.
//!
//! This is a client: it talks to the server by HTTP alone and shares no state with the engine, so
//! it reads files, the clock and the environment itself. It must never send a range of a log that
//! has not been written to the state file before, see `cursor` for why.
//!
//! # What happens to each line
//!
//! A line of an access log becomes one entry. A blank line is counted as blank. Any other line is
//! bad: counted, the first of them reported on stderr with file, number and reason, and the exit
//! code is 1. A last
//! line without a line end is taken if it parses and has the fields that the lines before it had;
//! otherwise the server may still be writing it, so it is left for the next import, which is said.
//!
//! # Logs that change
//!
//! Growth, renaming and compression all go on where the last import stopped. A log truncated in
//! place (`copytruncate`) and written anew begins with other bytes, so it is another log, imported
//! from its start: its lines are new. A log that begins as before but is shorter than what was
//! imported of it is left alone, reported, and makes the exit code 1: neither guess, that it is an
//! older copy or that it was cut and holds new lines, is safe. What a follower sees happen to its
//! logs it need not guess: see `follow`.

mod batch;
mod cursor;
mod files;
mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod log;
mod notes;
mod post;
mod report;
mod rotated;
mod source;
#[cfg(test)]
mod tests;
mod watch;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use batch::Batch;
use cursor::{Cursor, StateFile};
use files::Wanted;
use follow::Follower;
use post::{Patience, Posted, Poster};
use report::Reporter;
use source::Source;
use watch::{Pace, Watch};

pub use crate::client::Token;
pub use report::Summary;

use crate::decode::Fields;
use crate::limits;

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Logs in the order to import them, or patterns of their names; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Whose requests these are.
    pub customer: String,
    /// What the lines are like.
    pub fields: Fields,
    /// The server, without `/logs`.
    pub url: String,
    /// The address at which the same server was before.
    pub moved_from: Option<String>,
    /// What the server knows the sender by.
    pub token: Option<Token>,
    /// The state file; without it the user's default one.
    pub state: Option<PathBuf>,
    /// Whether to go on at the logs' ends, until `stop`.
    pub follow: bool,
    /// Set to end an import that follows.
    pub stop: Arc<AtomicBool>,
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
    /// A pattern matches no file.
    #[error(
        "no file matches {pattern}\n\
         hint: with --follow the import waits for one"
    )]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// Standard input is to be followed.
    #[error(
        "--follow cannot follow standard input: it ends with the process that writes it, and what \
         was lost on the way cannot be read again\n\
         hint: leave --follow out, or name the log's file"
    )]
    FollowsStdin,
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
         hint: wait for it to end, or stop it, import with the same --state, and start it again; \
         another --state is for logs that no other import has read: with it their lines would \
         count again",
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
    /// The log went to another address before.
    #[error(
        "{name} was imported for this customer before, to {before}, and not to {now}\n\
         hint: if that is the same server, say --moved-from {before}, and its lines do not count \
         again; if it is another one, use another --state for it"
    )]
    Elsewhere {
        /// The log.
        name: String,
        /// The address then.
        before: String,
        /// The address now.
        now: String,
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
    /// The server takes no batch of that size. This run has asked it once: unless an earlier one
    /// did, it has nothing of the batch.
    #[error(
        "the server refused a batch of {entries} entries, {bytes} bytes, with 413: {detail}\n\
         hint: raise limits.body_bytes of the server"
    )]
    TooLarge {
        /// Its entries.
        entries: usize,
        /// Its bytes.
        bytes: usize,
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
    /// The user stopped it while a batch waited for the server.
    #[error("stopped while the server did not take a batch: {reason}")]
    Stopped {
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
        401 | 403 => format!(
            "the server refused a batch with {status}: {detail}\n\
             hint: set LOGMILL_TOKEN to a token that may send for this customer"
        ),
        _ => format!("the server refused a batch with {status}: {detail}"),
    }
}

/// Imports `options.files` one after the other, or follows them all; prints the summary to `out`
/// also when it stops early, and everything else to `err`.
///
/// # Errors
/// [`ImportError`] says why it stopped before the end.
pub fn run(
    options: &ImportOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Summary, ImportError> {
    let patience = if options.follow { Patience::ENDLESS } else { Patience::USUAL };
    run_with(options, patience, Pace::default(), out, err)
}

#[allow(clippy::disallowed_methods, reason = "the summary says how long the user waited")]
fn run_with(
    options: &ImportOptions,
    patience: Patience,
    pace: Pace,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Summary, ImportError> {
    let started = Instant::now();
    let mut summary;
    let outcome;
    if options.follow {
        let mut follower = Follower::start(Import::begin(options, patience, pace, err)?)?;
        outcome = follower.run();
        summary = follower.import.end();
    } else {
        let mut import = Import::begin(options, patience, pace, err)?;
        outcome = import.all(&options.files);
        summary = import.end();
    }
    summary.elapsed = started.elapsed();
    summary.print(out)?;
    outcome.map(|()| summary)
}

/// What all logs of one run share.
struct Import<'a> {
    url: &'a str,
    customer: &'a str,
    fields: &'a Fields,
    poster: Poster,
    /// Most bytes of a batch, as far as the server is known to take them.
    body_max: usize,
    state: StateFile,
    watch: Watch,
    reporter: Reporter<'a>,
    summary: Summary,
}

impl<'a> Import<'a> {
    fn begin(
        options: &'a ImportOptions,
        patience: Patience,
        pace: Pace,
        err: &'a mut dyn Write,
    ) -> Result<Self, ImportError> {
        let url = options.url.trim_end_matches('/');
        let customer = &*options.customer;
        let path = match &options.state {
            Some(path) => path.clone(),
            None => cursor::default_path()?,
        };
        let mut followed = Vec::new();
        for file in options.files.iter().filter(|_| options.follow) {
            if file.as_os_str() == "-" {
                return Err(ImportError::FollowsStdin);
            }
            // The next run, perhaps in another directory, must know the name again.
            followed.push(Wanted::of(&std::path::absolute(file)?));
        }
        let mut state = StateFile::open(&path)?;
        if let Some(before) = &options.moved_from {
            state.server_moved(before.trim_end_matches('/'), url)?;
        }
        let format = if options.fields.has_method() { "logmill" } else { "simple" };
        Ok(Self {
            url,
            customer,
            fields: &options.fields,
            poster: Poster::new(url, customer, format, options.token.as_ref(), patience),
            body_max: limits::IMPORT_BATCH_BYTES_MAX,
            state,
            watch: Watch::new(followed, pace, Arc::clone(&options.stop)),
            reporter: Reporter::new(err),
            summary: Summary::default(),
        })
    }

    /// Imports what is there, once.
    fn all(&mut self, arguments: &[PathBuf]) -> Result<(), ImportError> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for argument in arguments {
            let wanted = Wanted::of(argument);
            let failed = |source| ImportError::Open { name: wanted.name(), source };
            let found = wanted.paths().map_err(failed)?;
            if found.is_empty() {
                return Err(ImportError::NoMatch { pattern: wanted.name() });
            }
            paths.extend(found);
        }
        self.reporter.expect(paths.iter().map(|path| size_of(path)).sum());
        paths.iter().try_for_each(|path| log::import(self, path))
    }

    fn owner(&self) -> (&'a str, &'a str) {
        (self.url, self.customer)
    }

    /// The cursor of a log that was read before.
    fn cursor_of(&self, source: &Source) -> Result<Option<usize>, ImportError> {
        let found = self.state.find(self.owner(), &source.prefix, source.id);
        if found.is_none() {
            self.is_nowhere_else(|log| log.is_of(&source.prefix))?;
        }
        Ok(found)
    }

    /// Whether none of these logs went to another address.
    fn is_nowhere_else(&self, is_one: impl Fn(&Cursor) -> bool) -> Result<(), ImportError> {
        let Some(log) = self.state.elsewhere(self.owner(), is_one) else { return Ok(()) };
        let (name, before) = (log.name.clone(), log.url.clone());
        Err(ImportError::Elsewhere { name, before, now: self.url.into() })
    }

    /// Sends a batch of the log `name`, and says when the server is away and when it is back.
    #[allow(clippy::disallowed_methods, reason = "says how long the server was away")]
    fn post(&mut self, name: &str, key: &str, batch: &Batch) -> Result<Posted, ImportError> {
        let Self { poster, watch, reporter, .. } = self;
        let mut away = None;
        let posted = poster.post(key, batch, &mut |reason, pause| {
            if away.is_none() {
                away = Some(Instant::now());
                reporter.note(name, &format!("trying again: {reason}"))?;
            }
            Ok(watch.pause(pause))
        })?;
        if let Some(since) = away {
            let seconds = since.elapsed().as_secs_f64();
            reporter.note(name, &format!("the server took the batch after {seconds:.1} s"))?;
        }
        Ok(posted)
    }

    fn end(mut self) -> Summary {
        self.reporter.end();
        self.summary
    }
}

/// Bytes of a file on the disk; none where that is not known before it is read.
#[allow(clippy::disallowed_methods, reason = "the import client reads the user's files itself")]
fn size_of(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(metadata.len())
}
