//! What claims promise: a key is taken once, keeps its content, and is forgotten as promised.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::page::PAGE_HEADER_BYTES;
use super::*;
use crate::disk::{Disk, Layout, PageId, RealDisk};
use crate::ids::{ContentDigest, Group, Incarnation};
use crate::limits::{CLAIM_PAGE_AGE_MAX, CLAIM_PAGE_NAMES_MAX, CLAIM_SWEEP_NAMES_PER_STEP};
use crate::testing::{DataDir, Op, hours};

mod damage;

const START: Duration = Duration::ZERO;
const WEEK: KeyRetention = KeyRetention { age: Duration::from_secs(7 * 86_400), keys_max: 1 << 40 };
const WON: Verdict = Verdict::Won;
const CONFLICT: Verdict = Verdict::Conflict;
const DUPLICATE: Verdict = Verdict::Duplicate(RECEIPT);
const RECEIPT: Receipt = Receipt { entries: 5, windows: 2 };

/// The claims of life `n`, when the lives before it ended with the given groups.
fn open(dir: &DataDir, n: u64, ended: &[u64], uptime_before: Duration) -> ClaimStore {
    let lives = (1..).map(Incarnation).zip(ended.iter().copied().map(Group)).collect();
    open_sealed(dir, n, lives, Seals::new(), uptime_before)
}

fn open_sealed(
    dir: &DataDir,
    n: u64,
    lives: Lives,
    seals: Seals,
    uptime_before: Duration,
) -> ClaimStore {
    let (disk, layout) = (dir.disk(), dir.layout.clone());
    ClaimStore::open(disk, layout, Incarnation(n), lives, seals, uptime_before).expect("readable")
}

fn first_life() -> (DataDir, ClaimStore) {
    let dir = DataDir::with_claims();
    let claims = open(&dir, 1, &[], START);
    (dir, claims)
}

fn claim<'a>(customer: &'a str, key: &'a str, content: u128) -> Claim<'a> {
    Claim::new(customer, key, ContentDigest(content), RECEIPT)
}

/// A3: a later version must find what an earlier one has claimed, under the very same name.
#[test]
fn a_claim_has_the_name_that_it_always_had() {
    let name = Layout::new("d").name(claim("cus-1", "key-1", 1).name());
    assert_eq!(name, Path::new("d/claims/names/8/83cec8f244804b5c3ff867a37c0b0a81"));
}

/// One claim of customer `c`, in a group of its own.
fn take(claims: &mut ClaimStore, key: &str, content: u128, group: u64, at: Duration) -> Verdict {
    let verdicts = claims.claim(&[claim("c", key, content)], Group(group), at);
    verdicts.expect("the disk works")[0]
}

