//! A partition's single writer (invariant W1): rolls partial insights up into a delta.
//!
//! It blocks on nothing but its inbox, does no I/O and asks no clock.

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::counts::Parts;
use crate::dead_letters::{DeadBatch, PutAside};
use crate::delta::Delta;
use crate::ids::{AcceptTime, CustomerId, Epoch, Group};
use crate::insight::Summary;
use crate::journal::Rules;
use crate::minutes::Minutes;
use crate::partition::PartitionId;
use crate::window::{Span, WindowSize, is_late};

/// An accepted batch on its way to the workers; shared by all partitions it touches.
pub struct AcceptedBatch {
    /// Whose batch it is.
    pub customer: CustomerId,
    /// What it adds.
    pub summary: Summary,
    /// What was put aside of it.
    pub dead: Option<Arc<DeadBatch>>,
    /// Given back when the last worker has applied the batch.
    pub permit: Box<dyn Send + Sync>,
}

impl fmt::Debug for AcceptedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptedBatch").field("customer", &self.customer).finish_non_exhaustive()
    }
}

/// What one group adds to one partition.
#[derive(Debug)]
pub struct Apply {
    /// The group.
    pub group: Group,
    /// When the group was accepted.
    pub accepted: AcceptTime,
    /// The rules it was accepted under.
    pub rules: Rules,
    /// Batches, each with the place of one of its partial insights.
    pub items: Vec<(Arc<AcceptedBatch>, usize)>,
    /// What was put aside.
    pub dead: Vec<PutAside>,
}

/// A delta at exactly one cut, for the checkpoint of its epoch.
#[derive(Debug)]
pub struct HandedOver {
    /// Whose delta it is.
    pub partition: PartitionId,
    /// Everything applied since the barrier before.
    pub delta: Arc<Delta>,
}

/// A question to a worker, put into its queue behind all that was acknowledged before (Q1).
#[derive(Debug)]
pub struct OverlayRequest {
    /// Whose windows.
    pub customer: CustomerId,
    /// Which minutes.
    pub span: Span,
    /// How much of them.
    pub parts: Parts,
    /// Where the answer goes; never blocks.
    pub reply: Sender<Vec<Overlay>>,
}

/// Counts that a worker holds, and the checkpoint they will be in.
#[derive(Debug)]
pub struct Overlay {
    /// A store at this epoch or later has them.
    pub epoch: Epoch,
    /// What was asked for.
    pub minutes: Minutes,
}

/// Another question, asked in the same way: who has requests in these minutes?
#[derive(Debug)]
pub struct CustomersRequest {
    /// Which minutes.
    pub span: Span,
    /// Where the answer goes; never blocks.
    pub reply: Sender<Vec<CustomersOverlay>>,
}

/// Requests of all customers that a worker holds, and the checkpoint they will be in.
#[derive(Debug)]
pub struct CustomersOverlay {
    /// A store at this epoch or later has them.
    pub epoch: Epoch,
    /// Each customer once.
    pub requests: Vec<(CustomerId, u64)>,
}

/// What a worker can be told.
#[derive(Debug)]
pub enum WorkerMessage {
    /// Count this.
    Apply(Apply),
    /// Cut here: hand over everything before, for the checkpoint of this epoch.
    Barrier(Epoch, Sender<HandedOver>),
    /// The checkpoint of this epoch is durable; what was handed over can go.
    Committed(Epoch),
    /// What do you hold of these windows?
    Overlay(OverlayRequest),
    /// Whose requests do you hold?
    Customers(CustomersRequest),
}

/// What an applied group did, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Partial insights applied.
    pub insights: usize,
    /// Requests among them that were late.
    pub late: u64,
}

/// The state of one partition since the last durable checkpoint.
#[derive(Debug)]
pub struct PartitionWorker {
    partition: PartitionId,
    /// Bytes of dead letters that a customer may hold.
    letters_max: u64,
    /// The epoch that `current` will be committed in.
    epoch: Epoch,
    current: Delta,
    /// Handed over, and not known to be durable.
    frozen: Option<(Epoch, Arc<Delta>)>,
}

impl PartitionWorker {
    /// An empty partition; what it counts goes into the checkpoint after `epoch`. Of a customer's
    /// dead letters the oldest go, once there are more than `letters_max` bytes.
    #[must_use]
    pub fn new(partition: PartitionId, epoch: Epoch, letters_max: u64) -> Self {
        let (epoch, current) = (epoch.next(), Delta::default());
        Self { partition, letters_max, epoch, current, frozen: None }
    }

    /// Does what the message says.
    ///
    /// # Panics
    /// If barriers overlap: at most one checkpoint is in flight.
    pub fn step(&mut self, message: WorkerMessage) -> Applied {
        match message {
            WorkerMessage::Apply(apply) => return self.apply(apply),
            WorkerMessage::Barrier(epoch, reply) => self.hand_over(epoch, &reply),
            WorkerMessage::Committed(epoch) => {
                self.frozen.take_if(|(frozen, _)| *frozen <= epoch);
            }
            WorkerMessage::Overlay(request) => {
                let overlays = self.overlays(&request);
                // The query may have given up waiting; then nobody misses the answer.
                request.reply.send(overlays).ok();
            }
            WorkerMessage::Customers(CustomersRequest { span, reply }) => {
                let overlay = |(epoch, delta): (Epoch, &Delta)| CustomersOverlay {
                    epoch,
                    requests: delta.requests_in(span),
                };
                reply.send(self.deltas().map(overlay).collect()).ok();
            }
        }
        Applied::default()
    }

    /// About how much memory the counts take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.current.bytes() + self.frozen.as_ref().map_or(0, |(_, delta)| delta.bytes())
    }

    fn apply(&mut self, apply: Apply) -> Applied {
        let mut applied = Applied::default();
        self.current.put_aside(apply.dead, self.letters_max);
        for (batch, window) in &apply.items {
            let partial = &batch.summary.windows[*window];
            let end = Span::of(WindowSize::Minute, partial.minute).to;
            let late = is_late(end, apply.accepted, apply.rules.grace);
            let (customer, summary) = (&batch.customer, &batch.summary);
            self.current.add(customer, summary, *window, apply.group, late, apply.rules.keys);
            applied.insights += 1;
            applied.late += if late { u64::from(partial.requests) } else { 0 };
        }
        applied
    }

    fn hand_over(&mut self, epoch: Epoch, reply: &Sender<HandedOver>) {
        assert_eq!(epoch, self.epoch, "S1: every barrier is one epoch after the last");
        assert!(self.frozen.is_none(), "at most one checkpoint is in flight");
        let delta = Arc::new(std::mem::take(&mut self.current));
        self.frozen = Some((epoch, Arc::clone(&delta)));
        self.epoch = epoch.next();
        // A checkpointer that is gone has failed, and the process is ending.
        reply.send(HandedOver { partition: self.partition, delta }).ok();
    }

    fn overlays(&self, request: &OverlayRequest) -> Vec<Overlay> {
        let overlay = |(epoch, delta): (Epoch, &Delta)| Overlay {
            epoch,
            minutes: delta.minutes_of(&request.customer, request.span, request.parts),
        };
        let all = self.deltas().map(overlay);
        all.filter(|overlay| !overlay.minutes.totals.is_empty()).collect()
    }

    /// What is not known to be durable, with the epoch that it will be committed in.
    fn deltas(&self) -> impl Iterator<Item = (Epoch, &Delta)> {
        let frozen = self.frozen.iter().map(|(epoch, delta)| (*epoch, delta.as_ref()));
        frozen.chain([(self.epoch, &self.current)])
    }
}

#[cfg(test)]
mod tests;
