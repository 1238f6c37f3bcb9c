//! `logmill top`, `series`, `tail` and `export` say what was sent, counted independently, over all
//! pages of an answer; and no name that a visitor has thought up steers a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::dice::Dice;
use super::terminal::shown;
use super::tool;
use super::{Ending, Setting};
use crate::client::{Client, Verdict};
use crate::server::{Server, wait_for_exit};
use crate::traffic::Batch;

const CUSTOMER: &str = "acme";
/// More minutes than a page has windows, or points with a split.
const MINUTES: i64 = 1_600;
const ENTRIES: usize = 8_000;
const ENTRIES_FULL: usize = 400_000;
const BATCH_ENTRIES: usize = 1_000;
/// 2026-11-20T00:00:00Z
const START_S: i64 = 1_795_132_800;
const RANGE: [&str; 4] = ["--from", "2026-11-20T00:00:00Z", "--to", "2026-11-22T00:00:00Z"];
/// Paths that are counted as they are. Some would clear a screen, colour a line, or turn the
/// direction of writing, if a terminal got them; others would break a table.
const PATHS: [&str; 6] =
    ["/", "/a\u{9b}2J\u{9b}31mred", "/\u{202e}gpj.exe", "/a,b\"c", "/wörld/世界", "/\u{2028}line"];
/// Agents with their families and what these are.
const AGENTS: [(&str, &str, &str); 4] = [
    ("ShopApp/1.2", "ShopApp", "unknown"),
    ("curl/8.5.0", "curl", "client"),
    ("GPTBot/1.2", "GPTBot", "ai"),
    ("UptimeRobot/2.0", "UptimeRobot", "monitor"),
];
/// How long a line of `tail` may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was sent, counted here.
#[derive(Default)]
struct Oracle {
    /// By window start, dimension and key.
    counts: BTreeMap<(String, &'static str, String), u64>,
}

impl Oracle {
    fn count(&mut self, minute: i64, path: &str, (family, kind): (&str, &str)) -> Result<()> {
        let start = Timestamp::from_second(START_S + minute * 60)?.to_string();
        for (by, key) in [
            ("total", String::new()),
            ("path", format!("GET {path}")),
            ("userAgent", family.to_owned()),
            ("kind", kind.to_owned()),
        ] {
            *self.counts.entry((start.clone(), by, key)).or_default() += 1;
        }
        Ok(())
    }

    /// The keys of a dimension, the most frequent first; equal ones in the order of bytes.
    fn top(&self, wanted: &str) -> Vec<(String, u64)> {
        let mut sums = BTreeMap::<String, u64>::new();
        for ((_, by, key), requests) in &self.counts {
            if *by == wanted {
                *sums.entry(key.clone()).or_default() += requests;
            }
        }
        let mut top: Vec<_> = sums.into_iter().collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top
    }

    fn windows(&self, wanted: &str) -> BTreeMap<String, u64> {
        let of = self.counts.iter().filter(|((_, by, _), _)| *by == wanted);
        of.map(|((start, _, _), requests)| (start.clone(), *requests)).collect()
    }
}

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let entries = if setting.full { ENTRIES_FULL } else { ENTRIES };
    let mut dice = Dice::new(setting.seed, 1);
    setting.on_server("", |server| {
        let oracle = send(server, entries, &mut dice).context("sending")?;
        tables(server, &oracle).context("export --format csv")?;
        lines(server, &oracle).context("export --format ndjson and --json")?;
        figures(server, &oracle).context("top and series")?;
        endings(server).context("how the commands end")?;
        terminals(server).context("on a terminal")?;
        let lines = follow(server).context("tail")?;
        let windows = oracle.windows("total").len();
        Ok(Ending::Passed(format!(
            "{entries} requests in {windows} windows, in every form; {lines} lines of tail"
        )))
    })
}

