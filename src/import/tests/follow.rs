//! Logs that are followed while they grow, are rotated, and the follower dies.
//!
//! A follower that is dropped wrote nothing more: to its state file that is what `kill -9` is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::decode::Fields;
use crate::import::Import;
use crate::import::follow::Follower;

const LONG: Duration = Duration::from_secs(3_600);

/// The one of the tests, but without an end.
fn endless() -> Patience {
    Patience { give_up_after: Duration::MAX, give_up_at_first_after: Duration::MAX, ..patience() }
}

impl Bench {
    fn options(&self, files: &[&str]) -> ImportOptions {
        ImportOptions {
            fields: Fields::AccessLine,
            files: files.iter().map(|name| self.path(name)).collect(),
            customer: "acme".into(),
            url: self.server.url.clone(),
            moved_from: None,
            token: None,
            state: Some(self.path("state/import.json")),
            follow: true,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Follows for as long as the steps take, then drops the follower; answers what it said.
    fn follow(&self, files: &[&str], steps: impl FnOnce(&mut Follower<'_>)) -> String {
        self.follow_for(LONG, files, steps)
    }

    fn follow_for(
        &self,
        quiet: Duration,
        files: &[&str],
        steps: impl FnOnce(&mut Follower<'_>),
    ) -> String {
        let (options, mut err) = (self.options(files), Vec::new());
        let pace = Pace { poll: Duration::from_millis(1), quiet };
        let import = Import::begin(&options, endless(), pace, &mut err).expect("begun");
        let mut follower = Follower::start(import).expect("started");
        steps(&mut follower);
        drop(follower);
        assert_eq!(self.server.conflicts(), 0, "a key was used for other content");
        String::from_utf8(err).expect("text")
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// As gzip and zstd do it: with the time of the file that it was.
    fn pack(&self, name: &str, end: &str) {
        let path = self.path(name);
        let text = fs::read_to_string(&path).expect("is there");
        let packed = match end {
            ".gz" => gzip(&text),
            _ => zstd::encode_all(text.as_bytes(), 1).expect("compressed"),
        };
        let changed = fs::metadata(&path).and_then(|seen| seen.modified()).expect("has a time");
        let name = format!("{name}{end}");
        self.write(&name, packed);
        let file = fs::File::options().append(true).open(self.path(&name)).expect("is there");
        file.set_modified(changed).expect("dated");
        fs::remove_file(path).expect("removed");
    }

    /// As logrotate's `copytruncate` does it.
    fn cut(&self, name: &str, copy: &str) {
        fs::copy(self.path(name), self.path(copy)).expect("copied");
        let file = fs::OpenOptions::new().write(true).open(self.path(name)).expect("is there");
        file.set_len(0).expect("cut");
    }

    fn state_file(&self) -> u64 {
        fs::metadata(self.path("state/import.json")).expect("is there").ino()
    }
}

fn tick(follower: &mut Follower<'_>) {
    follower.tick().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn lines_are_sent_as_they_come_but_no_half_ones() {
    let bench = Bench::new();
    bench.write("a.log", "");
    bench.follow(&["a.log"], |follower| {
        tick(follower);
        let text = lines(0..10);
        for part in text.as_bytes().chunks(37) {
            bench.append("a.log", std::str::from_utf8(part).expect("ASCII"));
            tick(follower);
        }
        bench.assert_counted(10);
        bench.append("a.log", &lines(10..3_000));
        tick(follower);
        bench.assert_counted(3_000);
        assert_eq!(follower.import.summary.bad, 0);
    });
}

#[test]
fn an_idle_follower_writes_nothing() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.follow(&["a.log"], |follower| {
        tick(follower);
        let sent = bench.state_file();
        tick(follower);
        let quiet = bench.state_file();
        assert_ne!(sent, quiet, "the acknowledgement is written once nothing more comes");
        tick(follower);
        tick(follower);
        assert_eq!(bench.state_file(), quiet);
    });
}

#[test]
fn a_renamed_log_is_read_to_its_end_before_the_new_one() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.follow(&["a.log"], |follower| {
        tick(follower);
        bench.append("a.log", &lines(10..20));
        bench.rename("a.log", "a.log.1");
        bench.write("a.log", lines(20..30));
        tick(follower);
        bench.assert_counted(30);
        let last = &bench.server.entries()[29];
        assert_eq!(last.path, "/29", "the old log first");
        // The server has not opened the new file yet, and the old one goes on moving.
        bench.append("a.log.1", &lines(30..35));
        bench.rename("a.log.1", "a.log.2");
        bench.append("a.log", &lines(35..40));
        tick(follower);
        bench.assert_counted(40);
    });
}

#[test]
fn a_rotated_log_is_given_up_with_its_last_line() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10).trim_end());
    bench.follow_for(Duration::ZERO, &["a.log"], |follower| {
        tick(follower);
        bench.assert_counted(9);
        bench.rename("a.log", "a.log.1");
        tick(follower);
        bench.assert_counted(10);
        bench.write("a.log", lines(10..12));
        tick(follower);
    });
    bench.assert_counted(12);
    fs::remove_file(bench.path("a.log.1")).expect("removed");
    let said = bench.follow(&["a.log"], tick);
    assert_eq!(said, "", "nothing of it is missing");
}

#[test]
fn a_log_that_is_copied_and_cut_goes_on_in_both() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..100));
    let said = bench.follow(&["a.log"], |follower| {
        tick(follower);
        bench.append("a.log", &lines(100..150));
        bench.cut("a.log", "a.log.1");
        tick(follower);
        bench.assert_counted(150);
        bench.append("a.log", &lines(150..160));
        tick(follower);
        // More than there was before comes between two looks.
        bench.cut("a.log", "a.log-20261126");
        bench.append("a.log", &lines(160..300));
        tick(follower);
        tick(follower);
    });
    assert!(said.contains("the rest is in a copy beside it"), "{said}");
    bench.assert_counted(300);
}

