//! What is kept of dead letters, whose goes first, and that each is there once.

use std::sync::Arc;

use redb::ReadableDatabase;

use super::*;
use crate::claim::ClaimSync;
use crate::counts::KeyLimits;
use crate::dead_letters::{DeadBatch, DeadLetter, DeadLetters};
use crate::delta::Delta;
use crate::ids::{Epoch, Incarnation};
use crate::store::{Checkpoint, Position, Retention, RowFault};
use crate::testing::{DataDir, customer, now_at};

const FOREVER: LetterRetention = LetterRetention::FOREVER;

/// A store, and what it was told to keep.
struct Kept {
    dir: DataDir,
    store: Arc<Store>,
    epoch: u64,
}

fn open_in(dir: &DataDir) -> Arc<Store> {
    let limits = KeyLimits { paths: 9, agents: 9 };
    Arc::new(Store::open(&dir.disk(), &dir.layout, 1 << 20, limits).expect("opened"))
}

/// Dead letters of one batch, each with so many bytes.
fn put_aside(of: &str, group: u64, at: u32, sizes: &[usize]) -> PutAside {
    let mut letters = DeadLetters::of(Framing::Lines, "logmill");
    for (index, size) in (0..).zip(sizes) {
        let original = vec![b'x'; *size].into();
        letters.push(DeadLetter { index: index * 2, reason: "odd".into(), original });
    }
    let batch = DeadBatch::of(&customer(of), "key", "request", letters).expect("some");
    PutAside { group: Group(group), accepted: now_at(at).wall, place: 3, batch }
}

impl Kept {
    fn new() -> Self {
        let dir = DataDir::new();
        let store = open_in(&dir);
        Self { dir, store, epoch: 0 }
    }

    /// A checkpoint at a minute.
    fn commit(&mut self, at: u32, keep: LetterRetention, dead: Vec<PutAside>) -> LetterStats {
        self.epoch += 1;
        let mut delta = Delta::default();
        delta.put_aside(dead, u64::MAX);
        let position = Position {
            group: Group(self.epoch),
            epoch: Epoch(self.epoch),
            incarnation: Incarnation(0),
            uptime: Duration::ZERO,
            accepted: now_at(at).wall,
        };
        let stats = self.store.commit(&Checkpoint {
            position,
            deltas: &[Arc::new(delta)],
            claims: &ClaimSync::default(),
            lives: None,
            retention: Retention { letters: keep, ..Retention::FOREVER },
            now: now_at(at),
        });
        accounts_are_right(&self.store);
        stats.expect("committed").letters
    }

    fn names(&self) -> Vec<String> {
        names(&self.store, None)
    }
}

fn names(store: &Arc<Store>, of: Option<&str>) -> Vec<String> {
    let of = of.map(customer);
    let letters = Store::freeze(store).expect("frozen").letters(of.as_ref(), None, 99);
    letters.expect("readable").iter().map(|letter| letter.id.to_string()).collect()
}

/// L1: what each customer is said to hold is what it holds.
fn accounts_are_right(store: &Store) {
    let read = |database: &redb::Database| {
        let txn = database.begin_read()?;
        let mut counted = std::collections::BTreeMap::<Vec<u8>, (u64, u64)>::new();
        for row in txn.open_table(LETTERS)?.iter()? {
            let (key, value) = row?;
            let of = LetterId::of_key(key.value()).expect("a name").customer;
            let held = counted.entry(of.as_str().into()).or_default();
            *held = (held.0 + 1, held.1 + value.value().len() as u64);
        }
        let mut held = std::collections::BTreeMap::new();
        for row in txn.open_table(LETTERS_HELD)?.iter()? {
            let (of, n) = row?;
            held.insert(of.value().to_vec(), n.value());
        }
        assert_eq!(held, counted);
        Ok(())
    };
    store.reading(read).expect("readable");
}

