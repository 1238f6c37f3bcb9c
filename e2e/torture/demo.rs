//! `logmill demo` shows a server with traffic of two days and of now, and leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Ending, Setting};
use crate::client::Client;
use crate::server::{Target, wait_for_exit};

/// From the start to the address: until then two days of requests are counted.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Until live traffic is seen, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
const CUSTOMERS: [&str; 3] = ["shop", "blog", "docs"];

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let home = tempfile::Builder::new().prefix("logmill-e2e-demo-").tempdir()?;
    let mut command = Command::new(&setting.binary);
    command.args(["demo", "--listen", "127.0.0.1:0", "--rate", "1"]);
    command.current_dir(home.path()).env("TMPDIR", home.path());
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let seen = look(&mut child);
    let ready = began.elapsed();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = wait_for_exit(&mut child, PATIENCE)?;
    let requests = seen?;
    ensure!(status.code() == Some(0), "Ctrl-C ends it with {status}");
    let left: Vec<_> = home.path().read_dir()?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left.is_empty(), "it leaves {left:?} behind");
    Ok(Ending::Passed(format!("{requests} requests, the first looks after {ready:.1?}")))
}

/// Waits for the address, and looks at what is there; how many requests that were.
fn look(child: &mut Child) -> Result<u64> {
    let stdout = child.stdout.take().context("no stdout")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Nobody listens any more if this fails, and nobody has to.
        lines.for_each(|line| drop(sender.send(line)));
    });
    let deadline = Instant::now() + START_TIMEOUT;
    let url = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).context("it does not say its address")?;
        if let Some(address) = line.strip_prefix("dashboard ") {
            break address.trim().trim_end_matches('/').to_owned();
        }
    };
    let client = Client::new(Target::at(&url));
    let total = |customer| -> Result<(u64, u64)> {
        let query = [("from", "-48h"), ("windowSize", "hour")];
        let answer = client.get("/analytics/series", Some(customer), &query)?.json()?;
        let points = answer["points"].as_array().context("no points")?;
        let sum = |field: &str| points.iter().filter_map(|point| point[field].as_u64()).sum();
        ensure!(points.len() >= 47, "{customer} has {} hours of history", points.len());
        Ok((sum("requests"), sum("late")))
    };
    let mut before = 0;
    for customer in CUSTOMERS {
        let (requests, _) = total(customer)?;
        ensure!(requests > 1_000, "{customer} has {requests} requests");
        before += requests;
    }
    let kinds = client.get("/analytics/top", Some("shop"), &[("by", "kind"), ("from", "-48h")])?;
    let kinds: Value = kinds.json()?;
    ensure!(kinds["keys"] == 6, "not all kinds come: {kinds}");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let now = CUSTOMERS.map(|customer| total(customer).map(|(requests, _)| requests));
        let now: u64 = now.into_iter().sum::<Result<u64>>()?;
        if now > before {
            return Ok(now);
        }
        thread::sleep(POLL);
    }
    bail!("no live traffic came within {PATIENCE:?}")
}
