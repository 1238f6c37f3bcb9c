//! What a sender knows, and what follows from it: acknowledged ⊆ counted ⊆ sent, each once (A2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::machine::{Batch, Machine};
use crate::dead_letters::DeadLetter;
use crate::error::EngineError;
use crate::sequencer::Outcome;
use crate::store::StoredLetter;
use crate::testing::decoded;
use crate::window::{Minute, WindowSize};

/// How long keys are held.
pub(super) const RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// A dead letter: whose, of which key, and its place in the batch.
type LetterName = (String, String, u32);

/// Requests by minute.
type Counted = BTreeMap<Minute, u64>;

/// Everything that was sent, and what was answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Oracle {
    /// By customer and key.
    sent: BTreeMap<(String, String), Sent>,
    /// Dead letters that were to be removed, and whether it was said that they are.
    removals: BTreeMap<LetterName, bool>,
    pub(super) duplicates: usize,
    pub(super) conflicts: usize,
}

#[derive(Debug, Clone)]
struct Sent {
    batch: Batch,
    expected: Counted,
    /// What must be put aside of it, by place.
    dead: BTreeMap<u32, DeadLetter>,
    /// When it went out first.
    at: Duration,
    acknowledged: bool,
    /// It was answered that there is no space, so its key may be another's.
    refused: bool,
}

/// Whether batches may be under way while the counts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Quiet,
    Busy,
}

/// Each batch counts under a path of its own, so that the counts tell which batches are in.
fn path_of(batch: &Batch) -> String {
    let path = batch.body.split("\"path\":\"").nth(1).and_then(|rest| rest.split('"').next());
    format!("GET {}", path.expect("an entry"))
}

impl Oracle {
    /// A batch goes out.
    pub(super) fn sends(&mut self, batch: &Batch, at: Duration) {
        self.sent.entry(id(batch)).or_insert_with(|| Sent {
            batch: batch.clone(),
            expected: expected_of(batch),
            dead: dead_of(batch),
            at,
            acknowledged: false,
            refused: false,
        });
    }

    /// An answer came back.
    pub(super) fn hears(&mut self, batch: &Batch, outcome: Outcome) {
        let sent = self.sent.get_mut(&id(batch)).expect("it was sent");
        let same = sent.batch == *batch;
        match outcome {
            Outcome::Accepted(receipt) => {
                assert!(!sent.acknowledged, "A2: {batch:?} is acknowledged and new again");
                assert!(same || sent.refused, "the first of a key is what the oracle remembers");
                (sent.batch, sent.expected) = (batch.clone(), expected_of(batch));
                sent.dead = dead_of(batch);
                assert_eq!(receipt.windows as usize, sent.expected.len());
                sent.acknowledged = true;
            }
            Outcome::Duplicate(receipt) => {
                assert!(same, "A3: {batch:?} has other content than the first");
                assert_eq!(u64::from(receipt.entries), sent.expected.values().sum::<u64>());
                sent.acknowledged = true;
                self.duplicates += 1;
            }
            Outcome::Conflict => {
                assert!(!same, "A3: {batch:?} has the content of the first");
                self.conflicts += 1;
            }
            Outcome::NoSpace => sent.refused = true,
            Outcome::Unreadable => panic!("A2: no crash makes the claim of {batch:?} unreadable"),
        }
    }

    /// A dead letter is to be removed.
    pub(super) fn removes(&mut self, letter: &StoredLetter) {
        self.removals.entry(name_of(letter)).or_default();
    }

    /// It was said that it is.
    pub(super) fn removed(&mut self, letter: &StoredLetter) {
        self.removals.insert(name_of(letter), true);
    }

    /// How many were removed.
    pub(super) fn removals(&self) -> usize {
        self.removals.values().filter(|done| **done).count()
    }

    /// Everything that was sent and can still be told from new, to be sent again.
    pub(super) fn remembered(&self, now: Duration) -> Vec<Batch> {
        let is_held = |sent: &&Sent| now < sent.at + RETENTION;
        self.sent.values().filter(is_held).map(|sent| sent.batch.clone()).collect()
    }

    /// Whether every one of these is known to be counted.
    pub(super) fn knows(&self, batches: &[Batch]) -> bool {
        batches.iter().all(|batch| self.sent[&id(batch)].acknowledged)
    }