fn take_all(claims: &mut ClaimStore, all: &[Claim<'_>]) -> Vec<Verdict> {
    claims.claim(all, Group(1), START).expect("the disk works")
}

/// Sweeps until nothing is due; whether anything went before its time.
fn sweep_all(claims: &mut ClaimStore, retention: KeyRetention, uptime: Duration) -> bool {
    let mut any_early = false;
    while let Swept::Some { early } = claims.sweep(retention, uptime).expect("the disk works") {
        any_early |= early;
    }
    any_early
}

fn pages(dir: &DataDir) -> Vec<String> {
    RealDisk.list(&dir.layout.pages()).expect("readable")
}

fn page(dir: &DataDir, life: u64, number: u64) -> std::path::PathBuf {
    dir.layout.page(PageId { incarnation: Incarnation(life), number })
}

fn names(dir: &DataDir) -> usize {
    let in_shard = |shard: std::path::PathBuf| RealDisk.list(&shard).map_or(0, |names| names.len());
    dir.layout.shards().map(in_shard).sum()
}

/// A3: the first claim wins; the same content is a duplicate, with the answer of the first.
#[test]
fn a_key_keeps_its_first_content() {
    let (_dir, mut claims) = first_life();
    assert_eq!(take(&mut claims, "k", 1, 1, START), WON);
    let again = Claim::new("c", "k", ContentDigest(1), Receipt { entries: 9, windows: 9 });
    assert_eq!(claims.claim(&[again], Group(2), START).expect("works"), [DUPLICATE]);
    assert_eq!(take(&mut claims, "k", 2, 3, START), CONFLICT);
    assert_eq!(take(&mut claims, "k", 1, 4, START), DUPLICATE);
    assert_eq!(claims.keys_held(), 1);
}

/// A2: a retry that arrives in the same group as the batch is judged as any other.
#[test]
fn a_key_twice_in_one_group_is_won_once() {
    let (_dir, mut claims) = first_life();
    let group = [claim("c", "k", 1), claim("c", "l", 1), claim("c", "k", 1), claim("c", "k", 2)];
    assert_eq!(take_all(&mut claims, &group), [WON, WON, DUPLICATE, CONFLICT]);
    assert_eq!(claims.keys_held(), 2);
}

/// T1: what one customer claims says nothing about another's key.
#[test]
fn the_same_key_of_two_customers_is_two_keys() {
    let (_dir, mut claims) = first_life();
    let group = [claim("a", "k", 1), claim("b", "k", 2)];
    assert_eq!(take_all(&mut claims, &group), [WON, WON]);
    assert_eq!(take_all(&mut claims, &group), [DUPLICATE, DUPLICATE]);
}

/// T1: no customer can choose an id and a key that together read like another's.
#[test]
fn customer_and_key_do_not_run_together() {
    let (_dir, mut claims) = first_life();
    let group = [claim("ab", "c", 1), claim("a", "bc", 2), claim("abc", "", 3)];
    assert_eq!(take_all(&mut claims, &group), [WON; 3]);
    assert_eq!(take_all(&mut claims, &group), [DUPLICATE; 3], "none took another's name");
}

/// T1: the name is only where to look; customer and key are compared in full.
#[test]
fn equal_names_are_not_equal_keys() {
    let (_dir, mut claims) = first_life();
    let victims = claim("victim", "k", 1);
    let mut forged = claim("attacker", "k", 1);
    forged.name = victims.name;
    take_all(&mut claims, &[victims]);
    assert_eq!(take_all(&mut claims, &[forged]), [WON], "void, not a duplicate of the victim's");
}

/// T1: no byte of a client is in a path.
#[test]
fn names_are_hashes() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "../../../etc/passwd", 1)]);
    assert_eq!(names(&dir), 1);
    assert_eq!(pages(&dir), ["0000000000000001-00000000.page"]);
}

/// L1: a page takes so many names and no more, because a file takes only so many links.
#[test]
fn a_page_that_is_full_of_names_is_followed_by_another() {
    let (dir, mut claims) = first_life();
    let keys: Vec<_> = (0..=CLAIM_PAGE_NAMES_MAX).map(|n| n.to_string()).collect();
    let group: Vec<_> = keys.iter().map(|key| claim("c", key, 1)).collect();
    assert!(take_all(&mut claims, &group).iter().all(|verdict| *verdict == WON));
    let links = |number| RealDisk.link_count(&page(&dir, 1, number)).expect("there") - 1;
    assert_eq!((links(0), links(1)), (CLAIM_PAGE_NAMES_MAX.into(), 1));
    assert!(take_all(&mut claims, &group).iter().all(|verdict| *verdict == DUPLICATE));
    assert_eq!(claims.keys_held(), u64::from(CLAIM_PAGE_NAMES_MAX) + 1);
}

/// L1: a page takes so many bytes and no more.
#[test]
fn a_page_that_is_full_of_bytes_is_followed_by_another() {
    let (dir, mut claims) = first_life();
    let keys: Vec<_> = (0..2_000).map(|n| format!("{n:0>255}")).collect();
    let group: Vec<_> = keys.iter().map(|key| claim("c", key, 1)).collect();
    assert!(take_all(&mut claims, &group).iter().all(|verdict| *verdict == WON));
    assert_eq!(pages(&dir).len(), 2);
    assert!(take_all(&mut claims, &group).iter().all(|verdict| *verdict == DUPLICATE));
    let len = RealDisk.open(&page(&dir, 1, 0)).and_then(|page| page.len()).expect("there");
    assert_eq!(len, crate::limits::CLAIM_PAGE_BYTES);
}

/// A3: a restart forgets no key.
#[test]
fn a_new_life_judges_by_what_earlier_ones_accepted() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 6, START);
    let mut second = open(&dir, 2, &[6], START);
    assert_eq!(take(&mut second, "k", 1, 7, START), DUPLICATE);
    assert_eq!(take(&mut second, "k", 2, 8, START), CONFLICT);
}

