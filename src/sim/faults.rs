//! Every call to the disk fails, in every way it can, and nothing goes down with it: no answer is
//! given that is not kept, the process ends clearly or refuses clearly, no sync is called again,
//! and the next life has everything that was acknowledged, once.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use super::disk::Cut;
use super::fault::{Failure, Fault, Op};
use super::script::{Step, renamed, script};
use super::world::World;
use super::{in_case, is_full, say};
use crate::error::EngineError;

/// What became of a process whose disk failed once, or for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// It did not start.
    Refused,
    /// It ended.
    Ended,
    /// It answered 503 to some, and went on.
    Went503,
    /// It did not need what failed.
    WentOn,
}

/// What comes after that process.
#[derive(Debug, Clone, Copy)]
enum After {
    Down(Cut),
    /// Another process, that sees what only the page cache has, and then a power cut.
    LifeAndDown,
}

const AFTERS: [After; 4] = [
    After::Down(Cut::Kill),
    After::Down(Cut::PowerKeepsNothing),
    After::Down(Cut::PowerKeepsSome),
    After::LifeAndDown,
];

/// What a path is of.
fn kind_of(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    let kinds = [
        ("store.redb", "store"),
        (".segment", "segment"),
        ("spare-", "spare segment"),
        ("probe-", "probe"),
        ("link-", "probe"),
        (".page", "claim page"),
        ("claims/pages", "directory of pages"),
        ("claims/names/", "names"),
        ("VERSION", "VERSION"),
        ("LOCK", "LOCK"),
    ];
    let found = kinds.iter().find(|(part, _)| text.contains(part));
    found.map_or("other directories", |(_, kind)| kind)
}

/// Whether it is one of the directories that are made alike, of which three are enough.
fn is_one_of_many(path: &Path) -> bool {
    let Some(shard) = path.to_str().and_then(|path| path.strip_prefix("data/claims/names/")) else {
        return false;
    };
    shard.len() == 1 && !matches!(shard, "0" | "7" | "f")
}

/// The calls of a start and a workload on a disk that works.
fn calls_of(world: &World, steps: &[Step]) -> Vec<(u64, Op, PathBuf)> {
    let mut world = world.fork();
    let before = world.disk.calls();
    world.disk.log();
    let machine = world.boot().expect("a disk that works");
    world.run(&machine, steps).expect("a disk that works");
    (before + 1..).zip(world.disk.log()).map(|(at, (op, path))| (at, op, path)).collect()
}

/// Lives with a failing disk, then heals it: what must hold then.
fn live_through(mut world: World, steps: &[Step], fault: Fault, after: After) -> Ending {
    world.disk.fail(Some(fault));
    let ending = match world.boot() {
        Err(error) => {
            must_be_clear(&error, fault.failure);
            Ending::Refused
        }
        Ok(machine) => match world.run(&machine, steps) {
            Err(error) => {
                must_be_clear(&error, fault.failure);
                // Half of the processes take the time to drop what they have.
                if fault.at.is_multiple_of(2) {
                    world.disk.go_down_after(0);
                }
                Ending::Ended
            }
            Ok(()) => {
                world.disk.fail(None);
                let all = world.oracle.remembered(world.now());
                let was_refused = !world.oracle.knows(&all);
                world.run(&machine, &[Step::Group(all.clone())]).expect("the disk works again");
                if !world.oracle.knows(&all) {
                    // A segment that could not be made ahead is found out when it is needed.
                    let again = world.run(&machine, &[Step::Group(all.clone())]);
                    again.expect("the disk works again");
                }
                assert!(world.oracle.knows(&all), "A4: what was refused is taken later");
                if was_refused { Ending::Went503 } else { Ending::WentOn }
            }
        },
    };
    world.disk.fail(None);
    let cut = match after {
        After::Down(cut) => cut,
        After::LifeAndDown => {
            world = world.after(Cut::Kill, fault.at);
            let steps = renamed(script(), 1);
            world.live(&steps[..6]).expect("the disk works again");
            Cut::PowerKeepsNothing
        }
    };
    world.after(cut, fault.at).must_recover("the disk works again");
    ending
}

