//! Crashes at every disk operation, and at random ones.
//!
//! The seed of a failing case is in its message; `LOGMILL_SIM_SEED=<seed>` runs that one alone.

use std::sync::Arc;
use std::time::Duration;

use super::disk::{Cut, SimDisk};
use super::machine::{Batch, Machine, Setup};
use super::oracle::Oracle;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::ids::AcceptTime;
use crate::testing::{ManualClock, SeededEntropy};

/// 2025-12-28T18:03:00Z
const START_MS: u64 = 1_766_944_980_000;
const CUTS: [Cut; 3] = [Cut::Kill, Cut::PowerKeepsNothing, Cut::PowerKeepsSome];

/// One step of a workload.
#[derive(Debug, Clone)]
enum Step {
    Group(Vec<Batch>),
    Checkpoint,
    Sweep,
    Pass(Duration),
    /// The wall clock is set, forward or back.
    Clock(AcceptTime),
}

fn batch(customer: u64, key: u64, minutes: u64) -> Batch {
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
fn changed(batch: &Batch) -> Batch {
    Batch { body: batch.body.replacen("/k", "/changed-k", 1), ..batch.clone() }
}

/// A workload that touches everything: groups of several customers, duplicates and conflicts
/// within a group and across groups, checkpoints, segments turning over, keys being swept.
fn script() -> Vec<Step> {
    let (a, b, c) = (batch(1, 1, 3), batch(2, 2, 1), batch(1, 3, 2));
    let many = |from: u64| (from..from + 12).map(|key| batch(key % 3, key, 2)).collect();
    vec![
        Step::Group(vec![a.clone()]),
        Step::Group(vec![b.clone(), a.clone(), changed(&a), c.clone(), c.clone()]),
        Step::Group(many(10)),
        Step::Checkpoint,
        Step::Group(vec![a.clone(), batch(2, 4, 2), changed(&b)]),
        Step::Pass(Duration::from_secs(3_700)),
        Step::Group(many(30)),
        Step::Sweep,
        Step::Checkpoint,
        Step::Group(many(50)),
        Step::Checkpoint,
        Step::Group(vec![batch(1, 5, 1)]),
    ]
}

/// A random workload of the same ingredients.
fn random_script(chance: &SeededEntropy) -> Vec<Step> {
    let mut sent: Vec<Batch> = Vec::new();
    let mut steps = Vec::new();
    for _ in 0..5 + chance.below(15) {
        steps.push(match chance.below(10) {
            0..6 => {
                let mut group = Vec::new();
                for _ in 0..1 + chance.below(8) {
                    let key = 100 + sent.len() as u64;
                    let next = match (chance.below(4), sent.is_empty()) {
                        (0, false) => {
                            let at = usize::try_from(chance.below(sent.len() as u64));
                            let old = sent[at.expect("small")].clone();
                            if chance.one_in(3) { changed(&old) } else { old }
                        }
                        _ => batch(chance.below(3), key, 1 + chance.below(4)),
                    };
                    if next.key == format!("k{key}") {
                        sent.push(next.clone());
                    }
                    group.push(next);
                }
                Step::Group(group)
            }
            6 | 7 => Step::Checkpoint,
            8 => Step::Pass(Duration::from_secs(chance.below(4_000))),
            _ => Step::Clock(AcceptTime(START_MS - 604_800_000 + chance.below(1_209_600_000))),
        });
    }
    steps
}

/// One world: a disk, a clock and what senders know.
struct World {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    oracle: Oracle,
    setup: Setup,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let grace = Duration::from_secs(60);
        let setup = Setup { partitions: 2, segment_bytes: 24 * 1_024, keys_max: 1_000, grace };
        let (disk, clock) = (SimDisk::default(), Arc::new(ManualClock::at(AcceptTime(START_MS))));
        Self { disk, clock, oracle: Oracle::default(), setup, seed }
    }

    fn fork(&self) -> Self {
        let clock = ManualClock::at(self.clock.wall());
        clock.set_uptime(self.clock.uptime());
        Self {
            disk: self.disk.fork(),
            clock: Arc::new(clock),
            oracle: self.oracle.clone(),
            ..*self
        }
    }

    fn boot(&self) -> Option<Machine> {
        let entropy = Arc::new(SeededEntropy::seeded(self.seed));
        Machine::boot(&self.disk, &self.clock, entropy, self.setup).ok()
    }

    /// Takes the steps until the machine goes down or there are no more.
    fn run(&mut self, machine: &mut Machine, steps: &[Step]) {
        for step in steps {
            let done = match step {
                Step::Group(batches) => {
                    batches.iter().for_each(|batch| self.oracle.sends(batch));
                    machine.group(batches).map(|outcomes| {
                        for (batch, outcome) in batches.iter().zip(outcomes) {
                            self.oracle.hears(batch, outcome);
                        }
                    })
                }
                Step::Checkpoint => machine.checkpoint(),
                Step::Sweep => machine.sweep(),
                Step::Pass(time) => {
                    self.clock.advance(*time);
                    Ok(())
                }
                Step::Clock(wall) => {
                    self.clock.set_wall(*wall);
                    Ok(())
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// One life of a process: recovery, and as many of the steps as the machine lives to take.
    fn live(&mut self, steps: &[Step]) {
        if let Some(mut machine) = self.boot() {
            self.run(&mut machine, steps);
        }
    }

    fn after(mut self, cut: Cut, seed: u64) -> Self {
        self.disk = self.disk.after(cut, &SeededEntropy::seeded(seed));
        self.seed = seed;
        self
    }

    /// Recovers, judges, has everything sent again, judges again, and once more after a clean
    /// stop: from then on everything counts exactly once.
    fn must_recover(&mut self, context: &str) {
        let entropy = Arc::new(SeededEntropy::seeded(self.seed ^ 1));
        let booted = Machine::boot(&self.disk, &self.clock, entropy, self.setup);
        let mut machine = booted.unwrap_or_else(|error| panic!("{context}: no recovery: {error}"));
        self.oracle.judge(&machine);
        for batch in self.oracle.all() {
            let outcomes = machine.group(std::slice::from_ref(&batch));
            let outcomes = outcomes.unwrap_or_else(|error| panic!("{context}: {error}"));
            self.oracle.hears_again(&batch, outcomes[0]);
        }
        assert!(self.oracle.is_complete(), "{context}: something is neither new nor known");
        self.oracle.judge(&machine);
        machine.checkpoint().unwrap_or_else(|error| panic!("{context}: {error}"));
        self.oracle.judge(&machine);
        drop(machine);
        let machine = self.boot().unwrap_or_else(|| panic!("{context}: no second recovery"));
        self.oracle.judge(&machine);
    }
}

/// A machine that is started on an empty disk, so that the first start is not counted again.
fn started(seed: u64) -> World {
    let world = World::new(seed);
    drop(world.boot().expect("an empty disk"));
    world
}

fn operations_of(world: &World, run: impl FnOnce(&mut World)) -> u64 {
    let mut world = world.fork();
    let before = world.disk.operations();
    run(&mut world);
    world.disk.operations() - before
}

/// Of a recovery that must work, and all of the steps.
fn operations_of_all(world: &World, steps: &[Step]) -> u64 {
    operations_of(world, |world| {
        let mut machine = world.boot().expect("recovery");
        world.run(&mut machine, steps);
    })
}

/// A1, A2, A3, S1, S2: down at every operation of the workload, in every way.
#[test]
fn a_crash_at_any_operation_loses_and_repeats_nothing() {
    let steps = script();
    let fresh = started(7);
    let total = operations_of_all(&fresh, &steps);
    for at in 1..=total {
        for cut in CUTS {
            let mut world = fresh.fork();
            world.disk.go_down_after(at);
            world.live(&steps);
            let mut world = world.after(cut, at);
            world.must_recover(&format!("down at operation {at} of {total}, {cut:?}"));
        }
    }
}

/// The same, and down again at operations of the recovery that follows.
#[test]
fn a_second_crash_during_recovery_loses_and_repeats_nothing() {
    let steps = script();
    let fresh = started(8);
    let total = operations_of_all(&fresh, &steps);
    let chance = SeededEntropy::seeded(9);
    for at in (1..=total).step_by(stride()) {
        let mut world = fresh.fork();
        world.disk.go_down_after(at);
        world.live(&steps);
        let first = CUTS[usize::try_from(chance.below(3)).expect("small")];
        let world = world.after(first, at);
        let recovery = operations_of(&world, |world| drop(world.boot()));
        for again in 1..=recovery {
            let world = world.fork();
            world.disk.go_down_after(again);
            drop(world.boot());
            let second = CUTS[usize::try_from(chance.below(3)).expect("small")];
            let mut world = world.after(second, again);
            world.must_recover(&format!(
                "down at operation {at} of {total}, {first:?}; again at {again} of {recovery} of \
                 the recovery, {second:?}"
            ));
        }
    }
}

/// Q1: whatever a checkpoint has done so far, a query sees every batch, and none twice.
#[test]
fn a_query_sees_everything_once_at_any_moment_of_a_checkpoint() {
    let mut world = started(10);
    let mut machine = world.boot().expect("recovery");
    for round in 0..4 {
        world.run(&mut machine, &renamed(script(), round));
        assert!(world.oracle.is_complete());
        let group = Step::Group(vec![batch(1, 900 + round, 5), batch(2, 950 + round, 5)]);
        world.run(&mut machine, &[group]);
        let judged = machine.checkpoint_watched(|machine| world.oracle.judge(machine));
        judged.expect("a checkpoint");
    }
}

/// W2: what is late was late when it was accepted, whatever the settings and the clock of the
/// process that replays it.
#[test]
fn a_replay_counts_by_the_rules_in_force_when_a_batch_was_accepted() {
    let late = |machine: &Machine| {
        let minutes = machine.minutes("c1");
        minutes.iter().map(|(_, w)| (w.totals.late, w.totals.revision)).collect::<Vec<_>>()
    };
    let mut world = started(11);
    let mut machine = world.boot().expect("recovery");
    // Minutes 18:00 to 18:06; it is 18:03, and 18:01 ended longer ago than the grace.
    world.run(&mut machine, &[Step::Group(vec![batch(1, 7, 7)])]);
    let expected = late(&machine);
    assert!(expected.contains(&(1, 1)) && expected.contains(&(0, 0)), "{expected:?}");
    drop(machine);
    world.setup.grace = Duration::from_secs(86_400);
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
    let total = operations_of(&fresh, |world| drop(world.boot()));
    for at in 1..=total {
        for cut in CUTS {
            let world = fresh.fork();
            world.disk.go_down_after(at);
            drop(world.boot());
            let mut world = world.after(Cut::Kill, at);
            let mut machine = world.boot().expect("a first start can be done again");
            world.run(&mut machine, &steps);
            drop(machine);
            let mut world = world.after(cut, at);
            world.must_recover(&format!("killed at operation {at} of {total}, then {cut:?}"));
        }
    }
}

/// Random workloads, partition counts, crashes and repeated crashes.
#[test]
fn random_crashes_lose_and_repeat_nothing() {
    let seed = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = match seed("LOGMILL_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..seed("LOGMILL_SIM_CASES").unwrap_or(300),
    };
    for seed in cases {
        let chance = SeededEntropy::seeded(seed);
        let mut world = World::new(seed);
        for crash in 0..1 + chance.below(4) {
            world.setup.partitions = 1 + u16::try_from(chance.below(5)).expect("small");
            world.disk.go_down_after(1 + chance.below(250));
            if let Some(mut machine) = world.boot() {
                let keys_from = crash * 1_000;
                let steps = random_script(&chance);
                world.run(&mut machine, &renamed(steps, keys_from));
            }
            let cut = CUTS[usize::try_from(chance.below(3)).expect("small")];
            let next = chance.bits();
            world = world.after(cut, next);
        }
        world.must_recover(&format!("LOGMILL_SIM_SEED={seed}"));
    }
}

/// Gives the batches of another round keys of their own.
fn renamed(steps: Vec<Step>, round: u64) -> Vec<Step> {
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

/// How many first crashes are skipped between two that get every second one; 1 is all of them.
fn stride() -> usize {
    let full = std::env::var("LOGMILL_SIM_FULL").is_ok();
    if full { 1 } else { 9 }
}