/// A4: what was claimed in a group that never got into the journal is free.
#[test]
fn a_claim_after_its_life_s_last_group_is_void_and_replaced() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 7, START);
    let mut second = open(&dir, 2, &[6], START);
    assert_eq!(take(&mut second, "k", 2, 7, START), WON);
    assert_eq!(take(&mut second, "k", 2, 8, START), DUPLICATE);
    assert_eq!(take(&mut second, "k", 1, 9, START), CONFLICT);
    assert_eq!((second.keys_held(), names(&dir)), (1, 1));
}

/// A4: a life that recovery knows nothing of accepted nothing.
#[test]
fn claims_of_an_unknown_life_are_void() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    assert_eq!(take(&mut open(&dir, 2, &[], START), "k", 2, 1, START), WON);
}

/// A4: the entry is written before the name; a name whose entry is torn is void.
#[test]
fn a_torn_entry_is_void() {
    for at in (0..64 + 2).step_by(5) {
        let (dir, mut claims) = first_life();
        take(&mut claims, "k", 1, 1, START);
        dir.flip(&page(&dir, 1, 0), PAGE_HEADER_BYTES as u64 + at);
        let mut second = open(&dir, 2, &[9], START);
        assert_eq!(take(&mut second, "k", 2, 10, START), WON, "flipped at {at}");
    }
}

/// A2: the entries are in the file before any name leads to them.
#[test]
fn entries_are_written_before_names_are_linked() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    dir.disk.take_log();
    take_all(&mut claims, &[claim("c", "l", 1), claim("c", "m", 1)]);
    let ops: Vec<_> = dir.disk.take_log().into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, [Op::Write, Op::Link, Op::Link]);
}

/// L1: a key that is taken leaves nothing on the page, whoever it comes with; and who it comes with
/// keeps its entry, for the lives to come too (A3).
#[test]
fn keys_that_are_taken_fill_no_page() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "a", 1), claim("c", "b", 1)]);
    let mut second = open(&dir, 2, &[1], START);
    let mixed = ["a", "new-1", "b", "new-2", "a"].map(|key| claim("c", key, 1));
    let verdicts = second.claim(&mixed, Group(2), START).expect("the disk works");
    assert_eq!(verdicts, [DUPLICATE, WON, DUPLICATE, WON, DUPLICATE]);
    for group in 3..20 {
        assert_eq!(take(&mut second, "a", 2, group, START), CONFLICT);
    }
    let bytes = crate::disk::read_all(&RealDisk, &page(&dir, 2, 0)).expect("readable");
    let end = PAGE_HEADER_BYTES + 2 * (64 + "c".len() + "new-1".len());
    assert_eq!(bytes.iter().rposition(|byte| *byte != 0), Some(end - 1));
    assert_eq!(take(&mut second, "new-3", 1, 20, START), WON);
    let mut third = open(&dir, 3, &[1, 20], START);
    for key in ["a", "b", "new-1", "new-2", "new-3"] {
        assert_eq!(take(&mut third, key, 1, 21, START), DUPLICATE, "{key}");
    }
}

/// A2: a replay takes over the names of the life before, into pages it makes durable itself.
#[test]
fn claiming_again_takes_names_over() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let mut second = open(&dir, 2, &[], START);
    let replayed = [claim("c", "k", 1), claim("c", "never linked", 1)];
    second.claim_again(&replayed, Group(1), START).expect("works");
    assert_eq!(RealDisk.link_count(&page(&dir, 1, 0)).expect("there"), 1);
    assert_eq!(RealDisk.link_count(&page(&dir, 2, 0)).expect("there"), 3);
    assert_eq!(second.keys_held(), 2);
    assert_eq!(take(&mut second, "k", 1, 2, START), DUPLICATE);
    RealDisk.remove(&page(&dir, 1, 0)).expect("nothing depends on it");
    assert_eq!(take(&mut open(&dir, 3, &[0, 1], START), "k", 1, 3, START), DUPLICATE);
}

