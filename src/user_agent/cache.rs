//! Memory of families already worked out: a miss costs about a microsecond, a hit some nanoseconds.
//!
//! Owns nothing but that memory, which is bounded whatever clients send: when the young generation
//! is full, the old one is forgotten. A stream in which every agent is new therefore costs a miss
//! each, and no more memory. It must never answer anything else than [`super::family`] would.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::limits;
use crate::names::{NameId, Names};

const GENERATION: usize = limits::AGENT_CACHE_ENTRIES_MAX / 2;

/// Families of the agents seen lately, and their numbers in the batch at hand. Each thread that
/// decodes has its own: there is no lock.
pub struct AgentCache {
    /// Random for each cache, so that nobody can prepare agents that collide without watching it.
    seed: DefaultHashBuilder,
    /// Entries move here when used, and `old` is dropped as a whole.
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    batch: u64,
}

struct Entry {
    hash: u64,
    agent: Box<str>,
    family: Box<str>,
    /// As [`Names`] hash it.
    family_hash: u64,
    /// The batch that the number is of.
    batch: u64,
    id: NameId,
}

impl AgentCache {
    /// An empty cache; it grows as agents come, up to [`limits::AGENT_CACHE_ENTRIES_MAX`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: DefaultHashBuilder::default(),
            young: HashTable::new(),
            old: HashTable::new(),
            batch: 0,
        }
    }

    /// Forgets the numbers of the batch before: from here on names go into another set.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// The number of the agent's family in the names of this batch; all calls since
    /// [`Self::begin_batch`] must give the same.
    pub fn id(&mut self, agent: &str, names: &mut Names) -> NameId {
        let batch = self.batch;
        let entry = self.entry(agent);
        if entry.batch != batch {
            entry.batch = batch;
            entry.id = names.intern_hashed(&entry.family, entry.family_hash);
        }
        entry.id
    }

    /// The family of `agent`, as [`super::family`] says it.
    pub fn family(&mut self, agent: &str) -> &str {
        &self.entry(agent).family
    }

    fn entry(&mut self, agent: &str) -> &mut Entry {
        let mut hasher = self.seed.build_hasher();
        hasher.write(agent.as_bytes());
        let hash = hasher.finish();
        let is_same = |entry: &Entry| entry.hash == hash && *entry.agent == *agent;
        if let Some(at) = self.young.find_bucket_index(hash, is_same) {
            return self.young.get_bucket_mut(at).expect("found just now");
        }
        let known = self.old.find_entry(hash, is_same).ok().map(|found| found.remove().0);
        self.keep(known.unwrap_or_else(|| {
            let family = super::family(agent);
            let family_hash = Names::hash(&family);
            let (family, agent) = (family.into(), agent.into());
            Entry { hash, agent, family, family_hash, batch: 0, id: NameId(0) }
        }))
    }

    fn keep(&mut self, entry: Entry) -> &mut Entry {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert_unique(entry.hash, entry, |entry| entry.hash).into_mut()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl Default for AgentCache {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for AgentCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCache").finish_non_exhaustive()
    }
}
