//! The state file: how far each log was imported, so that no line is ever counted twice.
//!
//! Owns the file, its lock and its durability. A log is known by a fingerprint: the blake3 of its
//! first bytes, up to 4,096, of the decompressed content; neither name nor inode matters, so a log
//! that was renamed, compressed or has grown goes on where it stopped.
//!
//! **Format**: one JSON object, `{"version": 1, "logs": [Cursor, …]}`, rewritten whole: temporary
//! file in the same directory, synced, renamed over, directory synced. A crash leaves the old file
//! or the new one. The lock is `flock` on a sibling `<name>.lock`, because the rename replaces the
//! file itself; the kernel frees it with the process.
//!
//! **Write rule**: a batch is sent only after its range and key stand in the file as `pending`. A
//! pending batch is sent again, the same range under the same key, before anything else of that
//! log; the server answers 202 or "already accepted", and either way it is counted once. An
//! acknowledged range reaches the file with the next write: a crash before it repeats one batch
//! under its key.
//!
//! **Logs that begin alike**: `--follow` sees that a log was replaced or cut, and knows by that
//! that the new one is another, however it begins. Its cursor then has a higher `generation`, which
//! goes into its keys. Which file a cursor was last read from is kept as a hint that prefers one of
//! several that would fit; it never makes a log the same whose beginning differs.
//!
//! **Servers** are known by their address. A log that went to another one for the same customer is
//! not sent before the user has said whether both are the same server: its keys would tell a whole
//! repetition, but not one of batches that end elsewhere.
//!
//! **Limits**: otherwise, two logs whose first imported bytes are equal are taken for one, and a
//! log whose beginning was edited for a new one. The server forgets keys after its
//! `idempotency.retention` (7 days): an interrupted import should be run again before that. A
//! follower cuts batches by time, so without its state file nothing knows which lines went under
//! which key. The file remembers [`limits::IMPORT_LOGS_MAX`] logs; then the oldest one is forgotten
//! that a follower has read to its end, and without any the import refuses.

#![allow(clippy::disallowed_methods, reason = "the import client owns its state file")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::ImportError;
use super::files::FileId;
use super::source::PREFIX_BYTES;
use crate::limits;

const VERSION: u32 = 1;
/// Lengths at which the beginning of a log is remembered as well, so that a copy shorter than its
/// fingerprint is not taken for a new log.
const STEPS: [usize; 3] = [128, 512, 2_048];

/// The state file, locked for as long as this lives.
pub(super) struct StateFile {
    path: PathBuf,
    state: State,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    logs: Vec<Cursor>,
}

/// How far one log was imported to one server for one customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) url: String,
    pub(super) customer: String,
    /// The name that the log was last imported or followed under.
    pub(super) name: String,
    /// The file that had it then.
    #[serde(default)]
    pub(super) file: Option<FileId>,
    #[serde(default)]
    pub(super) way: Way,
    /// Larger than those of all cursors made before.
    #[serde(default)]
    serial: u64,
    /// Tells it apart from logs before it with the same origin.
    #[serde(default)]
    generation: u64,
    /// The fingerprint at the first import. Keys are made of it, so it never changes.
    pub(super) origin: Fingerprint,
    /// The longest fingerprint seen since; it tells logs apart that begin alike.
    known: Fingerprint,
    /// Fingerprints of its first bytes, shorter than `known`, ascending.
    steps: Vec<Fingerprint>,
    /// Offset up to which the server has acknowledged everything.
    pub(super) end: u64,
    /// Lines before `end`, to number those behind it.
    pub(super) lines: u64,
    /// Whether `end` lies inside a line that was counted before its end was written.
    pub(super) inside_line: bool,
    /// Whether the last line had the user agent that "combined" has and "common" has not.
    pub(super) combined: bool,
    /// The batch that may or may not have reached the server.
    pub(super) pending: Option<Pending>,
}

/// How a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// To its end at the time.
    #[default]
    Imported,
    /// Until it is rotated away: what is left of it then must be found.
    Followed,
    /// It was followed, and nothing is left of it.
    Finished,
}

/// A batch about to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) key: String,
}

/// The first 128 bits of the blake3 of the first `bytes` bytes of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    bytes: usize,
    blake3: String,
}

impl Fingerprint {
    fn of(prefix: &[u8]) -> Self {
        Self { bytes: prefix.len(), blake3: blake3::hash(prefix).to_hex()[..32].to_owned() }
    }

    fn matches(&self, prefix: &[u8]) -> bool {
        prefix.get(..self.bytes).is_some_and(|start| Self::of(start) == *self)
    }
}

