//! What the journal promises: nothing acknowledged is lost, nothing else ever comes back.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proptest::prelude::{ProptestConfig, any};

use super::*;
use crate::disk::{Disk, RealDisk};
use crate::ids::{AcceptTime, ContentDigest, Group};
use crate::limits;
use crate::testing::{DataDir, Op, RULES, SeededEntropy};

const BLOCK: u64 = limits::FRAME_ALIGN_BYTES;

/// A journal that is written to by hand; group `n` is accepted at millisecond `n`.
struct Writing {
    dir: DataDir,
    keeper: Arc<Mutex<SegmentKeeper>>,
    journal: Journal,
}

fn open(dir: &DataDir) -> SegmentKeeper {
    let entropy = Arc::<SeededEntropy>::default();
    let keeper =
        SegmentKeeper::open(dir.disk(), dir.layout.clone(), entropy, RULES, limits::SEGMENT_BYTES);
    keeper.expect("opened")
}

impl Writing {
    fn begin() -> Self {
        let dir = DataDir::with_journal();
        let keeper = Arc::new(Mutex::new(open(&dir)));
        let journal = begin(&keeper, Group(0));
        Self { dir, keeper, journal }
    }

    fn append(&mut self, body: &[u8]) -> Group {
        let records = [record("a", body), record("b", body)];
        self.journal.reserve(records.iter().map(Journal::record_bytes).sum()).expect("room");
        let group = self.journal.last_group().next();
        self.journal.append(group, AcceptTime(group.0), &records).expect("written");
        group
    }

    /// Groups 1 to `n`, each one block long.
    fn append_small(&mut self, n: u64) {
        for group in 1..=n {
            self.append(&body_of(group));
        }
    }

    /// So many groups of 12 MiB; a segment takes two of them.
    fn append_large(&mut self, n: u8) {
        for group in 1..=n {
            self.append(&vec![group; 6 << 20]);
        }
    }

    fn segment(&self, sequence: u64) -> PathBuf {
        self.dir.layout.segment(sequence)
    }

    fn scan(&self, checkpoint: u64) -> JournalScan {
        scan(&RealDisk, &self.dir.layout, Group(checkpoint)).expect("readable")
    }

    fn prepare(&self) -> Prepared {
        self.keeper.lock().expect("whole").prepare().expect("a segment")
    }
}

fn begin(keeper: &Arc<Mutex<SegmentKeeper>>, last: Group) -> Journal {
    let keeper = Arc::clone(keeper);
    let source: SegmentSource = Box::new(move || keeper.lock().expect("whole").prepare());
    Journal::begin(source, last).expect("a segment")
}

fn record<'a>(customer: &'a str, summary: &'a [u8]) -> Record<'a> {
    let digest = ContentDigest::of(1, summary);
    Record { digest, customer, key: "key", request_id: "request", summary, dead: b"" }
}

fn body_of(group: u64) -> Vec<u8> {
    format!("body of group {group}").into_bytes()
}

fn groups(found: &JournalScan) -> Vec<u64> {
    found.frames.iter().map(|frame| frame.group.0).collect()
}

fn missing(first: u64, last: u64) -> Damage {
    Damage::Missing { first: Group(first), last: Group(last) }
}

/// Where the frame of group `n` begins, if all are one block long.
fn frame_at(n: u64) -> u64 {
    n * BLOCK
}

/// A1: whatever was appended is read back as it was, from one segment to the next.
#[test]
fn frames_come_back_as_written_over_a_segment_turn_over() {
    let mut writing = Writing::begin();
    let bodies: Vec<_> = (1..=3).map(|n| vec![n; 6 << 20]).collect();
    for body in &bodies {
        writing.append(body);
    }
    let found = writing.scan(0);
    assert_eq!(found.damage, []);
    assert_eq!(found.segments.len(), 2, "two frames of 12 MiB fit a segment, not three");
    assert_eq!(groups(&found), [1, 2, 3]);
    for (frame, body) in found.frames.iter().zip(&bodies) {
        assert_eq!((frame.accepted, frame.rules), (AcceptTime(frame.group.0), RULES));
        let contents = FrameReader::new(&RealDisk).read(frame).expect("readable");
        assert_eq!(contents.records().expect("whole"), [record("a", body), record("b", body)]);
    }
}

/// S2: a full segment says which group is the last in it, and is handed over once.
#[test]
fn a_full_segment_is_sealed_with_its_last_group() {
    let mut writing = Writing::begin();
    writing.append_large(3);
    let sealed = Sealed { sequence: 1, last_group: Group(2) };
    assert_eq!(writing.journal.take_sealed(), [sealed]);
    assert_eq!(writing.journal.take_sealed(), []);
}

