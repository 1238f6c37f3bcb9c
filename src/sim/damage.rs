//! Bytes that the disk has changed: a bit is turned, a sector zeroed, a file cut short.
//!
//! Whatever it hits, a start refuses it, a query or a batch that needs it is told so, or it does
//! no harm: no answer is wrong. What nobody asks for, an audit finds. One thing nobody can: the
//! last frame of a journal that a crash has left, damaged, looks like one that was never synced. No
//! panic gets out, the same directory ends the same way twice, and `--repair` starts and says what
//! it gave up.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::disk::{Cut, SimDisk};
use super::machine::{Batch, Machine};
use super::script::{Step, batch};
use super::world::World;
use super::{in_case, is_full, number_from, say};
use crate::audit::audit;
use crate::counts::TimedCounts;
use crate::disk::{Disk, Layout};
use crate::error::EngineError;
use crate::journal::ArchiveRetention;
use crate::sequencer::Outcome;
use crate::testing::SeededEntropy;
use crate::window::WindowSize;

const SIZES: [WindowSize; 3] = [WindowSize::Minute, WindowSize::Hour, WindowSize::Day];
const CUSTOMERS: [&str; 3] = ["c0", "c1", "c2"];

/// What becomes of a damaged directory, from the best to the worst that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Harmless,
    RefusedAtOpen,
    FoundOnRead,
    /// The last frame of the journal counts as never written.
    TakenForTorn,
}

/// How often what was damaged came to which end.
type Fates = BTreeMap<(&'static str, Fate, &'static str), usize>;

/// A directory before anything happens to it, and what is right about it.
struct Truth {
    world: World,
    sent: Vec<Batch>,
    windows: Vec<Vec<TimedCounts>>,
    without_last_group: Vec<Vec<TimedCounts>>,
}

/// Archived, checkpointed, rolled up, and some more in the journal if the process was killed.
fn truth(seed: u64, killed: bool) -> Truth {
    let mut world = World::new(seed);
    world.archive = ArchiveRetention::Forever;
    let many = |from: u64, count: u64| -> Vec<Batch> {
        (from..from + count).map(|key| batch(key % 3, key, 1 + key % 4)).collect()
    };
    let rounds = [many(0, 9), many(9, 12), many(21, 7), many(28, 9)];
    let machine = world.boot().expect("an empty disk");
    let mut steps = Vec::new();
    for (round, batches) in rounds.iter().enumerate() {
        steps.extend(batches.chunks(3).map(|group| Step::Group(group.to_vec())));
        if round < 3 || !killed {
            steps.push(Step::Checkpoint);
        }
    }
    let last = steps.split_off(steps.len() - 1);
    world.run(&machine, &steps).expect("a disk that works");
    let without_last_group = all_windows(&machine).expect("readable");
    world.run(&machine, &last).expect("a disk that works");
    let windows = all_windows(&machine).expect("readable");
    drop(machine);
    let world = world.after(Cut::Kill, seed);
    Truth { world, sent: rounds.concat(), windows, without_last_group }
}

fn all_windows(machine: &Machine) -> Result<Vec<Vec<TimedCounts>>, EngineError> {
    let each = CUSTOMERS.iter().flat_map(|customer| SIZES.map(|size| (customer, size)));
    each.map(|(customer, size)| machine.windows(customer, size)).collect()
}

/// Every file whose bytes mean something.
fn files_of(disk: &SimDisk) -> Vec<PathBuf> {
    let layout = Layout::new("data");
    let mut files = vec![layout.store()];
    for dir in [layout.journal(), layout.pages(), layout.archive()] {
        let names = disk.list(&dir).expect("it is there");
        files.extend(names.into_iter().map(|name| dir.join(name)));
    }
    files
}

fn kind_of(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    let kinds = [(".zst", "archive"), (".segment", "journal"), (".page", "claim page")];
    let found = kinds.iter().find(|(part, _)| text.ends_with(part));
    found.map_or("store", |(_, kind)| kind)
}

/// Changes a file: mostly a bit somewhere in what is not zero.
fn damage(disk: &SimDisk, path: &Path, chance: &SeededEntropy) -> String {
    let file = disk.open(path).expect("it is there");
    let len = file.len().expect("readable");
    let mut bytes = vec![0; usize::try_from(len).expect("small")];
    file.read_at(0, &mut bytes).expect("readable");
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let some = |from: usize| usize::try_from(chance.below(from as u64)).expect("small");
    let at = if used.is_empty() || chance.one_in(8) {
        some(bytes.len())
    } else {
        used[some(used.len())]
    };
    let what = match chance.below(10) {
        0 => {
            file.set_len(at as u64).expect("cut");
            format!("cut at {at}")
        }
        1 => {
            let (from, to) = (at / 512 * 512, (at / 512 * 512 + 512).min(bytes.len()));
            file.write_at(from as u64, &vec![0; to - from]).expect("written");
            format!("zeros from {from} to {to}")
        }
        bit => {
            let turned = bytes[at] ^ (1 << (bit % 8));
            file.write_at(at as u64, &[turned]).expect("written");
            format!("bit {} of byte {at}", bit % 8)
        }
    };
    file.sync_data().expect("synced");
    format!("{}: {what}", path.display())
}

