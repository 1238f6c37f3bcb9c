//! From whatever a crash left to a running engine: replay, then a checkpoint, then serve.
//!
//! Replay goes through the same dispatch and worker code as live traffic. It ends with
//! a checkpoint before anything is accepted, so that the process never answers from a byte that
//! it has not itself made durable: the page cache survives a killed process, and a failed sync
//! leaves clean pages that never reached the disk. A changed partition count is harmless.

use std::io::ErrorKind;
use std::sync::Arc;

use crossbeam_channel::unbounded;

use crate::checkpoint::Checkpointer;
use crate::claim::{Claim, ClaimStore, Lives, probe};
use crate::clock::{Clock, Now};
use crate::dead_letters::{DeadBatch, DeadLetters};
use crate::disk::{Disk, Layout, LockGuard, PageId, read_all};
use crate::entropy::Entropy;
use crate::error::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::ids::{AcceptTime, CustomerId, Epoch, Group, Incarnation};
use crate::insight::Summary;
use crate::journal::{
    self, ArchiveRetention, Damage, FrameAt, FrameReader, JournalScan, Record, Rules, SegmentKeeper,
};
use crate::partition::PartitionId;
use crate::sequencer::{BarrierPlaced, dispatch, receipt};
use crate::status::Status;
use crate::store::{Retention, Store};
use crate::worker::{AcceptedBatch, PartitionWorker, WorkerMessage};

/// The number of the layout that this program writes.
pub const LAYOUT_VERSION: u32 = 3;

/// What recovery works with.
#[derive(Clone)]
pub struct Recovery {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The data directory on it.
    pub layout: Layout,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where progress is told.
    pub status: Arc<Status>,
    /// How many workers to spread over.
    pub partitions: u16,
    /// The rules that new segments are written under.
    pub rules: Rules,
    /// How long windows are kept.
    pub retention: Retention,
    /// Memory of deltas from which on a checkpoint is due.
    pub checkpoint_memory_bytes: usize,
    /// Size of new segments, [`crate::limits::SEGMENT_BYTES`] but in a simulation.
    pub segment_bytes: u64,
    /// How long segments behind the checkpoint are kept.
    pub archive: ArchiveRetention,
    /// Memory that the store may cache with.
    pub store_cache_bytes: usize,
    /// Count no group after this one: the last of all, but for an audit.
    pub until: Group,
    /// Go on although acknowledged batches cannot be read.
    pub repair: bool,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The parts of an engine, ready to run.
#[derive(Debug)]
pub struct Recovered {
    /// Keeps other processes away.
    pub lock: Box<dyn LockGuard>,
    /// The store.
    pub store: Arc<Store>,
    /// The claims.
    pub claims: ClaimStore,
    /// Owns the journal's files; all old segments are reclaimed.
    pub keeper: SegmentKeeper,
    /// One empty worker per partition.
    pub workers: Vec<PartitionWorker>,
    /// The last group in the store.
    pub group: Group,
    /// The last checkpoint.
    pub epoch: Epoch,
    /// The latest accept time of any group.
    pub accepted: AcceptTime,
}

/// What changes while frames are replayed.
struct Replay<'r> {
    recovery: &'r Recovery,
    checkpointer: Checkpointer,
    claims: ClaimStore,
    workers: Vec<PartitionWorker>,
    group: Group,
    epoch: Epoch,
    accepted: AcceptTime,
    /// What is wrong with the data directory, and is to be repaired.
    damage: Vec<Damage>,
}

