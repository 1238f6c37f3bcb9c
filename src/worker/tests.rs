//! What a worker promises: an exact cut at each barrier, and answers that say what is in which.

use crossbeam_channel::bounded;

use super::*;
use crate::counts::Totals;
use crate::testing::{RULES, batch, customer, summary, wall};
use crate::window::Minute;

fn worker() -> PartitionWorker {
    PartitionWorker::new(PartitionId(3), Epoch(7), u64::MAX)
}

/// Applies one batch of customer `c`, accepted at the given minute.
fn apply(worker: &mut PartitionWorker, entries: &[(u32, &str)], accepted: u32) -> Applied {
    let summary = summary(&batch(entries));
    let windows = summary.windows.len();
    let batch =
        AcceptedBatch { customer: customer("c"), summary, dead: None, permit: Box::new(()) };
    let batch = Arc::new(batch);
    let items = (0..windows).map(|window| (Arc::clone(&batch), window)).collect();
    worker.step(WorkerMessage::Apply(Apply {
        group: Group(1),
        accepted: wall(accepted),
        rules: RULES,
        items,
        dead: Vec::new(),
    }))
}

fn barrier(worker: &mut PartitionWorker, epoch: u64) -> HandedOver {
    let (reply, handed_over) = bounded(1);
    worker.step(WorkerMessage::Barrier(Epoch(epoch), reply));
    handed_over.try_recv().expect("handed over at once")
}

/// Epoch, minute and requests of all that the worker says it holds.
fn overlay(worker: &mut PartitionWorker, of: &str) -> Vec<(u64, u32, u64)> {
    let (reply, answer) = bounded(1);
    let span = Span { from: Minute(0), to: Minute(100) };
    let (customer, parts) = (customer(of), Parts::TOTALS);
    worker.step(WorkerMessage::Overlay(OverlayRequest { customer, span, parts, reply }));
    let flat = |overlay: &Overlay| {
        let epoch = overlay.epoch.0;
        let minute = |(minute, totals): &(Minute, Totals)| (epoch, minute.0, totals.requests);
        overlay.minutes.totals.iter().map(minute).collect::<Vec<_>>()
    };
    answer.try_recv().expect("answered at once").iter().flat_map(flat).collect()
}

fn requests(delta: &Delta, minute: u32) -> u64 {
    delta.get(Minute(minute), &customer("c")).map_or(0, |window| window.totals.requests)
}

/// S1: a delta holds what was applied between two barriers, and nothing else.
#[test]
fn a_barrier_cuts_exactly() {
    let mut worker = worker();
    apply(&mut worker, &[(1, "/a"), (1, "/b")], 1);
    let first = barrier(&mut worker, 8);
    apply(&mut worker, &[(1, "/a"), (2, "/a")], 1);
    worker.step(WorkerMessage::Committed(Epoch(8)));
    let second = barrier(&mut worker, 9);
    assert_eq!(first.partition, PartitionId(3));
    assert_eq!((requests(&first.delta, 1), requests(&first.delta, 2)), (2, 0));
    assert_eq!((requests(&second.delta, 1), requests(&second.delta, 2)), (1, 1));
}

/// Q1: what was handed over is told until it is durable, each part with its own epoch.
#[test]
fn an_overlay_tells_each_count_with_its_epoch() {
    let mut worker = worker();
    apply(&mut worker, &[(1, "/a")], 1);
    assert_eq!(overlay(&mut worker, "c"), [(8, 1, 1)]);
    barrier(&mut worker, 8);
    apply(&mut worker, &[(1, "/a"), (1, "/a")], 1);
    let mut both = overlay(&mut worker, "c");
    both.sort_unstable();
    assert_eq!(both, [(8, 1, 1), (9, 1, 2)]);
    worker.step(WorkerMessage::Committed(Epoch(8)));
    assert_eq!(overlay(&mut worker, "c"), [(9, 1, 2)]);
}

/// T1: an overlay is of the customer who is asked for.
#[test]
fn an_overlay_is_one_customer_s() {
    let mut worker = worker();
    apply(&mut worker, &[(1, "/a")], 1);
    assert_eq!(overlay(&mut worker, "d"), []);
}

/// S1: a second barrier before the first is durable would lose what was frozen.
#[test]
#[should_panic(expected = "at most one checkpoint is in flight")]
fn barriers_do_not_overlap() {
    let mut worker = worker();
    barrier(&mut worker, 8);
    barrier(&mut worker, 9);
}

/// S1: a barrier of another epoch would tag the delta with a checkpoint it is not in.
#[test]
#[should_panic(expected = "every barrier is one epoch after the last")]
fn no_epoch_is_left_out() {
    barrier(&mut worker(), 9);
}

/// A2: late counts entries, revision counts batches, both by the time the group was accepted.
#[test]
fn late_and_revision_follow_the_accept_time() {
    let mut worker = worker();
    // Minute 4 ends at 5 and has a minute of grace.
    assert_eq!(apply(&mut worker, &[(4, "/a"), (4, "/b")], 5), Applied { insights: 1, late: 0 });
    let late = apply(&mut worker, &[(4, "/a"), (4, "/a"), (9, "/a")], 6);
    assert_eq!(late, Applied { insights: 2, late: 2 });
    let delta = barrier(&mut worker, 8).delta;
    let totals = delta.get(Minute(4), &customer("c")).expect("counted").totals;
    assert_eq!((totals.requests, totals.late, totals.revision), (4, 2, 1));
    assert!(delta.get(Minute(9), &customer("c")).is_some_and(|nine| nine.totals.late == 0));
}

/// L1: the permit goes back when the batch is applied, and not before.
#[test]
fn the_permit_is_given_back_after_the_last_window() {
    let (permit, given_back) = (Arc::new(()), |permit: &Arc<()>| Arc::strong_count(permit) == 1);
    let summary = summary(&batch(&[(1, "/a"), (2, "/a")]));
    let held = Box::new(Arc::clone(&permit));
    let batch =
        Arc::new(AcceptedBatch { customer: customer("c"), summary, dead: None, permit: held });
    let [first, second] = [0, 1].map(|window| Apply {
        group: Group(1),
        accepted: wall(1),
        rules: RULES,
        items: vec![(Arc::clone(&batch), window)],
        dead: Vec::new(),
    });
    drop(batch);
    let mut worker = worker();
    worker.step(WorkerMessage::Apply(first));
    assert!(!given_back(&permit));
    worker.step(WorkerMessage::Apply(second));
    assert!(given_back(&permit));
}
