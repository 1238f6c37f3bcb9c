//! Who decodes: a turn for long work, and for each that decodes a memory of agents of its own.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::user_agent::AgentCache;

/// Turns of decoding.
#[derive(Debug)]
pub struct Decoders {
    /// Turns of work that takes a blocking thread, one for each core.
    pub(super) turns: Arc<Semaphore>,
    /// Memories that nobody uses; no more than ever decoded at once. The one that was put back last
    /// is the one that is warm.
    idle: Mutex<Vec<AgentCache>>,
}

impl Decoders {
    /// As many turns as there are cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(cores)), idle: Mutex::default() }
    }

    /// Works with a memory of agents that nobody else has meanwhile.
    pub(super) fn work<T>(&self, work: impl FnOnce(&mut AgentCache) -> T) -> T {
        // Nobody panics while holding the lock; and a list that lost an entry is still a list.
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut agents = idle().pop().unwrap_or_default();
        let done = work(&mut agents);
        idle().push(agents);
        done
    }
}