/// Runs something that must not panic, whatever the bytes say.
fn without_panic<T>(what: &str, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panic!("{what} panicked"))
}

/// What a start and all queries make of a world.
fn look(truth: &Truth, mut world: World) -> (Fate, Option<EngineError>) {
    let machine = match without_panic("a start", || world.boot()) {
        Ok(machine) => machine,
        Err(error) => return (Fate::RefusedAtOpen, Some(error)),
    };
    match without_panic("a query", || all_windows(&machine)) {
        Err(error) => return (Fate::FoundOnRead, Some(error)),
        Ok(windows) if windows == truth.windows => {}
        Ok(windows) if windows == truth.without_last_group => return (Fate::TakenForTorn, None),
        Ok(windows) => panic!("S1: a wrong answer: {windows:?}"),
    }
    let mut fate = Fate::Harmless;
    for batch in &truth.sent {
        match without_panic("a batch", || machine.group(std::slice::from_ref(batch))) {
            Ok(outcomes) if matches!(outcomes[..], [Outcome::Duplicate(_)]) => {}
            Ok(outcomes) if outcomes == [Outcome::Unreadable] => fate = Fate::FoundOnRead,
            Ok(outcomes) => panic!("A2: {batch:?} was counted, and is now {outcomes:?}"),
            Err(error) => return (Fate::FoundOnRead, Some(error)),
        }
    }
    (fate, None)
}

/// With `--repair`: it starts or says why not, and takes what is lost anew. It counts no batch
/// twice, unless it gave up the keys of a claim page that cannot be read, and it says so.
fn must_be_repaired(truth: &Truth, mut world: World, keys_are_lost: bool) {
    world.repair = true;
    let machine = match without_panic("a repair", || world.boot()) {
        Ok(machine) => machine,
        // Nothing can be made of a store that is not one.
        Err(error) => return assert!(!error.hint().is_empty()),
    };
    for batch in &truth.sent {
        let judged = without_panic("a batch", || machine.group(std::slice::from_ref(batch)));
        assert_ne!(judged.expect("what was repaired works"), [Outcome::Unreadable], "{batch:?}");
    }
    let Ok(windows) = all_windows(&machine) else { return };
    let total = |windows: &[Vec<TimedCounts>]| -> u64 {
        windows.iter().flatten().map(|(_, window)| window.totals.requests).sum()
    };
    let is_once = total(&windows) <= total(&truth.windows);
    assert!(is_once || keys_are_lost, "A2: a repair counts nothing twice");
}

fn damaged_case(truth: &Truth, seed: u64, fates: &mut Fates) {
    let chance = SeededEntropy::seeded(seed);
    let world = truth.world.fork();
    let files = files_of(&world.disk);
    let file = &files[usize::try_from(chance.below(files.len() as u64)).expect("small")];
    let what = damage(&world.disk, file, &chance);
    in_case(&format!("LOGMILL_SIM_SEED={seed}, {what}"), || {
        let (fate, error) = look(truth, world.fork());
        if let Some(error) = &error {
            assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            let (again, _) = look(truth, world.fork());
            assert_eq!(again, fate, "the same directory ends in the same way");
        }
        let report = without_panic("an audit", || audit(&world.recovery(), &|_, _, _| {}));
        let is_found = report.is_err() || report.is_ok_and(|report| report.found > 0);
        assert!(is_found || !matches!(fate, Fate::FoundOnRead), "an audit sees what others see");
        assert!(fate != Fate::TakenForTorn || kind_of(file) == "journal", "a batch is lost");
        let is_in_claims = kind_of(file) == "claim page";
        if fate == Fate::RefusedAtOpen || (is_in_claims && fate == Fate::FoundOnRead) {
            must_be_repaired(truth, world.fork(), is_in_claims);
        }
        let told =
            if fate == Fate::Harmless && is_found { " to answers, an audit sees it" } else { "" };
        *fates.entry((kind_of(file), fate, told)).or_default() += 1;
    });
}

/// S1, A2: a changed byte is refused, told, found, or does no harm; wherever it is.
#[test]
fn damage_is_never_believed_for_good() {
    let seeds = match number_from("LOGMILL_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..if is_full() { 10_000 } else { 150 },
    };
    let truths = [truth(1, true), truth(2, false)];
    let mut fates = BTreeMap::new();
    for seed in seeds {
        damaged_case(&truths[usize::from(seed % 2 == 1)], seed, &mut fates);
    }
    for ((kind, fate, told), count) in &fates {
        say(&format!("damage to {kind}: {fate:?}{told} {count}"));
    }
    let seen = |fate| fates.keys().any(|(_, seen, _)| *seen == fate);
    assert!(number_from("LOGMILL_SIM_SEED").is_some() || seen(Fate::RefusedAtOpen));
}
