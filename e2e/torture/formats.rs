//! The same entries in every format, encoding and way in, each for a customer of its own: what is
//! counted must be the same, and what an oracle says that has counted for itself.
//!
//! All windows are still to come: nothing in them is late, and so how the entries are split into
//! batches does not show.

mod render;

use std::collections::BTreeMap;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::render::{Form, Surround};
use super::dice::Dice;
use super::tool;
use super::{Ending, Setting};
use crate::client::Client;
use crate::compare::describe_difference;
use crate::server::Server;
use crate::traffic::Encoding;

const ENTRIES: usize = 5_000;
const BATCH_ENTRIES: usize = 250;
/// Senders of bodies with a single entry.
const SENDERS: usize = 16;
const DAY_S: i64 = 86_400;
/// Minutes that the entries are of.
const MINUTES: u64 = 3;

const METHODS: [&str; 4] = ["GET", "POST", "DELETE", "GET"];
/// With what a query and a template must do to them.
const PATHS: [(&str, &str); 8] = [
    ("/", "/"),
    ("/pricing?plan=big&from=1%20a", "/pricing"),
    ("/users/7", "/users/:id"),
    ("/users/8?tab=2", "/users/:id"),
    ("/users/me", "/users/me"),
    ("/assets/app.js", "/assets/*"),
    ("/assets/img/a,b;c.png?v=3", "/assets/*"),
    ("/%C3%BCber/uns", "/%C3%BCber/uns"),
];
/// Agents as sent, and the families they are counted as.
const AGENTS: [(&str, &str); 6] = [
    ("curl/8.5.0", "curl"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox"),
    ("python-requests/2.32", "python-requests"),
    ("GPTBot/1.2", "GPTBot"),
    ("shipper/7 (says \"hi\", twice)", "shipper"),
    ("", "(none)"),
];
const STATUSES: [u16; 5] = [200, 204, 301, 404, 503];
const ENCODINGS: [Option<Encoding>; 5] =
    [None, Some(Encoding::Gzip), Some(Encoding::Zstd), Some(Encoding::Deflate), Some(Encoding::Br)];

const CONFIG: &str = "
[formats.shop]
time = 'ts'
time_unit = 'ms'
method = 'verb'
path = '/http/url'
query = '/http/query'
user_agent = ['ua', '/http/headers/user-agent/0']
status = 'code'
bytes = 'size'
";
/// The literal template is the more specific one.
const PATH_RULES: &str = "
[paths]
query = 'strip'
templates = ['/users/:id', '/users/me', '/assets/*']
";

/// An entry, before it is written in any format.
struct Entry {
    /// Seconds since 1970.
    second: i64,
    method: &'static str,
    path: (&'static str, &'static str),
    agent: (&'static str, &'static str),
    status: u16,
    bytes: u64,
}

/// What the path of an entry counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paths {
    AsSent,
    WithoutMethod,
    ByTheRules,
}

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let today = Timestamp::now().as_second().div_euclid(DAY_S) * DAY_S;
    let start = today + 2 * DAY_S;
    let mut dice = Dice::new(setting.seed, 1);
    let entries: Vec<Entry> = (0..ENTRIES).map(|_| Entry::random(start, &mut dice)).collect();
    let case = Case { entries, start };
    let ways = setting.on_server(CONFIG, |server| {
        refusals(&Client::new(server.target().clone()))?;
        case.all_ways(server, |form| match form {
            Form::Simple => Paths::WithoutMethod,
            _ => Paths::AsSent,
        })
    })?;
    let ruled = setting.on_server(&format!("{CONFIG}{PATH_RULES}"), |server| {
        let target = Client::new(server.target().clone());
        for form in [Form::Logmill, Form::Combined, Form::Shop, Form::Apache] {
            let customer = format!("ruled-{}", form.name());
            case.post(&target, &customer, form, Surround::Lines, None)?;
            case.compare(&target, &customer, Paths::ByTheRules)?;
        }
        case.import(server, "ruled-import", Form::Nginx, Surround::Lines, "")?;
        case.compare(&target, "ruled-import", Paths::ByTheRules)?;
        Ok(5)
    })?;
    Ok(Ending::Passed(format!(
        "{ENTRIES} entries in {ways} ways, and in {ruled} under rules for paths"
    )))
}

