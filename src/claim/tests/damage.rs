//! Pages that are not what was written, and what an audit can ask of pages.

use super::*;

const UNREADABLE: Verdict = Verdict::Unreadable;

/// What a checkpoint writes down of the pages so far.
fn seals_of(claims: &mut ClaimStore) -> Seals {
    let seals = claims.take_dirty();
    seals.seals().filter_map(|(page, seal)| Some((page, seal?))).collect()
}

/// A2: keys on a page that says nothing of itself cannot be judged until it is put aside.
#[test]
fn keys_on_a_garbage_page_are_free_once_it_is_put_aside() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "k", 1), claim("c", "l", 1)]);
    dir.overwrite(&page(&dir, 1, 0), 0, &[0xff; PAGE_HEADER_BYTES]);
    let mut second = open(&dir, 2, &[9], START);
    assert_eq!(take(&mut second, "k", 1, 10, START), UNREADABLE);
    second.set_damaged_aside().expect("put aside");
    assert_eq!(take(&mut second, "k", 2, 11, START), WON);
    assert_eq!(take(&mut second, "k", 2, 12, START), DUPLICATE);
    let mut third = open(&dir, 3, &[9, 12], START);
    assert_eq!(take(&mut third, "l", 2, 13, START), WON, "in later lives too");
}

/// A2: what was given up with one page says nothing of the next that is damaged, nor may a sweep of
/// an older page take its keys.
#[test]
fn keys_on_a_second_garbage_page_are_not_free() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "given up", 1, 1, START);
    dir.overwrite(&page(&dir, 1, 0), 0, &[0xff; PAGE_HEADER_BYTES]);
    let mut second = open(&dir, 2, &[9], START);
    second.set_damaged_aside().expect("put aside");
    take(&mut second, "moved", 1, 10, START);
    let mut third = open(&dir, 3, &[9, 10], START);
    third.claim_again(&[claim("c", "moved", 1)], Group(10), START).expect("works");
    dir.overwrite(&page(&dir, 3, 0), 0, &[0xff; PAGE_HEADER_BYTES]);
    let late = CLAIM_PAGE_AGE_MAX + WEEK.age;
    third.sweep(WEEK, late).expect("works");
    assert_eq!(take(&mut third, "moved", 1, 11, late), UNREADABLE);
    assert_eq!(take(&mut third, "given up", 1, 12, late), WON);
}

/// L1: one garbage page does not keep all younger keys for ever.
#[test]
fn a_garbage_page_is_named_and_does_not_stop_the_sweep() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "k", 1), claim("c", "l", 1)]);
    dir.overwrite(&page(&dir, 1, 0), 0, &[0xff; PAGE_HEADER_BYTES]);
    let mut second = open(&dir, 2, &[9], START);
    assert_eq!(second.damaged(), [page(&dir, 1, 0)]);
    take(&mut second, "young", 1, 10, START);
    sweep_all(&mut second, WEEK, CLAIM_PAGE_AGE_MAX + WEEK.age);
    assert_eq!((names(&dir), second.keys_held()), (2, 0), "what cannot be judged is left");
}

/// A4: a page that was put aside does not come back as one that stands in a start's way.
#[test]
fn a_garbage_page_put_aside_stays_aside() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    dir.overwrite(&page(&dir, 1, 0), 0, &[0xff; PAGE_HEADER_BYTES]);
    let mut second = open(&dir, 2, &[9], START);
    dir.disk.take_log();
    second.set_damaged_aside().expect("put aside");
    let expected = [
        (Op::Write, page(&dir, 1, 0)),
        (Op::SyncData, page(&dir, 1, 0)),
        (Op::Rename, page(&dir, 1, 0)),
        (Op::SyncDir, dir.layout.pages()),
    ];
    assert_eq!(dir.disk.take_log(), expected);
    assert!(open(&dir, 3, &[9, 9], START).damaged().is_empty());
}

/// A2: the key of an entry that was durable, and that the disk has changed since, is neither new
/// nor known. The others are in force; a repair gives it up.
#[test]
fn a_damaged_entry_cannot_be_judged_until_a_repair() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "k", 1), claim("c", "l", 1), claim("c", "m", 1)]);
    let seals = seals_of(&mut claims);
    let second_entry = PAGE_HEADER_BYTES as u64 + 66;
    dir.flip(&page(&dir, 1, 0), second_entry + 20);
    let mut second = open_sealed(&dir, 2, Lives::from([(Incarnation(1), Group(1))]), seals, START);
    let verdicts = ["k", "l", "m", "new"].map(|key| take(&mut second, key, 1, 2, START));
    assert_eq!(verdicts, [DUPLICATE, UNREADABLE, DUPLICATE, WON]);
    let broken = second.broken_seals(&|_, _| {}).expect("readable");
    assert_eq!(broken, [PageId { incarnation: Incarnation(1), number: 0 }]);

    second.unseal(&broken);
    let told: Vec<_> = second.take_dirty().seals().filter(|(_, seal)| seal.is_none()).collect();
    assert_eq!(told, [(broken[0], None)], "the store must forget the seal, too");
    let mut third = open(&dir, 3, &[1, 2], START);
    let verdicts = ["k", "l", "m"].map(|key| take(&mut third, key, 1, 3, START));
    assert_eq!(verdicts, [DUPLICATE, WON, DUPLICATE]);
}

