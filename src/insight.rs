//! Partial insights: what one batch adds to each minute it touches.
//!
//! After this stage work is proportional to the distinct keys of a batch, not to its entries.
//! Pure: no I/O, no clock.

mod bytes;

use hashbrown::HashMap;

use crate::entry::LogEntry;
use crate::limits;
use crate::names::{NameId, Names};
use crate::paths::PathRules;
use crate::responses::Responses;
use crate::user_agent::AgentCache;
use crate::window::Minute;

/// How often a name occurred.
pub type NameCount = (NameId, u32);

/// What one batch adds to one minute. The sum of all partial insights is the window (W2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialInsight {
    /// The minute it adds to.
    pub minute: Minute,
    /// Requests; equals the sum over `paths`, and over `agents`.
    pub requests: u32,
    /// Requests by `METHOD path`.
    pub paths: Vec<NameCount>,
    /// Requests by agent family.
    pub agents: Vec<NameCount>,
    /// What entries say of the answers they got.
    pub responses: Responses,
}

/// A decoded batch: its partial insights and the names they count.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Entries in the batch.
    pub entries: u32,
    /// What the [`NameId`]s in `windows` stand for.
    pub names: Names,
    /// One partial insight per minute, in order of time.
    pub windows: Vec<PartialInsight>,
}

impl Summary {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let window = |window: &PartialInsight| {
            let counts = window.paths.len() + window.agents.len();
            size_of::<PartialInsight>()
                + counts * size_of::<NameCount>()
                + window.responses.heap_bytes()
        };
        self.names.bytes() + self.windows.iter().map(window).sum::<usize>()
    }
}

/// Less than most entries have, so that names rarely need more room than they get at first.
const ENTRY_BYTES_EXPECTED: usize = 128;
/// Names that get room at first, however large the body is: it may say the same again and again.
const NAMES_EXPECTED_MAX: usize = 512;
/// Families among them.
const FAMILIES_EXPECTED_MAX: usize = 16;

/// Builds a [`Summary`] entry by entry.
#[derive(Debug)]
pub struct Summariser<'a> {
    agents: &'a mut AgentCache,
    /// What is counted as one path.
    paths_of: &'a PathRules,
    /// How many names to make room for at first.
    expected: usize,
    entries: u32,
    names: Names,
    /// In the order of their first entries; each name may stand several times in a list.
    windows: Vec<PartialInsight>,
    /// The place of each minute in `windows`.
    minutes: HashMap<Minute, usize>,
    /// The window of the entry before: entries of one minute mostly come together.
    last: usize,
    paths: LastPlaces,
    families: LastPlaces,
}

/// Where each name was counted last: the window, and the place in its list.
#[derive(Debug, Default)]
struct LastPlaces(Vec<(u32, u32)>);

impl<'a> Summariser<'a> {
    /// An empty summary of a body with so many bytes; agent families come from, and go to, the
    /// cache.
    #[must_use]
    pub fn new(agents: &'a mut AgentCache, paths_of: &'a PathRules, body_bytes: usize) -> Self {
        let expected = (body_bytes / ENTRY_BYTES_EXPECTED).min(NAMES_EXPECTED_MAX);
        agents.begin_batch();
        Self {
            agents,
            paths_of,
            expected,
            entries: 0,
            names: Names::with_capacity(expected),
            windows: Vec::new(),
            minutes: HashMap::new(),
            last: 0,
            paths: LastPlaces(Vec::with_capacity(expected)),
            families: LastPlaces(Vec::with_capacity(expected)),
        }
    }

    /// Whether there were more minutes than one batch may touch; then not all entries are in it.
    #[must_use]
    pub fn is_overfull(&self) -> bool {
        self.windows.len() > limits::BATCH_WINDOWS_MAX
    }

    /// Counts one entry.
    pub fn add(&mut self, entry: &LogEntry<'_>) {
        if self.is_overfull() {
            return;
        }
        let path = self.paths_of.apply(entry.path);
        let path = match entry.method {
            None => self.names.intern(path),
            Some(method) if method.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                self.names.intern_joined(&method.to_ascii_uppercase(), path)
            }
            Some(method) => self.names.intern_joined(method, path),
        };
        let family = self.agents.id(entry.user_agent, &mut self.names);
        let at = self.window(entry.minute);
        let window = &mut self.windows[at];
        window.requests += 1;
        self.paths.count(path, at, &mut window.paths);
        self.families.count(family, at, &mut window.agents);
        window.responses.add(entry.status, entry.bytes);
        self.entries += 1;
    }

    /// The finished summary.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        // In a fixed order, so that a replay hands the workers exactly what they saw the first
        // time.
        self.windows.sort_unstable_by_key(|window| window.minute);
        for window in &mut self.windows {
            each_name_once(&mut window.paths);
            each_name_once(&mut window.agents);
        }
        Summary { entries: self.entries, names: self.names, windows: self.windows }
    }

    fn window(&mut self, minute: Minute) -> usize {
        if self.windows.get(self.last).is_none_or(|last| last.minute != minute) {
            self.last = *self.minutes.entry(minute).or_insert_with(|| {
                // Most batches are of one minute.
                let room = if self.windows.is_empty() { self.expected } else { 0 };
                self.windows.push(PartialInsight {
                    minute,
                    requests: 0,
                    paths: Vec::with_capacity(room),
                    agents: Vec::with_capacity(room.min(FAMILIES_EXPECTED_MAX)),
                    responses: Responses::default(),
                });
                self.windows.len() - 1
            });
        }
        self.last
    }
}

impl LastPlaces {
    /// Counts a name in a window: where it was counted last, if that is the same window, and at the
    /// end of the list otherwise.
    fn count(&mut self, name: NameId, window: usize, counts: &mut Vec<NameCount>) {
        const NOWHERE: (u32, u32) = (u32::MAX, 0);
        let name_at = name.0 as usize;
        if name_at >= self.0.len() {
            self.0.resize(name_at + 1, NOWHERE);
        }
        let place = &mut self.0[name_at];
        if place.0 as usize == window {
            counts[place.1 as usize].1 += 1;
        } else {
            let number = |at| u32::try_from(at).expect("no more than a body has bytes");
            *place = (number(window), number(counts.len()));
            counts.push((name, 1));
        }
    }
}

/// Sorts counts by name and adds up those of one name.
fn each_name_once(counts: &mut Vec<NameCount>) {
    counts.sort_unstable_by_key(|(name, _)| *name);
    counts.dedup_by(|(name, more), (before, count)| {
        let is_same = name == before;
        if is_same {
            *count += *more;
        }
        is_same
    });
}
