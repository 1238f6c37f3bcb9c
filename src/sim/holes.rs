//! Holes that systems like this one fall into, one test each. Each names the rule that holds it,
//! which was taken away once to see the test fail.

use std::time::Duration;

use super::disk::Cut;
use super::fault::{Op, Spring, Trap};
use super::machine::{Batch, Machine};
use super::oracle::Moment;
use super::script::{Step, batch};
use super::world::{START_MS, World};
use crate::counts::KeyLimits;
use crate::ids::AcceptTime;
use crate::journal::ArchiveRetention;
use crate::testing::SeededEntropy;
use crate::window::WindowSize;

const DAY_MS: u64 = 86_400_000;

fn group(keys: std::ops::Range<u64>) -> Step {
    Step::Group(keys.map(|key| batch(key % 2, key, 3)).collect())
}

/// So many groups, each of a block: three fill a segment.
fn groups(count: u64) -> Vec<Step> {
    (0..count).map(|n| group(100 + n * 3..103 + n * 3)).collect()
}

/// A process that has everything made ahead that it makes ahead.
fn serving(world: &mut World) -> Machine {
    let machine = world.boot().expect("a disk that works");
    machine.settle().expect("a disk that works");
    machine
}

/// Lives until the trap springs, and is gone then.
fn caught(world: &mut World, machine: &Machine, steps: &[Step], trap: Trap) {
    world.disk.set_trap(trap);
    assert!(world.run(machine, steps).is_err() && world.disk.is_sprung(), "{trap:?}");
    world.disk.go_down_after(0);
}

/// S2. Fails without the sync of the claims before a checkpoint commits: their segments are gone.
#[test]
fn power_cut_right_after_a_segment_was_reclaimed_and_everything_is_sent_again() {
    let mut world = World::started(30);
    let machine = serving(&mut world);
    world.run(&machine, &groups(5)).expect("a disk that works");
    world.disk.log();
    world.run(&machine, &[Step::Checkpoint]).expect("a disk that works");
    let reclaimed = world.disk.log().iter().any(|(op, path)| {
        *op == Op::Rename && path.extension().is_some_and(|extension| extension == "segment")
    });
    assert!(reclaimed, "a segment went");
    world.disk.go_down_after(0);
    world.after(Cut::PowerKeepsNothing, 1).must_recover("after the cut");
}

/// A1. Fails without the closing checkpoint of recovery: the next process answers from a frame
/// that only the page cache has.
#[test]
fn killed_between_journal_write_and_sync_then_restarted_then_power_cut() {
    let mut world = World::started(31);
    let machine = serving(&mut world);
    world.run(&machine, &groups(1)).expect("a disk that works");
    let unsynced = [group(1..4)];
    caught(&mut world, &machine, &unsynced, Trap::at(Op::SyncData, "journal/", Spring::GoDown));
    let mut world = world.after(Cut::Kill, 1);
    let machine = serving(&mut world);
    world.run(&machine, &unsynced).expect("a disk that works");
    assert_eq!(world.oracle.duplicates, 3, "the frame was whole");
    world.disk.go_down_after(0);
    world.after(Cut::PowerKeepsNothing, 2).must_recover("after the cut");
}

/// A1. The same with a sync that failed: the pages count as clean, and no later sync writes them.
/// Fails without the closing checkpoint of recovery.
#[test]
fn a_journal_that_failed_to_sync_then_restarted_then_power_cut() {
    let mut world = World::started(32);
    let machine = serving(&mut world);
    world.run(&machine, &groups(1)).expect("a disk that works");
    let unsynced = [group(1..4)];
    caught(&mut world, &machine, &unsynced, Trap::at(Op::SyncData, "journal/", Spring::Fail));
    let mut world = world.after(Cut::Kill, 1);
    let machine = serving(&mut world);
    world.run(&machine, &unsynced).expect("a disk that works");
    assert_eq!(world.oracle.duplicates, 3, "the frame was seen");
    world.disk.go_down_after(0);
    world.after(Cut::PowerKeepsNothing, 2).must_recover("after the cut");
}

/// S2. The same two, with an archive: fails if recovery does not write the last frame again. The
/// store has the group by then, and the journal would have nothing to archive.
#[test]
fn a_frame_that_was_not_synced_then_checkpointed_then_power_cut_is_archived() {
    for spring in [Spring::GoDown, Spring::Fail] {
        let mut world = World::started(33);
        world.archive = ArchiveRetention::Forever;
        let machine = serving(&mut world);
        world.run(&machine, &groups(1)).expect("a disk that works");
        caught(&mut world, &machine, &[group(1..4)], Trap::at(Op::SyncData, "journal/", spring));
        let mut world = world.after(Cut::Kill, 1);
        drop(serving(&mut world));
        world.disk.go_down_after(0);
        let mut world = world.after(Cut::PowerKeepsNothing, 2);
        world.must_recover("after the cut");
        world.must_pass_audit();
    }
}

