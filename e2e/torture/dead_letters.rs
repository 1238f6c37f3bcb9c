//! A hundredth of all entries breaks the rules of its format: the others count, and these are put
//! aside, told, counted once the format is mended, or dropped, whatever is killed meanwhile.
//!
//! Each line has a path of its own, so that the answer tells of every one how often it counts.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::dice::Dice;
use super::tool::{self, Tool};
use super::{Ending, Setting};
use crate::client::{Answer, Client};
use crate::scenario::Signal;
use crate::senders::ledger::{self, CUSTOMER};
use crate::senders::{CONFIG, unused_port};
use crate::server::Server;

const ENTRIES: usize = 20_000;
const ENTRIES_FULL: usize = 200_000;
const BATCH_ENTRIES: usize = 500;
/// Every so manieth entry is invalid: it has its time under another name.
const BAD_EVERY: usize = 100;
const SENDING_KILLS: usize = 3;
const REPLAY_KILLS: usize = 3;
/// The longest that a replay runs before the server is killed.
const REPLAY_LIFE: Duration = Duration::from_millis(60);
/// How long a batch, or a metric, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Of the errors of a refused batch, so many are told.
const LISTED_MAX: usize = 20;

/// Checkpoints come often, so that kills fall into them.
const PACE: &str = "checkpoint.interval = '200ms'";
const FORMAT: &str = "[formats.shop]
method = 'verb'
path = 'uri'
user_agent = 'ua'
time_unit = 'ms'
";
const AS_IT_WAS: &str = "time = 'ts'";
const MENDED: &str = "time = ['ts', 'when']";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let entries = if setting.full { ENTRIES_FULL } else { ENTRIES };
    let bad = entries / BAD_EVERY;
    let mut dice = Dice::new(setting.seed, 1);
    setting.on_server(&config(AS_IT_WAS), |server| {
        server.listen_on(unused_port(&mut dice)?);
        server.restart(Signal::Term)?;
        let client = Client::new(server.target().clone());
        refuse(&client).context("on_invalid=reject")?;
        send(server, &client, entries, &mut dice).context("on_invalid=skip")?;
        ensure_counted(&client, entries, bad).context("before the format is mended")?;
        let names = told(server, entries).context("dead-letters list")?;
        show(server, names.first().context("no letter is listed")?)?;

        let said = tool::run(server, &["dead-letters", "replay", "--all"], 1)?;
        let still = said.out.lines().filter(|line| line.contains("still invalid")).count();
        ensure!(still == bad, "{still} of {bad} are still invalid: {said}");
        ensure_counted(&client, entries, bad).context("replayed as they were")?;

        server.use_config(config(MENDED).parse()?);
        server.restart(Signal::Kill)?;
        let kills = replay(server, &mut dice)?;
        ensure_counted(&client, entries, 0).context("replayed with the mended format")?;
        let none = tool::run(server, &["dead-letters", "list"], 0)?;
        ensure!(none.out.is_empty(), "there are letters after their replay: {none}");
        tool::run(server, &["dead-letters", "replay", "--all", "--format", "shop"], 0)?;
        ensure_counted(&client, entries, 0).context("replayed again")?;
        // A letter of a name that is no more is a mistake, and counts nothing.
        let gone = Tool::start(server, &["dead-letters", "replay", &names[0]])?.wait()?;
        let is_told = gone.err.contains("no dead letter") && gone.err.contains(&names[0]);
        ensure!(is_told && gone.code != Some(0), "{gone}");
        drop_all(server, &client).context("dead-letters drop")?;
        ensure_counted(&client, entries, 0).context("after others were dropped")?;
        Ok(Ending::Passed(format!(
            "{entries} entries, {bad} of them put aside and replayed; {SENDING_KILLS} kills while \
             they came, {kills} while they were replayed"
        )))
    })
}

fn config(time: &str) -> String {
    format!("{CONFIG}\n{PACE}\n{FORMAT}{time}\n")
}

