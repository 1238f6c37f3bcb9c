//! What everybody may know of the engine at any moment: where it stands and what presses it.
//!
//! Written by the thread that owns each fact, read by admission, `/readyz` and the metrics.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::error::EngineError;

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Recovering; nothing is accepted yet.
    Starting = 0,
    /// Serving.
    Running = 1,
    /// Shutting down; nothing more is accepted.
    Stopping = 2,
}

/// Why nothing can be accepted at the moment. Retrying later may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// Recovery is not done.
    Starting,
    /// The process is shutting down.
    Stopping,
    /// A thread or the disk failed; the process is about to end.
    Failed,
    /// Recovery waits until the disk has room for what it has to write.
    NoSpaceToStart,
    /// Less space is free than `limits.free_bytes`.
    DiskFull,
    /// More journal waits for a checkpoint than `limits.journal_bytes`.
    JournalFull,
    /// More counts wait for a checkpoint than memory is set aside for.
    MemoryFull,
}

impl Unready {
    /// In words, for answers and logs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Starting => "the server is starting: it replays its journal",
            Self::Stopping => "the server is stopping",
            Self::Failed => "the server failed and is about to end; see its log",
            Self::NoSpaceToStart => "the server waits for space on its disk to start",
            Self::DiskFull => "the disk has less free space than limits.free_bytes",
            Self::JournalFull => "more journal waits for a checkpoint than limits.journal_bytes",
            Self::MemoryFull => "more counts wait for a checkpoint than there is memory for",
        }
    }
}

/// The bounds that make the engine unready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Free space of the file system, at least.
    pub free_bytes: u64,
    /// Journal that waits for a checkpoint, at most.
    pub journal_bytes: u64,
    /// Memory of counts that wait for a checkpoint, at most.
    pub memory_bytes: u64,
}

struct ReplayWatch(Box<dyn Fn(u64, u64) + Send + Sync>);

impl std::fmt::Debug for ReplayWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplayWatch")
    }
}

/// The facts.
#[derive(Debug)]
pub struct Status {
    ceilings: Ceilings,
    phase: AtomicU8,
    replay_done: AtomicU64,
    replay_total: AtomicU64,
    /// Is told of each group that is replayed.
    replay_watch: OnceLock<ReplayWatch>,
    journal_bytes: AtomicU64,
    memory_bytes: Box<[AtomicU64]>,
    disk_full: AtomicBool,
    /// Recovery needs more space than there is.
    waits_for_space: AtomicBool,
    checkpoint_uptime_ms: AtomicU64,
    failure: OnceLock<Arc<EngineError>>,
    failed: Notify,
}

impl Status {
    /// The status of an engine that starts.
    #[must_use]
    pub fn new(partitions: u16, ceilings: Ceilings) -> Self {
        Self {
            ceilings,
            phase: AtomicU8::new(Phase::Starting as u8),
            replay_done: AtomicU64::new(0),
            replay_total: AtomicU64::new(0),
            replay_watch: OnceLock::new(),
            journal_bytes: AtomicU64::new(0),
            memory_bytes: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
            disk_full: AtomicBool::new(false),
            waits_for_space: AtomicBool::new(false),
            checkpoint_uptime_ms: AtomicU64::new(0),
            failure: OnceLock::new(),
            failed: Notify::new(),
        }
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Why nothing can be accepted; `None` if the engine is ready.
    #[must_use]
    pub fn unready(&self) -> Option<Unready> {
        if self.failure.get().is_some() {
            return Some(Unready::Failed);
        }
        if self.waits_for_space.load(Ordering::Relaxed) {
            return Some(Unready::NoSpaceToStart);
        }
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Starting as u8 => return Some(Unready::Starting),
            phase if phase == Phase::Stopping as u8 => return Some(Unready::Stopping),
            _ => {}
        }
        if self.is_disk_full() {
            Some(Unready::DiskFull)
        } else if self.journal_bytes() >= self.ceilings.journal_bytes {
            Some(Unready::JournalFull)
        } else if self.memory_bytes() >= self.ceilings.memory_bytes {
            Some(Unready::MemoryFull)
        } else {
            None
        }
    }

    /// Why queries cannot be answered; a full disk is no reason.
    #[must_use]
    pub fn unreadable(&self) -> Option<Unready> {
        self.unready()
            .filter(|u| matches!(u, Unready::Starting | Unready::NoSpaceToStart | Unready::Failed))
    }

    /// Poisons the engine: everything is refused from now on and the process ends. The first
    /// failure is the one that is reported.
    pub fn fail(&self, error: EngineError) {
        if self.failure.set(Arc::new(error)).is_ok() {
            self.failed.notify_waiters();
        }
    }

    /// What poisoned the engine.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<EngineError>> {
        self.failure.get().cloned()
    }

    /// Waits until the engine is poisoned.
    pub async fn failed(&self) -> Arc<EngineError> {
        loop {
            let notified = self.failed.notified();
            if let Some(failure) = self.failure() {
                return failure;
            }
            notified.await;
        }
    }

    /// Tells how far replay has come, in groups.
    pub fn replayed(&self, done: usize, total: usize) {
        self.replay_done.store(done as u64, Ordering::Relaxed);
        self.replay_total.store(total as u64, Ordering::Relaxed);
        if let Some(ReplayWatch(watch)) = self.replay_watch.get() {
            watch(done as u64, total as u64);
        }
    }

    /// Has each replayed group told: how many are done, of how many. The first watch stays.
    pub fn watch_replay(&self, watch: impl Fn(u64, u64) + Send + Sync + 'static) {
        self.replay_watch.set(ReplayWatch(Box::new(watch))).ok();
    }

    /// How far replay has come, in groups: done, and in all.
    #[must_use]
    pub fn replay(&self) -> (u64, u64) {
        (self.replay_done.load(Ordering::Relaxed), self.replay_total.load(Ordering::Relaxed))
    }

    /// The journal grew.
    pub fn journal_grew(&self, bytes: u64) {
        self.journal_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A checkpoint made some of the journal superfluous.
    pub fn journal_shrank(&self, bytes: u64) {
        self.journal_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Journal that waits for a checkpoint.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    /// A partition's counts take this much memory now.
    pub fn memory_is(&self, partition: usize, bytes: usize) {
        self.memory_bytes[partition].store(bytes as u64, Ordering::Relaxed);
    }

    /// Memory of counts that wait for a checkpoint.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// The file system has this much space left.
    pub fn free_space_is(&self, bytes: u64) {
        self.disk_full.store(bytes < self.ceilings.free_bytes, Ordering::Relaxed);
    }

    /// Whether less space is free than is to be kept free.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Recovery cannot go on before there is space, or goes on.
    pub fn waits_for_space(&self, waits: bool) {
        self.waits_for_space.store(waits, Ordering::Relaxed);
    }

    /// A checkpoint is durable, at this uptime.
    pub fn checkpointed(&self, uptime: std::time::Duration) {
        let ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        self.checkpoint_uptime_ms.store(ms, Ordering::Relaxed);
    }

    /// Uptime at which the last checkpoint was durable.
    #[must_use]
    pub fn checkpoint_uptime(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.checkpoint_uptime_ms.load(Ordering::Relaxed))
    }
}
