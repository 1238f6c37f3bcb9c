//! `promtool` asks a server what was sent to it, and looks at the rules of `deploy/`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{ask, deployed};
use crate::client::Client;
use crate::senders::find_program;
use crate::server::Server;
use crate::torture::dice::Dice;
use crate::torture::{Ending, Setting};

/// 2025-12-01T12:00:00Z
const START: i64 = 1_764_590_400;
const MINUTES: i64 = 30;
const PATHS: [&str; 4] = ["/", "/pricing", "/api/\"quoted\"", "/ä"];
/// As clients call themselves, with family and kind.
const AGENTS: [(&str, &str, &str); 3] = [
    ("curl/8.5.0", "curl", "client"),
    ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "GPTBot", "ai"),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/142.0.0.0 Safari/537.36",
        "Chrome",
        "person",
    ),
];

/// One request that was sent.
struct Sent {
    /// From the start on.
    minute: i64,
    path: &'static str,
    family: &'static str,
    kind: &'static str,
    status: u16,
    bytes: u64,
}

/// What a value should be: for each series and moment.
type Expected = BTreeMap<String, BTreeMap<i64, u64>>;

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let Some(promtool) = find_program("promtool") else {
        return Ok(Ending::Skipped("promtool is not installed".to_owned()));
    };
    let deployed = |name| deployed::path(name).to_string_lossy().into_owned();
    say(&promtool, &["check", "rules", &deployed("prometheus/rules.yml")])?;
    say(&promtool, &["check", "config", &deployed("prometheus/prometheus.yml")])?;
    say(&promtool, &["test", "rules", &deployed("prometheus/rules_test.yml")])?;
    setting.on_server("", |server| {
        let entries = if setting.full { 50_000 } else { 2_000 };
        let sent = send(server, &mut Dice::new(setting.seed, 1), entries)?;
        let url = server.target().url();
        let mut values = 0;
        for step in [1, 5, 7] {
            values += compare(&promtool, &url, &sent, step)?;
        }
        let instant = "sum(sum_over_time(logmill_requests{customer=\"acme\"}[30m]))";
        let end = (START + MINUTES * 60).to_string();
        let said = query(&promtool, &["instant", "--time", &end, &url, instant])?;
        let value = said[0]["value"][1].as_str().context("a value")?;
        ensure!(value.parse() == Ok(entries), "{instant}: {said}");
        lists(&promtool, &url)?;
        let queries = deployed::queries("grafana/dashboards/analytics.json", "logmill")?;
        for query in &queries {
            let range = [("start", &*START.to_string()), ("end", &end), ("step", "60")];
            let parameters = [&[("query", query.as_str())][..], &range].concat();
            let series = ask(&format!("{url}/api/v1/query_range"), &parameters)?;
            ensure!(series["result"][0].is_object(), "{query} has no series");
        }
        Ok(Ending::Passed(format!(
            "{entries} entries, {values} values are equal, {} queries of the dashboard",
            queries.len()
        )))
    })
}

fn send(server: &Server, dice: &mut Dice, entries: usize) -> Result<Vec<Sent>> {
    let client = Client::new(server.target().clone());
    let mut below = |n: u64| usize::try_from(dice.below(n)).expect("below n");
    let mut sent = Vec::with_capacity(entries);
    let mut bodies = Vec::with_capacity(entries);
    for _ in 0..entries {
        let (agent, family, kind) = AGENTS[below(3)];
        // Of every seven minutes one has all, the others none.
        let minute = i64::try_from(below(u64::try_from(MINUTES)?))? / 7 * 7 + 1;
        let (path, status) = (PATHS[below(4)], [200, 404, 503][below(3)]);
        let bytes = below(10_000) as u64;
        let second = START + minute * 60 + i64::try_from(below(60))?;
        let at = jiff::Timestamp::from_second(second)?.to_string();
        bodies.push(json!({"receivedAt": at, "method": "GET", "path": path, "userAgent": agent,
            "status": status, "bytes": bytes}));
        sent.push(Sent { minute, path, family, kind, status, bytes });
    }
    for (number, batch) in bodies.chunks(500).enumerate() {
        for customer in ["acme", "other"] {
            let headers = [
                ("content-type", "application/json"),
                ("x-customer-id", customer),
                ("idempotency-key", &format!("batch-{number}")),
            ];
            // Another customer's are other ones, and must be in no answer.
            let count = if customer == "acme" { batch.len() } else { 1 };
            let answer = client.post_body("", &headers, &serde_json::to_vec(&batch[..count])?)?;
            ensure!(answer.status == 202, "{answer}");
        }
    }
    Ok(sent)
}

