//! Backup, audit and rebuild against a running engine, and against what may be wrong on a disk.

use std::io::ErrorKind;
use std::time::Duration;

use super::*;
use crate::backup::{Backup, BackupError};
use crate::claim::{ClaimSync, KeyRetention};
use crate::clock::Now;
use crate::dead_letters::{DeadBatch, DeadLetter, DeadLetters, PutAside};
use crate::decode::Framing;
use crate::delta::Delta;
use crate::disk::{Disk, PageId, RealDisk};
use crate::engine::{Engine, EngineSettings};
use crate::ids::{Epoch, Incarnation};
use crate::journal::archived;
use crate::sequencer::Outcome;
use crate::status::{Ceilings, Status};
use crate::store::{Checkpoint, Position};
use crate::testing::{
    DataDir, ManualClock, Op, RULES, SeededEntropy, batch, customer, submission, summary, wall,
};

const FOREVER: Duration = Duration::from_secs(1 << 40);
const NOBODY: Watch<'_> = &|_, _, _| {};

/// A data directory and the clock of those who work on it.
struct Place {
    dir: DataDir,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
    archive: ArchiveRetention,
}

impl Place {
    fn new(archive: ArchiveRetention) -> Self {
        let clock = Arc::<ManualClock>::default();
        clock.set_wall(wall(100));
        Self { dir: DataDir::new(), clock, entropy: Arc::default(), archive }
    }

    fn recovery(&self) -> Recovery {
        let ceilings = Ceilings { free_bytes: 0, journal_bytes: 1 << 40, memory_bytes: 1 << 40 };
        Recovery {
            disk: self.dir.disk(),
            layout: self.dir.layout.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            status: Arc::new(Status::new(2, ceilings)),
            partitions: 2,
            rules: RULES,
            retention: Retention::FOREVER,
            checkpoint_memory_bytes: usize::MAX,
            archive: self.archive,
            segment_bytes: limits::SEGMENT_BYTES,
            store_cache_bytes: 1 << 20,
            until: Group(u64::MAX),
            repair: false,
        }
    }

    /// The same on another directory.
    fn at(&self, layout: Layout) -> Recovery {
        Recovery { layout, ..self.recovery() }
    }

    fn beside(&self, name: &str) -> Layout {
        Layout::new(self.dir.layout.root().with_file_name(name))
    }

    fn start(&self, recovery: &Recovery) -> Engine {
        let settings = EngineSettings {
            checkpoint_interval: FOREVER,
            checkpoint_journal_bytes: u64::MAX,
            checkpoint_memory_bytes: u64::MAX,
            keys: KeyRetention { age: FOREVER, keys_max: u64::MAX },
        };
        // The threads of the engine before let go of the directory when they have ended.
        loop {
            match Engine::start(recovery, settings) {
                Err(EngineError::InUse { .. }) => std::thread::yield_now(),
                started => return started.expect("started"),
            }
        }
    }

    /// Five batches, a checkpoint whose journal is archived, and three more.
    fn used(archive: ArchiveRetention) -> Self {
        let place = Self::new(archive);
        let engine = place.start(&place.recovery());
        send(&engine, 0..5);
        engine.freeze().expect("running");
        place.clock.advance(Duration::from_secs(7_200));
        send(&engine, 5..8);
        engine.stop();
        place
    }

    /// Waits for the directory, then audits it.
    fn audit(&self) -> Report {
        self.audit_of(&self.recovery())
    }

    fn audit_of(&self, recovery: &Recovery) -> Report {
        loop {
            match audit(recovery, NOBODY) {
                Err(EngineError::InUse { .. }) => std::thread::yield_now(),
                report => return report.expect("audited"),
            }
        }
    }

    /// Counts a batch into the store that is in no journal.
    fn count_unfounded(&self, minute: u32) {
        let (mut delta, summary) = (Delta::default(), summary(&batch(&[(minute, "/")])));
        delta.add(&customer("a"), &summary, 0, Group(8), false, RULES.keys);
        self.write_unfounded(delta);
    }

