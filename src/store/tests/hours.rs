//! Hours that are read once: until a checkpoint changes them, and never by one who looks at the
//! store as it was before.

use std::thread;

use super::*;

/// Q1.
#[test]
fn hours_are_read_once_until_they_change() {
    let mut books = Books::keeping(hours(10), Duration::MAX);
    let read = |snapshot: &Snapshot<'_>| {
        let (of, hour) = (customer("c"), Minute(DAY));
        let minutes = snapshot.minutes(&of, hour).expect("readable");
        let named = snapshot.named_minutes(&of, hour, Dimension::Path).expect("readable");
        let mut names = 0;
        let whole = Span::of(WindowSize::Hour, hour);
        named.expect("few names").each_sum(whole, |_, requests| names += requests);
        let totals: u64 = minutes.iter().map(|(_, totals)| totals.requests).sum();
        assert_eq!(totals, names);
        (totals, minutes)
    };
    let fresh = |books: &Books| read(&books.store.snapshot().expect("readable"));
    books.commit(DAY + 1, &[("c", one(DAY)), ("c", one(DAY + 1))]);
    let (requests, first) = fresh(&books);
    assert_eq!(requests, 2);
    books.commit(DAY + 2, &[("c", one(DAY + 60)), ("d", one(DAY))]);
    assert!(Arc::ptr_eq(&first, &fresh(&books).1), "read once");

    // One that looks while checkpoints go on, at what was read and at what was forgotten.
    let old = books.store.snapshot().expect("readable");
    let commit = |books: &Books, epoch, requests: usize| {
        let mut delta = Delta::default();
        for _ in 0..requests {
            delta.add(&customer("c"), &summary(&one(DAY)), 0, Group(1), false, LIMITS);
        }
        books.write(position(epoch, DAY + 3), &[Arc::new(delta)], now_at(DAY + 3));
    };
    commit(&books, 3, 1);
    assert_eq!(read(&old).0, 2, "as it was; not kept");
    assert_eq!(fresh(&books).0, 3);
    assert_eq!(read(&old).0, 2, "not what a newer one has read");
    commit(&books, 4, 2);
    assert_eq!(fresh(&books).0, 5);
    drop(old);

    books.epoch = 4;
    books.commit(DAY + 60 + 600, &[]);
    books.commit(DAY + 60 + 601, &[]);
    assert_eq!(fresh(&books).0, 0, "the minutes are folded into their hour");
    assert_eq!(books.requests("c", WindowSize::Hour, DAY), 5);
}

/// Q1: at every moment, also while a checkpoint ends.
#[test]
fn readers_beside_checkpoints_read_what_their_snapshot_holds() {
    let books = Books::new();
    let (of, hour) = (customer("c"), Minute(DAY));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for epoch in 1..=300 {
                let mut delta = Delta::default();
                delta.add(&of, &summary(&one(DAY)), 0, Group(1), false, LIMITS);
                books.write(position(epoch, DAY + 3), &[Arc::new(delta)], now_at(DAY + 3));
            }
        });
        while !writer.is_finished() {
            let snapshot = books.store.snapshot().expect("readable");
            let kept = snapshot.minutes(&of, hour).expect("readable");
            let kept: u64 = kept.iter().map(|(_, totals)| totals.requests).sum();
            let window = snapshot.window(&of, WindowSize::Hour, hour).expect("readable");
            let stored = window.map_or(0, |window| window.totals.requests);
            assert_eq!(kept, stored, "in checkpoint {:?}", snapshot.epoch());
        }
    });
}