/// A1: the frame is synced before `append` returns, and a failed sync is told.
#[test]
fn append_returns_after_one_sync_of_the_segment() {
    let mut writing = Writing::begin();
    writing.dir.disk.take_log();
    writing.append(b"body");
    let ops: Vec<_> = writing.dir.disk.take_log().into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, [Op::Write, Op::SyncData]);

    writing.dir.disk.fail(Op::SyncData, ".segment", ErrorKind::Other);
    let failed = writing.journal.append(Group(2), AcceptTime(2), &[record("a", b"")]);
    assert!(failed.is_err());
    assert_eq!(writing.journal.last_group(), Group(1));
}

/// A1: a frame that was torn at any byte was never acknowledged, and is dropped without a word.
#[test]
fn a_torn_last_frame_is_dropped_wherever_it_is_torn() {
    let mut writing = Writing::begin();
    writing.append_small(2);
    let path = writing.segment(1);
    let last = writing.append(&[7; 3_000]);
    let file = RealDisk.open(&path).expect("there");
    file.set_len(frame_at(20)).expect("shortened, or reading takes long");
    let mut whole = vec![0; 2 * 4_096];
    file.read_at(frame_at(last.0), &mut whole).expect("read");
    let written = whole.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;

    let zeroed_from = |at: usize| [&whole[..at], &vec![0; whole.len() - at]].concat();
    let zeroed_before = |at: usize| [&vec![0; at], &whole[at..]].concat();
    let flipped_at = |at: usize| {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        torn
    };
    for at in (0..written).step_by(97).chain([1, 7, 47, 48, 4_096, written - 1]) {
        for torn in [zeroed_from(at), zeroed_before(at + 1), flipped_at(at)] {
            writing.dir.overwrite(&path, frame_at(last.0), &torn);
            let found = writing.scan(0);
            assert_eq!((groups(&found), found.damage), (vec![1, 2], vec![]), "torn at {at}");
        }
    }
    file.set_len(frame_at(last.0) + 100).expect("cut");
    assert_eq!(groups(&writing.scan(0)), [1, 2]);
}

/// S1: an acknowledged group that is gone, although later ones are there, is told by number.
#[test]
fn a_damaged_frame_before_a_whole_one_is_missing() {
    let mut writing = Writing::begin();
    writing.append_small(7);
    for group in [2, 4, 5] {
        writing.dir.flip(&writing.segment(1), frame_at(group) + 60);
    }
    let found = writing.scan(0);
    assert_eq!(groups(&found), [1, 3, 6, 7]);
    assert_eq!(found.damage, [missing(2, 2), missing(4, 5)]);
    let text = found.damage[1].to_string();
    assert_eq!(text, "groups 4 to 5 are damaged, group 6 after them is whole");
}

/// S1: the last frame of a segment is not the last of the journal if a later segment goes on.
#[test]
fn a_damaged_frame_before_a_later_segment_is_missing() {
    let mut writing = Writing::begin();
    writing.append_large(3);
    writing.dir.flip(&writing.segment(1), BLOCK + (12 << 20) + 2 * BLOCK);
    let found = writing.scan(0);
    assert_eq!((groups(&found), found.damage), (vec![1, 3], vec![missing(2, 2)]));
}

/// S1: the first group after the checkpoint must be there too.
#[test]
fn a_damaged_first_frame_is_missing() {
    let mut writing = Writing::begin();
    writing.append_small(4);
    writing.dir.flip(&writing.segment(1), frame_at(3));
    assert_eq!(writing.scan(2).damage, [missing(3, 3)]);
}

/// S1: what the store holds already is not judged.
#[test]
fn damage_up_to_the_checkpoint_is_ignored() {
    let mut writing = Writing::begin();
    writing.append_small(4);
    for group in [1, 2] {
        writing.dir.flip(&writing.segment(1), frame_at(group));
    }
    let found = writing.scan(2);
    assert_eq!((groups(&found), found.damage), (vec![3, 4], vec![]));
    assert_eq!(found.segments, [Sealed { sequence: 1, last_group: Group(4) }]);
}

/// S1: a segment that cannot say what it is, is told by its path.
#[test]
fn a_damaged_header_is_reported() {
    for at in [0, 8, 16, 55] {
        let mut writing = Writing::begin();
        writing.append_small(1);
        let path = writing.segment(1);
        writing.dir.flip(&path, at);
        let found = writing.scan(0);
        assert_eq!((groups(&found), found.damage), (vec![], vec![Damage::Header { path }]));
        assert_eq!(found.segments.len(), 1, "it is reclaimed once repaired");
    }
}

/// S1: a segment under another's name is not taken for that one.
#[test]
fn a_segment_under_a_wrong_name_is_reported() {
    let mut writing = Writing::begin();
    writing.append_small(1);
    let path = writing.segment(9);
    RealDisk.rename(&writing.segment(1), &path).expect("renamed");
    assert_eq!(writing.scan(0).damage, [Damage::Header { path }]);
}

