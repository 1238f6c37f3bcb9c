//! Imports against a small server in this process: nothing counted twice, nothing lost in silence.

#![allow(clippy::disallowed_methods, reason = "tests make and change log files")]

mod follow;
mod server;
mod servers;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::cursor::StateFile;
use super::watch::Pace;
use super::{ImportError, ImportOptions, Patience, Summary, run_with};
use crate::decode::{Fields, Formats};
use server::{Reply, Server};

/// A directory, a server, and what the last import printed.
struct Bench {
    fields: Fields,
    directory: TempDir,
    server: Server,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            fields: Fields::AccessLine,
            directory,
            server: Server::start(),
            out: String::new(),
            err: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    fn append(&self, name: &str, content: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.path(name)).expect("is there");
        file.write_all(content.as_bytes()).expect("written");
    }

    fn import(&mut self, name: &str) -> Result<Summary, ImportError> {
        self.import_for("acme", name)
    }

    fn import_for(&mut self, customer: &str, name: &str) -> Result<Summary, ImportError> {
        self.import_from(None, customer, name)
    }

    fn import_from(
        &mut self,
        moved_from: Option<&str>,
        customer: &str,
        name: &str,
    ) -> Result<Summary, ImportError> {
        let options = ImportOptions {
            fields: self.fields.clone(),
            files: vec![self.path(name)],
            customer: customer.into(),
            url: format!("{}/", self.server.url),
            moved_from: moved_from.map(str::to_owned),
            token: None,
            follow: false,
            stop: Arc::default(),
            state: Some(self.path("state/import.json")),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = run_with(&options, patience(), Pace::default(), &mut out, &mut err);
        self.out = String::from_utf8(out).expect("text");
        self.err = String::from_utf8(err).expect("text");
        assert_eq!(self.server.conflicts(), 0, "a key was used for other content");
        outcome
    }

    fn imported(&mut self, name: &str) -> Summary {
        self.import(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The server has counted `/0` to `/n - 1`, each once.
    fn assert_counted(&self, n: usize) {
        let mut expected: Vec<_> = (0..n).map(|number| format!("/{number}")).collect();
        expected.sort();
        assert_eq!(self.server.paths(), expected);
    }
}

fn patience() -> Patience {
    Patience {
        pause_min: Duration::from_millis(2),
        pause_max: Duration::from_millis(10),
        give_up_after: Duration::from_secs(2),
        give_up_at_first_after: Duration::from_millis(500),
    }
}

fn line(number: usize) -> String {
    let (minute, second) = (number / 60 % 60, number % 60);
    format!(
        "10.0.0.1 - - [17/May/2015:10:{minute:02}:{second:02} +0200] \
         \"GET /{number} HTTP/1.1\" 200 12 \"-\" \"curl/8.4.0\"\n"
    )
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(line).collect()
}

fn gzip(content: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content.as_bytes()).expect("compressed");
    gzip.finish().expect("compressed")
}

#[test]
fn entries_carry_what_the_line_says() {
    let mut bench = Bench::new();
    bench.write("a.log", line(7));
    let summary = bench.imported("a.log");
    assert_eq!((summary.lines, summary.posted, summary.batches), (1, 1, 1));
    assert_eq!(summary.exit_code(), 0);
    let entries = bench.server.entries();
    assert_eq!(entries[0].received_at, "2015-05-17T08:00:00Z");
    assert_eq!((&*entries[0].method, &*entries[0].path), ("GET", "/7"));
    assert_eq!(entries[0].user_agent, "curl/8.4.0");
    assert!(bench.out.starts_with("lines                      1\nposted "), "{}", bench.out);
}

#[test]
fn bad_lines_are_reported_and_counted() {
    let mut bench = Bench::new();
    let long_path = line(9).replace("/9 ", &format!("/{} ", "x".repeat(2_048)));
    let long_agent = line(9).replace("curl/8.4.0", &"x".repeat(1_025));
    let huge = format!("{}\n", "x".repeat(200_000));
    let content = ["no log\n", "\n", &line(0), &long_path, &long_agent, "  \r\n", &huge, &line(1)];
    bench.write("a.log", content.concat());
    let summary = bench.imported("a.log");
    assert_eq!((summary.lines, summary.bad, summary.blank, summary.posted), (8, 4, 2, 2));
    assert_eq!(summary.exit_code(), 1);
    bench.assert_counted(2);
    for reason in [
        "a.log:1: not counted: expected a time such as",
        "a.log:4: not counted: path has 2049 bytes, at most 2048 are taken",
        "a.log:5: not counted: user agent has 1025 bytes, at most 1024 are taken",
        "a.log:7: not counted: the line is too long",
    ] {
        assert!(bench.err.contains(reason), "{reason} is missing in\n{}", bench.err);
    }
}

#[test]
fn only_the_first_bad_lines_are_shown() {
    let mut bench = Bench::new();
    bench.write("a.log", "bad\n".repeat(50));
    assert_eq!(bench.imported("a.log").bad, 50);
    assert_eq!(bench.err.matches("not counted").count(), 20);
    assert_eq!(bench.server.requests(), 0);
    let again = bench.imported("a.log");
    assert_eq!(again.lines, 50, "nothing is remembered of a log that has no entry");
    bench.append("a.log", &line(0));
    assert_eq!((bench.imported("a.log").posted, bench.imported("a.log").lines), (1, 0));
}

/// Whoever names the wrong format first can name the right one afterwards.
#[test]
fn a_log_that_was_read_by_the_wrong_format_is_read_again() {
    let mut bench = Bench::new();
    let json = |n: usize| {
        format!(
            r#"{{"msec":"14318500{n:02}","request_method":"GET","request_uri":"/{n}","http_user_agent":""}}"#
        )
    };
    bench.write("a.log", (0..30).map(|n| json(n) + "\n").collect::<String>());
    assert_eq!((bench.imported("a.log").bad, bench.server.requests()), (30, 0));
    assert!(bench.err.contains("none of its lines is of the format combined"), "{}", bench.err);
    bench.fields = Formats::default().get("nginx").expect("known").clone();
    assert_eq!(bench.imported("a.log").posted, 30);
    bench.assert_counted(30);
}

#[test]
fn importing_again_counts_nothing() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..2_500));
    assert_eq!(bench.imported("a.log").batches, 3);
    let requests = bench.server.requests();
    let again = bench.imported("a.log");
    assert_eq!((again.lines, again.posted, again.lines_before), (0, 0, 2_500));
    assert_eq!(bench.server.requests(), requests);
    bench.assert_counted(2_500);
}