fn send(server: &Server, entries: usize, dice: &mut Dice) -> Result<Oracle> {
    let client = Client::new(server.target().clone());
    let mut oracle = Oracle::default();
    for number in 0..entries / BATCH_ENTRIES {
        let (mut body, mut minutes) = (Vec::new(), BTreeSet::new());
        for place in 0..BATCH_ENTRIES {
            // Each minute at least once, and most of them more often.
            let at = number * BATCH_ENTRIES + place;
            let minute = i64::try_from(at)? % MINUTES;
            let minute = if dice.percent(50) { minute } else { i64::try_from(dice.below(1_600))? };
            let path = dice.pick(&PATHS);
            let (agent, family, kind) = *dice.pick(&AGENTS);
            let second = START_S + minute * 60 + i64::try_from(dice.below(60))?;
            let time = Timestamp::from_second(second)?.to_string();
            body.push(json!({
                "receivedAt": time, "method": "GET", "path": path, "userAgent": agent,
            }));
            minutes.insert(second / 60 * 60);
            oracle.count(minute, path, (family, kind))?;
        }
        let batch = Batch {
            customer: CUSTOMER.to_owned(),
            key: format!("views-{number}"),
            body: serde_json::to_vec(&body)?,
            encoding: None,
            entries: BATCH_ENTRIES,
            minutes,
        };
        let answer = client.post(&batch)?;
        ensure!(answer.judge(&batch)? == Verdict::Accepted, "{answer}");
    }
    Ok(oracle)
}

/// The arguments of a command about everything that was sent.
fn about<'a>(url: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    let asked = ["--url", url, "--customer", CUSTOMER];
    command.iter().copied().chain(asked).chain(RANGE).collect()
}

/// What it prints to a pipe.
fn out(server: &Server, command: &[&str]) -> Result<String> {
    let url = server.target().url();
    let said = tool::run(server, &about(&url, command), 0)?;
    ensure!(said.err.is_empty(), "a pipe gets no progress: {said}");
    ensure!(!said.out.contains('\u{1b}'), "a pipe gets no escape codes: {said}");
    Ok(said.out)
}

fn csv(text: &str) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers()?.iter().map(str::to_owned).collect();
    let rows = reader.records().map(|row| Ok(row?.iter().map(str::to_owned).collect()));
    Ok((head, rows.collect::<Result<_>>()?))
}

fn tables(server: &Server, oracle: &Oracle) -> Result<()> {
    let text = out(server, &["export", "--format", "csv"])?;
    let (head, rows) = csv(&text)?;
    ensure!(head == ["windowStart", "by", "key", "requests"], "{head:?}");
    let found = rows.iter().map(|row| format!("{row:?}")).collect::<BTreeSet<_>>();
    let of_tables = oracle.counts.iter().filter(|((_, by, _), _)| *by != "kind");
    let expected = of_tables
        .map(|((start, by, key), n)| format!("{:?}", [start, *by, key.as_str(), &n.to_string()]))
        .collect::<BTreeSet<_>>();
    ensure!(found.len() == rows.len() && found == expected, "{} rows differ", rows.len());

    let (_, rows) = csv(&out(server, &["export", "series", "--format", "csv"])?)?;
    let found: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let totals = oracle.windows("total").into_iter();
    ensure!(found == totals.map(|(start, n)| (start, n.to_string())).collect::<Vec<_>>(), "series");

    for by in ["path", "userAgent", "kind"] {
        let (_, rows) = csv(&out(server, &["export", "top", "--by", by, "--format", "csv"])?)?;
        let found: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].parse())).collect();
        let expected = oracle.top(by).into_iter().map(|(key, n)| (key, Ok(n)));
        ensure!(found == expected.collect::<Vec<_>>(), "top by {by}: {rows:?}");
    }

    let command = ["export", "--format", "csv", "--output", "windows.csv"];
    ensure!(out(server, &command)?.is_empty(), "stdout is empty beside --output");
    let file = std::fs::read_to_string(server.scratch().join("windows.csv"))?;
    ensure!(file == text, "--output has other {} bytes", file.len());
    let left: Vec<_> = server.scratch().read_dir()?.flatten().map(|e| e.file_name()).collect();
    let is_left = left.iter().any(|name| name.to_string_lossy().starts_with(".logmill"));
    ensure!(!is_left, "a half file is left: {left:?}");
    Ok(())
}