/// Compares every metric with what was sent, counted here; says how many values were equal.
fn compare(promtool: &Path, url: &str, sent: &[Sent], step: i64) -> Result<usize> {
    type Label = fn(&Sent) -> String;
    type Value = fn(&Sent) -> u64;
    let queries: [(&str, Label, Value); 6] = [
        ("sum(logmill_requests{C})", |_| "{}".to_owned(), |_| 1),
        ("sum(logmill_response_bytes{C})", |_| "{}".to_owned(), |sent| sent.bytes),
        (
            "sum by (path) (logmill_requests_by_path{C})",
            |sent| json!({"path": format!("GET {}", sent.path)}).to_string(),
            |_| 1,
        ),
        (
            "sum by (kind, user_agent) (logmill_requests_by_user_agent{C})",
            |sent| json!({"kind": sent.kind, "user_agent": sent.family}).to_string(),
            |_| 1,
        ),
        (
            "sum by (status) (logmill_requests_by_status{C})",
            |sent| json!({"status": sent.status.to_string()}).to_string(),
            |_| 1,
        ),
        ("sum(logmill_late_requests{C})", |_| "{}".to_owned(), |_| 1),
    ];
    let (start, end) = (START.to_string(), (START + MINUTES * 60).to_string());
    let mut values = 0;
    for (text, label, value) in queries {
        let text = text.replace("{C}", "{customer=\"acme\"}");
        let mut expected = Expected::new();
        for sent in sent {
            let series = expected.entry(label(sent)).or_default();
            for point in 0..=MINUTES / step {
                // The window that ends at this moment.
                let at = point * step;
                let within = at - step <= sent.minute && sent.minute < at;
                let value = if within { value(sent) } else { 0 };
                *series.entry(START + at * 60).or_default() += value;
            }
        }
        let every = format!("{step}m");
        let said = query(
            promtool,
            &["range", "--start", &start, "--end", &end, "--step", &every, url, &text],
        )?;
        let found = series_of(&said)?;
        ensure!(found == expected, "{text} every {every}: expected {expected:?}, found {found:?}");
        values += found.values().map(BTreeMap::len).sum::<usize>();
    }
    Ok(values)
}

fn series_of(said: &Value) -> Result<Expected> {
    let mut found = Expected::new();
    for series in said.as_array().context("series")? {
        let mut samples = BTreeMap::new();
        for sample in series["values"].as_array().context("values")? {
            let at = sample[0].as_f64().context("a time")?;
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            let at = at as i64;
            samples.insert(at, sample[1].as_str().context("a value")?.parse()?);
        }
        found.insert(series["metric"].to_string(), samples);
    }
    Ok(found)
}

fn lists(promtool: &Path, url: &str) -> Result<()> {
    let range = ["--start", "2025-12-01T12:00:00Z", "--end", "2025-12-01T13:00:00Z"];
    let by_agent = "logmill_requests_by_user_agent{customer=\"acme\"}";
    let values = [&["labels"][..], &range, &["--match", by_agent, url, "kind"]].concat();
    let said = say(promtool, &[&["query"][..], &values].concat())?;
    ensure!(said.lines().eq(["ai", "client", "person"]), "{said}");
    let series = [&["query", "series"][..], &range, &["--match", by_agent, url]].concat();
    let said = say(promtool, &series)?;
    ensure!(
        said.lines().count() == AGENTS.len() && said.contains("user_agent=\"GPTBot\""),
        "{said}"
    );
    Ok(())
}

fn query(promtool: &Path, arguments: &[&str]) -> Result<Value> {
    let said = say(promtool, &[&["query", "-o", "json"], arguments].concat())?;
    serde_json::from_str(&said).with_context(|| said.clone())
}

/// Runs `promtool`, which must end well, and tells what it said.
fn say(promtool: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(promtool).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool {arguments:?}: {said}{complained}");
    Ok(said)
}