#[test]
fn batches_stay_below_their_size() {
    let mut bench = Bench::new();
    let long = |number: usize| {
        line(number).replace("curl/8.4.0", &format!("{number}{}", "x".repeat(1_000)))
    };
    bench.write("a.log", (0..1_500).map(long).collect::<String>());
    let summary = bench.imported("a.log");
    assert_eq!((summary.posted, summary.batches), (1_500, 2));
    let wide = |number: usize| {
        let path = format!("/{} HTTP", "\\".repeat(1_999));
        line(number).replace(&format!("/{number} HTTP"), &path)
    };
    bench.write("b.log", (0..600).map(wide).collect::<String>());
    assert!(bench.imported("b.log").batches > 2, "the server checks the size of each");
}

#[test]
fn only_new_lines_of_a_grown_log_count() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..1));
    bench.imported("a.log");
    // From below the length of a fingerprint to above it, twice.
    for end in [2, 40, 1_700, 1_701] {
        let from = bench.server.entries().len();
        bench.append("a.log", &lines(from..end));
        let summary = bench.imported("a.log");
        assert_eq!((summary.lines, summary.lines_before), ((end - from) as u64, from as u64));
    }
    bench.append("a.log", "bad\n");
    bench.imported("a.log");
    assert!(bench.err.contains("a.log:1702: "), "lines are numbered from the start: {}", bench.err);
    bench.assert_counted(1_701);
}

