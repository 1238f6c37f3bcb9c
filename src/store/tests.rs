//! What the store promises: whole checkpoints, exact sums at every size, nothing served that is
//! not what was written.

mod hours;

use super::rows::{Level, key};
use super::*;
use crate::claim::ClaimSync;
use crate::clock::Now;
use crate::counts::{Dimension, OTHER, Parts, WindowCounts};
use crate::delta::Delta;
use crate::testing::{DataDir, batch, batch_by, customer, hours, now_at, summary};
use crate::window::{Minute, Span, WindowSize};

/// The first minute of a day.
const DAY: u32 = 20_000 * 1_440;
const HOUR_AFTER: u32 = DAY + 2 * 60;
const LIMITS: KeyLimits = KeyLimits { paths: 100, agents: 100 };
const FOREVER: Retention = Retention::FOREVER;

/// A store whose checkpoints follow each other, and all that was ever counted in it.
struct Books {
    dir: DataDir,
    store: Store,
    epoch: u64,
    retention: Retention,
    all: Delta,
}

impl Books {
    fn new() -> Self {
        Self::limited(LIMITS)
    }

    fn limited(limits: KeyLimits) -> Self {
        let dir = DataDir::new();
        let store = open(&dir, limits);
        Self { dir, store, epoch: 0, retention: FOREVER, all: Delta::default() }
    }

    fn keeping(minutes: Duration, hours: Duration) -> Self {
        Self { retention: Retention { minutes, hours, ..Retention::FOREVER }, ..Self::new() }
    }

    /// A checkpoint at the given minute with batches of customer and body.
    fn commit(&mut self, at: u32, batches: &[(&str, String)]) -> CheckpointStats {
        let mut delta = Delta::default();
        for (of, body) in batches {
            let summary = summary(body);
            for window in 0..summary.windows.len() {
                delta.add(&customer(of), &summary, window, Group(1), false, LIMITS);
                self.all.add(&customer(of), &summary, window, Group(1), false, LIMITS);
            }
        }
        self.epoch += 1;
        self.write(position(self.epoch, at), &[Arc::new(delta)], now_at(at))
    }

    fn write(&self, position: Position, deltas: &[Arc<Delta>], now: Now) -> CheckpointStats {
        let (claims, lives, retention) = (&ClaimSync::default(), None, self.retention);
        let checkpoint = Checkpoint { position, deltas, claims, lives, retention, now };
        self.store.commit(&checkpoint).expect("committed")
    }

    fn get(&self, of: &str, size: WindowSize, start: u32) -> Option<WindowCounts> {
        let snapshot = self.store.snapshot().expect("readable");
        snapshot.window(&customer(of), size, Minute(start)).expect("readable")
    }

    fn requests(&self, of: &str, size: WindowSize, start: u32) -> u64 {
        self.get(of, size, start).map_or(0, |window| window.totals.requests)
    }

    /// W2: hour and day are what was ever counted in their minutes.
    fn assert_sums(&self, of: &str) {
        let of = customer(of);
        for (size, start) in
            (0..24).map(|hour| (WindowSize::Hour, DAY + hour * 60)).chain([(WindowSize::Day, DAY)])
        {
            let mut sum = None;
            let span = Span::of(size, Minute(start));
            for (_, more) in self.all.minutes_of(&of, span, Parts::ALL).windows(span) {
                let sum: &mut WindowCounts = sum.get_or_insert_default();
                sum.merge(&more, LIMITS);
            }
            assert_eq!(self.get(of.as_str(), size, start), sum, "{size} {start}");
        }
    }

    fn marks(&self) -> usize {
        let read =
            |database: &Database| Ok(database.begin_read()?.open_table(DIRTY)?.iter()?.count());
        self.store.reading(read).expect("readable")
    }

    fn starts(&self, of: &str, size: WindowSize, span: Span, max: usize) -> Page {
        let snapshot = self.store.snapshot().expect("readable");
        snapshot.starts(&customer(of), size, span, max).expect("readable")
    }
}

fn open(dir: &DataDir, limits: KeyLimits) -> Store {
    Store::open(&dir.disk(), &dir.layout, 1 << 20, limits).expect("opened")
}

fn position(epoch: u64, at: u32) -> Position {
    Position {
        group: Group(epoch * 10),
        epoch: Epoch(epoch),
        incarnation: Incarnation(0),
        uptime: Duration::from_secs(epoch),
        accepted: now_at(at).wall,
    }
}

