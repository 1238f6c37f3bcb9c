//! Prometheus scrapes a server, with the rules of `deploy/` loaded: every metric that rules and
//! dashboards ask for is there, their queries are valid, and what is provoked makes an alert fire.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{ask, deployed};
use crate::client::Client;
use crate::scenario::Signal;
use crate::senders::{Daemon, find_program, unused_port};
use crate::server::Server;
use crate::torture::dice::Dice;
use crate::torture::{Ending, Setting};

/// For Prometheus to start, and for a condition to become an alert at one look a second.
const PATIENCE: Duration = Duration::from_secs(40);
/// The same where an alert waits for a minute.
const LONG_PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);
/// Checkpoints at once, so that what they measure is there.
const CONFIG: &str = "checkpoint.interval = '100ms'\nentries.on_invalid = 'skip'\n";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let Some(program) = find_program("prometheus") else {
        return Ok(Ending::Skipped("prometheus is not installed".to_owned()));
    };
    setting.on_server(CONFIG, |server| {
        let mut dice = Dice::new(setting.seed, 1);
        server.listen_on(unused_port(&mut dice)?);
        server.restart(Signal::Term)?;
        let client = Client::new(server.target().clone());
        send(&client, "first", "/", 202)?;
        send(&client, "first", "/", 409)?;
        client.get("/analytics", Some("acme"), &[])?;
        let names = metrics(&client)?;

        let port = unused_port(&mut dice)?;
        let (mut daemon, url) = start(&program, server, port)?;
        let up = |data: &Value| data["result"][0]["value"][1] == "1";
        let query = format!("{url}/api/v1/query");
        until(PATIENCE, "the server is scraped", || {
            daemon.ensure_running()?;
            Ok(ask(&query, &[("query", "up{job=\"logmill\"}")]).is_ok_and(|data| up(&data)))
        })?;
        // Its key has another content: answered 422, and LogmillKeysReused.
        send(&client, "first", "/other", 422)?;
        until(PATIENCE, "LogmillKeysReused fires", || {
            Ok(state(&url, "LogmillKeysReused")? == "firing")
        })?;
        let queries = deployed::queries("grafana/dashboards/health.json", "prometheus")?;
        let mut answered = 0;
        for text in &queries {
            let data = ask(&query, &[("query", text)])?;
            answered += usize::from(data["result"][0].is_object());
        }
        ensure!(answered > queries.len() / 2, "{answered} of {} have series", queries.len());

        server.stop(Signal::Term)?;
        let (wanted, patience) =
            if setting.full { ("firing", LONG_PATIENCE) } else { ("pending", PATIENCE) };
        until(patience, "LogmillDown", || Ok(state(&url, "LogmillDown")? == wanted))?;
        server.start()?;
        until(PATIENCE, "LogmillDown ends", || Ok(state(&url, "LogmillDown")? == "inactive"))?;
        daemon.terminate()?;
        Ok(Ending::Passed(format!(
            "{names} series are there, {answered} of {} queries of the dashboard have data, \
             LogmillKeysReused firing, LogmillDown {wanted}",
            queries.len()
        )))
    })
}

/// Sends one good entry and one that is put aside.
fn send(client: &Client, key: &str, path: &str, status: u16) -> Result<()> {
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("x-customer-id", "acme"),
        ("idempotency-key", key),
    ];
    let body = format!(
        "{{\"receivedAt\":\"2025-12-01T12:00:00Z\",\"method\":\"GET\",\"path\":\"{path}\",\
         \"userAgent\":\"curl/8\"}}\nnonsense\n"
    );
    let answer = client.post_body("", &headers, body.as_bytes())?;
    ensure!(answer.status == status, "expected {status}: {answer}");
    Ok(())
}

/// Fails unless the server shows every series that is asked for; says how many those are.
fn metrics(client: &Client) -> Result<usize> {
    let files =
        ["prometheus/rules.yml", "prometheus/rules_test.yml", "grafana/dashboards/health.json"];
    let texts = files.into_iter().map(deployed::text).collect::<Result<Vec<_>>>()?;
    let wanted: std::collections::BTreeSet<_> =
        texts.iter().flat_map(|text| deployed::names(text)).collect();
    let mut missing = Vec::new();
    // Some are measured by the next checkpoint only, or by the request that shows them.
    until(PATIENCE, "every series is there", || {
        let shown = client.get("/metrics", None, &[])?.body;
        let there = deployed::names(&shown);
        missing = wanted.difference(&there).map(|name| (*name).to_owned()).collect();
        Ok(missing.is_empty())
    })
    .with_context(|| format!("missing in /metrics: {missing:?}"))?;
    Ok(wanted.len())
}

/// Starts Prometheus with the deployed configuration at this server, looking once a second.
fn start(program: &Path, server: &Server, port: u16) -> Result<(Daemon, String)> {
    let home = server.scratch().join("prometheus");
    std::fs::create_dir(&home)?;
    let target = server.target().url().replace("http://", "");
    let mut config = deployed::text("prometheus/prometheus.yml")?;
    for (old, new) in [("logmill:8080", target.as_str()), ("_interval: 10s", "_interval: 1s")] {
        ensure!(config.contains(old), "prometheus.yml has no {old}");
        config = config.replace(old, new);
    }
    std::fs::write(home.join("prometheus.yml"), config)?;
    std::fs::copy(deployed::path("prometheus/rules.yml"), home.join("rules.yml"))?;
    let mut daemon = Daemon::new(program, &home);
    let listen = format!("127.0.0.1:{port}");
    daemon.command.arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=data");
    daemon.command.arg(format!("--web.listen-address={listen}"));
    daemon.start()?;
    Ok((daemon, format!("http://{listen}")))
}

/// How an alert stands. What it says must be written as it was meant.
fn state(url: &str, alert: &str) -> Result<String> {
    let data = ask(&format!("{url}/api/v1/rules"), &[("type", "alert")])?;
    let rules = data["groups"][0]["rules"].as_array().context("rules")?;
    let rule = rules.iter().find(|rule| rule["name"] == alert).context("the alert is there")?;
    ensure!(!rule["alerts"].to_string().contains("error expanding"), "{rule}");
    ensure!(rule["health"] != "err", "{rule}");
    Ok(rule["state"].as_str().context("a state")?.to_owned())
}

fn until(patience: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !holds()? {
        if Instant::now() >= deadline {
            bail!("not within {patience:?}: {what}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}