/// S2: pages first, then names, then swept pages go; twice for the same is not needed.
#[test]
fn a_checkpoint_syncs_pages_then_names_then_removes_swept_pages() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "old", 1, 1, START);
    claims.take_dirty().run(dir.disk.as_ref(), &dir.layout).expect("works");
    let late = CLAIM_PAGE_AGE_MAX + WEEK.age;
    take(&mut claims, "new", 1, 2, late);
    sweep_all(&mut claims, WEEK, late);
    dir.disk.take_log();
    claims.take_dirty().run(dir.disk.as_ref(), &dir.layout).expect("works");
    let log = dir.disk.take_log();
    let synced = |op| log.iter().filter(move |entry| entry.0 == op).map(|(_, path)| path.clone());
    assert_eq!(synced(Op::SyncData).collect::<Vec<_>>(), [page(&dir, 1, 1)]);
    assert_eq!(synced(Op::SyncDir).count(), 2, "of the name that came and the one that went");
    assert_eq!(synced(Op::Remove).collect::<Vec<_>>(), [page(&dir, 1, 0)]);
    let order: Vec<_> = log.iter().map(|(op, _)| *op).collect();
    assert_eq!(order, [Op::SyncData, Op::SyncDir, Op::SyncDir, Op::Remove]);
    assert!(claims.take_dirty().shards.is_empty());
}

/// A3: a key is kept for its retention, counted from when its page was closed, in uptime.
#[test]
fn keys_are_forgotten_after_their_retention_in_uptime() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let due = CLAIM_PAGE_AGE_MAX + WEEK.age;
    assert!(!sweep_all(&mut claims, WEEK, due - Duration::from_millis(1)));
    assert_eq!(take(&mut claims, "k", 1, 2, due), DUPLICATE);
    assert!(!sweep_all(&mut claims, WEEK, due), "in its time is not early");
    assert_eq!((names(&dir), claims.keys_held()), (0, 0));
    assert_eq!(take(&mut claims, "k", 2, 3, due), WON);
}

/// A3: time in which the server did not run does not count; time of earlier lives does.
#[test]
fn retention_counts_the_uptime_of_all_lives() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let before = CLAIM_PAGE_AGE_MAX + WEEK.age - hours(2);
    let mut second = open(&dir, 2, &[1], before);
    sweep_all(&mut second, WEEK, hours(1));
    assert_eq!(names(&dir), 1);
    sweep_all(&mut second, WEEK, hours(2));
    assert_eq!(names(&dir), 0);
}

/// A3: a page may only go when no name can come back and lead to it.
#[test]
fn a_swept_page_goes_after_its_names_removal_is_durable() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    sweep_all(&mut claims, WEEK, CLAIM_PAGE_AGE_MAX + WEEK.age);
    assert_eq!((names(&dir), pages(&dir).len()), (0, 1));
    claims.take_dirty().run(dir.disk.as_ref(), &dir.layout).expect("works");
    assert_eq!(pages(&dir).len(), 0);
}

/// L1: the sequencer sweeps a few names between groups, never a page at once.
#[test]
fn a_sweep_goes_in_small_steps() {
    let (dir, mut claims) = first_life();
    let keys: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let group: Vec<_> = keys.iter().map(|key| claim("c", key, 1)).collect();
    take_all(&mut claims, &group);
    claims.sweep(WEEK, START).expect("works");
    claims.sweep(WEEK, CLAIM_PAGE_AGE_MAX + WEEK.age).expect("works");
    assert_eq!(names(&dir), 100 - CLAIM_SWEEP_NAMES_PER_STEP);
    sweep_all(&mut claims, WEEK, CLAIM_PAGE_AGE_MAX + WEEK.age);
    assert_eq!(names(&dir), 0);
}

/// A3: a key that is used anew after its sweep keeps its new content, even if a retry of the old
/// content left an entry on the current page shortly before.
#[test]
fn a_key_used_anew_is_not_judged_by_a_loser_s_entry() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let due = CLAIM_PAGE_AGE_MAX + WEEK.age;
    let mut second = open(&dir, 2, &[1], START);
    assert_eq!(take(&mut second, "k", 1, 2, due), DUPLICATE, "writes an entry, wins no name");
    sweep_all(&mut second, WEEK, due);
    assert_eq!(take(&mut second, "k", 2, 3, due), WON);
    assert_eq!(take(&mut second, "k", 2, 4, due), DUPLICATE);
    assert_eq!(take(&mut second, "k", 1, 5, due), CONFLICT);
    let mut third = open(&dir, 3, &[1, 5], due);
    assert_eq!(take(&mut third, "k", 2, 6, START), DUPLICATE);
}