fn span(from: u32, to: u32) -> Span {
    Span { from: Minute(from), to: Minute(to) }
}

fn one(minute: u32) -> String {
    batch(&[(minute, "/one")])
}

fn pairs(counts: &crate::counts::Counts) -> Vec<(&str, u64)> {
    counts.iter().collect()
}

/// S1: what a checkpoint wrote is what is read, names and totals.
#[test]
fn a_committed_minute_reads_back_exactly() {
    let mut books = Books::new();
    let body = batch_by(&[(DAY, "/a", "curl/8"), (DAY, "/b", "Wget/1"), (DAY, "/a", "curl/7")]);
    let stats = books.commit(DAY + 1, &[("c", body)]);
    assert_eq!(stats, CheckpointStats { windows: 1, ..CheckpointStats::default() });
    let window = books.get("c", WindowSize::Minute, DAY).expect("counted");
    assert_eq!(window.totals.requests, 3);
    assert_eq!(pairs(&window.paths), [("GET /a", 2), ("GET /b", 1)]);
    assert_eq!(pairs(&window.agents), [("Wget", 1), ("curl", 2)]);
}

/// S1: a later checkpoint adds to what is there, in all numbers of a window.
#[test]
fn checkpoints_add_up() {
    let mut books = Books::new();
    books.commit(DAY + 1, &[("c", one(DAY)), ("c", one(DAY))]);
    let mut late = Delta::default();
    late.add(&customer("c"), &summary(&one(DAY)), 0, Group(1), true, LIMITS);
    books.write(position(2, DAY + 9), &[Arc::new(late)], now_at(DAY + 9));
    let totals = books.get("c", WindowSize::Minute, DAY).expect("counted").totals;
    assert_eq!((totals.requests, totals.late, totals.revision), (3, 1, 1));
}

/// T1, W1: a window is one customer's and one minute's.
#[test]
fn customers_and_minutes_are_apart() {
    let mut books = Books::new();
    books.commit(DAY + 5, &[("a", one(DAY)), ("ab", one(DAY)), ("ab", one(DAY + 1))]);
    assert_eq!(books.requests("a", WindowSize::Minute, DAY), 1);
    assert_eq!(books.requests("a", WindowSize::Minute, DAY + 1), 0);
    assert_eq!(books.requests("a", WindowSize::Hour, DAY), 1);
    assert_eq!(books.requests("ab", WindowSize::Day, DAY), 2);
    assert_eq!(books.get("b", WindowSize::Day, DAY), None);
}

/// W2: hours and days are the sum of their minutes before, at and after they are rebuilt.
#[test]
fn hours_and_days_are_the_sum_of_minutes_dirty_or_rebuilt() {
    let mut books = Books::new();
    let two_hours = batch(&[(DAY, "/a"), (DAY + 59, "/b"), (DAY + 60, "/a"), (DAY + 1_439, "/c")]);
    books.commit(DAY + 61, &[("c", two_hours.clone()), ("d", one(DAY))]);
    books.assert_sums("c");
    assert_eq!(books.marks(), 6, "three hours and a day of one, an hour and a day of the other");

    assert_eq!(books.commit(HOUR_AFTER, &[("d", one(DAY + 60))]).rebuilt, 3);
    books.assert_sums("c");
    assert_eq!(books.commit(DAY + 1_440, &[]).rebuilt, 4, "the day is over");
    assert_eq!(books.marks(), 0);
    books.assert_sums("c");
    books.assert_sums("d");
}

/// W2: a window that was touched in this very checkpoint rests before it is rebuilt.
#[test]
fn a_window_is_rebuilt_once_it_is_over_and_has_rested() {
    let mut books = Books::new();
    assert_eq!(books.commit(HOUR_AFTER, &[("c", one(DAY))]).rebuilt, 0, "touched just now");
    let mut open = Books::new();
    open.commit(DAY + 1, &[("c", one(DAY))]);
    assert_eq!(open.commit(DAY + 59, &[]).rebuilt, 0, "not over");
    assert_eq!(open.commit(DAY + 60, &[]).rebuilt, 1);
}

/// W2: late data makes a rebuilt hour, and its day, wrong: they are marked again.
#[test]
fn late_data_marks_hour_and_day_again() {
    let mut books = Books::new();
    books.commit(DAY + 1, &[("c", one(DAY)), ("c", one(DAY + 1))]);
    books.commit(DAY + 1_440, &[]);
    assert_eq!(books.marks(), 0);
    books.commit(DAY + 1_500, &[("c", one(DAY))]);
    assert_eq!(books.marks(), 2);
    books.assert_sums("c");
    books.commit(DAY + 1_501, &[]);
    assert_eq!(books.marks(), 0);
    books.assert_sums("c");
}