/// A2: zeros in place of entries end a page early; the seal knows.
#[test]
fn a_page_that_ends_before_its_seal_is_damaged() {
    let (dir, mut claims) = first_life();
    take_all(&mut claims, &[claim("c", "k", 1), claim("c", "l", 1)]);
    let seals = seals_of(&mut claims);
    dir.overwrite(&page(&dir, 1, 0), PAGE_HEADER_BYTES as u64 + 66, &[0; 66]);
    let lives = Lives::from([(Incarnation(1), Group(1))]);
    let mut second = open_sealed(&dir, 2, lives, seals, START);
    assert_eq!(["k", "l"].map(|key| take(&mut second, key, 1, 2, START)), [DUPLICATE, UNREADABLE]);
}

/// A4: what a crash tears is after the seal; its key is free.
#[test]
fn an_entry_after_the_seal_may_be_torn() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let seals = seals_of(&mut claims);
    take(&mut claims, "l", 1, 2, START);
    dir.flip(&page(&dir, 1, 0), PAGE_HEADER_BYTES as u64 + 66 + 20);
    let lives = Lives::from([(Incarnation(1), Group(2))]);
    let mut second = open_sealed(&dir, 2, lives, seals, START);
    assert_eq!(["k", "l"].map(|key| take(&mut second, key, 1, 3, START)), [DUPLICATE, WON]);
    assert!(second.broken_seals(&|_, _| {}).expect("readable").is_empty());
}

/// L1: seals go with their pages, also when a crash came between the two.
#[test]
fn a_page_that_is_gone_has_no_seal() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let seals = seals_of(&mut claims);
    let gone = page(&dir, 1, 0);
    RealDisk.remove(&gone).expect("removed");
    let mut second = open_sealed(&dir, 2, Lives::new(), seals.clone(), START);
    let told: Vec<_> = second.take_dirty().seals().collect();
    assert_eq!(told, [(*seals.keys().next().expect("one page"), None)]);
}

/// L1: a process that is killed again and again does not fill the disk with pages.
#[test]
fn pages_that_no_name_leads_to_are_removed() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let seals = seals_of(&mut claims);
    for life in 2..5 {
        let mut claims = open_sealed(&dir, life, Lives::new(), seals.clone(), START);
        claims.remove_nameless_pages().expect("works");
        claims.claim_again(&[claim("c", "k", 1)], Group(1), START).expect("works");
    }
    let mut last = open_sealed(&dir, 5, Lives::new(), seals, START);
    assert_eq!(pages(&dir).len(), 2, "that of life 4, and the one before it");
    last.remove_nameless_pages().expect("works");
    assert_eq!((pages(&dir).len(), last.keys_held(), names(&dir)), (1, 1, 1));
    let told: Vec<_> = last.take_dirty().seals().map(|(page, _)| page.incarnation.0).collect();
    assert_eq!(told, [1, 3], "the store forgets their seals");
}

/// An audit asks for no key that was swept, and for every other.
#[test]
fn keys_are_complete_after_what_was_swept() {
    let (dir, mut first) = first_life();
    assert_eq!(first.complete_after().expect("readable"), Group(u64::MAX), "none is claimed");
    for (key, group) in [("a", 1), ("b", 2), ("c", 3)] {
        take(&mut first, key, 1, group, START);
    }
    // Group 3 was not in a checkpoint when the life ended: it is claimed again.
    let again = |life, ended: &[u64]| {
        let mut claims = open(&dir, life, ended, START);
        claims.claim_again(&[claim("c", "c", 1)], Group(3), START).expect("works");
        take(&mut claims, "d", 1, 4, START);
        claims
    };
    again(2, &[3]);
    let third = || open(&dir, 3, &[3, 4], START);
    assert_eq!(third().complete_after().expect("readable"), Group(3), "one moved, none is swept");

    let sweep = |keys_max| {
        let retention = KeyRetention { keys_max, ..WEEK };
        sweep_all(&mut third(), retention, START);
        third().complete_after().expect("readable")
    };
    assert_eq!((sweep(3), names(&dir)), (Group(3), 2), "the page is there, its names are not");
    assert_eq!((sweep(1), names(&dir)), (Group(4), 0));
}

/// A page cut short never comes from a crash: it is told, so that the start can be refused.
#[test]
fn a_page_cut_short_is_damaged() {
    let (dir, mut claims) = first_life();
    take(&mut claims, "k", 1, 1, START);
    let path = page(&dir, 1, 0);
    RealDisk.open(&path).and_then(|page| page.set_len(10)).expect("cut");
    assert_eq!(open(&dir, 2, &[1], START).damaged(), [path]);
}