#[test]
fn kills_and_rotations_lose_nothing() {
    for (from, packed) in [(1, ""), (10, ""), (1_500, ""), (10, ".gz"), (10, ".zst")] {
        let bench = Bench::new();
        bench.write("a.log", lines(0..from));
        bench.follow(&["a.log"], tick);
        // Rotated twice while nobody looks: the middle one was never seen.
        bench.write("a.log.9", "an old log that nobody asked for\n");
        let old = fs::File::options().append(true).open(bench.path("a.log.9")).expect("is there");
        old.set_modified(std::time::UNIX_EPOCH).expect("dated");
        bench.append("a.log", &lines(from..from + 20));
        bench.rename("a.log", "a.log.2");
        if !packed.is_empty() {
            bench.pack("a.log.2", packed);
        }
        std::thread::sleep(Duration::from_millis(20));
        bench.write("a.log.1", lines(from + 20..from + 40));
        std::thread::sleep(Duration::from_millis(20));
        bench.write("a.log", lines(from + 40..from + 50));
        let said = bench.follow(&["a.log"], |follower| {
            tick(follower);
            tick(follower);
        });
        assert!(said.contains("a.log.1: was"), "{said}");
        assert!(!said.contains("a.log.9"), "{said}");
        bench.assert_counted(from + 50);
    }
}

/// The compressed log is read to its end at once; what came after it must be found by it again.
#[test]
fn a_kill_behind_the_rest_of_a_log_forgets_no_log_after_it() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.follow(&["a.log"], tick);
    bench.write("a.log.2.gz", gzip(&lines(0..20)));
    std::thread::sleep(Duration::from_millis(20));
    fs::remove_file(bench.path("a.log")).expect("removed");
    bench.write("a.log.1", lines(20..30));
    bench.server.then([Reply::Accept, Reply::Status(500)]);
    bench.follow(&["a.log"], |follower| {
        assert!(follower.tick().is_err(), "in the second log");
    });
    std::thread::sleep(Duration::from_millis(20));
    bench.write("a.log", lines(30..40));
    bench.follow(&["a.log"], tick);
    bench.assert_counted(40);
}

/// Two rotations between two looks, as while the server is away; the second compresses the log
/// that is read, and its number goes to a later one.
#[test]
fn a_log_that_was_compressed_meanwhile_hides_none_after_it() {
    for is_kept in [true, false] {
        let bench = Bench::new();
        bench.write("a.log", lines(0..10));
        let said = bench.follow(&["a.log"], |follower| {
            tick(follower);
            std::thread::sleep(Duration::from_millis(20));
            bench.rename("a.log", "a.log.2");
            if is_kept {
                bench.pack("a.log.2", ".gz");
            } else {
                fs::remove_file(bench.path("a.log.2")).expect("removed");
            }
            bench.write("a.log.1", lines(10..20));
            std::thread::sleep(Duration::from_millis(20));
            bench.write("a.log", lines(20..30));
            tick(follower);
            tick(follower);
        });
        assert!(said.contains("a.log.1: was"), "{said}");
        bench.assert_counted(30);
    }
}

/// While the server is away the follower goes on looking: a log can lose its name between that it
/// is seen and that it is read.
#[test]
fn a_log_that_is_rotated_before_it_is_read_counts_once() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.follow(&["a.log"], |follower| {
        tick(follower);
        std::thread::sleep(Duration::from_millis(20));
        bench.rename("a.log", "a.log.2");
        bench.write("a.log", lines(10..12));
        follower.import.watch.look();
        std::thread::sleep(Duration::from_millis(20));
        bench.rename("a.log", "a.log.1");
        bench.write("a.log", lines(12..14));
        tick(follower);
        tick(follower);
    });
    bench.assert_counted(14);
}

#[test]
fn a_kill_before_or_after_the_answer_counts_once() {
    for replies in [vec![Reply::AcceptAndHangUp, Reply::Status(500)], vec![Reply::Status(500)]] {
        let bench = Bench::new();
        bench.write("a.log", lines(0..10));
        bench.server.then(replies);
        bench.follow(&["a.log"], |follower| {
            assert!(follower.tick().is_err());
        });
        bench.append("a.log", &lines(10..20));
        bench.rename("a.log", "a.log.1");
        bench.write("a.log", lines(20..30));
        bench.follow(&["a.log"], tick);
        bench.assert_counted(30);
    }
}