/// W2: minutes past retention go, their hour stays exact, late data after that included.
#[test]
fn expired_minutes_leave_exact_hours() {
    let mut books = Books::keeping(hours(10), Duration::MAX);
    books.commit(DAY + 1, &[("c", batch(&[(DAY, "/a"), (DAY + 7, "/b")])), ("d", one(DAY))]);
    assert_eq!(books.commit(DAY + 60 + 599, &[]).expired, 0);
    assert_eq!(books.commit(DAY + 60 + 600, &[]).expired, 2);
    assert_eq!(books.get("c", WindowSize::Minute, DAY), None);
    assert_eq!(books.starts("c", WindowSize::Minute, span(DAY, DAY + 60), 9).starts, []);
    books.assert_sums("c");

    books.commit(DAY + 700, &[("c", batch(&[(DAY, "/late"), (DAY + 8, "/a")]))]);
    books.assert_sums("c");
    books.commit(DAY + 701, &[]);
    books.assert_sums("c");
    assert_eq!(books.commit(DAY + 700 + 600, &[]).expired, 1, "the late minutes in their turn");
    assert_eq!(books.get("c", WindowSize::Minute, DAY + 8), None);
    books.assert_sums("c");
    books.assert_sums("d");
}

/// W2: hours past retention go, their day stays exact, late data after that included.
#[test]
fn expired_hours_leave_exact_days() {
    let mut books = Books::keeping(hours(1), hours(48));
    books.commit(DAY + 1, &[("c", batch(&[(DAY, "/a"), (DAY + 70, "/b")]))]);
    books.commit(DAY + 1_440, &[]);
    books.assert_sums("c");
    let after = DAY + 3 * 1_440;
    assert_eq!(books.commit(after, &[]).expired, 1);
    assert_eq!(books.get("c", WindowSize::Hour, DAY), None);
    assert_eq!(books.requests("c", WindowSize::Day, DAY), 2);

    books.commit(after + 10, &[("c", one(DAY + 1)), ("c", one(DAY + 1_000))]);
    assert_eq!(books.requests("c", WindowSize::Day, DAY), 4);
    for later in [11, 71, 80, 48 * 60 + 10, 48 * 60 + 11] {
        books.commit(after + later, &[]);
        assert_eq!(books.requests("c", WindowSize::Day, DAY), 4, "{later} minutes on");
    }
    assert_eq!(books.get("c", WindowSize::Hour, DAY + 960), None, "gone again");
    let day = books.get("c", WindowSize::Day, DAY).expect("kept for ever");
    assert_eq!(pairs(&day.paths), [("GET /a", 1), ("GET /b", 1), ("GET /one", 2)]);
}

/// L1: retention counts from the last change: old logs imported today are not dropped today.
#[test]
fn old_data_that_has_just_come_is_kept() {
    let mut books = Books::keeping(hours(10), hours(100));
    let today = DAY + 365 * 1_440;
    books.commit(today, &[("c", one(DAY))]);
    assert_eq!(books.commit(today + 599, &[]).expired, 0);
    assert_eq!(books.requests("c", WindowSize::Minute, DAY), 1);
    assert_eq!(books.commit(today + 600, &[]).expired, 1);
    assert_eq!(books.requests("c", WindowSize::Hour, DAY), 1);
}

/// T1: pages of starts hold the asked customer's windows only, and say when there may be more.
#[test]
fn starts_page_through_one_customer_among_many() {
    let mut books = Books::new();
    let minutes: Vec<_> = (0..30).map(|n| DAY + n * 7).collect();
    let mut all = Vec::new();
    for (n, of) in ["a", "b", "b.1", "c", "zz"].into_iter().enumerate() {
        all.extend(minutes.iter().skip(n).step_by(2).map(|minute| (of, one(*minute))));
    }
    books.commit(DAY + 1, &all);
    let expected: Vec<_> = minutes.iter().skip(1).step_by(2).map(|m| Minute(*m)).collect();
    let everything = span(DAY, DAY + 1_440);
    let all = books.starts("b", WindowSize::Minute, everything, 15);
    assert_eq!(all, Page { starts: expected.clone(), is_cut: false });

    let mut found = Vec::new();
    let mut at = DAY;
    loop {
        let page = books.starts("b", WindowSize::Minute, span(at, DAY + 1_440), 4);
        assert!(page.starts.len() == 4 || !page.is_cut);
        found.extend(page.starts);
        if !page.is_cut {
            break;
        }
        at = found.last().expect("a cut page is not empty").0 + 1;
    }
    assert_eq!(found, expected);
    let middle = books.starts("b", WindowSize::Minute, span(DAY + 7, DAY + 35), 9);
    assert_eq!(middle.starts, [Minute(DAY + 7), Minute(DAY + 21)], "half-open");
}

