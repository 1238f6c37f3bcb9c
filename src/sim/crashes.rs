//! Crashes at every disk operation, and at random ones.
//!
//! The seed of a failing case is in its message; `LOGMILL_SIM_SEED=<seed>` runs that one alone.

use std::path::PathBuf;
use std::time::Duration;

use super::disk::Cut;
use super::fault::Op;
use super::machine::Machine;
use super::script::{Step, batch, random_script, renamed, script};
use super::world::World;
use super::{in_case, is_full, number_from, say};
use crate::entropy::Entropy;
use crate::journal::ArchiveRetention;
use crate::testing::SeededEntropy;
use crate::window::WindowSize;

const CUTS: [Cut; 3] = [Cut::Kill, Cut::PowerKeepsNothing, Cut::PowerKeepsSome];

fn any_cut(chance: &SeededEntropy) -> Cut {
    CUTS[usize::try_from(chance.below(3)).expect("small")]
}

/// How many changes of the disk it takes.
fn changes_of(world: &World, run: impl FnOnce(&mut World)) -> u64 {
    let mut world = world.fork();
    let before = world.disk.changes();
    run(&mut world);
    world.disk.changes() - before
}

/// Of a recovery that must work, and all of the steps.
fn changes_of_all(world: &World, steps: &[Step]) -> u64 {
    changes_of(world, |world| world.live(steps).expect("a disk that works"))
}

/// What the proofs below rest on: the workload does all that can be cut short, and is small
/// enough to be cut everywhere.
#[test]
fn the_scripted_workload_does_everything() {
    let mut world = World::started(7);
    let before = world.disk.changes();
    world.disk.log();
    world.live(&script()).expect("a disk that works");
    assert!(world.disk.changes() - before <= 400, "{}", world.disk.changes() - before);
    assert!(world.oracle.duplicates >= 3 && world.oracle.conflicts >= 2);
    assert!(world.oracle.acknowledged() > 30);
    assert!(world.oracle.removals() == 4, "dead letters are counted and dropped");

    let log = world.disk.log();
    let count = |op: Op, part: &str| {
        let is = |(of, path): &&(Op, PathBuf)| *of == op && path.to_string_lossy().contains(part);
        log.iter().filter(is).count()
    };
    assert!(count(Op::Link, "/names/") > 30, "keys are claimed");
    assert!(count(Op::Rename, "spare-") >= 2, "segments turn over, are reclaimed and used again");
    assert!(count(Op::Remove, "/names/") >= 10, "keys are swept");
    assert!(count(Op::Remove, ".page") >= 2, "and their pages");
    assert!(count(Op::SyncData, ".page") >= 3, "checkpoints make claims durable");
    assert!(count(Op::SyncData, "store.redb") >= 8, "and commit");
}

/// What a seed is for: all that happens follows from it.
#[test]
fn a_seed_gives_the_same_history_each_time() {
    let history = |seed| {
        let chance = SeededEntropy::seeded(seed);
        let mut world = World::new(seed);
        world.disk.log();
        for round in 0..3 {
            let machine = world.boot().expect("recovery");
            let steps = renamed(random_script(&chance), round);
            world.run_on(&machine, &steps, &chance).expect("a disk that works");
            // All have their answers before their keys are past retention.
            world.run(&machine, &[Step::Query]).expect("a disk that works");
            world.clock.advance(Duration::from_secs(8 * 86_400));
            world.run(&machine, &[Step::Sweep]).expect("a disk that works");
        }
        (world.disk.log(), chance.bits())
    };
    for seed in 0..4 {
        let (first, again) = (history(seed), history(seed));
        let differs = first.0.iter().zip(&again.0).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (&first.0[at], &again.0[at])), None, "seed {seed}");
        assert_eq!(first.1, again.1, "seed {seed}");
    }
}

/// A1, A2, A3, S1, S2: down at every change of the workload, in every way.
#[test]
fn a_crash_at_any_operation_loses_and_repeats_nothing() {
    let steps = script();
    let fresh = World::started(7);
    let total = changes_of_all(&fresh, &steps);
    for at in 1..=total {
        for cut in CUTS {
            let mut world = fresh.fork();
            world.disk.go_down_after(at);
            world.live(&steps).ok();
            let mut world = world.after(cut, at);
            world.must_recover(&format!("down at {at} of {total}, {cut:?}"));
        }
    }
}

