//! `--follow`: logs are read as they grow, through rotations and restarts, until a signal.
//!
//! # Rules
//!
//! - A log is a file, not a name. It is read through the handle that was opened when it had its
//!   name, so a rename does not disturb it; it is given up when no name that is watched leads to it
//!   and nothing was written to it for [`limits::IMPORT_ROTATED_QUIET`]: servers go on writing to
//!   the old file until they are told to open the new one.
//! - Logs are read in the order in which they came, so the rest of an old one goes before the one
//!   that has its name now.
//! - An unfinished last line waits until the log is given up.
//! - What stands in the state file as followed and is no longer under its name was rotated while
//!   nobody looked: it is looked for among its siblings (`access.log.1`, `access.log-20261126`,
//!   also compressed). Siblings that were written after it and that no cursor knows came between
//!   it and the one that has the name now, so they are imported too. Older ones are not.
//! - A file that was cut in place has begun anew; the rest of what it was is looked for in the
//!   same way, for `copytruncate` has left a copy.
//! - A log of which nothing is left is marked so only when a later one of its name has a cursor.
//! - Nothing is written to the state file while nothing is written to the logs.
//!
//! # What begins alike
//!
//! A file that took the name of a log whose own file still exists is another log, however alike
//! they begin, unless both begin with the same [`PREFIX_BYTES`]: that much does not repeat with its
//! times, so then the file was replaced by an edited copy of itself. A file that was cut while it
//! was followed is another log in any case. What is compared is in the module `cursor`.

#![allow(clippy::disallowed_methods, reason = "the import client works in real time, on files")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::cursor::{Cursor, Way};
use super::files::FileId;
use super::log::{Found, Log, Use};
use super::notes;
use super::rotated::{self, Newer, Rotated};
use super::source::{PREFIX_BYTES, Source};
use super::watch::Arrival;
use super::{Import, ImportError};
#[cfg(doc)]
use crate::limits;

/// All followed logs.
pub(super) struct Follower<'a> {
    pub(super) import: Import<'a>,
    /// In the order in which they are read.
    logs: Vec<Followed>,
}

/// A file that is followed.
struct Followed {
    /// The name that it was followed under first; the rest of it is looked for beside that.
    home: PathBuf,
    /// The name that it has now, as far as is known.
    path: PathBuf,
    id: FileId,
    reading: Reading,
    /// When it last grew, or lost its name.
    active: Instant,
    has_name: bool,
    /// Whether it was read to its end, and will not grow.
    is_read: bool,
}

enum Reading {
    /// There is no whole line in it to know it by.
    Waiting {
        file: File,
        claim: Claim,
    },
    Open(Box<Log>),
    /// It goes on in another file.
    Done,
}

/// Which log a file can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Whichever begins like it.
    Any,
    /// None that was read before.
    New,
    /// The one of this cursor.
    Cursor(usize),
}

/// What to do with a log after a look at it.
enum Next {
    Keep,
    Drop,
    /// It was cut in place.
    Cut,
}

impl<'a> Follower<'a> {
    /// Finds the rests of logs that were rotated while nobody looked.
    pub(super) fn start(import: Import<'a>) -> Result<Self, ImportError> {
        let mut follower = Self { import, logs: Vec::new() };
        let Import { state, watch, .. } = &follower.import;
        let wanted = |name: &str| watch.covers(Path::new(name));
        let is_followed = |log: &Cursor| log.way == Way::Followed && wanted(&log.name);
        follower.import.is_nowhere_else(is_followed)?;
        let left = state.unfinished(follower.import.owner(), wanted);
        for slot in left {
            let cursor = follower.import.state.cursor(slot).clone();
            let home = PathBuf::from(&cursor.name);
            if follower.stands(&home, &cursor) {
                continue;
            }
            let at = follower.logs.len();
            let found = follower.seek_rest(&home, slot, &cursor, at)?;
            if !found && cursor.way == Way::Followed {
                notes::lost(&mut follower.import, &home, &cursor)?;
            }
        }
        Ok(follower)
    }