/// What is not taken is refused with a list of what is.
fn refusals(client: &Client) -> Result<()> {
    let refused =
        |query: &str, content_type: &str, encoding: &str, status, problem, named: &[_]| {
            let headers = [
                ("content-type", content_type),
                ("content-encoding", encoding),
                ("x-customer-id", "acme"),
                ("idempotency-key", "refused"),
            ];
            let answer = client.post_body(query, &headers, b"{}")?;
            ensure!(answer.status == status, "{query} {content_type} {encoding}: {answer}");
            let body = answer.json()?;
            ensure!(body["type"] == format!("/problems/{problem}"), "{answer}");
            let detail = body["detail"].as_str().unwrap_or_default();
            let unnamed: Vec<&&str> =
                named.iter().filter(|name| !detail.contains(**name)).collect();
            ensure!(unnamed.is_empty(), "{unnamed:?} are not named: {answer}");
            Ok(())
        };
    let json = "application/json";
    let types = [json, "application/x-ndjson", "application/jsonl", "text/csv", "text/plain"];
    refused("", "application/xml", "identity", 415, "unsupported-content-type", &types)?;
    let lines = ["text/plain"];
    refused("?format=combined", json, "identity", 415, "unsupported-content-type", &lines)?;
    let encodings = ["gzip", "zstd", "deflate", "br"];
    refused("", json, "compress", 415, "unsupported-content-encoding", &encodings)?;
    let mut formats = Form::ALL.map(Form::name).to_vec();
    formats.push("common");
    refused("?format=nignx", json, "identity", 400, "invalid-query", &formats)
}

struct Case {
    entries: Vec<Entry>,
    /// The first second that an entry may be of.
    start: i64,
}

impl Case {
    /// Sends all entries in every form, by HTTP and by import; returns how many ways there are.
    fn all_ways(&self, server: &Server, counts_as: impl Fn(Form) -> Paths) -> Result<usize> {
        let client = Client::new(server.target().clone());
        let mut ways = 0;
        for (nth, &form) in Form::ALL.iter().enumerate() {
            for (mth, &surround) in form.surrounds().iter().enumerate() {
                let customer = format!("http-{}-{}", form.name(), surround.name());
                if surround == Surround::Single {
                    self.post_singles(&client, &customer, form)?;
                } else {
                    // Every encoding gets its turn within each.
                    self.post(&client, &customer, form, surround, Some(nth + mth))?;
                }
                self.compare(&client, &customer, counts_as(form))?;
                ways += 1;
                if surround.is_lines() {
                    let end = ["", ".gz", ".zst"][(nth + mth) % 3];
                    let customer = format!("import-{}-{}", form.name(), surround.name());
                    self.import(server, &customer, form, surround, end)?;
                    self.compare(&client, &customer, counts_as(form))?;
                    ways += 1;
                }
            }
        }
        Ok(ways)
    }

    /// Sends batches; with a turn, each with the next encoding.
    fn post(
        &self,
        client: &Client,
        customer: &str,
        form: Form,
        surround: Surround,
        turn: Option<usize>,
    ) -> Result<()> {
        let way = Way { client, customer, form, surround };
        for (number, entries) in self.entries.chunks(BATCH_ENTRIES).enumerate() {
            let encoding = turn.and_then(|turn| ENCODINGS[(turn + number) % ENCODINGS.len()]);
            way.send(number, entries, encoding)
                .with_context(|| format!("{customer}, batch {number}, {encoding:?}"))?;
        }
        Ok(())
    }

    /// Sends each entry in a body of its own.
    fn post_singles(&self, client: &Client, customer: &str, form: Form) -> Result<()> {
        let way = Way { client, customer, form, surround: Surround::Single };
        let share = self.entries.len().div_ceil(SENDERS);
        let send = |nth: usize, entries: &[Entry]| -> Result<()> {
            for (number, entry) in entries.iter().enumerate() {
                way.send(nth * share + number, std::slice::from_ref(entry), None)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let chunks = self.entries.chunks(share).enumerate();
            let all: Vec<_> = chunks
                .map(|(nth, entries)| {
                    let send = &send;
                    scope.spawn(move || send(nth, entries))
                })
                .collect();
            all.into_iter().try_for_each(|one| one.join().expect("returns its errors"))
        })
        .with_context(|| customer.to_owned())
    }