/// A3: a name that leads to a newer page by now is not the swept page's to remove.
#[test]
fn a_sweep_leaves_names_that_were_taken_over() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 7, START);
    let due = CLAIM_PAGE_AGE_MAX + WEEK.age;
    let mut second = open(&dir, 2, &[6], START);
    assert_eq!(take(&mut second, "k", 2, 7, due), WON);
    sweep_all(&mut second, WEEK, due);
    assert_eq!(take(&mut second, "k", 2, 8, due), DUPLICATE);
    assert_eq!((second.keys_held(), names(&dir)), (1, 1));
}

/// L1: past `max_keys` the oldest page goes before its time, and that is told.
#[test]
fn too_many_keys_are_swept_early_oldest_first() {
    let (_dir, mut claims) = first_life();
    take(&mut claims, "old", 1, 1, START);
    take(&mut claims, "new", 1, 2, CLAIM_PAGE_AGE_MAX);
    assert!(!sweep_all(&mut claims, KeyRetention { keys_max: 2, ..WEEK }, CLAIM_PAGE_AGE_MAX));
    assert!(sweep_all(&mut claims, KeyRetention { keys_max: 1, ..WEEK }, CLAIM_PAGE_AGE_MAX));
    assert_eq!(claims.keys_held(), 1);
    assert_eq!(take(&mut claims, "new", 1, 3, CLAIM_PAGE_AGE_MAX), DUPLICATE);
    assert_eq!(take(&mut claims, "old", 2, 4, CLAIM_PAGE_AGE_MAX), WON);
}

/// L1: `max_keys` is judged by a number that replacing, sweeping and reopening keep right.
#[test]
fn keys_held_is_the_number_of_names() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "k", 1), claim("c", "l", 1), claim("c", "k", 2)]);
    take(&mut claims, "void", 1, 9, START);
    let mut second = open(&dir, 2, &[1], hours(1));
    assert_eq!(second.keys_held(), 3);
    take(&mut second, "void", 2, 2, START);
    take(&mut second, "m", 1, 3, START);
    second.claim_again(&[claim("c", "k", 1)], Group(4), START).expect("works");
    assert_eq!((second.keys_held(), names(&dir)), (4, 4));
    let third = |uptime| open(&dir, 3, &[1, 9], uptime);
    assert_eq!(third(START).keys_held(), 4);
    let mut third = third(CLAIM_PAGE_AGE_MAX + WEEK.age);
    sweep_all(&mut third, WEEK, START);
    assert_eq!((third.keys_held(), names(&dir)), (3, 3), "only `l` is as old as its page");
    third.take_dirty().run(dir.disk.as_ref(), &dir.layout).expect("works");
    assert_eq!(open(&dir, 4, &[1, 9, 9], START).keys_held(), 3);
}

/// A1: a failure while claiming is told; who cannot claim must not go on.
#[test]
fn a_failing_disk_is_told() {
    for (op, part) in [(Op::CreateNew, ".page"), (Op::Write, ".page"), (Op::Link, "names")] {
        let (dir, mut claims) = first_life();
        dir.disk.fail(op, part, ErrorKind::Other);
        assert!(claims.claim(&[claim("c", "k", 1)], Group(1), START).is_err(), "{op:?}");
    }
}

/// A2: a file system that can decide a race passes, and keeps nothing of the question.
#[test]
fn the_probe_leaves_nothing_behind() {
    let dir = DataDir::with_claims();
    probe(dir.disk.as_ref(), &dir.layout, 1).expect("this file system has exclusive links");
    assert_eq!(pages(&dir), [""; 0]);
}

/// A2: a file system without links is refused, and what the probe left counts as unfinished.
#[test]
fn the_probe_refuses_a_file_system_without_links() {
    let dir = DataDir::with_claims();
    dir.disk.fail(Op::Link, "link", ErrorKind::Unsupported);
    assert!(matches!(probe(dir.disk.as_ref(), &dir.layout, 1), Err(ProbeError::Links(_))));
    assert!(pages(&dir).iter().all(|name| Layout::is_unfinished(name)));
}