impl Cursor {
    pub(super) fn new(url: &str, customer: &str, name: &str, prefix: &[u8]) -> Self {
        let origin = Fingerprint::of(prefix);
        let mut cursor = Self {
            url: url.into(),
            customer: customer.into(),
            name: name.into(),
            file: None,
            way: Way::Imported,
            serial: 0,
            generation: 0,
            known: origin.clone(),
            origin,
            steps: Vec::new(),
            end: 0,
            lines: 0,
            inside_line: false,
            combined: false,
            pending: None,
        };
        cursor.know(prefix);
        cursor
    }

    /// Learns a longer beginning of the log.
    pub(super) fn know(&mut self, prefix: &[u8]) {
        let steps = STEPS.into_iter().filter(|bytes| *bytes < prefix.len());
        self.steps = steps.map(|bytes| Fingerprint::of(&prefix[..bytes])).collect();
        self.known = Fingerprint::of(prefix);
    }

    /// Whether this is the log that begins with `prefix`. A log cut below what is known of it is
    /// still the same, so that its user is told.
    pub(super) fn is_of(&self, prefix: &[u8]) -> bool {
        let prefix = &prefix[..prefix.len().min(PREFIX_BYTES)];
        if prefix.len() >= self.known.bytes {
            return self.known.matches(prefix);
        }
        let shorter = self.steps.iter().chain([&self.origin]);
        let comparable = shorter.filter(|step| step.bytes <= prefix.len());
        comparable.max_by_key(|step| step.bytes).is_some_and(|step| step.matches(prefix))
    }

    fn belongs_to(&self, url: &str, customer: &str) -> bool {
        self.url == url && self.customer == customer
    }

    /// How much of its beginning is known.
    pub(super) fn known_bytes(&self) -> usize {
        self.known.bytes
    }

    /// The offset that the log must reach for the import to go on.
    pub(super) fn needs(&self) -> u64 {
        self.pending.as_ref().map_or(self.end, |pending| pending.end)
    }

    /// The log has lost what lay behind `at`, so nothing more can be done about a batch of that;
    /// what is written there now needs other keys.
    pub(super) fn cut_to(&mut self, at: u64, inside_line: bool) {
        self.end = at;
        self.inside_line = inside_line;
        self.pending = None;
    }