fn lines(server: &Server, oracle: &Oracle) -> Result<()> {
    let text = out(server, &["export", "--format", "ndjson"])?;
    let windows: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(counts(&windows)? == without_kinds(oracle), "the lines differ");
    let document: Value = serde_json::from_str(&out(server, &["export", "--json"])?)?;
    ensure!(document["windows"] == Value::from(windows), "the document differs from the lines");
    ensure!(document["next"].is_null(), "the document has a next page");

    let split = ["export", "series", "--split", "userAgent", "--limit", "2", "--json"];
    let document: Value = serde_json::from_str(&out(server, &split)?)?;
    let (top, mut sums) = (oracle.top("userAgent"), BTreeMap::<String, u64>::new());
    ensure!(document["keys"] == json!([top[0].0, top[1].0]), "the keys: {}", document["keys"]);
    for point in document["points"].as_array().context("no points")? {
        for (key, requests) in point["top"].as_object().context("no top")? {
            *sums.entry(key.clone()).or_default() += requests.as_u64().context("a number")?;
        }
        *sums.entry(String::new()).or_default() += point["others"].as_u64().context("others")?;
    }
    let rest = top[2..].iter().map(|(_, n)| n).sum::<u64>();
    let expected = [top[0].clone(), top[1].clone(), (String::new(), rest)];
    ensure!(sums == BTreeMap::from(expected), "a series by agent: {sums:?}");
    Ok(())
}