impl Recovery {
    /// Recovers the data directory, made if need be.
    ///
    /// # Errors
    /// [`EngineError`] says what is in the way; nothing is lost by trying again.
    pub fn run(&self) -> Result<Recovered, EngineError> {
        let lock = self.take_directory()?;
        let (disk, layout) = (&self.disk, &self.layout);
        probe(disk.as_ref(), layout, self.entropy.bits())?;
        let store = Store::open(disk, layout, self.store_cache_bytes, self.rules.keys)?;
        let store = Arc::new(store);
        let incarnation = store.begin_life()?;
        let position = store.position()?;
        let mut found = journal::scan(disk.as_ref(), layout, position.group)?;
        found.frames.retain(|frame| frame.group <= self.until);
        let lives = store.lives()?;
        let mut claims = ClaimStore::open(
            Arc::clone(disk),
            layout.clone(),
            incarnation,
            lives.clone(),
            store.seals()?,
            position.uptime,
        )?;
        claims.remove_nameless_pages()?;
        let pages = claims.damaged().iter().map(|path| Damage::ClaimPage { path: path.clone() });
        let mut damage: Vec<_> = found.damage.iter().cloned().chain(pages).collect();
        if self.repair {
            // Else a page is looked at when a key is to be judged by it: there may be gigabytes.
            let broken = claims.broken_seals(&|_, _| {})?;
            let path = |page: &PageId| layout.page(*page);
            damage.extend(broken.iter().map(|page| Damage::ClaimEntries { path: path(page) }));
            claims.unseal(&broken);
        }
        self.judge(&damage)?;
        let checkpointer = Checkpointer {
            disk: Arc::clone(disk),
            layout: layout.clone(),
            store: Arc::clone(&store),
            retention: self.retention,
        };
        let letters_max = self.retention.letters.customer_bytes;
        let workers = (0..self.partitions)
            .map(PartitionId)
            .map(|partition| PartitionWorker::new(partition, position.epoch, letters_max))
            .collect();
        let mut replay = Replay {
            recovery: self,
            checkpointer,
            claims,
            workers,
            group: position.group,
            epoch: position.epoch,
            accepted: position.accepted,
            damage,
        };
        if let Some(last) = found.frames.last() {
            // Whoever wrote it may have been killed before the sync, or the sync has failed. Once
            // it is checkpointed, a power cut must not take it from an archive that is to come.
            last.write_again(disk.as_ref())?;
        }
        replay.frames(&found)?;
        replay.free_lost_keys()?;
        let lives = replay.end_lives(lives, incarnation);
        failpoint::reach(Failpoint::BeforeRecoveryCheckpoint);
        replay.checkpoint(Some(&lives))?;
        failpoint::reach(Failpoint::AfterRecoveryCheckpoint);
        let mut keeper = SegmentKeeper::open(
            Arc::clone(disk),
            layout.clone(),
            Arc::clone(&self.entropy),
            self.rules,
            self.segment_bytes,
        )?
        .with_archive(self.archive)?;
        let Replay { claims, workers, group, epoch, accepted, damage, .. } = replay;
        if damage.iter().all(Damage::is_of_claims) {
            keeper.take_back(found.segments);
            // Archiving takes time and can be done while the engine serves.
            if self.archive == ArchiveRetention::Off {
                keeper.reclaim([])?;
            }
        } else {
            keeper.set_aside(&found.segments)?;
        }
        Ok(Recovered { lock, store, claims, keeper, workers, group, epoch, accepted })
    }

