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

/// Builds a [`Summary`] entry by entry.
#[derive(Debug)]
pub struct Summariser<'a> {
    agents: &'a AgentCache,
    entries: u32,
    names: Names,
    windows: HashMap<Minute, Counting>,
    /// Raw user agents of this batch, each looked up in the shared cache only once.
    raw_agents: Names,
    /// The family of each raw agent, by its number.
    families: Vec<NameId>,
    /// Where `METHOD path` is put together, kept to save the allocation.
    key: String,
}

#[derive(Debug, Default)]
struct Counting {
    requests: u32,
    paths: HashMap<NameId, u32>,
    agents: HashMap<NameId, u32>,
}

impl<'a> Summariser<'a> {
    /// An empty summary; agent families come from, and go to, the cache.
    #[must_use]
    pub fn new(agents: &'a AgentCache) -> Self {
        Self {
            agents,
            entries: 0,
            names: Names::default(),
            windows: HashMap::new(),
            raw_agents: Names::default(),
            families: Vec::new(),
            key: String::new(),
        }
    }

    /// Counts one entry.
    pub fn add(&mut self, entry: &LogEntry<'_>) {
        self.key.clear();
        self.key.extend(entry.method.chars().map(|c| c.to_ascii_uppercase()));
        self.key.push(' ');
        self.key.push_str(entry.path);
        let path = self.names.intern(&self.key);
        let agent = self.family(entry.user_agent);
        let window = self.windows.entry(entry.minute).or_default();
        window.requests += 1;
        *window.paths.entry(path).or_default() += 1;
        *window.agents.entry(agent).or_default() += 1;
        self.entries += 1;
    }

    /// The finished summary.
    #[must_use]
    pub fn finish(self) -> Summary {
        let mut windows: Vec<_> = self.windows.into_iter().collect();
        windows.sort_unstable_by_key(|(minute, _)| *minute);
        let windows = windows
            .into_iter()
            .map(|(minute, counting)| PartialInsight {
                minute,
                requests: counting.requests,
                paths: sorted(counting.paths),
                agents: sorted(counting.agents),
            })
            .collect();
        Summary { entries: self.entries, names: self.names, windows }
    }

    fn family(&mut self, raw: &str) -> NameId {
        let id = self.raw_agents.intern(raw);
        if let Some(family) = self.families.get(id.0 as usize) {
            return *family;
        }
        let family = self.names.intern(&self.agents.family(raw));
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