/// S2. Fails if a segment that is archived already is reclaimed without a sync of the archive: the
/// name in it may be one that only the page cache has.
#[test]
fn killed_before_the_name_of_an_archived_segment_is_durable_then_reclaimed_then_power_cut() {
    let mut world = World::new(34);
    world.archive = ArchiveRetention::Forever;
    let machine = serving(&mut world);
    world.run(&machine, &groups(5)).expect("a disk that works");
    let trap = Trap::at(Op::SyncDir, "archive", Spring::GoDown);
    caught(&mut world, &machine, &[Step::Checkpoint], trap);
    let mut world = world.after(Cut::Kill, 1);
    let machine = world.boot().expect("a disk that works");
    caught(&mut world, &machine, &[Step::Checkpoint], trap);
    let mut world = world.after(Cut::PowerKeepsNothing, 2);
    world.must_recover("after the cut");
    world.must_pass_audit();
}

/// A1, A3. Fails if a failed sync of the journal is not an error: the repeat, judged by the claim
/// of the first, would be answered as accepted with it.
#[test]
fn the_same_key_twice_in_one_group_whose_sync_fails() {
    for cut in [Cut::Kill, Cut::PowerKeepsNothing, Cut::PowerKeepsSome] {
        let mut world = World::started(33);
        let machine = serving(&mut world);
        let twice = Step::Group(vec![batch(1, 1, 2), batch(1, 1, 2)]);
        caught(&mut world, &machine, &[twice], Trap::at(Op::SyncData, "journal/", Spring::Fail));
        assert_eq!(world.oracle.acknowledged(), 0, "nobody was answered");
        world.after(cut, 1).must_recover(&format!("{cut:?}"));
    }
}

/// A4. Fails without the group test in a claim's judgement: a claim of a group that never reached
/// the journal is void, whatever number later groups reach.
#[test]
fn an_orphan_claim_then_restarted_then_power_cut_then_sent_again() {
    for cut in [Cut::Kill, Cut::PowerKeepsNothing, Cut::PowerKeepsSome] {
        let mut world = World::started(34);
        let machine = serving(&mut world);
        world.run(&machine, &groups(1)).expect("a disk that works");
        let orphan = [group(1..4)];
        caught(&mut world, &machine, &orphan, Trap::at(Op::Write, "journal/", Spring::GoDown));
        // The write that went down with the machine may be there: not in this case.
        let mut world = world.after(Cut::PowerKeepsSome, 3);
        let machine = serving(&mut world);
        world.run(&machine, &groups(6)[1..]).expect("a disk that works");
        world.disk.go_down_after(0);
        world.after(cut, 2).must_recover(&format!("{cut:?}"));
    }
}

/// S1, A2. Fails without the test of a frame's group against the checkpoint: what a power cut
/// brings back was counted.
#[test]
fn a_reclaimed_segment_that_a_power_cut_brings_back() {
    let mut world = World::started(35);
    let machine = serving(&mut world);
    let steps = [groups(5), vec![Step::Checkpoint]].concat();
    // The segment has its new name; the directory is not synced.
    caught(&mut world, &machine, &steps, Trap::at(Op::SyncDir, "journal", Spring::GoDown));
    let world = world.after(Cut::PowerKeepsNothing, 1);
    world.fork().must_recover("after the cut");
}

/// S1. Fails without the sync of the directory after each reclaimed segment: its new life would
/// be written into a file that a power cut gives its old name.
#[test]
fn a_reclaimed_segment_in_its_new_life_that_a_power_cut_brings_back() {
    let mut world = World::started(36);
    let machine = serving(&mut world);
    let steps = [groups(5), vec![Step::Checkpoint], groups(12)[5..].to_vec()].concat();
    caught(&mut world, &machine, &steps, Trap::at(Op::Rename, "spare-", Spring::GoDown));
    world.after(Cut::PowerKeepsNothing, 1).must_recover("after the cut");
}

/// S1. Fails if the checkpoint's group is not written in the transaction of its counts.
#[test]
fn a_commit_that_reports_an_error_after_it_was_durable() {
    // A commit syncs twice: its pages, and then that they count.
    for skip in 0..2 {
        for cut in [Cut::Kill, Cut::PowerKeepsNothing] {
            let mut world = World::started(37);
            let machine = serving(&mut world);
            let steps = [groups(4), vec![Step::Checkpoint], groups(6)[4..].to_vec()].concat();
            world.run(&machine, &steps).expect("a disk that works");
            let trap = Trap::at(Op::SyncData, "store.redb", Spring::FailWhenDone);
            caught(&mut world, &machine, &[Step::Checkpoint], Trap { skip, ..trap });
            world.after(cut, 1).must_recover(&format!("sync {skip}, {cut:?}"));
        }
    }
}