#[test]
fn letters_go_when_they_are_old() {
    let mut kept = Kept::new();
    let hour = LetterRetention { age: Duration::from_secs(3_600), ..FOREVER };
    kept.commit(100, hour, vec![put_aside("c", 1, 100, &[1, 1]), put_aside("d", 2, 110, &[1])]);
    assert_eq!(kept.commit(159, hour, vec![]).expired, 0);
    let stats = kept.commit(160, hour, vec![put_aside("c", 3, 160, &[1])]);
    assert_eq!(stats, LetterStats { held: 2, expired: 2, crowded_out: 0 });
    assert_eq!(kept.names(), ["c/3.3.0", "d/2.3.0"]);
}

#[test]
fn a_customer_that_has_too_many_loses_its_oldest() {
    let mut kept = Kept::new();
    let most = LetterRetention { customer_bytes: 500, ..FOREVER };
    let dead = vec![put_aside("c", 1, 9, &[100, 100]), put_aside("d", 1, 9, &[400])];
    assert_eq!(kept.commit(9, most, dead).crowded_out, 0);
    let stats = kept.commit(9, most, vec![put_aside("c", 2, 9, &[100, 100])]);
    assert_eq!(stats, LetterStats { held: 4, expired: 0, crowded_out: 1 });
    assert_eq!(kept.names(), ["c/1.3.2", "c/2.3.0", "c/2.3.2", "d/1.3.0"]);
}

/// T1, L1: whoever floods the server loses his own letters while he holds most.
#[test]
fn a_flood_does_not_push_out_what_others_have() {
    let mut kept = Kept::new();
    let most = LetterRetention { bytes: 1_000, ..FOREVER };
    kept.commit(9, most, vec![put_aside("small", 1, 9, &[50, 50])]);
    for group in 2..9 {
        kept.commit(9, most, vec![put_aside("big", group, 9, &[200, 200])]);
        let names = kept.names();
        assert_eq!(names.iter().filter(|name| name.starts_with("small/")).count(), 2);
        assert_eq!(names.iter().filter(|name| **name == format!("big/{group}.3.2")).count(), 1);
    }
    assert_eq!(kept.names().len(), 2 + 3);
}

/// A2: removed is removed, once however often it is asked, and for all later readers.
#[test]
fn what_is_removed_is_gone_for_good() {
    let mut kept = Kept::new();
    kept.commit(9, FOREVER, vec![put_aside("c", 1, 9, &[5, 5]), put_aside("d", 1, 9, &[5])]);
    let id = |text: &str| text.parse::<LetterId>().expect("a name");
    let ids = [id("c/1.3.0"), id("c/1.3.0"), id("c/7.3.0"), id("d/1.3.0")];
    assert_eq!(kept.store.remove_letters(&ids).expect("removed"), 2);
    accounts_are_right(&kept.store);
    let Kept { dir, store, .. } = kept;
    drop(store);
    let store = open_in(&dir);
    assert_eq!(names(&store, None), ["c/1.3.2"]);
    assert_eq!(store.remove_letters(&ids).expect("removed"), 0);
    let frozen = Store::freeze(&store).expect("frozen");
    assert_eq!(frozen.letter(&ids[0]).expect("readable"), None);
}

/// T1: a name that begins as another's does is another customer.
#[test]
fn each_customer_has_its_own() {
    let mut kept = Kept::new();
    let of = ["a", "a.b", "a-", "aa", "b"];
    kept.commit(9, FOREVER, of.iter().map(|of| put_aside(of, 1, 9, &[5, 5])).collect());
    for of in of {
        assert_eq!(names(&kept.store, Some(of)), [format!("{of}/1.3.0"), format!("{of}/1.3.2")]);
    }
    // Page by page they are the same.
    let frozen = Store::freeze(&kept.store).expect("frozen");
    let (mut after, mut all) = (None, Vec::new());
    while let Some(letter) = frozen.letters(None, after.as_ref(), 1).expect("readable").pop() {
        all.push(letter.id.to_string());
        after = Some(letter.id);
    }
    assert_eq!(all, kept.names());
}

