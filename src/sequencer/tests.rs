//! What the sequencer promises: nobody is answered before the sync, nobody is claimed in vain.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::*;
use crate::claim::{Lives, Seals};
use crate::disk::{Disk, Layout, RealDisk};
use crate::ids::Incarnation;
use crate::journal::{SegmentKeeper, scan};
use crate::testing::{DataDir, Op, RULES, SeededEntropy, batch, now_at, submission};
use crate::window::Minute;

const WEEK: KeyRetention = KeyRetention { age: Duration::from_secs(7 * 86_400), keys_max: 1 << 40 };
const PARTITIONS: u16 = 3;
/// One minute of one entry.
const ONE: Receipt = Receipt { entries: 1, windows: 1 };

fn begin() -> (DataDir, Sequencer) {
    let dir = DataDir::with_claims();
    let (disk, layout) = (dir.disk(), dir.layout.clone());
    let (lives, seals) = (Lives::new(), Seals::new());
    let claims = ClaimStore::open(disk, layout, Incarnation(1), lives, seals, Duration::ZERO);
    let entropy = Arc::<SeededEntropy>::default();
    let keeper = SegmentKeeper::open(
        dir.disk(),
        dir.layout.clone(),
        entropy,
        RULES,
        crate::limits::SEGMENT_BYTES,
    );
    let mut keeper = keeper.expect("opened");
    let journal = Journal::begin(Box::new(move || keeper.prepare()), Group(0)).expect("a segment");
    let claims = claims.expect("opened");
    (dir, Sequencer::new(claims, journal, RULES, PARTITIONS, WEEK, AcceptTime(0)))
}

/// Sequences batches of customer `c`, of key and body, as one group at the given minute.
fn step_at(
    sequencer: &mut Sequencer,
    batches: &[(&str, &str)],
    minute: u32,
) -> Result<Sequenced, DiskError> {
    let group = batches.iter().map(|(key, body)| submission("c", key, body).0).collect();
    sequencer.step(group, now_at(minute), || Duration::ZERO)
}

/// Sequences a batch of one entry whose record takes so much of a segment that three do not fit.
fn step_large(sequencer: &mut Sequencer, key: &str) -> Result<Sequenced, DiskError> {
    let mut large = submission("c", key, &batch(&[(5, "/a")])).0;
    large.record.resize(12 << 20, 0);
    sequencer.step(vec![large], now_at(1), || Duration::ZERO)
}

fn step(sequencer: &mut Sequencer, batches: &[(&str, &str)]) -> Sequenced {
    step_at(sequencer, batches, 1).expect("the disk works")
}

fn outcomes(sequenced: &Sequenced) -> Vec<Outcome> {
    sequenced.answers.iter().map(|(_, outcome)| *outcome).collect()
}

fn windows(sequenced: &Sequenced) -> usize {
    sequenced.dispatches.iter().map(|(_, apply)| apply.items.len()).sum()
}

fn journalled(dir: &DataDir) -> usize {
    scan(&RealDisk, &dir.layout, Group(0)).expect("readable").frames.len()
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "segment")
}

/// A1, A2: winners are dispatched, everybody is answered, in order; one frame holds the winners.
#[test]
fn a_group_is_dispatched_and_answered_as_one() {
    let (dir, mut sequencer) = begin();
    let (one, two) = (batch(&[(5, "/a")]), batch(&[(5, "/a"), (6, "/a"), (6, "/b")]));
    let group = step(&mut sequencer, &[("k", &one), ("l", &two), ("k", &one), ("k", &two)]);
    let two_windows = Receipt { entries: 3, windows: 2 };
    let (first, second) = (Outcome::Accepted(ONE), Outcome::Accepted(two_windows));
    assert_eq!(outcomes(&group), [first, second, Outcome::Duplicate(ONE), Outcome::Conflict]);
    assert_eq!((group.accepted, windows(&group), journalled(&dir)), (2, 3, 1));
    assert!(group.journal_bytes > 0 && group.sync.is_some());
}

