//! What recovery promises: whatever a crash left, each accepted batch counts exactly once.
//!
//! Engines are stepped here without threads: groups through the sequencer, deltas through the
//! workers, and a crash is where everything is dropped.

mod life;

use std::io::ErrorKind;
use std::time::Duration;

use self::life::{Counted, Life, Server};
use super::*;
use crate::disk::{PageId, RealDisk};
use crate::sequencer::Outcome;
use crate::testing::{Op, batch, customer, wall};
use crate::window::{Minute, WindowSize};

const BLOCK: u64 = crate::limits::FRAME_ALIGN_BYTES;

fn counted(expected: &[(&str, u32, &str, u64)]) -> Counted {
    expected.iter().map(|(of, m, path, n)| (((*of).into(), *m, (*path).into()), *n)).collect()
}

/// Three groups of five batches, two of them retries, by two customers.
fn traffic(life: &Life) -> Counted {
    let ab = batch(&[(5, "/a"), (5, "/b"), (70, "/a")]);
    let (a, b) = (batch(&[(5, "/a")]), batch(&[(2_000, "/b")]));
    life.send(&[("a", "1", &ab), ("b", "1", &a)]);
    life.send(&[("a", "1", &ab), ("a", "2", &a)]);
    life.send(&[("b", "2", &b), ("b", "2", &b)]);
    counted(&[
        ("a", 5, "GET /a", 2),
        ("a", 5, "GET /b", 1),
        ("a", 70, "GET /a", 1),
        ("b", 5, "GET /a", 1),
        ("b", 2_000, "GET /b", 1),
    ])
}

/// A2: what was accepted and never checkpointed is counted by the next life, once.
#[test]
fn a_crash_without_a_checkpoint_loses_and_doubles_nothing() {
    let server = Server::new();
    let expected = traffic(&server.start());
    let life = server.start();
    assert_eq!(life.counted(), expected);
    assert_eq!(life.store.position().expect("readable").group, Group(3));
}

/// A2, S1: what a checkpoint holds is not replayed, what came after it is.
#[test]
fn a_crash_after_a_checkpoint_replays_only_what_is_after_it() {
    let server = Server::new();
    let life = server.start();
    let mut expected = traffic(&life);
    life.checkpoint().expect("written");
    life.send(&[("c", "1", &batch(&[(7, "/c")]))]);
    drop(life);
    expected.extend(counted(&[("c", 7, "GET /c", 1)]));
    assert_eq!(server.start().counted(), expected);
}

/// A2: a crash after the store's transaction, before segments are reclaimed, doubles nothing.
#[test]
fn segments_that_were_not_reclaimed_are_not_counted_again() {
    let server = Server::new();
    let life = server.start();
    let expected = traffic(&life);
    life.checkpoint().expect("written");
    drop(life);
    assert!(server.segment().exists(), "the current segment stays");
    assert_eq!(server.start().counted(), expected);
}

/// W1: partitions are nothing that is stored.
#[test]
fn another_partition_count_counts_the_same() {
    let mut server = Server { partitions: 1, ..Server::new() };
    let expected = traffic(&server.start());
    for partitions in [7, 2] {
        server.partitions = partitions;
        assert_eq!(server.start().counted(), expected, "{partitions} partitions");
    }
}

/// S1: recovery again and again changes nothing but the epoch.
#[test]
fn recovering_twice_gives_the_same_store() {
    let server = Server::new();
    let expected = traffic(&server.start());
    for life in 2..=4 {
        let recovered = server.start();
        assert_eq!(recovered.counted(), expected);
        let position = recovered.store.position().expect("readable");
        assert_eq!((position.group, position.incarnation), (Group(3), Incarnation(life)));
    }
}

/// L1: a journal larger than memory is replayed with checkpoints in between.
#[test]
fn replay_checkpoints_when_memory_is_used_up() {
    let mut server = Server::new();
    let expected = traffic(&server.start());
    server.memory_bytes = 1;
    let life = server.start();
    assert_eq!(life.counted(), expected);
    assert_eq!(life.epoch(), Epoch(1 + 3 + 1), "one a group, and the closing one of each start");
}

/// A2: a crash in the middle of recovery, anywhere, is recovered from.
#[test]
fn a_recovery_that_is_cut_short_can_be_repeated() {
    let ops = [
        (Op::SyncData, ""),
        (Op::Link, "names"),
        (Op::Remove, "names"),
        (Op::Write, ".page"),
        (Op::Rename, "journal"),
    ];
    for (op, part) in ops {
        for memory_bytes in [1, usize::MAX] {
            let cuts = (0..).find(|cut| cut_short(memory_bytes, op, part, *cut));
            assert!(cuts.is_some_and(|cuts| cuts > 0), "recovery does a {op:?}");
        }
    }
}

