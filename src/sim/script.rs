//! Workloads: what is sent, and what else happens meanwhile.

use std::time::Duration;

use super::machine::Batch;
use super::world::START_MS;
use crate::ids::AcceptTime;
use crate::store::StoredLetter;
use crate::testing::SeededEntropy;

/// One step of a workload.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Batches that arrive together.
    Group(Vec<Batch>),
    Checkpoint,
    Sweep,
    /// The oldest dead letters that are in the store, so many, are mended and counted, each as a
    /// batch of its own, and then removed.
    Replay(usize),
    /// So many are removed.
    Drop(usize),
    /// A look at all counts.
    Query,
    Pass(Duration),
    /// The wall clock is set, forward or back.
    Clock(AcceptTime),
}

/// How many entries of a batch are put aside: of most none, of some one or two.
fn dead_of(key: u64) -> u64 {
    u64::from(key.is_multiple_of(3)) + u64::from(key.is_multiple_of(5))
}

/// A batch that touches so many minutes; some have entries that will be put aside.
pub(super) fn batch(customer: u64, key: u64, minutes: u64) -> Batch {
    let entry = |minute: u64| {
        let (hour, minute) = (minute / 60, minute % 60);
        format!(
            r#"{{"receivedAt":"2025-12-28T{hour:02}:{minute:02}:01Z","method":"GET","path":"/k{key}","userAgent":"curl/8"}}"#
        )
    };
    let dead = |n| format!(r#"{{"path":"/k{key}","dead":{n}}}"#);
    let mut entries: Vec<_> = (0..minutes).map(|n| entry(1_080 + (key + n) % 7)).collect();
    // Before, between and after the others.
    (0..dead_of(key)).for_each(|n| entries.insert(entries.len() * (key % 3) as usize / 2, dead(n)));
    let body = format!("[{}]", entries.join(","));
    Batch { customer: format!("c{customer}"), key: format!("k{key}"), body }
}

/// The same key with other content.
pub(super) fn changed(batch: &Batch) -> Batch {
    Batch { body: batch.body.replacen("/k", "/changed-k", 1), ..batch.clone() }
}

/// A dead letter as it is sent again, mended: it counts under a path of its own.
pub(super) fn mended(letter: &StoredLetter) -> Batch {
    let (customer, name) =
        (letter.id.customer.to_string(), format!("{}.{}", letter.key, letter.id.index));
    let entry = format!(
        r#"[{{"receivedAt":"2025-12-28T18:03:01Z","method":"GET","path":"/{customer}-{name}","userAgent":""}}]"#
    );
    Batch { customer, key: format!("again-{name}"), body: entry }
}

/// A workload that touches everything: groups of several customers, duplicates and conflicts
/// within a group and across groups, dead letters, checkpoints, segments turning over, keys being
/// swept.
pub(super) fn script() -> Vec<Step> {
    let (a, b, c) = (batch(1, 1, 3), batch(2, 2, 1), batch(1, 3, 2));
    let many = |from: u64| (from..from + 9).map(|key| batch(key % 3, key, 2)).collect();
    vec![
        Step::Group(vec![a.clone()]),
        Step::Group(vec![b.clone(), a.clone(), changed(&a), c.clone(), c.clone()]),
        Step::Group(many(10)),
        Step::Checkpoint,
        Step::Replay(1),
        Step::Drop(2),
        Step::Group(vec![a.clone(), batch(2, 4, 2), changed(&b)]),
        // All keys so far are past their retention now.
        Step::Pass(Duration::from_secs(8 * 86_400)),
        Step::Group(many(30)),
        Step::Sweep,
        Step::Checkpoint,
        Step::Group(many(50)),
        Step::Checkpoint,
        Step::Replay(1),
        Step::Group(vec![batch(1, 5, 1)]),
    ]
}

/// A random workload of the same ingredients.
pub(super) fn random_script(chance: &SeededEntropy) -> Vec<Step> {
    let mut sent: Vec<Batch> = Vec::new();
    let mut steps = Vec::new();
    let take = |n: u64| usize::try_from(n).expect("small");
    for _ in 0..5 + chance.below(15) {
        steps.push(match chance.below(15) {
            0..6 => Step::Group(random_group(chance, &mut sent)),
            6 | 7 => Step::Checkpoint,
            8 => Step::Pass(Duration::from_secs(chance.below(4_000))),
            9 => Step::Clock(AcceptTime(START_MS - 604_800_000 + chance.below(1_209_600_000))),
            10 => Step::Sweep,
            11 | 12 => Step::Replay(1 + take(chance.below(3))),
            13 => Step::Drop(1 + take(chance.below(3))),
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