#[test]
fn an_unfinished_last_line_waits() {
    let mut bench = Bench::new();
    let half = line(2);
    // Cut behind the number of bytes, where it would be a whole line of the common format.
    let (start, rest) = half.split_at(half.find(" \"-\"").expect("has a referer"));
    bench.write("a.log", lines(0..2) + start);
    let summary = bench.imported("a.log");
    assert_eq!((summary.lines, summary.unfinished, summary.exit_code()), (2, 1, 0));
    assert!(bench.err.contains("line 3 has no line end"), "{}", bench.err);
    bench.append("a.log", rest);
    assert_eq!(bench.imported("a.log").posted, 1);
    bench.assert_counted(3);
}

#[test]
fn a_last_line_without_its_end_counts_once() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..3).trim_end());
    assert_eq!(bench.imported("a.log").posted, 3);
    bench.append("a.log", " \"203.0.113.7\"\n");
    bench.append("a.log", &lines(3..5));
    let summary = bench.imported("a.log");
    assert_eq!((summary.posted, summary.bad), (2, 0));
    bench.assert_counted(5);
}

#[test]
fn gzip_is_the_same_log() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..1_200));
    bench.imported("a.log");
    bench.write("old-access-log", gzip(&lines(0..1_500)));
    let summary = bench.imported("old-access-log");
    assert_eq!((summary.lines, summary.lines_before), (300, 1_200));
    bench.assert_counted(1_500);
}

#[test]
fn zstd_is_the_same_log_too() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..1_200));
    bench.imported("a.log");
    // A skippable frame, and two others.
    let frame = |range| zstd::encode_all(lines(range).as_bytes(), 1).expect("compressed");
    let skipped = b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
    bench.write("b", [skipped, frame(0..1_000), frame(1_000..1_500)].concat());
    let summary = bench.imported("b");
    assert_eq!((summary.lines, summary.lines_before), (300, 1_200));
    bench.assert_counted(1_500);
    let mut cut = frame(0..5_000);
    cut.truncate(cut.len() / 2);
    bench.write("c", cut);
    assert!(matches!(bench.import("c"), Err(ImportError::Read { .. })));
}

#[test]
fn a_pattern_takes_the_oldest_first() {
    let mut bench = Bench::new();
    for (at, name) in [(3, "a.log"), (2, "a.log.1"), (1, "a.log.2")] {
        bench.write(name, line(at));
        let file = fs::File::options().append(true).open(bench.path(name)).expect("is there");
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000 * at as u64);
        file.set_modified(time).expect("dated");
    }
    assert_eq!(bench.imported("a.log*").files, 3);
    let paths: Vec<_> = bench.server.entries().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
    assert!(matches!(bench.import("b.log*"), Err(ImportError::NoMatch { .. })));
}

#[test]
fn a_server_that_asks_for_a_token_is_a_hint() {
    let mut bench = Bench::new();
    bench.write("a.log", line(0));
    bench.server.then([Reply::Status(401)]);
    let refused = bench.import("a.log").expect_err("refused").to_string();
    assert!(refused.contains("hint: set LOGMILL_TOKEN"), "{refused}");
}

#[test]
fn a_gzip_that_ends_too_early_is_an_error_but_its_lines_count() {
    let mut bench = Bench::new();
    let mut content = gzip(&lines(0..5_000));
    content.truncate(content.len() / 2);
    bench.write("a.log.gz", &content);
    assert!(matches!(bench.import("a.log.gz"), Err(ImportError::Read { .. })));
    assert!(bench.server.entries().len() > 1_000);
    bench.write("a.log.gz", gzip(&lines(0..5_000)));
    bench.imported("a.log.gz");
    bench.assert_counted(5_000);
}

#[test]
fn rotation_goes_on_where_it_stopped() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..100));
    bench.imported("a.log");
    bench.append("a.log", &lines(100..150));
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).expect("renamed");
    bench.write("a.log", lines(150..200));
    assert_eq!(bench.imported("a.log").lines, 50);
    assert!(bench.err.contains("begins with other content"), "{}", bench.err);
    assert_eq!(bench.imported("a.log.1").lines, 50);
    bench.assert_counted(200);
}