    /// Writes something into the store that is in no journal.
    fn write_unfounded(&self, delta: Delta) {
        let recovery = self.recovery();
        let _lock = loop {
            if let Ok(lock) = recovery.lock_existing() {
                break lock;
            }
        };
        let store = Store::open(&recovery.disk, &recovery.layout, 1 << 20, RULES.keys);
        let store = store.expect("opened");
        let position = store.position().expect("read");
        let epoch = Epoch(position.epoch.0 + 1);
        let checkpoint = Checkpoint {
            position: Position { epoch, ..position },
            deltas: &[Arc::new(delta)],
            claims: &ClaimSync::default(),
            lives: None,
            retention: recovery.retention,
            now: Now::read(recovery.clock.as_ref()),
        };
        store.commit(&checkpoint).expect("committed");
    }
}

/// Each batch counts in a minute of its own and in one that all share; of every other an entry is
/// put aside.
fn send(engine: &Engine, keys: std::ops::Range<u32>) {
    for key in keys {
        assert!(matches!(send_one(engine, key), Outcome::Accepted(_)));
    }
}

fn send_one(engine: &Engine, key: u32) -> Outcome {
    let mut body = batch(&[(key, "/"), (50, "/shared")]);
    if key % 2 == 1 {
        body.insert_str(body.len() - 1, r#",{"path":"/"}"#);
    }
    let (submission, answer) = submission("a", &format!("k{key}"), &body);
    engine.submit(submission).expect("there is room");
    answer.blocking_recv().expect("answered")
}

/// The dead letters of a directory that nobody uses.
fn letters(layout: &Layout) -> Vec<String> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let store = Arc::new(Store::open(&disk, layout, 1 << 20, RULES.keys).expect("opened"));
    let letters = Store::freeze(&store).expect("read").letters(None, None, 99).expect("read");
    letters.iter().map(|letter| letter.id.to_string()).collect()
}

fn archive_of(place: &Place) -> Vec<std::path::PathBuf> {
    let archived = archived(&RealDisk, &place.dir.layout).expect("listed");
    archived.into_iter().map(|archived| archived.path).collect()
}

/// S1, A2: a copy of a running server has everything, and knows every key.
#[test]
fn a_backup_of_a_running_engine_is_a_whole_data_directory() {
    let place = Place::used(ArchiveRetention::Forever);
    let engine = place.start(&place.recovery());
    send(&engine, 8..10);
    let to = place.beside("copy");
    let backup = Backup::begin(place.dir.disk(), place.dir.layout.clone(), to.root());
    let frozen = engine.freeze().expect("running");
    // What comes after the cut is not in the copy, and does no harm to it.
    send(&engine, 10..12);
    backup.expect("begun").write(&frozen, &|_, _, _| {}).expect("written");
    drop((frozen, engine));

    let copy = place.at(to);
    let report = place.audit_of(&copy);
    assert_eq!(report.findings, []);
    assert_eq!((report.groups, report.equal), (Some((Group(1), Group(10))), 11));
    assert_eq!(report.keys, 10);
    assert_eq!(letters(&copy.layout), ["a/2.0.2", "a/4.0.2", "a/6.0.2", "a/8.0.2", "a/10.0.2"]);
    let engine = place.start(&copy);
    for key in 0..10 {
        assert!(matches!(send_one(&engine, key), Outcome::Duplicate(_)), "k{key}");
    }
    send(&engine, 10..12);
}