type Counts = BTreeMap<(String, &'static str, String), u64>;

fn without_kinds(oracle: &Oracle) -> Counts {
    let mut counts = oracle.counts.clone();
    counts.retain(|(_, by, _), _| *by != "kind");
    counts
}

fn counts(windows: &[Value]) -> Result<Counts> {
    let mut counts = Counts::new();
    for window in windows {
        let start = window["windowStart"].as_str().context("no windowStart")?;
        let total = window["requests"].as_u64().context("no requests")?;
        counts.insert((start.to_owned(), "total", String::new()), total);
        let named = [("path", "requestsByPath"), ("userAgent", "requestsByUserAgent")];
        for (by, field) in named {
            for (key, n) in window[field].as_object().context(field)? {
                let n = n.as_u64().context("no number")?;
                counts.insert((start.to_owned(), by, key.clone()), n);
            }
        }
    }
    Ok(counts)
}

fn figures(server: &Server, oracle: &Oracle) -> Result<()> {
    let top = oracle.top("path");
    let document: Value = serde_json::from_str(&out(server, &["top", "--json", "--limit", "3"])?)?;
    for (place, (key, requests)) in top.iter().take(3).enumerate() {
        let row = &document["top"][place];
        ensure!(row["key"] == **key && row["requests"] == *requests, "{row} is not {key:?}");
    }
    let totals = oracle.windows("total");
    let all: u64 = totals.values().sum();
    let table = out(server, &["top", "--by", "userAgent"])?;
    let head = table.lines().next().unwrap_or_default();
    ensure!(head.contains(&format!(" {} requests", grouped(all))), "{table}");
    for (key, requests) in oracle.top("userAgent") {
        let row = table.lines().find(|line| line.starts_with(&key)).context(table.clone())?;
        ensure!(row.contains(&format!(" {} ", grouped(requests))), "{key}: {row}");
    }
    let paths = out(server, &["top"])?;
    ensure!(paths.contains(r"GET /a\u{9b}2J\u{9b}31mred"), "{paths}");
    ensure!(!paths.contains(['\u{9b}', '\u{202e}', '\u{2028}']), "{paths}");

    let drawn = out(server, &["series"])?;
    let most = totals.values().max().copied().unwrap_or_default();
    // The range is two days, of which some minutes have no requests.
    let figures = format!("min 0  max {}  total {}", grouped(most), grouped(all));
    ensure!(drawn.lines().any(|line| line.starts_with(&figures)), "no {figures}: {drawn}");
    let split = out(server, &["series", "--split", "kind", "--window-size", "hour"])?;
    for (key, requests) in oracle.top("kind") {
        let row = split.lines().find(|line| line.starts_with(&key)).context(split.clone())?;
        ensure!(row.ends_with(&format!(" {}", grouped(requests))), "{key}: {row}");
    }
    Ok(())
}

/// In groups of three digits.
fn grouped(n: u64) -> String {
    if n < 1_000 { n.to_string() } else { format!("{},{:03}", grouped(n / 1_000), n % 1_000) }
}

fn endings(server: &Server) -> Result<()> {
    let url = server.target().url();
    let said = tool::run(server, &["top", "--url", &url], 2)?;
    ensure!(said.err.contains("hint: say whose requests: --customer"), "{said}");
    let said = tool::run(server, &about(&url, &["top", "--timezone", "Mars/Base"]), 2)?;
    ensure!(said.err.contains("timezone"), "{said}");
    let said = tool::run(server, &about("http://127.0.0.1:9", &["top"]), 1)?;
    ensure!(said.err.contains("http://127.0.0.1:9 does not answer"), "{said}");
    ensure!(said.err.contains("hint: start a server"), "{said}");

    // Who reads has seen enough, long before all of it was written.
    let mut command = command(server, &about(&url, &["export"]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    stdout.read_exact(&mut [0; 100])?;
    drop(stdout);
    let status = wait_for_exit(&mut child, PATIENCE)?;
    ensure!(status.code() == Some(0), "a reader that is gone ends it with {status}");
    Ok(())
}

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(server.binary());
    command.current_dir(server.scratch()).args(arguments).stdin(Stdio::null());
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command
}

fn terminals(server: &Server) -> Result<()> {
    let url = server.target().url();
    let steers = |text: &str| text.contains(['\u{9b}', '\u{202e}', '\u{2028}']);
    for arguments in [["top"].as_slice(), &["series", "--split", "path"]] {
        let text = shown(command(server, &about(&url, arguments)))?;
        ensure!(text.contains("\u{1b}["), "{arguments:?} has no colours: {text:?}");
        ensure!(!steers(&text), "{arguments:?}: {text:?}");
        let mut plain = command(server, &about(&url, arguments));
        plain.env("NO_COLOR", "1");
        let text = shown(plain)?;
        ensure!(text.contains("GET /") && !text.contains('\u{1b}'), "NO_COLOR: {text:?}");
    }
    for form in [["--format", "csv"].as_slice(), &["--format", "ndjson"], &["--json"]] {
        let export = [["export", "top"].as_slice(), form].concat();
        let text = shown(command(server, &about(&url, &export)))?;
        ensure!(text.contains("GET /") && !steers(&text), "{export:?}: {text:?}");
        ensure!(!text.contains('\u{1b}'), "{export:?}: {text:?}");
    }
    Ok(())
}

/// A minute shows up, and again when it has changed; a signal ends it well.
fn follow(server: &mut Server) -> Result<usize> {
    let url = server.target().url();
    let arguments = ["tail", "--json", "--url", &url, "--customer", CUSTOMER];
    let mut tail = command(server, &arguments).stdout(Stdio::piped()).spawn()?;
    let heard = hear(&mut tail, server);
    let pid = rustix::process::Pid::from_child(&tail);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    let status = wait_for_exit(&mut tail, PATIENCE)?;
    let heard = heard?;
    ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
    Ok(heard)
}

fn hear(tail: &mut Child, server: &mut Server) -> Result<usize> {
    let stdout = tail.stdout.take().context("no stdout")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Nobody listens any more if this fails, and nobody has to.
        lines.for_each(|line| drop(sender.send(line)));
    });
    let client = Client::new(server.target().clone());
    let minute = Timestamp::now().as_second() / 60 * 60;
    let start = Timestamp::from_second(minute)?.to_string();
    for requests in 1..=3_u64 {
        let body = json!([{
            "receivedAt": start, "method": "GET", "path": PATHS[1], "userAgent": "curl/8.5.0",
        }]);
        let batch = Batch {
            customer: CUSTOMER.to_owned(),
            key: format!("tail-{requests}"),
            body: serde_json::to_vec(&body)?,
            encoding: None,
            entries: 1,
            minutes: [minute].into(),
        };
        let answer = client.post(&batch)?;
        ensure!(answer.judge(&batch)? == Verdict::Accepted, "{answer}");
        let line = lines.recv_timeout(PATIENCE).context("no line came")?;
        ensure!(!line.contains(['\u{1b}', '\u{9b}']), "{line}");
        let window: Value = serde_json::from_str(&line)?;
        ensure!(window["windowStart"] == *start && window["requests"] == requests, "{line}");
    }
    Ok(3)
}
