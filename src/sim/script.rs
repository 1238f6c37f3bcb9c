//! Workloads: what is sent, and what else happens meanwhile.

use std::time::Duration;

use super::machine::Batch;
use super::world::START_MS;
use crate::ids::AcceptTime;
use crate::testing::SeededEntropy;

/// One step of a workload.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Batches that arrive together.
    Group(Vec<Batch>),
    Checkpoint,
    Sweep,
    /// A look at all counts.
    Query,
    Pass(Duration),
    /// The wall clock is set, forward or back.
    Clock(AcceptTime),
}

/// A batch that touches so many minutes.
pub(super) fn batch(customer: u64, key: u64, minutes: u64) -> Batch {
    let entry = |minute: u64| {
        let (hour, minute) = (minute / 60, minute % 60);
        format!(
            r#"{{"receivedAt":"2025-12-28T{hour:02}:{minute:02}:01Z","method":"GET","path":"/k{key}","userAgent":"curl/8"}}"#
        )
    };
    let entries: Vec<_> = (0..minutes).map(|n| entry(1_080 + (key + n) % 7)).collect();
    let body = format!("[{}]", entries.join(","));
    Batch { customer: format!("c{customer}"), key: format!("k{key}"), body }
}

/// The same key with other content.
pub(super) fn changed(batch: &Batch) -> Batch {
    Batch { body: batch.body.replacen("/k", "/changed-k", 1), ..batch.clone() }
}

/// A workload that touches everything: groups of several customers, duplicates and conflicts
/// within a group and across groups, checkpoints, segments turning over, keys being swept.
pub(super) fn script() -> Vec<Step> {
    let (a, b, c) = (batch(1, 1, 3), batch(2, 2, 1), batch(1, 3, 2));
    let many = |from: u64| (from..from + 9).map(|key| batch(key % 3, key, 2)).collect();
    vec![
        Step::Group(vec![a.clone()]),
        Step::Group(vec![b.clone(), a.clone(), changed(&a), c.clone(), c.clone()]),
        Step::Group(many(10)),
        Step::Checkpoint,
        Step::Group(vec![a.clone(), batch(2, 4, 2), changed(&b)]),
        // All keys so far are past their retention now.
        Step::Pass(Duration::from_secs(8 * 86_400)),
        Step::Group(many(30)),
        Step::Sweep,
        Step::Checkpoint,
        Step::Group(many(50)),
        Step::Checkpoint,
        Step::Group(vec![batch(1, 5, 1)]),
    ]
}

/// A random workload of the same ingredients.
pub(super) fn random_script(chance: &SeededEntropy) -> Vec<Step> {
    let mut sent: Vec<Batch> = Vec::new();
    let mut steps = Vec::new();
    for _ in 0..5 + chance.below(15) {
        steps.push(match chance.below(12) {
            0..6 => Step::Group(random_group(chance, &mut sent)),
            6 | 7 => Step::Checkpoint,
            8 => Step::Pass(Duration::from_secs(chance.below(4_000))),
            9 => Step::Clock(AcceptTime(START_MS - 604_800_000 + chance.below(1_209_600_000))),
            10 => Step::Sweep,
            _ => Step::Query,
        });
    }
    steps
}

fn random_group(chance: &SeededEntropy, sent: &mut Vec<Batch>) -> Vec<Batch> {
    let mut group = Vec::new();
    for _ in 0..1 + chance.below(8) {
        if !sent.is_empty() && chance.one_in(4) {
            let at = chance.below(sent.len() as u64);
            let old = &sent[usize::try_from(at).expect("small")];
            group.push(if chance.one_in(3) { changed(old) } else { old.clone() });
        } else {
            let new = batch(chance.below(3), 100 + sent.len() as u64, 1 + chance.below(4));
            sent.push(new.clone());
            group.push(new);
        }
    }
    group
}

/// Gives the batches of another round keys of their own.
pub(super) fn renamed(steps: Vec<Step>, round: u64) -> Vec<Step> {
    let rename = |batch: Batch| Batch {
        key: format!("r{round}{}", batch.key),
        body: batch.body.replace("\"path\":\"/", &format!("\"path\":\"/r{round}")),
        ..batch
    };
    let step = |step| match step {
        Step::Group(batches) => Step::Group(batches.into_iter().map(rename).collect()),
        other => other,
    };
    steps.into_iter().map(step).collect()
}