/// W2: an hour is found whether it is rebuilt or only marked, once, and in order.
#[test]
fn starts_of_hours_join_rows_and_marks() {
    let mut books = Books::new();
    books.commit(DAY + 1, &[("c", one(DAY)), ("c", one(DAY + 120)), ("d", one(DAY + 60))]);
    books.commit(DAY + 180, &[("c", one(DAY + 60)), ("c", one(DAY + 120))]);
    let day = span(DAY, DAY + 1_440);
    let all = Page { starts: [0, 60, 120].map(|m| Minute(DAY + m)).to_vec(), is_cut: false };
    assert_eq!(books.starts("c", WindowSize::Hour, day, 3), all);
    let cut = Page { starts: all.starts[..2].to_vec(), is_cut: true };
    assert_eq!(books.starts("c", WindowSize::Hour, day, 2), cut);
}

/// S1: a value that is not what was written is never served; the table is named.
#[test]
fn a_flipped_byte_in_a_value_is_found() {
    for (table, name) in [(TOTALS, "totals"), (PATHS, "paths"), (AGENTS, "agents")] {
        let mut books = Books::new();
        books.commit(DAY + 1, &[("c", one(DAY)), ("d", one(DAY))]);
        let row = key(Level::Minute, Minute(DAY), "c");
        let flip = |txn: &redb::WriteTransaction| {
            let mut table = txn.open_table(table)?;
            let mut value = table.get(row.as_slice())?.expect("the row").value().to_vec();
            value[0] ^= 1;
            table.insert(row.as_slice(), value.as_slice())?;
            Ok(())
        };
        books.store.writing(flip).expect("written");
        let snapshot = books.store.snapshot().expect("readable");
        for size in [WindowSize::Minute, WindowSize::Hour] {
            let read = snapshot.window(&customer("c"), size, Minute(DAY));
            assert!(matches!(read, Err(StoreError::Corrupt { table, .. }) if table == name));
        }
        assert!(snapshot.window(&customer("d"), WindowSize::Minute, Minute(DAY)).is_ok());
    }
}

/// S1: a window of which a part is gone is damaged, not smaller.
#[test]
fn a_row_without_its_parts_is_found() {
    let mut books = Books::new();
    books.commit(DAY + 1, &[("c", one(DAY))]);
    let row = key(Level::Minute, Minute(DAY), "c");
    let remove = |txn: &redb::WriteTransaction| {
        txn.open_table(PATHS)?.remove(row.as_slice())?;
        Ok(())
    };
    books.store.writing(remove).expect("written");
    let read = books.store.snapshot().expect("readable");
    let read = read.window(&customer("c"), WindowSize::Minute, Minute(DAY));
    assert!(matches!(read, Err(StoreError::Corrupt { .. })));
}

/// S1: a checkpoint that does not follow the last one is a bug, and must not be written.
#[test]
#[should_panic(expected = "one checkpoint follows the other")]
fn a_checkpoint_is_not_committed_twice() {
    let mut books = Books::new();
    books.commit(DAY, &[]);
    books.epoch = 0;
    books.commit(DAY, &[("c", one(DAY))]);
}

/// S1: the group of a checkpoint never goes back.
#[test]
#[should_panic(expected = "a checkpoint never goes back")]
fn a_checkpoint_does_not_go_back() {
    let mut books = Books::new();
    books.commit(DAY, &[]);
    let back = Position { group: Group(9), ..position(2, DAY) };
    books.write(back, &[], now_at(DAY));
}