#[test]
fn a_backup_has_them_all() {
    let mut kept = Kept::new();
    kept.commit(9, FOREVER, vec![put_aside("c", 1, 9, &[5, 500]), put_aside("d", 1, 9, &[0])]);
    let (dir, frozen) = (DataDir::new(), Store::freeze(&kept.store).expect("frozen"));
    let copy = open_in(&dir);
    frozen.copy_into(&copy, &|_, _| {}).expect("copied");
    let all = |store| Store::freeze(store).expect("frozen").letters(None, None, 99);
    assert_eq!(all(&copy).expect("readable"), all(&kept.store).expect("readable"));
    assert_eq!(names(&copy, None).len(), 3);
    accounts_are_right(&copy);
}

/// S1: a letter that is not what was written is told as nothing else, and named.
#[test]
fn a_damaged_letter_is_found() {
    let mut kept = Kept::new();
    kept.commit(9, FOREVER, vec![put_aside("c", 1, 9, &[5, 5])]);
    let id: LetterId = "c/1.3.2".parse().expect("a name");
    let damage = |txn: &WriteTransaction| {
        let mut table = txn.open_table(LETTERS)?;
        let mut value = table.get(id.key().as_slice())?.expect("there").value().to_vec();
        value[9] ^= 1;
        table.insert(id.key().as_slice(), value.as_slice())?;
        Ok(())
    };
    kept.store.writing(damage).expect("written");
    let mut faults = Vec::new();
    kept.store.check_rows(&|_, _| {}, &mut |fault| faults.push(fault)).expect("readable");
    let at = Some("c/1.3.2".to_owned());
    assert_eq!(faults, [RowFault::Checksum { table: "letters".into(), at }]);
    let frozen = Store::freeze(&kept.store).expect("frozen");
    assert!(frozen.letters(None, None, 9).is_err_and(|error| error.is_corrupt()));
    assert!(frozen.letter(&id).is_err_and(|error| error.is_corrupt()));
}

#[test]
fn what_names_no_letter_is_refused() {
    for text in ["", "c", "c/", "c/1.2", "c/1.2.3.4", "c/+1.2.3", "c/01.2.3", "/1.2.3", "c d/1.2.3"]
    {
        assert!(text.parse::<LetterId>().is_err(), "{text:?}");
    }
}

proptest::proptest! {
    /// Rows are in the order of names, and a name says which row.
    #[test]
    fn keys_are_in_the_order_of_names(
        a in ("[a-c.]{0,2}", 0_u64..300, 0_u32..300, 0_u32..300),
        b in ("[a-c.]{0,2}", 0_u64..300, 0_u32..300, 0_u32..300),
    ) {
        let id = |(of, group, place, index): (String, u64, u32, u32)| {
            LetterId { customer: customer(&format!("c{of}")), group: Group(group), place, index }
        };
        let (a, b) = (id(a), id(b));
        assert_eq!(a.key().cmp(&b.key()), a.cmp(&b));
        assert_eq!(LetterId::of_key(&a.key()).as_ref(), Some(&a));
        assert_eq!(a.to_string().parse(), Ok(a));
    }
}

/// L1, T1: what the store would not keep does not wait for it in memory.
#[test]
fn a_flood_of_letters_does_not_fill_the_memory() {
    let mut delta = Delta::default();
    let flood: Vec<_> = (0..100).map(|group| put_aside("flood", group, 9, &[1_000])).collect();
    let one = flood[0].bytes() as u64;
    delta.put_aside(flood, 3 * one);
    delta.put_aside(vec![put_aside("calm", 100, 9, &[1_000])], 3 * one);
    let held = |of: &str| -> Vec<_> {
        let mine = delta.dead().filter(|dead| dead.batch.customer.as_str() == of);
        mine.map(|dead| dead.group.0).collect()
    };
    assert_eq!((held("flood"), held("calm")), (vec![97, 98, 99], vec![100]));
    assert_eq!(delta.crowded_out(), 97);
    assert!(delta.bytes() as u64 <= 5 * one, "{} of {one}", delta.bytes());
}
