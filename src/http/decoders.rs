//! Who decodes: a turn for long work, and for each that decodes a memory of agents of its own. And
//! what is decoded: buffers for bodies.
//!
//! Of both the one that was put back last is taken first: it is warm, in the processor's caches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use crate::limits;
use crate::user_agent::AgentCache;

/// Turns of decoding.
#[derive(Debug)]
pub struct Decoders {
    /// Turns of work that takes a blocking thread, one for each core.
    pub(super) turns: Arc<Semaphore>,
    /// Memories that nobody uses; no more than ever decoded at once.
    idle: Mutex<Vec<AgentCache>>,
    /// Buffers that no body is in.
    buffers: Mutex<Vec<BytesMut>>,
}

impl Decoders {
    /// As many turns as there are cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let turns = Arc::new(Semaphore::new(cores));
        Self { turns, idle: Mutex::default(), buffers: Mutex::default() }
    }

    /// Works with a memory of agents that nobody else has meanwhile.
    pub(super) fn work<T>(&self, work: impl FnOnce(&mut AgentCache) -> T) -> T {
        let mut agents = lock(&self.idle).pop().unwrap_or_default();
        let done = work(&mut agents);
        lock(&self.idle).push(agents);
        done
    }

    /// Room for a body of so many bytes, and not for much more: that is what admission counts (L1).
    pub(super) fn buffer(&self, bytes: usize) -> BytesMut {
        let fits = |kept: &BytesMut| (bytes..=bytes.saturating_mul(2)).contains(&kept.capacity());
        let take = |kept: &mut Vec<BytesMut>| Some(kept.remove(kept.iter().rposition(fits)?));
        let kept = take(&mut lock(&self.buffers));
        // Without the lock: for a large body that takes its time.
        kept.unwrap_or_else(|| BytesMut::with_capacity(bytes))
    }

    /// Takes the buffer of a body that nobody needs any more.
    pub(super) fn give_back(&self, body: Bytes) {
        let Ok(mut buffer) = body.try_into_mut() else { return };
        let mut buffers = lock(&self.buffers);
        if is_kept(buffer.capacity()) && buffers.len() < limits::BODY_BUFFERS_KEPT_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

fn is_kept(bytes: usize) -> bool {
    bytes <= limits::DECODE_INLINE_BYTES_MAX
}

/// Nobody panics while holding the lock; and a list that lost an entry is still a list.
fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_serves_one_body_after_the_other() {
        let decoders = Decoders::new(1);
        let read = |bytes: usize, of: u8| {
            let mut buffer = decoders.buffer(bytes);
            buffer.extend(std::iter::repeat_n(of, bytes));
            buffer.freeze()
        };
        let first = read(1_000, b'a');
        let at = first.as_ptr();
        decoders.give_back(first);
        let second = read(900, b'b');
        assert_eq!(second.as_ptr(), at);
        assert_eq!(second, [b'b'; 900][..], "T1: nothing of the first is in it");
        let shared = second.clone();
        decoders.give_back(second);
        assert_ne!(read(900, b'c').as_ptr(), at, "somebody has it still");
        drop(shared);
    }

    /// L1: a body gets no more room than admission has counted for it, within a factor of two.
    #[test]
    fn a_buffer_is_as_large_as_its_body() {
        let decoders = Decoders::new(1);
        decoders.give_back(BytesMut::zeroed(limits::DECODE_INLINE_BYTES_MAX).freeze());
        for bytes in [0, 100, limits::DECODE_INLINE_BYTES_MAX / 2 - 1] {
            let capacity = decoders.buffer(bytes).capacity();
            assert!((bytes..=bytes * 2).contains(&capacity), "{capacity} for {bytes}");
        }
        let large = decoders.buffer(limits::DECODE_INLINE_BYTES_MAX + 1).capacity();
        assert!(large > limits::DECODE_INLINE_BYTES_MAX);
        assert_eq!(lock(&decoders.buffers).len(), 1, "it is kept for a body of its size");
    }

    /// L1: what is kept is bounded in number and in size.
    #[test]
    fn few_and_small_buffers_are_kept() {
        let decoders = Decoders::new(1);
        for bytes in [limits::DECODE_INLINE_BYTES_MAX + 1, 10] {
            for _ in 0..=limits::BODY_BUFFERS_KEPT_MAX {
                decoders.give_back(BytesMut::zeroed(bytes).freeze());
            }
            let kept = lock(&decoders.buffers).len();
            assert_eq!(kept, if bytes == 10 { limits::BODY_BUFFERS_KEPT_MAX } else { 0 });
        }
    }
}
