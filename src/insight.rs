//! Partial insights: what one batch adds to each minute it touches.
//!
//! After this stage work is proportional to the distinct keys of a batch, not to its entries.
//! Pure: no I/O, no clock.

use hashbrown::HashMap;

use crate::entry::LogEntry;
use crate::names::{NameId, Names};
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
            size_of::<PartialInsight>() + counts * size_of::<NameCount>()
        };
        self.names.bytes() + self.windows.iter().map(window).sum::<usize>()
    }
}

/// Less than most entries have, so that names rarely need more room than they get at first.
const ENTRY_BYTES_EXPECTED: usize = 128;
/// Names that get room at first, however large the body is: it may say the same again and again.
const NAMES_EXPECTED_MAX: usize = 512;

/// Builds a [`Summary`] entry by entry.
#[derive(Debug)]
pub struct Summariser<'a> {
    agents: &'a AgentCache,
    /// How many names to make room for at first.
    expected: usize,
    entries: u32,
    names: Names,
    windows: Vec<Window>,
    /// The place of each minute in `windows`.
    minutes: HashMap<Minute, usize>,
    /// The window of the entry before: entries of one minute mostly come together.
    last: usize,
    /// Raw user agents of this batch, each looked up in the shared cache only once.
    raw_agents: Names,
    /// The family of each raw agent, by its number.
    families: Vec<NameId>,
}

#[derive(Debug)]
struct Window {
    minute: Minute,
    requests: u32,
    paths: HashMap<NameId, u32>,
    agents: HashMap<NameId, u32>,
}

impl<'a> Summariser<'a> {
    /// An empty summary of a body with so many bytes; agent families come from, and go to, the
    /// cache.
    #[must_use]
    pub fn new(agents: &'a AgentCache, body_bytes: usize) -> Self {
        let expected = (body_bytes / ENTRY_BYTES_EXPECTED).min(NAMES_EXPECTED_MAX);
        Self {
            agents,
            expected,
            entries: 0,
            names: Names::with_capacity(expected),
            windows: Vec::new(),
            minutes: HashMap::new(),
            last: 0,
            raw_agents: Names::with_capacity(expected),
            families: Vec::with_capacity(expected),
        }
    }

    /// Counts one entry.
    pub fn add(&mut self, entry: &LogEntry<'_>) {
        let path = if entry.method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            self.names.intern_joined(&entry.method.to_ascii_uppercase(), entry.path)
        } else {
            self.names.intern_joined(entry.method, entry.path)
        };
        let agent = self.family(entry.user_agent);
        let window = self.window(entry.minute);
        window.requests += 1;
        *window.paths.entry(path).or_default() += 1;
        *window.agents.entry(agent).or_default() += 1;
        self.entries += 1;
    }

    /// The finished summary.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        self.windows.sort_unstable_by_key(|window| window.minute);
        let windows = self.windows.into_iter().map(|window| PartialInsight {
            minute: window.minute,
            requests: window.requests,
            paths: sorted(window.paths),
            agents: sorted(window.agents),
        });
        Summary { entries: self.entries, names: self.names, windows: windows.collect() }
    }

    fn window(&mut self, minute: Minute) -> &mut Window {
        if self.windows.get(self.last).is_none_or(|last| last.minute != minute) {
            self.last = *self.minutes.entry(minute).or_insert_with(|| {
                // Most batches are of one minute.
                let room = if self.windows.is_empty() { self.expected } else { 0 };
                self.windows.push(Window {
                    minute,
                    requests: 0,
                    paths: HashMap::with_capacity(room),
                    agents: HashMap::with_capacity(room),
                });
                self.windows.len() - 1
            });
        }
        &mut self.windows[self.last]
    }

    fn family(&mut self, raw: &str) -> NameId {
        let hash = self.agents.hash(raw);
        let id = self.raw_agents.intern_hashed(raw, hash);
        if let Some(family) = self.families.get(id.0 as usize) {
            return *family;
        }
        let family = self.names.intern(&self.agents.family_hashed(raw, hash));
        self.families.push(family);
        family
    }
}

/// In a fixed order, so that a replay hands the workers exactly what they saw the first time.
fn sorted(counts: HashMap<NameId, u32>) -> Vec<NameCount> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    counts
}
