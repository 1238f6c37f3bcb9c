//! Checkpoints: a barrier through every queue, then one store transaction (invariants S1, S2).
//!
//! Five steps, each only after the one before has returned:
//!
//! 1. all workers hand over their deltas at exactly the barrier's cut;
//! 2. the claims of all groups before the barrier are made durable;
//! 3. one transaction commits every delta together with the group and the epoch;
//! 4. the workers drop what they handed over;
//! 5. the journal segments before the barrier are reclaimed, oldest first.
//!
//! Steps 2 and 3 are here; who carries the messages of the others is up to the caller: threads
//! in [`crate::engine`], a plain loop in [`crate::recovery`].

use std::sync::Arc;

use crate::claim::Lives;
use crate::clock::Now;
use crate::delta::Delta;
use crate::disk::{Disk, Layout};
use crate::error::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::ids::Epoch;
use crate::sequencer::BarrierPlaced;
use crate::store::{Checkpoint, CheckpointStats, Position, Retention, Store};

/// Writes checkpoints, one at a time.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    /// Where the claims are.
    pub disk: Arc<dyn Disk>,
    /// How the data directory is laid out.
    pub layout: Layout,
    /// Where deltas go.
    pub store: Arc<Store>,
    /// How long windows are kept.
    pub retention: Retention,
}

impl Checkpointer {
    /// Makes claims and deltas durable: steps 2 and 3. The segments in `placed` may be reclaimed
    /// once this returns, and not before (S2).
    ///
    /// # Errors
    /// If disk or store fail. IMPORTANT: nothing is retried; the process must end.
    pub fn write(
        &self,
        epoch: Epoch,
        placed: &BarrierPlaced,
        deltas: &[Arc<Delta>],
        lives: Option<&Lives>,
        now: Now,
    ) -> Result<CheckpointStats, EngineError> {
        self.sync_claims(placed)?;
        self.commit(epoch, placed, deltas, lives, now)
    }

    /// Step 2 alone.
    ///
    /// # Errors
    /// As for [`Checkpointer::write`].
    pub fn sync_claims(&self, placed: &BarrierPlaced) -> Result<(), EngineError> {
        failpoint::reach(Failpoint::BeforeClaimSync);
        placed.claims.run(self.disk.as_ref(), &self.layout)?;
        failpoint::reach(Failpoint::AfterClaimSync);
        Ok(())
    }

    /// Step 3 alone.
    ///
    /// # Errors
    /// As for [`Checkpointer::write`].
    pub fn commit(
        &self,
        epoch: Epoch,
        placed: &BarrierPlaced,
        deltas: &[Arc<Delta>],
        lives: Option<&Lives>,
        now: Now,
    ) -> Result<CheckpointStats, EngineError> {
        let position = Position {
            group: placed.group,
            epoch,
            uptime: placed.uptime,
            accepted: placed.accepted,
            ..self.store.position()?
        };
        let (claims, retention) = (&placed.claims, self.retention);
        let checkpoint = Checkpoint { position, deltas, claims, lives, retention, now };
        let stats = self.store.commit(&checkpoint)?;
        failpoint::reach(Failpoint::AfterCommit);
        Ok(stats)
    }
}