    /// Looks and reads until the user wants to stop.
    pub(super) fn run(&mut self) -> Result<(), ImportError> {
        let outcome = loop {
            if let Err(error) = self.tick() {
                break Err(error);
            }
            let poll = self.import.watch.pace.poll;
            if !self.import.watch.pause(poll) {
                // What was written until the signal came.
                break self.tick();
            }
        };
        for followed in &mut self.logs {
            if let Reading::Open(log) = &mut followed.reading {
                log.save(&mut self.import)?;
            }
        }
        match outcome {
            Err(ImportError::Stopped { reason }) => {
                let text = format!(
                    "stopped before the server took the last batch ({reason}); the next run sends it"
                );
                Ok(self.import.reporter.note("logmill import", &text)?)
            }
            other => other,
        }
    }

    /// One look at all names, and at all logs.
    pub(super) fn tick(&mut self) -> Result<(), ImportError> {
        self.import.watch.open = self.logs.len();
        self.import.watch.look();
        for (name, text) in self.import.watch.take_notes() {
            self.import.reporter.note(&name, &text)?;
        }
        while let Some(arrival) = self.import.watch.next_arrival() {
            self.arrive(arrival)?;
        }
        let mut at = 0;
        while at < self.logs.len() {
            match self.read(at)? {
                Next::Keep => at += 1,
                Next::Drop => drop(self.logs.remove(at)),
                // The rest of it, if it was found, stands before it now and is read first.
                Next::Cut => self.begin_anew(at)?,
            }
        }
        self.let_go()?;
        let lag = self.logs.iter().map(Followed::lag).sum();
        self.import.reporter.following(self.logs.len(), &self.import.summary, lag);
        Ok(())
    }

    fn arrive(&mut self, arrival: Arrival) -> Result<(), ImportError> {
        let Arrival { path, id, file } = arrival;
        if let Some(known) = self.logs.iter_mut().find(|followed| followed.is(id)) {
            known.path = path;
            known.is_read = false;
            return Ok(());
        }
        let mut before = self.logs.iter().rev().filter(|followed| followed.home == path);
        let (since, at) = (before.find_map(Followed::changed), self.logs.len());
        self.add(at, Followed::new(&path, path.clone(), id, file, Claim::Any));
        // It is open by now: if it lost its name since it was opened, it does not come twice.
        since.map_or(Ok(()), |since| self.fill_gap(&path, since, at))
    }

    fn add(&mut self, at: usize, followed: Followed) {
        self.import.summary.files += 1;
        self.logs.insert(at, followed);
    }

    /// Reads what one log has now.
    fn read(&mut self, at: usize) -> Result<Next, ImportError> {
        let followed = &mut self.logs[at];
        if followed.is_read {
            return Ok(Next::Keep);
        }
        let has_name = self.import.watch.leads(&followed.path, followed.id);
        if followed.has_name && !has_name {
            followed.active = Instant::now();
        }
        followed.has_name = has_name;
        let quiet = followed.active.elapsed();
        let is_given_up = !has_name && quiet >= self.import.watch.pace.quiet;
        if let Reading::Waiting { .. } = followed.reading
            && !self.open(at, is_given_up)?
        {
            return Ok(if is_given_up { Next::Drop } else { Next::Keep });
        }
        let Self { import, logs } = self;
        let followed = &mut logs[at];
        let Reading::Open(log) = &mut followed.reading else { return Ok(Next::Drop) };
        let is_packed = log.source().size.is_none();
        let is_end = is_given_up || is_packed;
        match log.read_on(import, is_end) {
            Ok(Found::Other) => return Ok(Next::Cut),
            Ok(Found::Same { grown: true }) => followed.active = Instant::now(),
            Ok(Found::Same { grown: false }) => log.save(import)?,
            Err(ImportError::Read { source, .. }) if is_packed => {
                // Perhaps it is being compressed at this moment.
                notes::cannot_read(import, &followed.path, &source)?;
                return Ok(Next::Drop);
            }
            Err(error) => return Err(error),
        }
        followed.is_read = is_end && !import.watch.is_stopped();
        Ok(Next::Keep)
    }