/// Recovers with the disk failing after so many operations, then again; whether it did not fail.
fn cut_short(memory_bytes: usize, op: Op, part: &'static str, cut: u32) -> bool {
    let mut server = Server::new();
    let expected = traffic(&server.start());
    server.memory_bytes = memory_bytes;
    server.dir.disk.fail_nth(op, part, cut, ErrorKind::Other);
    let is_whole = server.try_start().is_ok();
    server.dir.disk.succeed();
    let life = server.start();
    assert_eq!(life.counted(), expected, "cut after {cut} of {op:?}");
    let retry = life.send(&[("b", "2", &batch(&[(2_000, "/b")]))]);
    assert!(matches!(retry[..], [Outcome::Duplicate(_)]), "cut after {cut} of {op:?}: {retry:?}");
    is_whole
}

/// A3: duplicates and conflicts are judged after a crash as before it, with the same answer.
#[test]
fn keys_outlive_crashes() {
    let server = Server::new();
    let (body, other) = (batch(&[(5, "/a"), (6, "/a")]), batch(&[(5, "/b")]));
    let accepted = server.start().send(&[("a", "k", &body)]);
    let [Outcome::Accepted(receipt)] = accepted[..] else { panic!("accepted: {accepted:?}") };
    for _ in 0..3 {
        let life = server.start();
        let judged = life.send(&[("a", "k", &body), ("a", "k", &other), ("b", "k", &body)]);
        assert_eq!(judged[..2], [Outcome::Duplicate(receipt), Outcome::Conflict]);
        life.checkpoint().expect("written");
    }
    let both = counted(&[
        ("a", 5, "GET /a", 1),
        ("a", 6, "GET /a", 1),
        ("b", 5, "GET /a", 1),
        ("b", 6, "GET /a", 1),
    ]);
    assert_eq!(server.start().counted(), both);
}

/// A2: the next life relies on no claim of an earlier one: it makes them anew, and durable.
#[test]
fn recovery_claims_again_into_pages_of_its_own() {
    let server = Server::new();
    let body = batch(&[(5, "/a")]);
    server.start().send(&[("a", "k", &body)]);
    server.dir.disk.take_log();
    let life = server.start();
    let page =
        |life, number| server.dir.layout.page(PageId { incarnation: Incarnation(life), number });
    assert_eq!(RealDisk.link_count(&page(1, 0)).expect("there"), 1, "no name leads to it");
    let synced = server.dir.disk.take_log();
    assert!(synced.contains(&(Op::SyncData, page(2, 0))));
    RealDisk.remove(&page(1, 0)).expect("removed");
    assert!(matches!(life.send(&[("a", "k", &body)])[..], [Outcome::Duplicate(_)]));
}

/// A2, A4: a crash between claim and journal voids the claim; the retry is accepted, once.
#[test]
fn a_claim_that_never_reached_the_journal_is_free() {
    let server = Server::new();
    let life = server.start();
    let (body, other) = (batch(&[(5, "/a")]), batch(&[(6, "/a")]));
    life.send(&[("a", "before", &body)]);
    server.dir.disk.fail(Op::Write, ".segment", ErrorKind::Other);
    life.try_send(&[("a", "k", &body)]).expect_err("the disk failed");
    drop(life);
    let life = server.start();
    assert_eq!(life.counted(), counted(&[("a", 5, "GET /a", 1)]));
    let retried = life.send(&[("a", "k", &other), ("a", "k", &other), ("a", "k", &body)]);
    assert!(
        matches!(retried[..], [Outcome::Accepted(_), Outcome::Duplicate(_), Outcome::Conflict]),
        "{retried:?}"
    );
    drop(life);
    let expected = counted(&[("a", 5, "GET /a", 1), ("a", 6, "GET /a", 1)]);
    assert_eq!(server.start().counted(), expected);
}

/// A4: a void claim stays void although later groups of later lives pass its number.
#[test]
fn a_void_claim_stays_void() {
    let server = Server::new();
    let life = server.start();
    let (body, other) = (batch(&[(5, "/a")]), batch(&[(6, "/a")]));
    server.dir.disk.fail(Op::Write, ".segment", ErrorKind::Other);
    life.try_send(&[("a", "k", &body)]).expect_err("the disk failed");
    drop(life);
    for key in ["1", "2", "3"] {
        server.start().send(&[("b", key, &body)]);
    }
    let retried = server.start().send(&[("a", "k", &other)]);
    assert!(matches!(retried[..], [Outcome::Accepted(_)]), "{retried:?}");
}

