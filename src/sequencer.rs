//! Claim, journal, dispatch, answer: in this order, for one group at a time, in one place.
//!
//! The sequencer is the only claimer and the only one that appends to the journal. It starts no
//! thread and sends nothing: it says what is to be dispatched and answered, and its caller does
//! that, dispatches first, so that a query sent after an answer finds the batch in the queues.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::claim::{
    Claim, ClaimStore, ClaimSync, KeyRetention, MadePage, PageOrder, Receipt, Swept, Verdict,
};
use crate::clock::Now;
use crate::dead_letters::{DeadBatch, DeadLetters, PutAside};
use crate::disk::{DiskError, DiskResult};
use crate::ids::{AcceptTime, ContentDigest, CustomerId, Group, IdempotencyKey, RequestId};
use crate::insight::Summary;
use crate::journal::{Journal, Record, Rules, Sealed};
use crate::partition::{PartitionId, partition_of};
use crate::window::Minute;
use crate::worker::{AcceptedBatch, Apply};

/// A batch that is decoded and summed up, and waits to be sequenced.
pub struct Submission {
    /// Whose batch it is.
    pub customer: CustomerId,
    /// Its idempotency key.
    pub key: IdempotencyKey,
    /// What its body said, digested.
    pub digest: ContentDigest,
    /// The request that brought it.
    pub request_id: RequestId,
    /// What it adds.
    pub summary: Summary,
    /// The same as the journal keeps it.
    pub record: Vec<u8>,
    /// What was put aside of it.
    pub dead: DeadLetters,
    /// The same as the journal keeps it.
    pub dead_record: Vec<u8>,
    /// Given back when the workers have applied the batch.
    pub permit: Box<dyn Send + Sync>,
    /// Where the answer goes. A sender that is gone does not stop its batch.
    pub reply: oneshot::Sender<Outcome>,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("customer", &self.customer)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable and counted (A1, A2).
    Accepted(Receipt),
    /// Its key was accepted before, with the same content and this answer.
    Duplicate(Receipt),
    /// Its key was accepted before, with other content (A3).
    Conflict,
    /// Its key was taken before, by what cannot be read any more.
    Unreadable,
    /// There is no room for it on the disk. Its key is free (A4).
    NoSpace,
}

/// What is to be done for a group, dispatches before answers.
#[derive(Debug, Default)]
pub struct Sequenced {
    /// One message per partition that the group touches.
    pub dispatches: Vec<(PartitionId, Apply)>,
    /// Every answer of the group, duplicates and conflicts included.
    pub answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    /// Bytes that the journal grew by.
    pub journal_bytes: u64,
    /// Batches that were accepted.
    pub accepted: usize,
    /// How long write and sync took; `None` if nothing was written.
    pub sync: Option<Duration>,
}

/// What a checkpoint needs to know of the cut.
#[derive(Debug)]
pub struct BarrierPlaced {
    /// The last group before the barrier.
    pub group: Group,
    /// The latest accept time of any group so far.
    pub accepted: AcceptTime,
    /// What makes the claims of all groups before the barrier durable.
    pub claims: ClaimSync,
    /// Segments that hold nothing after the barrier.
    pub sealed: Vec<Sealed>,
    /// Uptime of the server over all its lives.
    pub uptime: Duration,
}

/// The one place where batches get their order.
#[derive(Debug)]
pub struct Sequencer {
    claims: ClaimStore,
    journal: Journal,
    rules: Rules,
    partitions: u16,
    retention: KeyRetention,
    /// Accept time of the last group; later ones are not before it, whatever the clock does.
    accepted: AcceptTime,
}

impl Sequencer {
    /// Goes on where recovery ended.
    #[must_use]
    pub fn new(
        claims: ClaimStore,
        journal: Journal,
        rules: Rules,
        partitions: u16,
        retention: KeyRetention,
        accepted: AcceptTime,
    ) -> Self {
        Self { claims, journal, rules, partitions, retention, accepted }
    }

    /// Sequences a group: reserve, claim, write and sync, then say what to dispatch and answer.
    ///
    /// # Errors
    /// If the disk fails. IMPORTANT: the process must end, and nobody of the group gets an
    /// answer other than that the server is not available: recovery judges what is there.
    pub fn step(
        &mut self,
        group: Vec<Submission>,
        now: Now,
        clock: impl Fn() -> Duration,
    ) -> Result<Sequenced, DiskError> {
        let payload = group.iter().map(|submission| Journal::record_bytes(&record_of(submission)));
        let claims: Vec<_> = group.iter().map(claim).collect();
        let reserved = self
            .journal
            .reserve(payload.sum())
            .and_then(|()| self.claims.reserve(&claims, now.uptime));
        if let Err(error) = reserved {
            drop(claims);
            if !error.is_only_full() {
                return Err(error);
            }
            tracing::warn!(%error, source = %error.source, "no room for journal or claims to grow");
            let answers = group.into_iter().map(|s| (s.reply, Outcome::NoSpace)).collect();
            return Ok(Sequenced { answers, ..Sequenced::default() });
        }
        let number = self.journal.last_group().next();
        let verdicts = self.claims.claim(&claims, number, now.uptime)?;
        drop(claims);
        let mut sequenced = Sequenced::default();
        self.accepted = self.accepted.max(now.wall);
        self.append(number, &group, &verdicts, &clock, &mut sequenced)?;
        self.dispatch(number, group, &verdicts, &mut sequenced);
        Ok(sequenced)
    }