/// A2: what the disk changes in a copy is not taken for new there, and what it has changed before
/// is not copied: the keys would be free in the copy.
#[test]
fn a_backup_takes_seals_along_and_no_broken_ones() {
    let place = Place::used(ArchiveRetention::Off);
    let back_up = |name: &str| {
        let to = place.beside(name);
        let engine = place.start(&place.recovery());
        let backup = Backup::begin(place.dir.disk(), place.dir.layout.clone(), to.root());
        let frozen = engine.freeze().expect("running");
        backup.expect("begun").write(&frozen, &|_, _, _| {}).map(|()| to)
    };
    let first_entry = |layout: &Layout| {
        let first = PageId { incarnation: Incarnation(1), number: 0 };
        place.dir.flip(&layout.page(first), 40 + 20);
    };
    let copy = back_up("copy").expect("written");
    first_entry(&copy);
    let engine = place.start(&place.at(copy.clone()));
    assert_eq!(send_one(&engine, 0), Outcome::Unreadable);
    drop(engine);
    let report = place.audit_of(&place.at(copy));
    assert!(matches!(report.findings[..], [Finding::ClaimPage(_)]), "{:?}", report.findings);

    first_entry(&place.dir.layout);
    let refused = back_up("another copy").expect_err("the claims are damaged");
    assert!(refused.to_string().contains("claims/pages"), "{refused}");
}

#[test]
fn a_backup_wants_an_empty_directory_elsewhere() {
    let place = Place::used(ArchiveRetention::Off);
    let begin = |to: &Layout| Backup::begin(place.dir.disk(), place.dir.layout.clone(), to.root());
    let inside = Layout::new(place.dir.layout.root().join("copy"));
    assert!(matches!(begin(&inside), Err(BackupError::Inside { .. })));
    let used = place.beside("used");
    RealDisk.create_dir(&used.journal()).expect("made");
    assert!(matches!(begin(&used), Err(BackupError::NotEmpty { .. })));
}

/// A2, S1: what was counted again is what the store has, and a stopped server lacks nothing.
#[test]
fn an_audit_of_a_good_directory_finds_nothing() {
    let place = Place::used(ArchiveRetention::Forever);
    for _ in 0..2 {
        let report = place.audit();
        assert_eq!(report.findings, []);
        assert_eq!((report.equal, report.at_least, report.keys), (9, 0, 8));
        assert_eq!(report.groups, Some((Group(1), Group(8))));
    }
    assert_eq!(RealDisk.list(&place.dir.layout.recount()).ok(), None, "it tidies up");
}

/// A2: a batch that is counted twice, or never, is seen.
#[test]
fn an_audit_finds_a_window_that_the_journal_does_not_explain() {
    let place = Place::used(ArchiveRetention::Forever);
    place.count_unfounded(3);
    let report = place.audit();
    let expected = Finding::Window {
        customer: customer("a"),
        start: Minute(3),
        size: WindowSize::Minute,
        stored: 2,
        counted: 1,
    };
    assert_eq!(report.findings, [expected]);
}

/// A2: a key whose claim is gone would let its batch count again.
#[test]
fn an_audit_finds_a_batch_whose_key_is_free() {
    let place = Place::used(ArchiveRetention::Forever);
    let digest = crate::ids::ContentDigest(0);
    let claim = Claim::new("a", "k7", digest, Receipt { entries: 0, windows: 0 });
    RealDisk.remove(&place.dir.layout.name(claim.name())).expect("removed");
    let key = Finding::Key { customer: "a".into(), key: "k7".into(), group: Group(8) };
    assert_eq!(place.audit().findings, [key]);
}

/// S1: damage to the archive is told, and what is whole behind it is still compared.
#[test]
fn an_audit_tells_of_a_damaged_archive() {
    let place = Place::used(ArchiveRetention::Forever);
    let path = &archive_of(&place)[0];
    place.dir.flip(path, 60);
    let report = place.audit();
    assert_eq!(report.findings, [Finding::Archive(path.display().to_string())]);
    assert_eq!(report.groups, Some((Group(6), Group(8))));
    assert_eq!((report.equal, report.at_least), (3, 6), "the others were begun before");
}