/// The same, and down again at changes of the recovery that follows.
#[test]
fn a_second_crash_during_recovery_loses_and_repeats_nothing() {
    let steps = script();
    let fresh = World::started(8);
    let total = changes_of_all(&fresh, &steps);
    let chance = SeededEntropy::seeded(9);
    let stride = if is_full() { 1 } else { 11 };
    for at in (1..=total).step_by(stride) {
        let mut world = fresh.fork();
        world.disk.go_down_after(at);
        world.live(&steps).ok();
        let first = any_cut(&chance);
        let world = world.after(first, at);
        let recovery = changes_of(&world, |world| drop(world.boot().expect("recovery")));
        for again in 1..=recovery {
            let mut world = world.fork();
            world.disk.go_down_after(again);
            world.live(&[]).ok();
            let second = any_cut(&chance);
            let mut world = world.after(second, again);
            world.must_recover(&format!(
                "down at {at} of {total}, {first:?}; again at {again} of {recovery} of the \
                 recovery, {second:?}"
            ));
        }
    }
}

/// W2: what is late was late when it was accepted, whatever the settings and the clock of the
/// process that replays it.
#[test]
fn a_replay_counts_by_the_rules_in_force_when_a_batch_was_accepted() {
    let late = |machine: &Machine| {
        let minutes = machine.windows("c1", WindowSize::Minute).expect("readable");
        minutes.iter().map(|(_, w)| (w.totals.late, w.totals.revision)).collect::<Vec<_>>()
    };
    let mut world = World::started(11);
    let machine = world.boot().expect("recovery");
    // Minutes 18:00 to 18:06; it is 18:03, and 18:01 ended longer ago than the grace.
    world.run(&machine, &[Step::Group(vec![batch(1, 7, 7)])]).expect("a disk that works");
    let expected = late(&machine);
    assert!(expected.contains(&(1, 1)) && expected.contains(&(0, 0)), "{expected:?}");
    drop(machine);
    world.rules.grace = Duration::from_secs(86_400);
    world.clock.advance(Duration::from_secs(3_600));
    let machine = world.boot().expect("recovery");
    assert_eq!(late(&machine), expected);
}

/// S1: the very first start is killed anywhere, the next one serves, then the power goes. What
/// the killed start had named and not synced must not take everything with it.
#[test]
fn a_killed_first_start_is_no_trap_for_a_later_power_cut() {
    let steps = script();
    let fresh = World::new(10);
    let total = changes_of(&fresh, |world| drop(world.boot().expect("an empty disk")));
    // Some of it makes directories alike.
    let stride = if is_full() { 1 } else { 2 };
    for at in (1..=total).step_by(stride) {
        for cut in CUTS {
            let mut world = fresh.fork();
            world.disk.go_down_after(at);
            world.live(&[]).ok();
            let mut world = world.after(Cut::Kill, at);
            world.live(&steps).expect("a first start can be done again");
            let mut world = world.after(cut, at);
            world.must_recover(&format!("killed at {at} of {total}, then {cut:?}"));
        }
    }
}

/// Q1: at random moments of random schedules, a query sees every batch that was acknowledged
/// before, and none twice; no crash loses or repeats one. Random partition counts, and crashes
/// during the recovery from crashes.
#[test]
fn random_crashes_lose_and_repeat_nothing() {
    let seeds = match number_from("LOGMILL_SIM_SEED") {
        Some(seed) => {
            say(&format!("LOGMILL_SIM_SEED={seed}"));
            seed..seed + 1
        }
        None => 0..number_from("LOGMILL_SIM_CASES").unwrap_or(300),
    };
    for seed in seeds {
        in_case(&format!("LOGMILL_SIM_SEED={seed}"), || random_case(seed));
    }
}

fn random_case(seed: u64) {
    let chance = SeededEntropy::seeded(seed);
    let mut world = World::new(seed);
    let is_archived = chance.one_in(4);
    if is_archived {
        world.archive = ArchiveRetention::Forever;
    }
    for crash in 0..1 + chance.below(4) {
        world.partitions = 1 + u16::try_from(chance.below(5)).expect("small");
        if crash > 0 || chance.one_in(8) {
            world.disk.go_down_after(1 + chance.below(250));
        }
        if let Ok(machine) = world.boot() {
            let steps = renamed(random_script(&chance), crash);
            // An error is the machine going down, or the end of the steps is.
            world.run_on(&machine, &steps, &chance).ok();
            world.disk.go_down_after(0);
        }
        world = world.after(any_cut(&chance), chance.bits());
    }
    world.must_recover("at the end");
    if is_archived {
        world.must_pass_audit();
    }
}