/// S1: a snapshot is of one checkpoint: its position and its windows belong together.
#[test]
fn a_snapshot_does_not_see_later_checkpoints() {
    let mut books = Books::new();
    books.commit(DAY, &[("c", one(DAY))]);
    let before = open_snapshot(&books.store);
    let mut second = Delta::default();
    second.add(&customer("c"), &summary(&one(DAY)), 0, Group(1), false, LIMITS);
    books.write(position(2, DAY), &[Arc::new(second)], now_at(DAY));
    let minute = |snapshot: &Snapshot<'_>| {
        let window = snapshot.window(&customer("c"), WindowSize::Minute, Minute(DAY));
        let requests = window.expect("readable").expect("counted").totals.requests;
        (snapshot.position().expect("readable").epoch.0, requests)
    };
    assert_eq!(minute(&before), (1, 1));
    assert_eq!(minute(&open_snapshot(&books.store)), (2, 2));
}

fn open_snapshot(store: &Store) -> Snapshot<'_> {
    store.snapshot().expect("readable")
}

/// S1: a reopened store stands where it stood, with all that was counted; a life is never
/// numbered as an earlier one.
#[test]
fn reopening_keeps_position_lives_and_windows() {
    let mut books = Books::new();
    assert_eq!(books.store.begin_life().expect("written"), Incarnation(1));
    books.commit(DAY, &[("c", one(DAY))]);
    let lives = Lives::from([(Incarnation(1), Group(10))]);
    books
        .store
        .commit(&Checkpoint {
            position: position(2, DAY),
            deltas: &[],
            claims: &ClaimSync::default(),
            lives: Some(&lives),
            retention: FOREVER,
            now: now_at(DAY),
        })
        .expect("committed");

    let Books { dir, store, .. } = books;
    drop(store);
    let store = open(&dir, LIMITS);
    let incarnation = Incarnation(1);
    assert_eq!(store.position().expect("readable"), Position { incarnation, ..position(2, DAY) });
    assert_eq!(store.lives().expect("readable"), lives);
    assert_eq!(store.begin_life().expect("written"), Incarnation(2));
    let window = open_snapshot(&store).window(&customer("c"), WindowSize::Day, Minute(DAY));
    assert_eq!(window.expect("readable").expect("counted").totals.requests, 1);
}

/// L1: past the limit of names the rest counts under `(other)`, and every sum stays exact.
#[test]
fn names_past_the_limit_count_as_other() {
    let mut books = Books::limited(KeyLimits { paths: 2, agents: 1 });
    let body = |paths: [&str; 2], agent| batch_by(&paths.map(|path| (DAY, path, agent)));
    books.commit(DAY, &[("c", body(["/a", "/b"], "curl/8"))]);
    books.commit(DAY + 60, &[("c", body(["/b", "/c"], "Wget/1")), ("c", one(DAY + 1))]);
    let minute = books.get("c", WindowSize::Minute, DAY).expect("counted");
    assert_eq!(pairs(&minute.paths), [(OTHER, 1), ("GET /a", 1), ("GET /b", 2)]);
    assert_eq!(pairs(&minute.agents), [(OTHER, 2), ("curl", 2)]);
    for _ in 0..2 {
        let hour = books.get("c", WindowSize::Hour, DAY).expect("counted");
        assert!(hour.adds_up());
        assert_eq!(pairs(&hour.paths), [(OTHER, 2), ("GET /a", 1), ("GET /b", 2)]);
        books.commit(DAY + 61, &[]);
    }
}

/// W2: what entries say of their answers adds up in hours and days, however it is cut and in
/// whatever order it comes, beside minutes in which nobody says anything.
#[test]
fn responses_roll_up_as_requests_do() {
    let entry = |minute: u32, more: &str| {
        let time = Minute(minute);
        format!(r#"{{"receivedAt":"{time}","method":"GET","path":"/","userAgent":"x"{more}}}"#)
    };
    let mut books = Books::keeping(hours(2), hours(48));
    for (at, minutes) in
        [(HOUR_AFTER, [0, 61, 7]), (HOUR_AFTER + 1, [61, 0, 119]), (HOUR_AFTER + 300, [0, 7, 8])]
    {
        let said = [r#","status":200,"bytes":5"#, "", r#","status":503"#];
        let entries = minutes.iter().zip(said).map(|(minute, more)| entry(DAY + minute, more));
        let body = entries.collect::<Vec<_>>().join("\n");
        books.commit(at, &[("c", body.replace("}\n{", "}{"))]);
        books.assert_sums("c");
    }
    books.commit(DAY + 2 * 1_440, &[]);
    books.assert_sums("c");
    let day = books.get("c", WindowSize::Day, DAY).expect("counted").totals;
    assert_eq!(day.responses.statuses().collect::<Vec<_>>(), [(200, 3), (503, 3)]);
    assert_eq!((day.requests, day.responses.bytes()), (9, Some(15)));
}