/// What the archive no longer holds is checked as far as that goes.
#[test]
fn an_archive_that_begins_later_still_proves_what_came_after() {
    let place = Place::used(ArchiveRetention::For(Duration::from_secs(3_600)));
    // A third segment goes to the archive, and the first is past its retention by then.
    let engine = place.start(&place.recovery());
    send(&engine, 8..9);
    engine.freeze().expect("running");
    engine.stop();
    drop(engine);
    let report = place.audit();
    assert_eq!(report.findings, []);
    assert_eq!(report.groups, Some((Group(6), Group(9))));
    assert_eq!((report.equal, report.at_least), (4, 6));
    place.count_unfounded(7);
    assert_eq!(place.audit().found, 1, "a window begun in the archive must be equal");
    let again = rebuild(
        &place.at(place.beside("new")),
        &place.dir.layout,
        &History::read(&RealDisk, &place.dir.layout, &|_, _| {}).expect("read"),
        false,
    );
    assert!(matches!(again, Err(RebuildError::Incomplete { first: Group(6) })));
}

/// A2: so is what is put aside and was never sent.
#[test]
fn an_audit_finds_a_dead_letter_that_the_journal_does_not_explain() {
    let place = Place::used(ArchiveRetention::Forever);
    let mut dead = DeadLetters::of(Framing::Json, "logmill");
    dead.push(DeadLetter { index: 5, reason: "odd".into(), original: (*b"{}").into() });
    let batch = DeadBatch::of(&customer("a"), "k7", "r", dead).expect("one");
    let mut delta = Delta::default();
    let accepted = wall(100);
    delta.put_aside(vec![PutAside { group: Group(8), accepted, place: 0, batch }], u64::MAX);
    place.write_unfounded(delta);
    let expected = Finding::Letter("a/8.0.5".parse().expect("a name"));
    assert_eq!(place.audit().findings, [expected]);
}

/// A2: rebuilt from nothing but archive and journal, everything is as it was, keys included.
#[test]
fn a_rebuilt_directory_is_the_same() {
    let place = Place::used(ArchiveRetention::Forever);
    let history = History::read(&RealDisk, &place.dir.layout, &|_, _| {}).expect("read");
    let new = place.at(place.beside("new"));
    let rebuilt = rebuild(&new, &place.dir.layout, &history, false).expect("rebuilt");
    let original = Store::open(&place.dir.disk(), &place.dir.layout, 1 << 20, RULES.keys);
    let original = original.expect("opened");
    let days = original.days().expect("read");
    assert_eq!(rebuilt.recovered.store.days().expect("read"), days);
    let span = Span { from: Minute(0), to: Minute(10_000) };
    let (old, made) = (original.snapshot(), rebuilt.recovered.store.snapshot());
    let (old, made) = (old.expect("read"), made.expect("read"));
    let starts = old.starts(&customer("a"), WindowSize::Minute, span, 100).expect("read").starts;
    assert_eq!(starts.len(), 9);
    for start in starts {
        let window = |snapshot: &Snapshot<'_>| {
            snapshot.window(&customer("a"), WindowSize::Minute, start).expect("read")
        };
        assert_eq!(window(&old), window(&made), "{start}");
    }
    drop((old, made));
    drop((original, rebuilt));
    assert_eq!(letters(&new.layout), ["a/2.0.2", "a/4.0.2", "a/6.0.2", "a/8.0.2"]);
    assert_eq!(letters(&new.layout), letters(&place.dir.layout));
    let engine = place.start(&new);
    for key in 0..8 {
        assert!(matches!(send_one(&engine, key), Outcome::Duplicate(_)), "k{key}");
    }
    drop(engine);
    assert_eq!(place.audit_of(&new).findings, []);
}

/// S2, L1: no room for the archive keeps the segment, and nothing else waits for it.
#[test]
fn a_segment_that_cannot_be_archived_stays() {
    let place = Place::new(ArchiveRetention::Forever);
    let engine = place.start(&place.recovery());
    send(&engine, 0..3);
    place.dir.disk.fail(Op::CreateNew, ".zst", ErrorKind::StorageFull);
    // Tried again after a while.
    engine.freeze().expect("running");
    assert_eq!(archive_of(&place).len(), 1);
    send(&engine, 3..4);
    engine.stop();
    drop(engine);
    let report = place.audit();
    assert_eq!((report.findings, report.groups), (vec![], Some((Group(1), Group(4)))));
}