/// A2: a reused segment shows nothing of its earlier life, although the bytes are still there.
#[test]
fn frames_of_an_earlier_life_never_validate() {
    let mut writing = Writing::begin();
    writing.append_small(5);
    let used = Sealed { sequence: 1, last_group: Group(5) };
    writing.keeper.lock().expect("whole").reclaim(vec![used]).expect("reclaimed");
    assert_eq!(writing.scan(5).segments, [], "it is a spare now");

    writing.journal = begin(&writing.keeper, Group(5));
    assert_eq!(writing.append(b"short"), Group(6));
    let mut old = [0; 4];
    let file = RealDisk.open(&writing.segment(2)).expect("the spare under its new name");
    file.read_at(frame_at(2), &mut old).expect("read");
    assert_eq!(&old, b"LMFR", "the second frame of the earlier life");
    assert_eq!(groups(&writing.scan(0)), [6]);
    assert_eq!(groups(&writing.scan(5)), [6]);
    assert_eq!(writing.scan(5).damage, []);
}

/// A2: a power cut may undo the renaming of a reclaimed segment; its groups are checkpointed.
#[test]
fn a_reclaimed_segment_that_comes_back_is_ignored() {
    let mut writing = Writing::begin();
    writing.append_small(3);
    let (path, spare) = (writing.segment(1), writing.dir.layout.spare(1));
    let used = Sealed { sequence: 1, last_group: Group(3) };
    writing.keeper.lock().expect("whole").reclaim(vec![used]).expect("reclaimed");
    RealDisk.rename(&spare, &path).expect("back");
    let found = writing.scan(3);
    assert_eq!((groups(&found), found.damage), (vec![], vec![]));
    assert_eq!(found.segments, [used], "it is reclaimed again");
}

/// S2: oldest first, each one's removal durable before the next: no gap can ever come back.
#[test]
fn segments_are_reclaimed_oldest_first_one_by_one() {
    let writing = Writing::begin();
    let used: Vec<_> = (2..=u64::try_from(limits::SEGMENT_SPARES_MAX).expect("few") + 3)
        .map(|_| Sealed { sequence: writing.prepare().sequence, last_group: Group(0) })
        .collect();
    writing.dir.disk.take_log();
    let reversed = used.iter().rev().copied();
    writing.keeper.lock().expect("whole").reclaim(reversed).expect("reclaimed");
    let log = writing.dir.disk.take_log();
    for (segment, pair) in used.iter().zip(log.chunks(2)) {
        assert_eq!(pair[0].1, writing.segment(segment.sequence));
        assert_eq!(pair[1], (Op::SyncDir, writing.dir.layout.journal()));
    }
    let removed = log.iter().filter(|(op, _)| *op == Op::Remove).count();
    assert_eq!(removed, 2, "L1: at most so many spares are kept");
}

/// L1: the archive can wait, while it reads and while it compresses, until so much waits for it
/// that the disk would fill.
#[test]
fn the_archive_pauses_while_few_segments_wait() {
    let mut writing = Writing::begin();
    writing.append_large(2);
    let keeper = open(&writing.dir).with_archive(ArchiveRetention::Forever);
    let mut keeper = keeper.expect("the disk works");
    // The first is full, the others are empty and only read.
    keeper.take_back([Sealed { sequence: 1, last_group: Group(2) }]);
    for _ in 0..limits::ARCHIVE_WAITING_MAX {
        let sequence = keeper.prepare().expect("the disk works").sequence;
        keeper.take_back([Sealed { sequence, last_group: Group(2) }]);
    }
    let pauses = |keeper: &mut SegmentKeeper| {
        let made = Cell::new(0);
        let more = keeper.reclaim_next(&|| made.set(made.get() + 1)).expect("the disk works");
        more.then_some(made.get())
    };
    let parts = usize::try_from(limits::SEGMENT_BYTES).expect("fits") / limits::ARCHIVE_PART_BYTES;
    assert_eq!(pauses(&mut keeper), Some(0));
    for _ in 0..limits::ARCHIVE_WAITING_MAX {
        assert_eq!(pauses(&mut keeper), Some(parts));
    }
    assert_eq!(pauses(&mut keeper), None, "all are reclaimed");

    let mut writing = Writing::begin();
    writing.append_large(2);
    let keeper = open(&writing.dir).with_archive(ArchiveRetention::Forever);
    let mut keeper = keeper.expect("the disk works");
    keeper.take_back([Sealed { sequence: 1, last_group: Group(2) }]);
    assert!(pauses(&mut keeper).is_some_and(|made| made > parts * 3 / 2), "24 of 32 MiB are full");
}

