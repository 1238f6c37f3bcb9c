//! Memory of families already worked out: a miss costs about a microsecond, a hit some nanoseconds.
//!
//! Owns nothing but that memory, which is bounded whatever clients send: agents above
//! [`limits::USER_AGENT_BYTES_MAX`] are never kept, and a shard whose young generation is full
//! forgets the old one. A stream in which every agent is new therefore costs a miss each, and no
//! more memory. It must never answer anything else than [`super::family`] would.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SHARDS: usize = 16;
const GENERATION: usize = limits::AGENT_CACHE_ENTRIES_MAX / SHARDS / 2;

/// Families of the agents seen lately; share one among all threads.
pub struct AgentCache {
    /// Random for each process, so that nobody can prepare agents that collide.
    seed: u64,
    shards: [Mutex<Shard>; SHARDS],
}

/// Two generations: entries move to `young` when used, and `old` is dropped as a whole.
#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

/// Keyed by the agent's hash; the agent itself is compared, and of two that collide one is kept.
type Generation = HashMap<u64, Entry, BuildHasherDefault<AlreadyHashed>>;

struct Entry {
    agent: Box<str>,
    family: Arc<str>,
}

impl AgentCache {
    /// An empty cache; it grows as agents come, up to [`crate::limits::AGENT_CACHE_ENTRIES_MAX`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: RandomState::new().hash_one(limits::AGENT_CACHE_ENTRIES_MAX),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// The hash under which an agent is kept.
    #[must_use]
    pub fn hash(&self, agent: &str) -> u64 {
        xxh3_64_with_seed(agent.as_bytes(), self.seed)
    }

    /// The family of `agent`, as [`super::family`] says it.
    #[must_use]
    pub fn family(&self, agent: &str) -> Arc<str> {
        self.family_hashed(agent, self.hash(agent))
    }

    /// The same, for who has the agent's [`Self::hash`] already.
    #[must_use]
    pub fn family_hashed(&self, agent: &str, hash: u64) -> Arc<str> {
        if agent.len() > limits::USER_AGENT_BYTES_MAX {
            return Arc::from(super::family(agent));
        }
        if let Some(family) = self.shard(hash, |shard| shard.get(hash, agent)) {
            return family;
        }
        // Worked out without the lock: two threads may do it at once, with the same result.
        let family: Arc<str> = Arc::from(super::family(agent));
        let entry = Entry { agent: agent.into(), family: Arc::clone(&family) };
        self.shard(hash, |shard| shard.put(hash, entry));
        family
    }

    fn shard<T>(&self, hash: u64, work: impl FnOnce(&mut Shard) -> T) -> T {
        // The map uses the lowest and the highest bits, the choice of a shard takes others.
        let [.., byte, _, _, _] = hash.to_be_bytes();
        let shard = &self.shards[usize::from(byte) % SHARDS];
        // A shard is only changed by whole inserts and removes, so it is whole after a panic, too.
        work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.len() + shard.old.len()
        });
        sizes.sum()
    }
}

impl std::fmt::Debug for AgentCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCache").finish_non_exhaustive()
    }
}

impl Default for AgentCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    fn get(&mut self, hash: u64, agent: &str) -> Option<Arc<str>> {
        if let Some(entry) = self.young.get(&hash) {
            return (*entry.agent == *agent).then(|| Arc::clone(&entry.family));
        }
        let entry = self.old.remove(&hash)?;
        let family = (*entry.agent == *agent).then(|| Arc::clone(&entry.family));
        self.put(hash, entry);
        family
    }

    fn put(&mut self, hash: u64, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}

/// Passes on a key that is a hash already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}