    /// Locks a data directory that is there, for a look at it.
    ///
    /// # Errors
    /// If there is none, a server runs on it, or another version wrote it.
    pub fn lock_existing(&self) -> Result<Box<dyn LockGuard>, EngineError> {
        let (disk, layout) = (self.disk.as_ref(), &self.layout);
        if !disk.list(layout.root())?.iter().any(|name| name == "VERSION") {
            return Err(EngineError::NotOurs { path: layout.root().to_path_buf() });
        }
        let lock = self.lock()?;
        self.check_version()?;
        Ok(lock)
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>, EngineError> {
        let path = self.layout.root().to_path_buf();
        self.disk.lock(&self.layout.lock())?.ok_or(EngineError::InUse { path })
    }

    fn check_version(&self) -> Result<(), EngineError> {
        let found = read_all(self.disk.as_ref(), &self.layout.version())?;
        let found = String::from_utf8_lossy(&found).trim().to_owned();
        if found.parse() == Ok(LAYOUT_VERSION) {
            return Ok(());
        }
        let path = self.layout.root().to_path_buf();
        Err(EngineError::Version { path, found, known: LAYOUT_VERSION })
    }

    /// Makes and locks the data directory, and refuses one that is not ours.
    fn take_directory(&self) -> Result<Box<dyn LockGuard>, EngineError> {
        let (disk, layout) = (self.disk.as_ref(), &self.layout);
        disk.create_dir(layout.root())?;
        let names = disk.list(layout.root())?;
        // A first start that was interrupted leaves no more than these.
        let is_known = |name: &String| {
            matches!(name.as_str(), "LOCK" | "lost+found") || Layout::is_unfinished(name)
        };
        if !names.iter().any(|name| name == "VERSION") && !names.iter().all(is_known) {
            return Err(EngineError::NotOurs { path: layout.root().to_path_buf() });
        }
        let lock = self.lock()?;
        if names.iter().any(|name| name == "VERSION") {
            self.check_version()?;
        } else {
            self.sync_above()?;
            let version = format!("{LAYOUT_VERSION}\n");
            disk.create_new(&layout.version(), version.as_bytes(), 0)?;
        }
        self.make_directories()?;
        Ok(lock)
    }

    /// Makes the names durable that lead to the data directory: whoever made them may have been
    /// killed before it did.
    fn sync_above(&self) -> Result<(), EngineError> {
        for above in self.layout.above() {
            match self.disk.sync_dir(above) {
                // Nor can we have made a directory in it.
                Err(error) if error.source.kind() == ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn make_directories(&self) -> Result<(), EngineError> {
        let (disk, layout) = (self.disk.as_ref(), &self.layout);
        disk.create_dir(&layout.journal())?;
        disk.create_dir(&layout.pages())?;
        for shard in layout.shards() {
            disk.create_dir(&shard)?;
        }
        for dir in [layout.root().to_path_buf(), layout.journal(), layout.pages()] {
            for name in disk.list(&dir)?.iter().filter(|name| Layout::is_unfinished(name)) {
                disk.remove(&dir.join(name))?;
            }
        }
        // IMPORTANT: what is there may have been made, or renamed into place, by a process that
        // was killed before it synced the directory. Everything from here on relies on it.
        for dir in layout.parents() {
            disk.sync_dir(&dir)?;
        }
        Ok(())
    }

    fn judge(&self, damage: &[Damage]) -> Result<(), EngineError> {
        for damage in damage {
            tracing::error!(%damage, "the data directory is damaged");
        }
        if damage.is_empty() || self.repair {
            return Ok(());
        }
        let path = self.layout.root().to_path_buf();
        Err(EngineError::Damaged { path, damage: damage.to_vec() })
    }
}

impl Replay<'_> {
    fn frames(&mut self, found: &JournalScan) -> Result<(), EngineError> {
        let total = found.frames.len();
        if total > 0 {
            tracing::info!(groups = total, after = self.group.0, "replaying the journal");
        }
        let disk = Arc::clone(&self.recovery.disk);
        let mut reader = FrameReader::new(disk.as_ref());
        for (done, frame) in found.frames.iter().enumerate() {
            failpoint::reach(Failpoint::BeforeReplay);
            let contents = reader.read(frame)?;
            self.frame(frame, &contents)?;
            failpoint::reach(Failpoint::AfterReplay);
            self.recovery.status.replayed(done + 1, total);
            let bytes: usize = self.workers.iter().map(PartitionWorker::bytes).sum();
            if bytes >= self.recovery.checkpoint_memory_bytes {
                self.checkpoint(None)?;
                failpoint::reach(Failpoint::BetweenReplays);
            }
        }
        Ok(())
    }

    /// Counts and claims one group again, exactly as it was the first time.
    fn frame(
        &mut self,
        frame: &FrameAt,
        contents: &journal::FrameContents,
    ) -> Result<(), EngineError> {
        match self.batches(contents) {
            Err(reason) => {
                let damage = Damage::Content { group: frame.group, reason };
                self.recovery.judge(std::slice::from_ref(&damage))?;
                self.damage.push(damage);
            }
            Ok(batches) => {
                let records = contents.records().unwrap_or_default();
                let claims: Vec<_> =
                    records.iter().zip(&batches).map(|(r, b)| claim(r, b)).collect();
                let uptime = self.recovery.clock.uptime();
                self.claims.claim_again(&claims, frame.group, uptime)?;
                let partitions = self.recovery.partitions;
                let (group, accepted) = (frame.group, frame.accepted);
                for (partition, apply) in
                    dispatch(batches, group, accepted, frame.rules, partitions)
                {
                    let worker = &mut self.workers[usize::from(partition.0)];
                    worker.step(WorkerMessage::Apply(apply));
                }
            }
        }
        self.group = frame.group;
        self.accepted = self.accepted.max(frame.accepted);
        Ok(())
    }

    fn batches(&self, contents: &journal::FrameContents) -> Result<Vec<AcceptedBatch>, String> {
        let records = contents.records().ok_or("its records do not fill it")?;
        let batch = |record: &Record<'_>| {
            let customer = CustomerId::new(record.customer).map_err(|error| error.to_string())?;
            let summary = Summary::from_bytes(record.summary).ok_or("a summary does not add up")?;
            let dead = DeadLetters::from_bytes(record.dead).ok_or("dead letters make no sense")?;
            let dead = DeadBatch::of(&customer, record.key, record.request_id, dead);
            Ok(AcceptedBatch { customer, summary, dead, permit: Box::new(()) })
        };
        records.iter().map(batch).collect()
    }

    /// What a repair cannot bring back must not be taken for known: its senders may have it (A4).
    fn free_lost_keys(&mut self) -> Result<(), EngineError> {
        let lost: Vec<_> = self.damage.iter().filter_map(Damage::lost).collect();
        if !lost.is_empty() {
            self.claims.forget_groups(&lost)?;
        }
        Ok(self.claims.set_damaged_aside()?)
    }

    /// All lives before this one ended with the last group that was found.
    fn end_lives(&self, mut lives: Lives, current: Incarnation) -> Lives {
        let first = lives.last_key_value().map_or(0, |(incarnation, _)| incarnation.0) + 1;
        for ended in first..current.0 {
            lives.insert(Incarnation(ended), self.group);
        }
        // Nothing is left to judge of a life that has no page.
        let oldest = self.claims.oldest_incarnation().unwrap_or(current);
        let newest_ended = Incarnation(current.0.saturating_sub(1));
        lives.retain(|incarnation, _| *incarnation >= oldest.min(newest_ended));
        lives
    }

    fn checkpoint(&mut self, lives: Option<&Lives>) -> Result<(), EngineError> {
        let now = Now::read(self.recovery.clock.as_ref());
        let epoch = self.epoch.next();
        let (reply, handed_over) = unbounded();
        for worker in &mut self.workers {
            worker.step(WorkerMessage::Barrier(epoch, reply.clone()));
        }
        let deltas: Vec<_> = handed_over.try_iter().map(|handed| handed.delta).collect();
        let placed = BarrierPlaced {
            group: self.group,
            accepted: self.accepted,
            claims: self.claims.take_dirty(),
            sealed: Vec::new(),
            uptime: self.claims.total_uptime(now.uptime),
        };
        self.checkpointer.write(epoch, &placed, &deltas, lives, now)?;
        drop(deltas);
        for worker in &mut self.workers {
            worker.step(WorkerMessage::Committed(epoch));
        }
        self.epoch = epoch;
        if let Some(lives) = lives {
            self.claims.set_lives(lives.clone());
        }
        Ok(())
    }
}

fn claim<'a>(record: &Record<'a>, batch: &AcceptedBatch) -> Claim<'a> {
    Claim::new(record.customer, record.key, record.digest, receipt(&batch.summary))
}

#[cfg(test)]
mod tests;