/// S2: a damaged segment that was put aside does not come back as one that is to be replayed.
#[test]
fn segments_put_aside_stay_aside() {
    let mut writing = Writing::begin();
    writing.append_small(1);
    writing.dir.disk.take_log();
    let damaged = [Sealed { sequence: 1, last_group: Group(1) }];
    writing.keeper.lock().expect("whole").set_aside(&damaged).expect("put aside");
    let journal = writing.dir.layout.journal();
    let expected = [(Op::Rename, writing.segment(1)), (Op::SyncDir, journal)];
    assert_eq!(writing.dir.disk.take_log(), expected);
    assert_eq!(writing.scan(0).segments, []);
}

/// A4: a full disk refuses the group and nothing else; the next one may fit again.
#[test]
fn a_full_disk_at_reserve_leaves_the_journal_usable() {
    let mut writing = Writing::begin();
    writing.append_large(2);
    writing.dir.disk.fail(Op::CreateNew, ".segment", ErrorKind::StorageFull);
    let full = writing.journal.reserve(12 << 20).expect_err("no room");
    assert!(full.is_out_of_space());
    assert_eq!(writing.append(b"small enough for what is left"), Group(3));
    assert_eq!(writing.append(&vec![2; 6 << 20]), Group(4));
    let found = writing.scan(0);
    assert_eq!((groups(&found), found.damage), (vec![1, 2, 3, 4], vec![]));
}

/// S1: a segment is made before it is needed; a crash leaves it empty.
#[test]
fn a_prepared_but_unused_segment_is_no_damage() {
    let mut writing = Writing::begin();
    writing.append_small(1);
    let unused = writing.prepare();
    let found = writing.scan(0);
    assert_eq!((groups(&found), found.damage), (vec![1], vec![]));
    assert_eq!(found.segments[1], Sealed { sequence: unused.sequence, last_group: Group(0) });
}

/// A1: a segment is durable under its name before anything is written to it.
#[test]
fn a_spare_is_synced_renamed_and_the_directory_synced() {
    let writing = Writing::begin();
    let used = Sealed { sequence: 1, last_group: Group(0) };
    writing.keeper.lock().expect("whole").reclaim(vec![used]).expect("reclaimed");
    writing.dir.disk.take_log();
    writing.prepare();
    let ops: Vec<_> = writing.dir.disk.take_log().into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, [Op::Write, Op::SyncData, Op::Rename, Op::SyncDir]);
}

/// A2: a new life numbers its segments after all that are there, spares included.
#[test]
fn a_new_life_never_takes_an_old_segment_s_name() {
    let mut writing = Writing::begin();
    writing.append_small(1);
    let used = Sealed { sequence: writing.prepare().sequence, last_group: Group(0) };
    writing.keeper.lock().expect("whole").reclaim(vec![used]).expect("reclaimed");
    let next = open(&writing.dir).prepare().expect("a segment");
    assert_eq!(next.sequence, used.sequence + 1);
}

/// A2: groups are dense; a group that is not the next one is a bug, not a frame.
#[test]
#[should_panic(expected = "groups are dense")]
fn a_group_is_never_left_out() {
    let mut writing = Writing::begin();
    writing.append_small(1);
    let skipped = writing.journal.append(Group(3), AcceptTime(3), &[record("a", b"")]);
    drop(skipped);
}

/// Not a journal's file, so not its business.
#[test]
fn other_files_are_left_alone() {
    let mut writing = Writing::begin();
    writing.append_small(1);
    let other = writing.dir.layout.journal().join("notes.txt");
    RealDisk.create_new(&other, b"LOGMSEG1", 8).expect("made");
    assert_eq!(groups(&writing.scan(0)), [1]);
}

proptest::proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A2: whatever happens to the bytes, reading does not panic, and a group that is read is
    /// exactly one that was written.
    #[test]
    fn no_corruption_yields_a_frame_that_was_not_written(
        changes in proptest::collection::vec((0_u64..5 * BLOCK, any::<u8>(), 1_usize..64), 1..12),
        len in 0_u64..6 * BLOCK,
    ) {
        let mut writing = Writing::begin();
        writing.append_small(4);
        let path = writing.segment(1);
        for (at, byte, count) in changes {
            writing.dir.overwrite(&path, at, &vec![byte; count]);
        }
        RealDisk.open(&path).expect("there").set_len(len).expect("cut");
        for frame in writing.scan(0).frames {
            let body = body_of(frame.group.0);
            assert!((1..=4).contains(&frame.group.0));
            assert_eq!((frame.accepted, frame.rules), (AcceptTime(frame.group.0), RULES));
            let contents = FrameReader::new(&RealDisk).read(&frame).expect("readable");
            let written = [record("a", &body), record("b", &body)];
            assert_eq!(contents.records().expect("whole"), written);
        }
    }
}