/// A4: a batch whose answer was lost, but which is in the journal, is accepted.
#[test]
fn a_lost_answer_may_hide_an_accepted_batch() {
    let server = Server::new();
    let life = server.start();
    let body = batch(&[(5, "/a")]);
    server.dir.disk.fail(Op::SyncData, ".segment", ErrorKind::Other);
    life.try_send(&[("a", "k", &body)]).expect_err("the sync failed");
    drop(life);
    let life = server.start();
    assert_eq!(life.counted(), counted(&[("a", 5, "GET /a", 1)]));
    assert!(matches!(life.send(&[("a", "k", &body)])[..], [Outcome::Duplicate(_)]));
}

/// A1: a torn last frame was never acknowledged: no damage, and its keys are free.
#[test]
fn a_torn_last_frame_is_no_damage() {
    let server = Server::new();
    let body = batch(&[(5, "/a")]);
    server.start().send(&[("a", "k", &body)]);
    server.dir.flip(&server.segment(), BLOCK + 100);
    let life = server.start();
    assert_eq!(life.counted(), Counted::new());
    assert!(matches!(life.send(&[("a", "k", &body)])[..], [Outcome::Accepted(_)]));
}

/// S1: acknowledged groups that cannot be read are refused by number, and given up only when a
/// person says so.
#[test]
fn a_damaged_journal_is_refused_without_repair() {
    let mut server = Server::new();
    let life = server.start();
    for (key, path) in [("1", "/1"), ("2", "/2"), ("3", "/3")] {
        life.send(&[("a", key, &batch(&[(5, path)]))]);
    }
    drop(life);
    server.dir.flip(&server.segment(), 2 * BLOCK + 100);
    for _ in 0..2 {
        let refused = server.refused();
        let missing = Damage::Missing { first: Group(2), last: Group(2) };
        assert!(matches!(&refused, EngineError::Damaged { damage, .. } if *damage == [missing]));
        assert!(refused.to_string().contains("groups 2 to 2 are damaged"), "{refused}");
    }
    server.repair = true;
    let expected = counted(&[("a", 5, "GET /1", 1), ("a", 5, "GET /3", 1)]);
    assert_eq!(server.start().counted(), expected);
    server.repair = false;
    assert_eq!(server.start().counted(), expected, "repaired once and for all");
}

/// A4: a batch that a repair could not bring back is not taken for known, and what was damaged is
/// kept for a person to look at.
#[test]
fn a_repair_frees_the_keys_of_what_is_lost() {
    let mut server = Server::new();
    let life = server.start();
    for key in ["1", "2", "3"] {
        life.send(&[("a", key, &batch(&[(5, "/x")]))]);
    }
    drop(life);
    let segment = server.segment();
    server.dir.flip(&segment, 2 * BLOCK + 100);
    server.repair = true;
    let life = server.start();
    let again = ["1", "2", "3"].map(|key| life.send(&[("a", key, &batch(&[(5, "/x")]))])[0]);
    assert!(matches!(again[0], Outcome::Duplicate(_)), "{again:?}");
    assert!(matches!(again[1], Outcome::Accepted(_)), "{again:?}");
    assert!(matches!(again[2], Outcome::Duplicate(_)), "{again:?}");
    life.checkpoint().expect("written");
    assert_eq!(life.counted(), counted(&[("a", 5, "GET /x", 3)]));
    assert!(RealDisk.open(&Layout::aside(&segment)).is_ok(), "the damaged segment is kept");
}

/// A2: a claim page that cannot be read makes retries look new, so it is refused by its path.
#[test]
fn a_damaged_claim_page_is_refused_without_repair() {
    let mut server = Server::new();
    server.start().send(&[("a", "k", &batch(&[(5, "/a")]))]);
    drop(server.start());
    let pages = server.dir.layout.pages();
    let names = RealDisk.list(&pages).expect("readable");
    let page = pages.join(names.last().expect("a page"));
    server.dir.flip(&page, 3);
    let refused = server.refused().to_string();
    assert!(refused.contains(&page.display().to_string()), "{refused}");
    server.repair = true;
    drop(server.start());
    server.repair = false;
    assert_eq!(server.start().counted(), counted(&[("a", 5, "GET /a", 1)]));
}