#[test]
fn what_is_not_found_any_more_is_said_once() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.follow(&["a.log"], tick);
    bench.write("a.log.1", lines(100..110));
    bench.write("a.log", lines(10..20));
    let said = bench.follow(&["a.log"], |follower| {
        tick(follower);
        assert_eq!(follower.import.summary.lost_logs, 1);
        assert_eq!(follower.import.summary.exit_code(), 1);
    });
    assert!(said.contains("behind byte") && said.contains("is not imported"), "{said}");
    assert_eq!(bench.follow(&["a.log"], tick), "");
    bench.assert_counted(20);
}

#[test]
fn a_new_log_that_begins_like_the_old_one_is_another() {
    let bench = Bench::new();
    bench.write("a.log", line(0));
    bench.follow(&["a.log"], |follower| {
        tick(follower);
        bench.rename("a.log", "a.log.1");
        bench.write("a.log", line(0));
        tick(follower);
        assert_eq!(bench.server.entries().len(), 2);
        bench.cut("a.log", "a.log.0");
        tick(follower);
        bench.append("a.log", &line(0));
        tick(follower);
        assert_eq!(bench.server.entries().len(), 3);
    });
    // Rotated while nobody looks: the file that was read is another one now.
    bench.rename("a.log", "a.log.00");
    bench.write("a.log", line(0));
    bench.follow(&["a.log"], tick);
    assert_eq!(bench.server.entries().len(), 4);
}

#[test]
fn an_edited_copy_in_place_of_a_log_is_the_same_log() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..100));
    bench.follow(&["a.log"], |follower| {
        tick(follower);
        bench.write("new", lines(0..110));
        bench.rename("a.log", "a.log.bak");
        bench.rename("new", "a.log");
        tick(follower);
    });
    bench.assert_counted(110);
}

#[test]
fn patterns_and_missing_logs_are_waited_for() {
    let bench = Bench::new();
    let said = bench.follow(&["*.log", "later"], |follower| {
        tick(follower);
        tick(follower);
        bench.write("b.log", lines(0..5));
        bench.write("later", lines(5..10));
        tick(follower);
        bench.rename("b.log", "c.log");
        bench.append("c.log", &lines(10..12));
        bench.write("d.log", lines(12..14));
        fs::remove_file(bench.path("later")).expect("removed");
        tick(follower);
        bench.write("later", lines(14..16));
        tick(follower);
    });
    assert!(said.contains("*.log: matches no file yet; waiting for it"), "{said}");
    assert!(said.contains("later: is not there yet; waiting for it"), "{said}");
    bench.assert_counted(16);
}

#[test]
fn a_server_that_is_away_is_waited_for_while_logs_rotate() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.server.then((0..30).map(|_| Reply::Status(503)));
    let said = bench.follow(&["a.log"], tick);
    assert_eq!(said.matches("trying again").count(), 1, "{said}");
    assert_eq!(said.matches("took the batch after").count(), 1, "{said}");
    bench.assert_counted(10);
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let bench = Bench::new();
    bench.write("a.log", lines(0..10) + "half a li");
    let (options, mut out, mut err) = (bench.options(&["a.log"]), Vec::new(), Vec::new());
    options.stop.store(true, Ordering::Relaxed);
    let summary = run_with(&options, endless(), Pace::default(), &mut out, &mut err);
    let summary = summary.expect("ended");
    assert_eq!((summary.posted, summary.bad, summary.exit_code()), (10, 0, 0));

    bench.append("a.log", "ne\n");
    bench.server.then((0..1_000).map(|_| Reply::Status(503)));
    let summary = run_with(&options, endless(), Pace::default(), &mut out, &mut err);
    assert_eq!(summary.expect("ended").exit_code(), 1, "a bad line, and nothing to send");
    bench.append("a.log", &line(10));
    let summary = run_with(&options, endless(), Pace::default(), &mut out, &mut err);
    assert_eq!(summary.expect("ended").posted, 0);
    let said = String::from_utf8_lossy(&err);
    assert!(said.contains("stopped before the server took the last batch"), "{said}");
    bench.server.forget_replies();
    bench.follow(&["a.log"], tick);
    bench.assert_counted(11);
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let bench = Bench::new();
    let mut options = bench.options(&[]);
    options.files = vec!["-".into()];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let refused = run_with(&options, endless(), Pace::default(), &mut out, &mut err);
    assert!(matches!(refused, Err(ImportError::FollowsStdin)));

    bench.write("a.log", line(0));
    let held = bench.follow(&["a.log"], |_| {
        let second =
            run_with(&bench.options(&["b.log"]), endless(), Pace::default(), &mut out, &mut err);
        let second = second.expect_err("locked").to_string();
        assert!(second.starts_with("another import is using the state file"), "{second}");
    });
    assert_eq!(held, "");
}