#[test]
fn a_log_that_lost_its_end_is_left_alone() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..1_000));
    bench.imported("a.log");
    for content in [lines(0..500), lines(0..3)] {
        bench.write("a.log", content);
        let summary = bench.imported("a.log");
        assert_eq!((summary.lines, summary.cut_logs, summary.exit_code()), (0, 1, 1));
        assert!(bench.err.contains("it is an older copy or was cut"), "{}", bench.err);
    }
    bench.write("a.log.gz", gzip(&lines(0..500)));
    assert_eq!(bench.imported("a.log.gz").cut_logs, 1);
    bench.assert_counted(1_000);
}

#[test]
fn a_crash_between_post_and_cursor_counts_once() {
    for growth in [0, 1, 2_000] {
        let mut bench = Bench::new();
        bench.write("a.log", lines(0..1_300).trim_end());
        // The second batch is counted, but its answer never arrives, and the import ends there.
        let replies = [Reply::AcceptAndHangUp, Reply::Status(500)];
        bench.server.then([Reply::Status(503)]);
        bench.server.then(replies);
        let ended = bench.import("a.log");
        assert!(matches!(ended, Err(ImportError::Refused { status: 500, .. })), "{ended:?}");
        bench.append("a.log", "\n");
        bench.append("a.log", &lines(1_300..1_300 + growth));
        fs::rename(bench.path("a.log"), bench.path("a.log.1")).expect("renamed");
        let summary = bench.imported("a.log.1");
        assert_eq!(summary.already_counted, 1_000);
        bench.assert_counted(1_300 + growth);
    }
}

#[test]
fn a_crash_before_the_post_loses_nothing() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..10).trim_end());
    bench.server.then([Reply::Status(500)]);
    assert!(bench.import("a.log").is_err());
    bench.append("a.log", &format!("\n{}", lines(10..20)));
    let summary = bench.imported("a.log");
    assert_eq!((summary.posted, summary.batches), (20, 2));
    bench.assert_counted(20);
}

#[test]
fn a_lost_state_file_costs_no_exactness_while_keys_are_kept() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..2_500));
    bench.imported("a.log");
    fs::remove_dir_all(bench.path("state")).expect("removed");
    assert_eq!(bench.imported("a.log").already_counted, 2_500);
    bench.assert_counted(2_500);
}

#[test]
fn a_busy_server_is_tried_again() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.server.then([Reply::Status(503), Reply::Status(429), Reply::AcceptAndHangUp]);
    let summary = bench.imported("a.log");
    assert_eq!((summary.posted, summary.already_counted), (0, 10));
    assert!(bench.err.contains("trying again: the server answers 503: as the test said"));
    bench.assert_counted(10);
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.server.then((0..10_000).map(|_| Reply::Status(503)));
    assert!(matches!(bench.import("a.log"), Err(ImportError::GaveUp { .. })));
    assert!(bench.out.contains("posted                     0"), "{}", bench.out);
}

#[test]
fn other_conflicts_and_refusals_stop() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..10));
    for status in [400, 409, 413, 302, 200] {
        bench.server.then([Reply::Status(status)]);
        let stopped = bench.import("a.log").expect_err("not an acknowledgement").to_string();
        assert!(stopped.contains(&format!("{status}: as the test said")), "{stopped}");
    }
}

#[test]
fn customers_are_apart() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..10));
    bench.imported("a.log");
    let other = bench.import_for("globex", "a.log").expect("imported");
    assert_eq!((other.posted, other.lines_before), (10, 0));
}

#[test]
fn a_second_import_with_the_same_state_is_refused() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..10));
    let held = StateFile::open(&bench.path("state/import.json")).map_err(|error| error.to_string());
    let refused = bench.import("a.log").expect_err("locked").to_string();
    assert!(refused.starts_with("another import is using the state file"), "{refused}");
    drop(held);
    bench.imported("a.log");
    bench.assert_counted(10);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let mut bench = Bench::new();
    assert!(matches!(bench.import("missing.log"), Err(ImportError::Open { .. })));
    bench.write("state/../empty.log", "");
    assert_eq!(bench.imported("empty.log").lines, 0);
    bench.write("state/import.json", "{");
    assert!(matches!(bench.import("empty.log"), Err(ImportError::State { .. })));
    assert!(Path::new(&bench.path("state/import.json.lock")).exists());
}