/// A2, A3. Fails without the accept time that never goes back, within a life and from one to the
/// next, and if keys were kept by wall time.
#[test]
fn the_clock_goes_a_week_forward_and_back() {
    let late = |machine: &Machine| -> Vec<u64> {
        let windows = machine.windows("c1", WindowSize::Minute).expect("readable");
        windows.iter().map(|(_, window)| window.totals.late).collect()
    };
    let at = |ms| Step::Clock(AcceptTime(ms));
    let mut world = World::started(38);
    let machine = serving(&mut world);
    let first = [Step::Group(vec![batch(1, 7, 7)]), at(START_MS + 8 * DAY_MS)];
    world.run(&machine, &first).expect("a disk that works");
    let in_time: u64 = late(&machine).iter().sum();
    assert!(in_time < 7, "some of it is not late");
    let second = [Step::Group(vec![batch(1, 14, 7)]), at(START_MS), Step::Sweep];
    world.run(&machine, &second).expect("a disk that works");
    world.run(&machine, &[Step::Group(vec![batch(1, 21, 7)])]).expect("a disk that works");
    let expected = late(&machine);
    assert_eq!(expected.iter().sum::<u64>(), in_time + 14, "what came after was late for good");

    for wall in [START_MS - 8 * DAY_MS, START_MS + 30 * DAY_MS] {
        let world = world.fork();
        world.disk.go_down_after(0);
        world.clock.set_wall(AcceptTime(wall));
        let mut world = world.after(Cut::PowerKeepsNothing, 1);
        let machine = serving(&mut world);
        assert_eq!(late(&machine), expected, "a replay goes by the recorded times");
        world.run(&machine, &[Step::Group(vec![batch(1, 28, 7)])]).expect("a disk that works");
        assert_eq!(late(&machine).iter().sum::<u64>(), in_time + 21, "and time goes on from there");
        world.run(&machine, &[Step::Sweep]).expect("a disk that works");
        drop(machine);
        world.must_recover("whatever the time is");
    }
}

/// A2, L1. Fails if a replay goes by the rules in force instead of the recorded ones: what is late
/// would change. What the store keeps by name goes by its own limits, and the sums stay.
#[test]
fn limits_are_tightened_between_crash_and_replay() {
    let totals = |machine: &Machine| -> Vec<_> {
        let windows = machine.windows("c1", WindowSize::Minute).expect("readable");
        windows.into_iter().map(|(minute, window)| (minute, window.totals)).collect()
    };
    let mut world = World::started(39);
    let machine = serving(&mut world);
    let steps =
        [Step::Group(vec![batch(1, 7, 7), batch(1, 14, 7)]), Step::Group(vec![batch(1, 21, 4)])];
    world.run(&machine, &steps).expect("a disk that works");
    let expected = totals(&machine);
    assert!(expected.iter().any(|(_, totals)| totals.late > 0));
    assert!(expected.iter().any(|(_, totals)| totals.late < totals.requests));
    world.disk.go_down_after(0);

    let mut world = world.after(Cut::PowerKeepsNothing, 1);
    world.rules.grace = Duration::ZERO;
    world.rules.keys = KeyLimits { paths: 1, agents: 1 };
    let machine = serving(&mut world);
    assert_eq!(totals(&machine), expected);
    let again = world.oracle.remembered(world.now());
    world.run(&machine, &[Step::Group(again)]).expect("a disk that works");
    assert_eq!((totals(&machine), world.oracle.duplicates), (expected, 3));
}

/// W1. Fails if a replay spreads over another number of partitions than there are workers.
#[test]
fn another_partition_count_after_a_crash() {
    for partitions in [1, 2, 5, 64] {
        let mut world = World::started(40);
        let machine = serving(&mut world);
        let steps = [groups(3), vec![Step::Checkpoint], groups(6)[3..].to_vec()].concat();
        world.run(&machine, &steps).expect("a disk that works");
        world.disk.go_down_after(0);
        world.partitions = partitions;
        world.after(Cut::Kill, 1).must_recover(&format!("{partitions} partitions"));
    }
}

/// Q1. Fails without the epoch test of a query, which drops what the snapshot holds already; and
/// if the snapshot is opened before the workers have answered.
#[test]
fn a_query_while_a_checkpoint_commits() {
    for seed in 0..40 {
        let chance = SeededEntropy::seeded(seed);
        let mut world = World::started(seed);
        let machine = serving(&mut world);
        for round in 0..3 {
            let batches: Vec<Batch> =
                (0..4).map(|n| batch(1, 100 * seed + 10 * round + n, 5)).collect();
            world.run(&machine, &[Step::Group(batches)]).expect("a disk that works");
            machine.ask_for_checkpoint();
            // Somewhere between the barrier and the last worker that learns of the commit.
            for _ in 0..chance.below(16) {
                machine.turn().expect("a disk that works");
            }
            world.oracle.judge(&machine, Moment::Busy).expect("a disk that works");
            machine.settle().expect("a disk that works");
            world.oracle.judge(&machine, Moment::Quiet).expect("a disk that works");
        }
    }
}