/// What went wrong, where, and what to do.
fn must_be_clear(error: &EngineError, failure: Failure) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    assert!(text.contains(" data") || text.contains("directory .:"), "where? {text}");
    let said = ["os error 28", "os error 5", "os error 30", "os error 24"];
    assert!(said.iter().any(|said| text.contains(said)), "why? {text}");
    assert_eq!(error.hint().contains("space"), failure == Failure::NoSpace, "what to do? {text}");
}

/// All of them where everything is wanted; otherwise each in its turn.
fn afters(turn: &mut usize) -> Vec<After> {
    *turn += 1;
    if is_full() { AFTERS.to_vec() } else { vec![AFTERS[*turn % AFTERS.len()]] }
}

fn fail_everywhere(fresh: &World, stride: usize) {
    let steps = script();
    let mut endings: BTreeMap<_, BTreeMap<Ending, usize>> = BTreeMap::new();
    let mut failed = Vec::new();
    let calls = calls_of(fresh, &steps);
    let calls = calls.iter().filter(|(_, _, path)| !is_one_of_many(path));
    let mut turn = 0;
    for (at, op, path) in calls.step_by(stride) {
        for failure in Failure::ALL.into_iter().filter(|failure| failure.can_befall(*op)) {
            for (lasts, after) in [false, true]
                .into_iter()
                .flat_map(|lasts| afters(&mut turn).into_iter().map(move |after| (lasts, after)))
            {
                let fault = Fault { at: *at, failure, lasts };
                let case = || live_through(fresh.fork(), &steps, fault, after);
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(case)) {
                    Ok(ending) => {
                        let case = (kind_of(path), *op, failure);
                        *endings.entry(case).or_default().entry(ending).or_default() += 1;
                    }
                    Err(_) => {
                        failed.push(format!("{op:?} {}: {fault:?}, {after:?}", path.display()));
                    }
                }
            }
        }
    }
    for ((kind, op, failure), endings) in endings {
        say(&format!("{kind}, {op:?}, {failure:?}: {endings:?}"));
    }
    assert!(failed.is_empty(), "{} cases fail: {failed:#?}", failed.len());
}

#[test]
fn no_failure_of_a_first_start_is_a_trap() {
    fail_everywhere(&World::new(20), if is_full() { 1 } else { 5 });
}

#[test]
fn no_failure_loses_or_repeats_anything() {
    fail_everywhere(&World::started(21), if is_full() { 1 } else { 5 });
}

/// A4: where the engine grows, a full disk refuses batches with 503 and goes on; everything else
/// was given its space before.
#[test]
fn a_full_disk_refuses_batches_and_nothing_else() {
    let steps = script();
    let fresh = World::started(22);
    let calls = calls_of(&fresh, &steps);
    let while_serving = calls.into_iter().skip(calls_of(&fresh, &[]).len());
    let mut refused = 0;
    for (made, _, path) in while_serving.filter(|(_, op, _)| *op == Op::MakeFile) {
        // A file is made, stretched, written, synced and named.
        for at in made..made + 5 {
            // Writes that last would fail where there is space.
            for lasts in [false, true].into_iter().take(if at == made { 2 } else { 1 }) {
                let fault = Fault { at, failure: Failure::NoSpace, lasts };
                let case = || live_through(fresh.fork(), &steps, fault, After::LifeAndDown);
                match in_case(&format!("{}: {fault:?}", path.display()), case) {
                    Ending::Went503 => refused += 1,
                    ending => assert_eq!(ending, Ending::WentOn, "{}: {fault:?}", path.display()),
                }
            }
        }
    }
    assert!(refused > 10, "{refused} times somebody was told");
}