/// S1: a segment that cannot say what it is, is refused by its path.
#[test]
fn a_damaged_segment_header_is_refused_without_repair() {
    let mut server = Server::new();
    server.start().send(&[("a", "k", &batch(&[(5, "/a")]))]);
    let segment = server.segment();
    server.dir.flip(&segment, 3);
    let refused = server.refused().to_string();
    assert!(refused.contains(&segment.display().to_string()), "{refused}");
    server.repair = true;
    assert_eq!(server.start().counted(), Counted::new());
}

/// L1: every segment is reclaimed by the start that replayed it.
#[test]
fn old_segments_become_spares() {
    let server = Server::new();
    traffic(&server.start());
    let old = server.segment();
    let recovered = server.recovery().run().expect("recovered");
    assert!(!old.exists());
    let left = journal::scan(&RealDisk, &server.dir.layout, recovered.group).expect("readable");
    assert_eq!(left.segments, []);
}

/// A2: late is what it was when the batch was accepted, not what the clock says at replay.
#[test]
fn a_replay_judges_late_by_the_recorded_time() {
    let server = Server::new();
    server.start().send(&[("a", "k", &batch(&[(99, "/a"), (50, "/a")]))]);
    server.clock.set_wall(wall(9_000));
    let life = server.start();
    let snapshot = life.store.snapshot().expect("readable");
    let late = |minute| {
        let window = snapshot.window(&customer("a"), WindowSize::Minute, Minute(minute));
        window.expect("readable").expect("counted").totals.late
    };
    assert_eq!((late(99), late(50)), (0, 1));
}

/// A3: retention counts the uptime of all lives, so it is kept with each checkpoint.
#[test]
fn uptime_adds_up_over_lives() {
    let server = Server::new();
    for uptime in [5, 7] {
        server.clock.set_uptime(Duration::ZERO);
        let life = server.start();
        server.clock.set_uptime(Duration::from_secs(uptime));
        life.checkpoint().expect("written");
    }
    let uptime = server.start().store.position().expect("readable").uptime;
    assert_eq!(uptime, Duration::from_secs(5 + 7 + 7), "the last start was at 7 of its own");
}

/// A2: two processes on one directory would both claim; the second is told so.
#[test]
fn a_directory_in_use_is_refused() {
    let server = Server::new();
    let life = server.start();
    assert!(matches!(server.refused(), EngineError::InUse { .. }));
    life.let_go();
    assert!(server.try_start().is_ok());
}

/// L1: a directory that holds something else is not written to.
#[test]
fn a_foreign_directory_is_refused() {
    let server = Server::new();
    let foreign = server.dir.layout.root().join("photos");
    RealDisk.create_new(&foreign, b"", 1).expect("made");
    assert!(matches!(server.refused(), EngineError::NotOurs { .. }));
    assert_eq!(RealDisk.list(server.dir.layout.root()).expect("readable"), ["photos"]);
    RealDisk.remove(&foreign).expect("removed");
    assert!(server.try_start().is_ok());
}

/// A1: a process that died while it made the directory leaves one that can be used.
#[test]
fn a_directory_that_was_never_finished_is_ours() {
    let server = Server::new();
    for left in ["LOCK", ".new-Xa71bZ"] {
        RealDisk.create_new(&server.dir.layout.root().join(left), b"", 0).expect("made");
    }
    server.start();
    let names = RealDisk.list(server.dir.layout.root()).expect("readable");
    assert_eq!(names, ["LOCK", "VERSION", "claims", "journal", "store.redb"]);
}

/// L1: a layout of another version is refused by its number, and not touched.
#[test]
fn another_version_is_refused_by_name() {
    let server = Server::new();
    server.start();
    server.dir.overwrite(&server.dir.layout.version(), 0, b"1");
    let refused = server.refused().to_string();
    assert!(refused.contains("layout version \"1\""), "{refused}");
    assert!(refused.contains("reads version 3"), "{refused}");
}

/// S1: a process that was killed between a rename and the sync of its directory leaves a name that
/// only memory knows. The next start must not build on it before it is durable: after a power cut
/// the store would be back under its unfinished name, and be removed as such.
#[test]
fn every_start_syncs_the_names_it_relies_on() {
    let server = Server::new();
    drop(server.start());
    server.dir.disk.take_log();
    drop(server.start());
    let log = server.dir.disk.take_log();
    let root = server.dir.layout.root();
    for needed in ["", "journal", "claims", "claims/pages", "claims/names"] {
        let needed = root.join(needed);
        assert!(log.contains(&(Op::SyncDir, needed.clone())), "{} is not synced", needed.display());
    }
}
