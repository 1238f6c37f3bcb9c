//! Which batch is next, and when: the pace of a run and its end.
//!
//! All connections take their turns from one feed. A batch has its time by its number alone; one
//! that is late for it is sent at once, so a server that pauses meets what has piled up, as it
//! would from real senders.

#![allow(clippy::disallowed_methods, reason = "a client keeps its pace in real time")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::traffic::Turn;

/// Asks a run to end early; it can be asked from another thread.
#[derive(Debug, Default)]
pub struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Ends the run: what is being sent is still answered, nothing is sent again.
    pub fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether the run is to end.
    pub fn is_asked(&self) -> bool {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, unless the run is to end; says whether it is.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(asked, time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// How much is sent, and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    /// In a batch.
    pub(super) batch_entries: usize,
    /// All of them.
    pub(super) entries: u64,
    /// For how long.
    pub(super) duration: Option<Duration>,
    /// Entries in a second; without it, as fast as they are taken.
    pub(super) rate: Option<u64>,
}

/// Hands out the turns.
pub(super) struct Feed<'a> {
    quota: Quota,
    started: Instant,
    next: AtomicU64,
    closed: AtomicBool,
    /// How far the last turn was behind its time, in ms.
    behind_ms: AtomicU64,
    stop: &'a Stop,
}

impl<'a> Feed<'a> {
    pub(super) fn new(quota: Quota, stop: &'a Stop) -> Self {
        Self {
            quota,
            started: Instant::now(),
            next: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            behind_ms: AtomicU64::new(0),
            stop,
        }
    }

    /// Waits for the time of the next batch; `None` when there is none.
    pub(super) fn next(&self) -> Option<Turn> {
        let Quota { batch_entries, entries, duration, rate } = self.quota;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let before = number.saturating_mul(batch_entries as u64);
        let left = entries.saturating_sub(before);
        if left == 0 || self.is_over() {
            return None;
        }
        if let Some(rate) = rate {
            let micros = u128::from(before) * 1_000_000 / u128::from(rate);
            let due = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
            if duration.is_some_and(|duration| due >= duration) {
                return None;
            }
            let now = self.started.elapsed();
            if self.stop.wait(due.saturating_sub(now)) {
                return None;
            }
            let behind = self.started.elapsed().saturating_sub(due).as_millis();
            self.behind_ms.store(u64::try_from(behind).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        if self.is_over() || duration.is_some_and(|duration| self.started.elapsed() >= duration) {
            return None;
        }
        let entries = usize::try_from(left).unwrap_or(batch_entries).min(batch_entries);
        Some(Turn { number, entries })
    }

    /// Hands out no more turns; what is under way is brought to its end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.closed.load(Ordering::Relaxed) || self.stop.is_asked()
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// How far behind its time the last batch was.
    pub(super) fn behind(&self) -> Duration {
        Duration::from_millis(self.behind_ms.load(Ordering::Relaxed))
    }
}