    /// The key of the batch from `end` to `to`: the same range of the same log has the same key.
    pub(super) fn key(&self, to: u64) -> String {
        let mut hash = blake3::Hasher::new_derive_key("logmill import batch key v1");
        for part in [self.customer.as_bytes(), self.origin.blake3.as_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        for number in [self.origin.bytes as u64, self.end, to] {
            hash.update(&number.to_le_bytes());
        }
        if self.generation > 0 {
            hash.update(&self.generation.to_le_bytes());
        }
        let hex = hash.finalize().to_hex();
        format!("import-{}", &hex[..40])
    }
}

impl StateFile {
    /// Locks and reads the state; a file that does not exist is an empty state.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::State { path: path.into(), source };
        fs::create_dir_all(directory(path)).map_err(failed)?;
        let mut lock_name = path.as_os_str().to_owned();
        lock_name.push(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(PathBuf::from(lock_name)).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(ImportError::StateLocked { path: path.into() });
            }
            other => other.map_err(|errno| failed(errno.into()))?,
        }
        let state = match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| failed(io::Error::from(error)))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                State { version: VERSION, logs: Vec::new() }
            }
            Err(error) => return Err(failed(error)),
        };
        if state.version != VERSION {
            let text = format!("it has version {}, this logmill reads {VERSION}", state.version);
            return Err(failed(io::Error::other(text)));
        }
        Ok(Self { path: path.into(), state, _lock: lock })
    }

    /// Where the cursor of the log that begins with `prefix` is; of several the one that was last
    /// read from the file `id`, else the best known one.
    pub(super) fn find(
        &self,
        (url, customer): (&str, &str),
        prefix: &[u8],
        id: Option<FileId>,
    ) -> Option<usize> {
        let mine = |log: &Cursor| log.belongs_to(url, customer) && log.is_of(prefix);
        let found = self.state.logs.iter().enumerate().filter(|(_, log)| mine(log));
        let rank = |log: &Cursor| (id.is_some() && log.file == id, log.known.bytes, log.end);
        found.max_by_key(|(_, log)| rank(log)).map(|(at, _)| at)
    }

    /// Another address to which a log of this customer's went, if it is one of these logs.
    pub(super) fn elsewhere(
        &self,
        (url, customer): (&str, &str),
        is_one: impl Fn(&Cursor) -> bool,
    ) -> Option<&Cursor> {
        let is_other = |log: &Cursor| log.customer == customer && log.url != url;
        self.state.logs.iter().find(|log| is_other(log) && is_one(log))
    }

    /// The server that was reached at one address is reached at another now.
    pub(super) fn server_moved(&mut self, from: &str, to: &str) -> Result<(), ImportError> {
        let mut moved = self.state.logs.iter_mut().filter(|log| log.url == from).peekable();
        if moved.peek().is_none() {
            return Ok(());
        }
        moved.for_each(|log| to.clone_into(&mut log.url));
        self.write().map_err(|source| ImportError::State { path: self.path.clone(), source })
    }

    /// The cursor of the log last imported under this name, whatever it began with.
    pub(super) fn last_named(&self, url: &str, customer: &str, name: &str) -> Option<&Cursor> {
        let mine = |log: &&Cursor| log.belongs_to(url, customer) && log.name == name;
        self.state.logs.iter().filter(mine).max_by_key(|log| log.serial)
    }

    /// Cursors of logs of which something may be left under another name than the one they were
    /// followed under, the oldest first: all that are followed, and of those imported the last of
    /// each name. Names that are not `wanted` are passed over.
    pub(super) fn unfinished(
        &self,
        (url, customer): (&str, &str),
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<usize> {
        let last = |log: &Cursor| {
            let last = self.last_named(url, customer, &log.name);
            last.is_some_and(|last| std::ptr::eq(last, log))
        };
        let mine = |log: &Cursor| match log.way {
            _ if !log.belongs_to(url, customer) || !wanted(&log.name) => false,
            Way::Followed => true,
            Way::Imported => last(log),
            Way::Finished => false,
        };
        let logs = self.state.logs.iter().enumerate();
        let mut found: Vec<_> = logs.filter(|(_, log)| mine(log)).map(|(at, _)| at).collect();
        found.sort_by_key(|at| self.state.logs[*at].serial);
        found
    }

    /// Makes the cursor of a log tell it apart from those before it with the same origin.
    pub(super) fn tell_apart(&self, cursor: &mut Cursor) {
        let alike = self.state.logs.iter().filter(|log| {
            log.belongs_to(&cursor.url, &cursor.customer) && log.origin == cursor.origin
        });
        cursor.generation = alike.map(|log| log.generation + 1).max().unwrap_or(0);
    }

    pub(super) fn cursor(&self, at: usize) -> &Cursor {
        &self.state.logs[at]
    }

    /// Writes `cursor` durably, over the one at `at` or as a new one; answers where it stands.
    pub(super) fn save(
        &mut self,
        at: Option<usize>,
        cursor: &Cursor,
    ) -> Result<usize, ImportError> {
        let at = match at {
            Some(at) => {
                let serial = self.state.logs[at].serial;
                self.state.logs[at] = Cursor { serial, ..cursor.clone() };
                at
            }
            None => {
                let last = self.state.logs.iter().map(|log| log.serial).max().unwrap_or(0);
                let cursor = Cursor { serial: last + 1, ..cursor.clone() };
                self.insert(cursor)?
            }
        };
        self.write().map_err(|source| ImportError::State { path: self.path.clone(), source })?;
        Ok(at)
    }

    fn insert(&mut self, cursor: Cursor) -> Result<usize, ImportError> {
        let logs = &mut self.state.logs;
        if logs.len() < limits::IMPORT_LOGS_MAX {
            logs.push(cursor);
            return Ok(logs.len() - 1);
        }
        let finished = logs.iter().enumerate().filter(|(_, log)| log.way == Way::Finished);
        let Some((at, _)) = finished.min_by_key(|(_, log)| log.serial) else {
            let path = self.path.clone();
            return Err(ImportError::StateFull { path, logs: limits::IMPORT_LOGS_MAX });
        };
        logs[at] = cursor;
        Ok(at)
    }

    fn write(&self) -> io::Result<()> {
        let directory = directory(&self.path);
        let mut file = tempfile::Builder::new().prefix(".import-").tempfile_in(directory)?;
        file.write_all(&serde_json::to_vec(&self.state)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `$XDG_STATE_HOME/logmill/import.json`, else `~/.local/state/logmill/import.json`.
pub(super) fn default_path() -> Result<PathBuf, ImportError> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .ok_or(ImportError::NoStatePath)?;
    Ok(state.join("logmill/import.json"))
}