/// Entry `number` as the shop writes it.
fn line(number: usize) -> String {
    let name = if is_bad(number) { "when" } else { "ts" };
    let (now, path) = (Timestamp::now().as_millisecond(), ledger::path(number));
    format!(r#"{{"{name}":{now},"verb":"GET","uri":"{path}","ua":"curl/8.5.0"}}"#)
}

fn is_bad(number: usize) -> bool {
    number % BAD_EVERY == BAD_EVERY / 2
}

fn post(client: &Client, query: &str, key: &str, body: &str, customer: &str) -> Result<Answer> {
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("x-customer-id", customer),
        ("idempotency-key", key),
    ];
    Ok(client.post_body(query, &headers, body.as_bytes())?)
}

/// A batch with invalid entries is refused as a whole, and its key stays free.
fn refuse(client: &Client) -> Result<()> {
    let lines: Vec<String> = (0..30 * BAD_EVERY).map(line).collect();
    let answer = post(client, "?format=shop", "batch-0", &lines.join("\n"), CUSTOMER)?;
    ensure!(answer.status == 400, "{answer}");
    let problem = answer.json()?;
    ensure!(problem["type"] == "/problems/invalid-entries", "{answer}");
    let errors = problem["errors"].as_array().context("errors")?;
    ensure!(errors.len() == LISTED_MAX, "{} errors are listed: {answer}", errors.len());
    for (nth, error) in errors.iter().enumerate() {
        let index = nth * BAD_EVERY + BAD_EVERY / 2;
        ensure!(error["index"] == index && error["field"] == "ts", "error {nth} is {error}");
    }
    Ok(())
}

