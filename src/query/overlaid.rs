//! For tests: a store, and the counts of one more delta that is not in it.

use std::sync::Arc;
use std::time::Duration;

use super::{Busy, Source};
use crate::checkpoint::Checkpointer;
use crate::claim::ClaimSync;
use crate::counts::{KeyLimits, Parts};
use crate::delta::Delta;
use crate::ids::{AcceptTime, CustomerId, Epoch, Group};
use crate::sequencer::BarrierPlaced;
use crate::store::{Retention, Store};
use crate::testing::{DataDir, now_at};
use crate::window::Span;
use crate::worker::{CustomersOverlay, Overlay};

pub(crate) struct Overlaid {
    pub(crate) pending: Arc<Delta>,
    store: Arc<Store>,
    checkpointer: Checkpointer,
    epoch: Epoch,
    _dir: DataDir,
}

impl Source for Overlaid {
    fn overlays(
        &self,
        customer: &CustomerId,
        span: Span,
        parts: Parts,
    ) -> Result<Vec<Overlay>, Busy> {
        let minutes = self.pending.minutes_of(customer, span, parts);
        Ok(vec![Overlay { epoch: self.epoch.next(), minutes }])
    }

    fn customers(&self, span: Span) -> Result<Vec<CustomersOverlay>, Busy> {
        let requests = self.pending.requests_in(span);
        Ok(vec![CustomersOverlay { epoch: self.epoch.next(), requests }])
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

impl Overlaid {
    pub(crate) fn open(keys: KeyLimits, retention: Retention) -> Self {
        let dir = DataDir::new();
        let store = Store::open(&dir.disk(), &dir.layout, 1 << 20, keys).expect("opened");
        let store = Arc::new(store);
        let (disk, layout) = (dir.disk(), dir.layout.clone());
        let checkpointer = Checkpointer { disk, layout, store: Arc::clone(&store), retention };
        Self { pending: Arc::default(), store, checkpointer, epoch: Epoch(0), _dir: dir }
    }

    /// A checkpoint in this minute.
    pub(crate) fn commit(&mut self, minute: u32) {
        self.epoch = self.epoch.next();
        let (group, accepted) = (Group(self.epoch.0), AcceptTime(u64::from(minute) * 60_000));
        let (claims, sealed, uptime) = (ClaimSync::default(), Vec::new(), Duration::ZERO);
        let placed = BarrierPlaced { group, accepted, claims, sealed, uptime };
        let deltas = [std::mem::take(&mut self.pending)];
        let written = self.checkpointer.write(self.epoch, &placed, &deltas, None, now_at(minute));
        written.expect("committed");
    }
}