/// W1: each partial insight goes to the one partition that owns its minute.
#[test]
fn dispatches_go_to_the_owner_of_each_window() {
    let (_dir, mut sequencer) = begin();
    let entries: Vec<_> = (0..40).map(|minute| (minute, "/a")).collect();
    let group = step(&mut sequencer, &[("k", &batch(&entries))]);
    let mut minutes = Vec::new();
    for (partition, apply) in &group.dispatches {
        for (batch, window) in &apply.items {
            let minute = batch.summary.windows[*window].minute;
            assert_eq!(partition_of(&batch.customer, minute, PARTITIONS), *partition);
            minutes.push(minute);
        }
    }
    minutes.sort_unstable();
    assert_eq!(minutes, (0..40).map(Minute).collect::<Vec<_>>());
    assert_eq!(group.dispatches.len(), 3, "one message a partition");
}

/// A1: the frame is synced last of all, after every claim of the group.
#[test]
fn a_group_claims_then_writes_then_syncs() {
    let (dir, mut sequencer) = begin();
    dir.disk.take_log();
    step(&mut sequencer, &[("k", &batch(&[(5, "/a")])), ("l", &batch(&[(5, "/a")]))]);
    let log = dir.disk.take_log();
    let ops: Vec<_> = log.iter().map(|(op, path)| (*op, is_segment(path))).collect();
    let claimed =
        [(Op::CreateNew, false), (Op::Write, false), (Op::Link, false), (Op::Link, false)];
    assert_eq!(ops[..4], claimed);
    assert_eq!(ops[4..], [(Op::Write, true), (Op::SyncData, true)]);
}

/// A1: without a sync nobody is answered and nothing is counted.
#[test]
fn a_failed_write_or_sync_answers_nobody() {
    for op in [Op::Write, Op::SyncData] {
        let (dir, mut sequencer) = begin();
        dir.disk.fail(op, ".segment", ErrorKind::Other);
        let (submitted, mut answer) = submission("c", "k", &batch(&[(5, "/a")]));
        let failed = sequencer.step(vec![submitted], now_at(1), || Duration::ZERO);
        assert!(failed.is_err(), "{op:?}");
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(answer.try_recv(), Err(closed), "the sender learns that there is no answer");
    }
}

/// A1: a group of nothing but duplicates is answered too, and needs no frame.
#[test]
fn a_group_without_winners_writes_nothing() {
    let (dir, mut sequencer) = begin();
    let body = batch(&[(5, "/a")]);
    step(&mut sequencer, &[("k", &body)]);
    let again = step(&mut sequencer, &[("k", &body)]);
    assert_eq!(outcomes(&again), [Outcome::Duplicate(ONE)]);
    assert_eq!((again.accepted, windows(&again), again.journal_bytes), (0, 0, 0));
    assert_eq!(
        step(&mut sequencer, &[("l", &body)]).accepted,
        1,
        "the next group's number is free"
    );
    assert_eq!(journalled(&dir), 2);
}

/// A4: a disk without room for the journal refuses the group before anything is claimed.
#[test]
fn no_space_claims_nothing() {
    let (dir, mut sequencer) = begin();
    for key in ["fills", "most-of-it"] {
        step_large(&mut sequencer, key).expect("the disk works");
    }
    let held = sequencer.keys_held();
    dir.disk.fail(Op::CreateNew, ".segment", ErrorKind::StorageFull);
    let refused = step_large(&mut sequencer, "k").expect("no failure");
    assert_eq!(outcomes(&refused), [Outcome::NoSpace]);
    assert_eq!((windows(&refused), sequencer.keys_held(), journalled(&dir)), (0, held, 2));
    let later = step_large(&mut sequencer, "k").expect("the disk works");
    assert_eq!(outcomes(&later), [Outcome::Accepted(ONE)]);
}