    /// Imports a file that holds all entries, compressed as the end of its name says.
    fn import(
        &self,
        server: &Server,
        customer: &str,
        form: Form,
        surround: Surround,
        end: &str,
    ) -> Result<()> {
        let plain = form.body(&self.entries, surround)?;
        let bytes = match end {
            ".gz" => Encoding::Gzip.encode(&plain)?,
            ".zst" => Encoding::Zstd.encode(&plain)?,
            _ => plain,
        };
        let file = format!("{customer}.log{end}");
        std::fs::write(server.scratch().join(&file), bytes)?;
        let (url, state) = (server.target().url(), format!("{customer}.state"));
        let mut arguments = vec!["import", &file, "--customer", customer, "--url", &url];
        arguments.extend(["--format", form.name(), "--state", &state, "--config", "e2e.toml"]);
        tool::run(server, &arguments, 0)?;
        Ok(())
    }

    /// Compares all windows of a customer with what the oracle has counted.
    fn compare(&self, client: &Client, customer: &str, paths: Paths) -> Result<()> {
        let time = |second| Timestamp::from_second(second).map(|time| time.to_string());
        let (from, to) = (time(self.start)?, time(self.start + DAY_S)?);
        let query = [("from", from.as_str()), ("to", &to)];
        let answer = client.get("/analytics", Some(customer), &query)?;
        ensure!(answer.status == 200, "{customer}: {answer}");
        let expected = json!({ "windows": self.windows(customer, paths)?, "next": null });
        if let Some(difference) = describe_difference(&expected, &answer.json()?) {
            bail!("{customer} has other windows than expected:\n{difference}");
        }
        Ok(())
    }

    fn windows(&self, customer: &str, paths: Paths) -> Result<Vec<Value>> {
        let mut windows: BTreeMap<i64, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            windows.entry(entry.second - entry.second.rem_euclid(60)).or_default().push(entry);
        }
        let window = |(start, entries): (&i64, &Vec<&Entry>)| {
            let count = |name: &dyn Fn(&Entry) -> String| {
                let mut counts: BTreeMap<String, u64> = BTreeMap::new();
                entries.iter().for_each(|entry| *counts.entry(name(entry)).or_default() += 1);
                counts
            };
            Ok(json!({
                "customerId": customer,
                "windowStart": Timestamp::from_second(*start)?.to_string(),
                "windowSize": "minute",
                "requests": entries.len(),
                "late": 0,
                "revision": 0,
                "final": false,
                "requestsByPath": count(&|entry| entry.counts_as(paths)),
                "requestsByUserAgent": count(&|entry| entry.agent.1.to_owned()),
                "requestsByStatus": count(&|entry| entry.status.to_string()),
                "bytes": entries.iter().map(|entry| entry.bytes).sum::<u64>(),
            }))
        };
        windows.iter().map(window).collect()
    }
}

/// How entries are sent.
struct Way<'w> {
    client: &'w Client,
    customer: &'w str,
    form: Form,
    surround: Surround,
}

impl Way<'_> {
    /// Sends a batch, which must be taken as a whole.
    fn send(&self, number: usize, entries: &[Entry], encoding: Option<Encoding>) -> Result<()> {
        let mut body = self.form.body(entries, self.surround)?;
        let (query, key) = (format!("?format={}", self.form.name()), format!("batch-{number}"));
        let mut headers = vec![
            ("content-type", self.surround.content_type(number)),
            ("x-customer-id", self.customer),
            ("idempotency-key", key.as_str()),
        ];
        if let Some(encoding) = encoding {
            headers.push(("content-encoding", encoding.name()));
            body = encoding.encode(&body)?;
        }
        let answer = self.client.post_body(&query, &headers, &body)?;
        ensure!(answer.status == 202, "{answer}");
        ensure!(answer.json()?["entries"] == entries.len(), "{} sent: {answer}", entries.len());
        Ok(())
    }
}

impl Entry {
    fn random(start: i64, dice: &mut Dice) -> Self {
        let within = i64::try_from(dice.below(MINUTES * 60)).expect("a few minutes");
        Self {
            second: start + 10 * 3_600 + within,
            method: METHODS[dice.index(METHODS.len())],
            path: *dice.pick(&PATHS),
            agent: *dice.pick(&AGENTS),
            status: *dice.pick(&STATUSES),
            bytes: dice.below(100_000),
        }
    }

    fn counts_as(&self, paths: Paths) -> String {
        match paths {
            Paths::AsSent => format!("{} {}", self.method, self.path.0),
            Paths::WithoutMethod => self.path.0.to_owned(),
            Paths::ByTheRules => format!("{} {}", self.method, self.path.1),
        }
    }
}
