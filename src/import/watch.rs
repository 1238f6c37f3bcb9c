//! What stands under the names that a follower was given, looked at again and again.
//!
//! Owns the polling: names to open files, and the pauses in between, which the user's signal ends.
//! A file is opened as soon as it is seen, also while a batch waits for a server that is away, so
//! that a log that is rotated twice meanwhile is not missed.
//!
//! It polls, instead of asking the system to tell (inotify), because that tells nothing about file
//! systems of other machines, loses events when its queue is full, and cannot watch what does not
//! exist yet; each of these would need polling beside it. A look costs a few microseconds.

#![allow(clippy::disallowed_methods, reason = "the import client opens the user's files itself")]

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::files::{FileId, Wanted};
use crate::limits;

/// The longest that a signal waits for a pause.
const SLICE: Duration = Duration::from_millis(50);

/// How often to look, and how long to hold on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) poll: Duration,
    /// A log that was rotated away is given up when nothing was written to it for this long.
    pub(super) quiet: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { poll: limits::IMPORT_POLL_INTERVAL, quiet: limits::IMPORT_ROTATED_QUIET }
    }
}

/// The names.
pub(super) struct Watch {
    wanted: Vec<Wanted>,
    pub(super) pace: Pace,
    stop: Arc<AtomicBool>,
    /// Logs that are open elsewhere; together with the arrivals they are limited.
    pub(super) open: usize,
    /// The file that each name led to when it was last looked at.
    names: HashMap<PathBuf, FileId>,
    /// Files that could not be read and have not changed since.
    broken: HashMap<PathBuf, Stamp>,
    arrivals: VecDeque<Arrival>,
    /// What was said about a name, so that it is said once.
    said: HashMap<String, String>,
    /// What is to be said.
    notes: Vec<(String, String)>,
    /// Names that led nowhere, and how many looks ago they first did.
    absent: HashMap<String, u32>,
}

/// A file that a name did not lead to before.
pub(super) struct Arrival {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) file: File,
}

type Stamp = (u64, Option<SystemTime>);

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.len(), metadata.modified().ok())
}

impl Watch {
    pub(super) fn new(wanted: Vec<Wanted>, pace: Pace, stop: Arc<AtomicBool>) -> Self {
        Self {
            wanted,
            pace,
            stop,
            open: 0,
            names: HashMap::new(),
            broken: HashMap::new(),
            arrivals: VecDeque::new(),
            said: HashMap::new(),
            notes: Vec::new(),
            absent: HashMap::new(),
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn covers(&self, path: &Path) -> bool {
        self.wanted.iter().any(|wanted| wanted.covers(path))
    }

    /// Whether the name leads to this file.
    pub(super) fn leads(&self, path: &Path, id: FileId) -> bool {
        self.names.get(path) == Some(&id)
    }

    pub(super) fn next_arrival(&mut self) -> Option<Arrival> {
        self.arrivals.pop_front()
    }

    /// What there is to say about names, each once.
    pub(super) fn take_notes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.notes)
    }

    /// Lets time pass and goes on looking; false if the user wants to stop.
    pub(super) fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut look = Instant::now() + self.pace.poll;
        while !self.is_stopped() {
            let now = Instant::now();
            if now >= look {
                self.look();
                look = now + self.pace.poll;
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(SLICE));
        }
        false
    }

    /// Looks at each name and opens what is new under it.
    pub(super) fn look(&mut self) {
        let mut seen = HashSet::new();
        for at in 0..self.wanted.len() {
            let name = self.wanted[at].name();
            let paths = match self.wanted[at].paths() {
                Ok(paths) => paths,
                Err(error) => {
                    self.say(&name, &format!("cannot look for it: {error}"));
                    continue;
                }
            };
            if paths.is_empty() {
                self.is_absent(&name, "matches no file");
            } else if matches!(self.wanted[at], Wanted::Pattern(_)) {
                self.is_fine(&name);
            }
            for path in paths {
                self.look_at(&path);
                seen.insert(path);
            }
        }
        self.names.retain(|path, _| seen.contains(path));
        self.broken.retain(|path, _| seen.contains(path));
    }

    fn look_at(&mut self, path: &Path) {
        let name = path.display().to_string();
        let metadata = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return self.say(&name, "is no regular file, so it cannot be followed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.names.remove(path);
                return self.is_absent(&name, "is not there");
            }
            Err(error) => return self.say(&name, &format!("cannot be looked at: {error}")),
        };
        if self.leads(path, FileId::of(&metadata)) {
            return self.is_fine(&name);
        }
        if self.broken.get(path) == Some(&stamp(&metadata)) {
            return;
        }
        if self.open + self.arrivals.len() >= limits::IMPORT_FOLLOWED_MAX {
            let most = limits::IMPORT_FOLLOWED_MAX;
            return self.say(&name, &format!("waits, for {most} logs are open already"));
        }
        let opened = File::open(path).and_then(|file| Ok((FileId::of(&file.metadata()?), file)));
        match opened {
            Ok((id, file)) => {
                self.broken.remove(path);
                self.names.insert(path.into(), id);
                self.arrivals.push_back(Arrival { path: path.into(), id, file });
                self.is_fine(&name);
            }
            // Renamed between the two looks; the next one sees what came of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.say(&name, &format!("cannot be opened: {error}")),
        }
    }

    /// Has the file arrive again once it has changed: as it is, it cannot be read.
    pub(super) fn again_when_changed(&mut self, path: &Path) {
        self.names.remove(path);
        if let Ok(metadata) = fs::metadata(path) {
            self.broken.insert(path.into(), stamp(&metadata));
        }
    }

    /// A rotation takes a name away for a moment; that is not worth a word.
    fn is_absent(&mut self, name: &str, text: &str) {
        let looks = self.absent.entry(name.to_owned()).or_insert(0);
        *looks += 1;
        if *looks == 2 {
            self.say(name, &format!("{text} yet; waiting for it"));
        }
    }

    fn is_fine(&mut self, name: &str) {
        self.absent.remove(name);
        self.said.remove(name);
    }

    fn say(&mut self, name: &str, text: &str) {
        if self.said.get(name).is_none_or(|said| said != text) {
            self.said.insert(name.to_owned(), text.to_owned());
            self.notes.push((name.to_owned(), text.to_owned()));
        }
    }
}
