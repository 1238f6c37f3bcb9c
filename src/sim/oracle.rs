//! What a sender knows, and what follows from it: acknowledged ⊆ counted ⊆ sent, each once (A2).

use std::collections::BTreeMap;

use super::machine::{Batch, Machine};
use crate::sequencer::Outcome;

/// Everything that was sent, and what was answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Oracle {
    /// By customer and key.
    sent: BTreeMap<(String, String), Sent>,
}

#[derive(Debug, Clone)]
struct Sent {
    batch: Batch,
    acknowledged: bool,
}

/// Each batch counts under a path of its own, so that the counts tell which batches are in.
pub(super) fn path_of(batch: &Batch) -> String {
    format!("GET /{}", batch.key)
}

impl Oracle {
    /// A batch goes out.
    pub(super) fn sends(&mut self, batch: &Batch) {
        let sent = || Sent { batch: batch.clone(), acknowledged: false };
        self.sent.entry(id(batch)).or_insert_with(sent);
    }

    /// An answer came back.
    pub(super) fn hears(&mut self, batch: &Batch, outcome: Outcome) {
        let sent = self.sent.get_mut(&id(batch)).expect("it was sent");
        let same = sent.batch == *batch;
        match outcome {
            Outcome::Accepted(_) => {
                assert!(!sent.acknowledged, "A2: {batch:?} was accepted twice");
                assert!(same, "the first of a key is what the oracle remembers");
                sent.acknowledged = true;
            }
            Outcome::Duplicate(receipt) => {
                assert!(same, "A3: {batch:?} has other content than the first");
                assert_eq!(receipt.entries as usize, entries(batch));
                sent.acknowledged = true;
            }
            Outcome::Conflict => assert!(!same, "A3: {batch:?} has the content of the first"),
            Outcome::NoSpace => panic!("the simulated disk has room"),
        }
    }

    /// The answer to a batch that was sent again: new exactly if nobody was told of it before.
    pub(super) fn hears_again(&mut self, batch: &Batch, outcome: Outcome) {
        let was_acknowledged = self.sent[&id(batch)].acknowledged;
        let is_new = matches!(outcome, Outcome::Accepted(_));
        assert!(!(is_new && was_acknowledged), "A2: {batch:?} was acknowledged and is new again");
        self.hears(batch, outcome);
    }

    /// Everything that was ever sent, to be sent again.
    pub(super) fn all(&self) -> Vec<Batch> {
        self.sent.values().map(|sent| sent.batch.clone()).collect()
    }

    /// Judges what a machine counts.
    pub(super) fn judge(&self, machine: &Machine) {
        let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
        let customers: std::collections::BTreeSet<_> =
            self.sent.keys().map(|(customer, _)| customer).collect();
        for customer in customers {
            for (_, window) in machine.minutes(customer) {
                assert!(window.adds_up(), "W2: totals equal the sums over paths and agents");
                for (path, requests) in window.paths.iter() {
                    *counted.entry((customer.clone(), path.to_owned())).or_default() += requests;
                }
            }
        }
        for ((customer, _), sent) in &self.sent {
            let found = counted.remove(&(customer.clone(), path_of(&sent.batch))).unwrap_or(0);
            let whole = entries(&sent.batch) as u64;
            assert!(found == 0 || found == whole, "A2: {sent:?} counts {found} of {whole}");
            assert!(found == whole || !sent.acknowledged, "A1: {sent:?} is lost");
        }
        assert!(counted.is_empty(), "what nobody sent is counted: {counted:?}");
    }

    /// Whether every batch is known to be counted.
    pub(super) fn is_complete(&self) -> bool {
        self.sent.values().all(|sent| sent.acknowledged)
    }
}

fn id(batch: &Batch) -> (String, String) {
    (batch.customer.clone(), batch.key.clone())
}

fn entries(batch: &Batch) -> usize {
    batch.body.matches("receivedAt").count()
}