    /// Ends the segment that is written to, if there is space for the next; otherwise later.
    ///
    /// # Errors
    /// If the disk fails; the process must end.
    pub fn seal(&mut self) -> Result<(), DiskError> {
        match self.journal.seal() {
            Err(error) if error.is_out_of_space() => {
                tracing::warn!(%error, source = %error.source, "no room for a new segment");
                Ok(())
            }
            sealed => sealed,
        }
    }

    /// Cuts here: everything sequenced so far belongs to the checkpoint that is to come.
    pub fn barrier(&mut self, uptime: Duration) -> BarrierPlaced {
        BarrierPlaced {
            group: self.journal.last_group(),
            accepted: self.accepted,
            claims: self.claims.take_dirty(),
            sealed: self.journal.take_sealed(),
            uptime: self.claims.total_uptime(uptime),
        }
    }

    /// Forgets a few keys that are past their retention.
    ///
    /// # Errors
    /// If the disk fails; the process must end.
    pub fn sweep(&mut self, uptime: Duration) -> Result<Swept, DiskError> {
        self.claims.sweep(self.retention, uptime)
    }

    /// A claim page that is worth making ahead, see [`ClaimStore::page_order`].
    pub fn page_order(&mut self, uptime: Duration) -> Option<PageOrder> {
        self.claims.page_order(uptime)
    }

    /// Takes what became of the order.
    ///
    /// # Errors
    /// As for [`ClaimStore::page_made`].
    pub fn page_made(&mut self, made: DiskResult<MadePage>) -> DiskResult<()> {
        self.claims.page_made(made)
    }

    /// How many keys are held.
    #[must_use]
    pub fn keys_held(&self) -> u64 {
        self.claims.keys_held()
    }

    fn append(
        &mut self,
        number: Group,
        group: &[Submission],
        verdicts: &[Verdict],
        clock: &impl Fn() -> Duration,
        sequenced: &mut Sequenced,
    ) -> Result<(), DiskError> {
        let won = group.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Won);
        let records: Vec<_> = won.map(|(submission, _)| record_of(submission)).collect();
        if !records.is_empty() {
            let started = clock();
            sequenced.journal_bytes = self.journal.append(number, self.accepted, &records)?;
            sequenced.sync = Some(clock().saturating_sub(started));
            sequenced.accepted = records.len();
        }
        Ok(())
    }

    fn dispatch(
        &self,
        number: Group,
        group: Vec<Submission>,
        verdicts: &[Verdict],
        sequenced: &mut Sequenced,
    ) {
        let mut batches = Vec::with_capacity(sequenced.accepted);
        for (submission, verdict) in group.into_iter().zip(verdicts) {
            let outcome = match verdict {
                Verdict::Won => Outcome::Accepted(receipt(&submission.summary)),
                Verdict::Duplicate(receipt) => Outcome::Duplicate(*receipt),
                Verdict::Conflict => Outcome::Conflict,
                Verdict::Unreadable => Outcome::Unreadable,
            };
            let Submission { customer, key, request_id, summary, dead, permit, reply, .. } =
                submission;
            if *verdict == Verdict::Won {
                let dead = DeadBatch::of(&customer, key.as_str(), request_id.as_str(), dead);
                batches.push(AcceptedBatch { customer, summary, dead, permit });
            }
            sequenced.answers.push((reply, outcome));
        }
        sequenced.dispatches =
            dispatch(batches, number, self.accepted, self.rules, self.partitions);
    }
}

/// Sorts the partial insights of a group by the partition that owns them; used live and in replay.
#[must_use]
pub fn dispatch(
    batches: Vec<AcceptedBatch>,
    group: Group,
    accepted: AcceptTime,
    rules: Rules,
    partitions: u16,
) -> Vec<(PartitionId, Apply)> {
    let apply = |_| Apply { group, accepted, rules, items: Vec::new(), dead: Vec::new() };
    let mut by_partition: Vec<_> = (0..partitions).map(apply).collect();
    for (place, batch) in (0..).zip(batches) {
        let batch = Arc::new(batch);
        for (window, partial) in batch.summary.windows.iter().enumerate() {
            let owner = partition_of(&batch.customer, partial.minute, partitions);
            by_partition[usize::from(owner.0)].items.push((Arc::clone(&batch), window));
        }
        if let Some(dead) = &batch.dead {
            // Any partition would do, as long as it is one.
            let owner = partition_of(&batch.customer, Minute(0), partitions);
            let dead = PutAside { group, accepted, place, batch: Arc::clone(dead) };
            by_partition[usize::from(owner.0)].dead.push(dead);
        }
    }
    (0..)
        .map(PartitionId)
        .zip(by_partition)
        .filter(|(_, apply)| !apply.items.is_empty() || !apply.dead.is_empty())
        .collect()
}

/// What the answer to a batch says of it.
#[must_use]
pub fn receipt(summary: &Summary) -> Receipt {
    let windows = u32::try_from(summary.windows.len()).expect("at most one window an entry");
    Receipt { entries: summary.entries, windows }
}

fn record_of(submission: &Submission) -> Record<'_> {
    Record {
        digest: submission.digest,
        customer: submission.customer.as_str(),
        key: submission.key.as_str(),
        request_id: submission.request_id.as_str(),
        summary: &submission.record,
        dead: &submission.dead_record,
    }
}

fn claim(submission: &Submission) -> Claim<'_> {
    let (customer, key) = (submission.customer.as_str(), submission.key.as_str());
    Claim::new(customer, key, submission.digest, receipt(&submission.summary))
}

#[cfg(test)]
mod tests;