/// A4: a disk without room for a claim page is a full disk too.
#[test]
fn no_space_for_a_claim_page_refuses_too() {
    let (dir, mut sequencer) = begin();
    dir.disk.fail(Op::CreateNew, ".page", ErrorKind::StorageFull);
    let refused = step_at(&mut sequencer, &[("k", &batch(&[(5, "/a")]))], 1);
    assert_eq!(outcomes(&refused.expect("no failure")), [Outcome::NoSpace]);
}

/// A4: another failure to make a segment is no refusal: the process must end.
#[test]
fn a_broken_disk_is_not_a_full_one() {
    let (dir, mut sequencer) = begin();
    for key in ["fills", "most-of-it"] {
        step_large(&mut sequencer, key).expect("the disk works");
    }
    dir.disk.fail(Op::CreateNew, ".segment", ErrorKind::Other);
    assert!(step_large(&mut sequencer, "k").is_err());
}

/// A2: late is judged by accept times that never go back, whatever the clock does.
#[test]
fn the_accept_time_never_goes_back() {
    let (dir, mut sequencer) = begin();
    let mut accepted = Vec::new();
    for (key, minute) in [("k", 10), ("l", 7), ("m", 11)] {
        let body = batch(&[(5, "/a")]);
        let group = step_at(&mut sequencer, &[(key, &body)], minute).expect("the disk works");
        accepted.push(group.dispatches[0].1.accepted.0 / 60_000);
    }
    assert_eq!(accepted, [10, 10, 11]);
    let frames = scan(&RealDisk, &dir.layout, Group(0)).expect("readable").frames;
    let frames: Vec<_> = frames.iter().map(|frame| frame.accepted.0 / 60_000).collect();
    assert_eq!(frames, accepted, "the journal says the same, for the replay");
    assert_eq!(sequencer.barrier(Duration::ZERO).accepted.0 / 60_000, 11);
}

/// S1, S2: a barrier cuts after the last group, and has what makes its claims durable, once.
#[test]
fn a_barrier_hands_over_group_claims_and_full_segments() {
    let (dir, mut sequencer) = begin();
    for key in ["a", "b", "c"] {
        step_large(&mut sequencer, key).expect("the disk works");
    }
    let placed = sequencer.barrier(Duration::from_secs(9));
    assert_eq!((placed.group, placed.uptime), (Group(3), Duration::from_secs(9)));
    assert_eq!(placed.sealed, [Sealed { sequence: 1, last_group: Group(2) }]);
    dir.disk.take_log();
    placed.claims.run(dir.disk.as_ref(), &dir.layout).expect("works");
    let synced = dir.disk.take_log();
    assert_eq!(synced[0].0, Op::SyncData, "the page of the three");
    let name = |key| Claim::new("c", key, ContentDigest(0), ONE).name();
    let shards: BTreeSet<_> = ["a", "b", "c"].map(|key| Layout::shard(name(key))).into();
    assert_eq!(synced.len(), 1 + shards.len(), "and the directories of their names");

    let next = sequencer.barrier(Duration::from_secs(10));
    assert_eq!((next.group, next.sealed), (Group(3), vec![]));
    next.claims.run(dir.disk.as_ref(), &dir.layout).expect("works");
    assert_eq!(dir.disk.take_log(), []);
}

/// T1: what a customer did with a key is no other customer's answer.
#[test]
fn customers_do_not_share_keys() {
    let (dir, mut sequencer) = begin();
    let (one, other) = (batch(&[(5, "/a")]), batch(&[(5, "/b")]));
    let group = vec![submission("a", "k", &one).0, submission("b", "k", &other).0];
    let group = sequencer.step(group, now_at(1), || Duration::ZERO).expect("the disk works");
    assert_eq!(outcomes(&group), [Outcome::Accepted(ONE); 2]);
    assert!(RealDisk.list(&dir.layout.pages()).is_ok_and(|pages| pages.len() == 1));
}