    /// Lets go of logs that were read to their ends. The last one of a name that has a cursor is
    /// kept: whatever is rotated while nobody looks is found by being newer than that one.
    fn let_go(&mut self) -> Result<(), ImportError> {
        for at in (0..self.logs.len()).rev() {
            let (before, after) = self.logs.split_at_mut(at + 1);
            let Some(followed) = before.last_mut().filter(|followed| followed.is_read) else {
                continue;
            };
            let mut later = after.iter().filter(|later| later.home == followed.home);
            if followed.slot().is_some() && !later.any(|later| later.slot().is_some()) {
                continue;
            }
            if let Reading::Open(log) = &mut followed.reading {
                log.finish(&mut self.import)?;
            }
            self.logs.remove(at);
        }
        Ok(())
    }

    /// Finds out which log a file is; false if that cannot be known yet.
    fn open(&mut self, at: usize, is_given_up: bool) -> Result<bool, ImportError> {
        let Followed { path, reading, .. } = &mut self.logs[at];
        let Reading::Waiting { file, claim } = reading else { return Ok(true) };
        let (name, claim) = (path.display().to_string(), *claim);
        let source = match file.try_clone().and_then(|file| Source::from_file(name, file)) {
            Ok(source) => source,
            // Compressed, as far as it goes, and not all there.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => {
                *reading = Reading::Done;
                notes::cannot_read(&mut self.import, path, &error)?;
                return Ok(true);
            }
        };
        let is_packed = source.size.is_none();
        let has_line = source.prefix.contains(&b'\n') || source.prefix.len() >= PREFIX_BYTES;
        if source.prefix.is_empty() || !(has_line || is_packed || is_given_up) {
            return Ok(false);
        }
        let known = match claim {
            Claim::New => None,
            Claim::Cursor(slot) => Some(slot),
            Claim::Any => match self.recognise(at, &source)? {
                Some(known) => known,
                None => return Ok(false),
            },
        };
        let followed = &mut self.logs[at];
        let home = followed.home.display().to_string();
        let usage = Use { name: &home, way: Way::Followed };
        let log = Log::resume(&mut self.import, source, known, usage)?;
        followed.reading = log.map_or(Reading::Done, |log| Reading::Open(Box::new(log)));
        Ok(true)
    }

    /// The cursor of a file, or that it has none; nothing if another open log holds that cursor.
    fn recognise(
        &mut self,
        at: usize,
        source: &Source,
    ) -> Result<Option<Option<usize>>, ImportError> {
        let Self { import, logs } = self;
        let Some(slot) = import.cursor_of(source)? else { return Ok(Some(None)) };
        let cursor = import.state.cursor(slot);
        let path = logs[at].path.clone();
        let holder = logs.iter().position(|followed| followed.slot() == Some(slot));
        if path != logs[at].home || cursor.name != path.display().to_string() {
            // A copy of it, or its compressed form, goes on when the log itself is given up.
            return Ok(holder.is_none().then_some(Some(slot)));
        }
        let is_weak = !is_long(cursor, &source.prefix);
        let Some(holder) = holder else {
            let other =
                is_weak && cursor.file != source.id && rotated::has_sibling(&path, cursor.file);
            return Ok(Some((!other).then_some(slot)));
        };
        if let Reading::Open(log) = &mut logs[holder].reading {
            let still_there = log.source().has_name();
            let still_there = still_there
                .map_err(|source| ImportError::Open { name: path.display().to_string(), source })?;
            if is_weak && still_there {
                return Ok(Some(None));
            }
            log.save(import)?;
        }
        logs[holder].reading = Reading::Done;
        Ok(Some(Some(slot)))
    }

    /// Goes on with a file that was cut in place.
    fn begin_anew(&mut self, at: usize) -> Result<(), ImportError> {
        let followed = &mut self.logs[at];
        let Reading::Open(log) = std::mem::replace(&mut followed.reading, Reading::Done) else {
            return Ok(());
        };
        let mut log = *log;
        log.save(&mut self.import)?;
        let (slot, cursor) = (log.slot(), log.cursor().clone());
        if let Some(file) = log.into_source().into_file() {
            followed.reading = Reading::Waiting { file, claim: Claim::New };
        }
        let home = followed.home.clone();
        let found = match slot {
            Some(slot) => self.seek_rest(&home, slot, &cursor, at)?,
            None => false,
        };
        let text = if found {
            "was cut or rewritten in place; the rest is in a copy beside it, imported first".into()
        } else {
            format!(
                "was cut or rewritten in place; lines behind byte {}, if there were any, are in no \
                 file beside it and are not imported",
                cursor.end
            )
        };
        Ok(self.import.reporter.note(&home.display().to_string(), &text)?)
    }

    /// Has the file that a log was rotated to read from `at` on, and what came after it; false if
    /// there is none.
    fn seek_rest(
        &mut self,
        home: &Path,
        slot: usize,
        cursor: &Cursor,
        at: usize,
    ) -> Result<bool, ImportError> {
        let is_open = |id| self.logs.iter().any(|followed| followed.is(id));
        let Some(Rotated { seen, file }) = rotated::rest(home, cursor, is_open)? else {
            if cursor.way == Way::Followed {
                let mut lost = cursor.clone();
                lost.way = Way::Finished;
                self.import.state.save(Some(slot), &lost)?;
            }
            return Ok(false);
        };
        let rest = Followed::new(home, seen.path, seen.id, file, Claim::Cursor(slot));
        self.add(at, rest);
        self.fill_gap(home, seen.changed, at + 1)?;
        Ok(true)
    }

    /// Has the siblings read from `at` on that were rotated after `since`, when the log before them
    /// was changed last, and that no cursor knows.
    fn fill_gap(&mut self, home: &Path, since: SystemTime, at: usize) -> Result<(), ImportError> {
        let Import { state, .. } = &self.import;
        let is_known = |source: &Source| {
            let is_open =
                self.logs.iter().any(|followed| source.id.is_some_and(|id| followed.is(id)));
            is_open || state.find(self.import.owner(), &source.prefix, source.id).is_some()
        };
        let Newer { logs, unreadable } = rotated::after(home, since, is_known)?;
        let was = format!("was {} between two looks", home.display());
        for (path, error) in unreadable {
            let text = format!("perhaps {was}, but cannot be read, so it is not imported: {error}");
            self.import.reporter.note(&path.display().to_string(), &text)?;
        }
        for (at, Rotated { seen, file }) in (at..).zip(logs) {
            self.import.reporter.note(&seen.path.display().to_string(), &was)?;
            self.add(at, Followed::new(home, seen.path, seen.id, file, Claim::Any));
        }
        Ok(())
    }

    /// Whether the log of the cursor still has its name.
    fn stands(&self, home: &Path, cursor: &Cursor) -> bool {
        let Ok(source) = Source::open(home) else { return false };
        let moved = cursor.file != source.id
            && !is_long(cursor, &source.prefix)
            && rotated::has_sibling(home, cursor.file);
        !source.prefix.is_empty() && cursor.is_of(&source.prefix) && !moved
    }
}