/// Sends all entries, each batch until it has its answer, and kills the server in between.
fn send(server: &mut Server, client: &Client, entries: usize, dice: &mut Dice) -> Result<()> {
    let batches = entries / BATCH_ENTRIES;
    let send_all = || -> Result<()> {
        for batch in 0..batches {
            let first = batch * BATCH_ENTRIES;
            let lines: Vec<String> = (first..first + BATCH_ENTRIES).map(line).collect();
            let body = lines.join("\n");
            let deadline = Instant::now() + PATIENCE;
            loop {
                let key = format!("batch-{batch}");
                let answer = post(client, "?format=shop&on_invalid=skip", &key, &body, CUSTOMER);
                match answer {
                    Ok(answer) if answer.status == 202 => {
                        check_accepted(&answer)?;
                        break;
                    }
                    Ok(answer) if answer.status == 409 => break,
                    Ok(answer) => ensure!(answer.status == 503, "{key}: {answer}"),
                    Err(_) => {}
                }
                ensure!(Instant::now() < deadline, "{key} is not taken");
                thread::sleep(POLL);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let sender = scope.spawn(send_all);
        for _ in 0..SENDING_KILLS {
            thread::sleep(dice.time(Duration::ZERO, Duration::from_millis(150)));
            server.restart(Signal::Kill)?;
        }
        sender.join().expect("sending returns its errors")
    })
}

/// A batch says how many of its entries count, how many do not, and why.
fn check_accepted(answer: &Answer) -> Result<()> {
    const BAD: usize = BATCH_ENTRIES / BAD_EVERY;
    let body = answer.json()?;
    ensure!(body["entries"] == BATCH_ENTRIES - BAD, "{answer}");
    ensure!(body["deadLetters"] == BAD, "{answer}");
    ensure!(body["errors"].as_array().is_some_and(|errors| errors.len() == BAD), "{answer}");
    Ok(())
}

/// Every entry counts once, but for so many invalid ones, which do not count.
fn ensure_counted(client: &Client, entries: usize, bad: usize) -> Result<()> {
    let tally = ledger::tally(client, entries)?;
    let (lost, repeated) = (&tally.lost, &tally.repeated);
    ensure!(repeated.is_empty() && lost.len() == bad, "{tally}; {bad} must not count");
    ensure!(lost.iter().all(|number| is_bad(*number)), "{tally}");
    Ok(())
}

/// The names of all letters; each is there once, with its original bytes.
fn told(server: &Server, entries: usize) -> Result<Vec<String>> {
    let said = tool::run(server, &["dead-letters", "list", "--customer", CUSTOMER, "--json"], 0)?;
    let letters = said.json_lines()?;
    let text = |letter: &Value, field: &str| -> Result<String> {
        Ok(letter[field].as_str().with_context(|| format!("no {field}: {letter}"))?.to_owned())
    };
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for letter in &letters {
        let body: Value = serde_json::from_str(&text(letter, "body")?)?;
        ensure!(letter["format"] == "shop" && letter["customer"] == CUSTOMER, "{letter}");
        ensure!(text(letter, "reason")?.contains("ts"), "{letter}");
        ensure!(body["when"].is_i64() && body["ua"] == "curl/8.5.0", "{letter}");
        paths.insert(text(&body, "uri")?);
        names.insert(text(letter, "id")?);
    }
    let expected: BTreeSet<_> = (0..entries).filter(|n| is_bad(*n)).map(ledger::path).collect();
    ensure!(paths == expected, "{} letters for {} entries", paths.len(), expected.len());
    ensure!(names.len() == letters.len() && names.len() == paths.len(), "a letter is told twice");
    let plain = tool::run(server, &["dead-letters", "list", "--customer", CUSTOMER], 0)?;
    ensure!(plain.out.lines().count() == names.len(), "the lists differ: {plain}");
    let nobody = tool::run(server, &["dead-letters", "list", "--customer", "nobody"], 0)?;
    ensure!(nobody.out.is_empty(), "somebody else's letters are told: {nobody}");
    Ok(names.into_iter().collect())
}

fn show(server: &Server, name: &str) -> Result<()> {
    let said = tool::run(server, &["dead-letters", "show", name], 0)?;
    for part in [name, "application/x-ndjson", "shop", r#""when":"#, "ts"] {
        ensure!(said.out.contains(part), "{part} is not shown: {said}");
    }
    Ok(())
}

/// Has all letters counted, while the server is killed; returns how many replays were cut off.
fn replay(server: &mut Server, dice: &mut Dice) -> Result<usize> {
    let arguments = ["dead-letters", "replay", "--customer", CUSTOMER, "--format", "shop"];
    let mut cut_off = 0;
    for _ in 0..REPLAY_KILLS {
        let replay = Tool::start(server, &arguments)?;
        thread::sleep(dice.time(Duration::ZERO, REPLAY_LIFE));
        server.stop(Signal::Kill)?;
        cut_off += usize::from(replay.wait()?.code != Some(0));
        server.start()?;
    }
    tool::run(server, &arguments, 0)?;
    Ok(cut_off)
}

/// Letters of another customer are dropped, one by its name and the others together.
fn drop_all(server: &Server, client: &Client) -> Result<()> {
    const LETTERS: usize = 5;
    let other = "other-shop";
    let lines: Vec<String> = (0..LETTERS * BAD_EVERY).map(line).collect();
    // Its format says where the time is by now, but no time is a word.
    let body = lines.join("\n").replace(r#""when":"#, r#""when":"soon","now":"#);
    let query = "?format=shop&on_invalid=skip";
    let answer = post(client, query, "to-be-dropped", &body, other)?;
    ensure!(answer.status == 202 && answer.json()?["deadLetters"] == LETTERS, "{answer}");
    await_metric(client, "logmill_dead_letters", LETTERS)?;
    let listed = tool::run(server, &["dead-letters", "list", "--customer", other, "--json"], 0)?;
    let listed = listed.json_lines()?;
    let first = listed.first().and_then(|l| l["id"].as_str()).context("no letter is listed")?;
    tool::run(server, &["dead-letters", "drop", first], 0)?;
    let rest = tool::run(server, &["dead-letters", "drop", "--customer", other], 0)?;
    ensure!(rest.out.lines().count() == LETTERS - 1, "not all others: {rest}");
    // The number is that of the last checkpoint, and an idle server makes none.
    let good = post(client, query, "good", &line(0), other)?;
    ensure!(good.status == 202, "{good}");
    await_metric(client, "logmill_dead_letters", 0)?;
    await_metric(client, "logmill_dead_letters_total", LETTERS)?;
    await_metric(client, r#"logmill_dead_letters_removed_total{reason="dropped"}"#, LETTERS)
}

/// Waits until a metric has a value.
fn await_metric(client: &Client, name: &str, value: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = client.get("/metrics", None, &[])?.body;
        let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        if found.is_some_and(|found| found.parse() == Ok(value)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{name} is {found:?}, expected {value}");
        thread::sleep(POLL);
    }
}