    /// How many batches were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.sent.values().filter(|sent| sent.acknowledged).count()
    }

    /// Judges what a machine counts.
    pub(super) fn judge(&self, machine: &Machine, moment: Moment) -> Result<(), EngineError> {
        let customers: BTreeSet<_> = self.sent.keys().map(|(customer, _)| customer).collect();
        let mut counted: BTreeMap<(String, String), Counted> = BTreeMap::new();
        for customer in customers {
            let mut total = 0;
            for (minute, window) in machine.windows(customer, WindowSize::Minute)? {
                assert!(window.adds_up(), "W2: totals equal the sums over paths and agents");
                total += window.totals.requests;
                for (path, requests) in window.paths.iter() {
                    let of = (customer.clone(), path.to_owned());
                    counted.entry(of).or_default().insert(minute, requests);
                }
            }
            if moment == Moment::Quiet {
                for size in [WindowSize::Hour, WindowSize::Day] {
                    let windows = machine.windows(customer, size)?;
                    let sum: u64 = windows.iter().map(|(_, w)| w.totals.requests).sum();
                    assert_eq!(sum, total, "W2: minutes of {customer} sum to {size} windows");
                }
            }
        }
        for ((customer, _), sent) in &self.sent {
            let found = counted.remove(&(customer.clone(), path_of(&sent.batch)));
            let found = found.unwrap_or_default();
            let is_whole = found == sent.expected;
            if sent.acknowledged {
                assert!(is_whole, "A1, A2, Q1: {sent:?} was acknowledged and counts {found:?}");
            } else if moment == Moment::Quiet {
                assert!(is_whole || found.is_empty(), "A2: {sent:?} counts {found:?}");
            } else {
                let is_part = found.iter().all(|(m, n)| sent.expected.get(m) == Some(n));
                assert!(is_part, "A2: {sent:?} counts {found:?}");
            }
        }
        assert!(counted.is_empty(), "A2: what nobody sent is counted: {counted:?}");
        Ok(())
    }

    /// Judges what a machine has put aside, when all of it is in the store: each entry of each
    /// acknowledged batch once, and none that was removed.
    pub(super) fn judge_letters(&self, letters: &[StoredLetter]) {
        let mut found: BTreeMap<LetterName, &StoredLetter> = BTreeMap::new();
        for letter in letters {
            let twice = found.insert(name_of(letter), letter);
            assert_eq!(twice, None, "A2: {letter:?} was put aside twice");
        }
        for ((customer, key), sent) in &self.sent {
            let mut seen = 0;
            for (index, dead) in &sent.dead {
                let name = (customer.clone(), key.clone(), *index);
                let letter = found.remove(&name);
                if let Some(letter) = letter {
                    let (reason, body) = (&letter.reason, &letter.body);
                    assert_eq!((reason, body), (&dead.reason, &dead.original), "{letter:?}");
                }
                match self.removals.get(&name) {
                    Some(true) => assert_eq!(letter, None, "a removed letter is back"),
                    Some(false) => {}
                    None => seen += usize::from(letter.is_some()),
                }
                let is_gone = letter.is_none() && !self.removals.contains_key(&name);
                assert!(!(is_gone && sent.acknowledged), "A1, A2: {name:?} is not put aside");
            }
            let of = sent.dead.keys().map(|index| (customer.clone(), key.clone(), *index));
            let expected = of.filter(|name| !self.removals.contains_key(name)).count();
            assert!(seen == 0 || seen == expected, "A2: {sent:?} is put aside in part");
        }
        assert!(found.is_empty(), "A2: what nobody sent is put aside: {found:?}");
    }
}

fn name_of(letter: &StoredLetter) -> LetterName {
    (letter.id.customer.to_string(), letter.key.to_string(), letter.id.index)
}

fn dead_of(batch: &Batch) -> BTreeMap<u32, DeadLetter> {
    decoded(&batch.body).dead.iter().map(|letter| (letter.index, letter.clone())).collect()
}

fn expected_of(batch: &Batch) -> Counted {
    let windows = decoded(&batch.body).summary.windows;
    windows.iter().map(|window| (window.minute, window.requests.into())).collect()
}

fn id(batch: &Batch) -> (String, String) {
    (batch.customer.clone(), batch.key.clone())
}