impl Followed {
    fn new(home: &Path, path: PathBuf, id: FileId, file: File, claim: Claim) -> Self {
        let (reading, active) = (Reading::Waiting { file, claim }, Instant::now());
        Self { home: home.into(), path, id, reading, active, has_name: true, is_read: false }
    }

    /// Whether it reads this file: the number of one that it let go may be another's by now.
    fn is(&self, id: FileId) -> bool {
        self.id == id && !matches!(self.reading, Reading::Done)
    }

    /// When the file was changed last, as far as that was seen.
    fn changed(&self) -> Option<SystemTime> {
        match &self.reading {
            Reading::Waiting { file, .. } => file.metadata().and_then(|seen| seen.modified()).ok(),
            Reading::Open(log) => log.source().changed,
            Reading::Done => None,
        }
    }

    fn slot(&self) -> Option<usize> {
        match &self.reading {
            Reading::Open(log) => log.slot(),
            Reading::Waiting { claim: Claim::Cursor(slot), .. } => Some(*slot),
            Reading::Waiting { .. } | Reading::Done => None,
        }
    }

    /// Bytes of a plain file that the server has not acknowledged.
    fn lag(&self) -> u64 {
        let Reading::Open(log) = &self.reading else { return 0 };
        log.source().size.unwrap_or(0).saturating_sub(log.cursor().end)
    }
}

/// Whether so much of a log is known, and was found again, that it can be no other.
fn is_long(cursor: &Cursor, prefix: &[u8]) -> bool {
    cursor.known_bytes() >= PREFIX_BYTES && prefix.len() >= PREFIX_BYTES
}
