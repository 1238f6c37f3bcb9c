//! The server under `logmill loadgen --verify`, which counts for itself what it has sent.
//!
//! The same run again is made of duplicates alone, and is verified too. Then one request is counted
//! that the run knows nothing of, and it must find that one and no other.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Ending, Setting};
use crate::client::{Client, Verdict};
use crate::server::Server;
use crate::traffic::Batch;

const ENTRIES: u64 = 20_000;
const ENTRIES_FULL: u64 = 2_000_000;
/// In a batch.
const BATCH_ENTRIES: u64 = 100;
/// 2026-11-26T14:00:00Z
const START_S: i64 = 1_795_701_600;

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let entries = if setting.full { ENTRIES_FULL } else { ENTRIES };
    setting.on_server("windows.grace = '5s'", |server| {
        let load = Load { setting, entries };
        let first = load.run(server, &["--compress", "zstd"], 0).context("a fresh server")?;
        let good = entries / BATCH_ENTRIES - number(&first, "/bad/sent")?;
        ensure!(number(&first, "/acknowledged/batches")? == good, "batches are missing: {first}");
        ensure!(number(&first, "/acknowledged/knownBatches")? == 0, "known before: {first}");
        for kind in ["duplicates", "bad"] {
            ensure!(number(&first, &format!("/{kind}/sent"))? > 0, "no {kind}: {first}");
            ensure!(first[kind]["sent"] == first[kind]["asExpected"], "{kind}: {first}");
        }
        let requests = good * BATCH_ENTRIES;
        ensure!(number(&first, "/verification/requests")? == requests, "not all: {first}");

        let again = load.run(server, &[], 0).context("the same run again")?;
        ensure!(number(&again, "/acknowledged/knownBatches")? == good, "not known: {again}");

        tamper(server).context("a request of somebody else")?;
        let wrong = load.run(server, &[], 1).context("after one request too many")?;
        // In the requests, by path and by family.
        ensure!(number(&wrong, "/verification/differences")? == 3, "found otherwise: {wrong}");
        let windows = number(&first, "/verification/windows")?;
        Ok(Ending::Passed(format!("{requests} requests in {windows} windows, three times")))
    })
}

struct Load<'s> {
    setting: &'s Setting,
    entries: u64,
}

impl Load<'_> {
    /// One run, which must end with this exit code; its report.
    fn run(&self, server: &Server, more: &[&str], exit: i32) -> Result<Value> {
        let mut command = Command::new(&self.setting.binary);
        command.current_dir(server.scratch());
        command.args(["loadgen", "--json", "--verify", "--rate", "max", "--run-id", "e2e"]);
        command.args(["--duplicates", "10", "--late", "5", "--bad", "10"]);
        command.args(["--start", "2026-11-26T14:00:00Z"]);
        command.args(["--batch-entries", &BATCH_ENTRIES.to_string()]);
        command.args(["--entries", &self.entries.to_string()]);
        command.args(["--seed", &self.setting.seed.to_string(), "--url", &server.target().url()]);
        let output = command.args(more).output().context("the binary does not start")?;
        let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.code() == Some(exit),
            "{} instead of {exit}:\n{}{err}",
            output.status,
            String::from_utf8_lossy(out)
        );
        Ok(serde_json::from_slice(out)?)
    }
}

fn number(report: &Value, pointer: &str) -> Result<u64> {
    let value = report.pointer(pointer).and_then(Value::as_u64);
    value.with_context(|| format!("no {pointer} in {report}"))
}

/// One request more in a minute that the run has sent to.
fn tamper(server: &Server) -> Result<()> {
    let entry = json!([{
        "receivedAt": "2026-11-26T14:00:00Z", "method": "GET", "path": "/", "userAgent": "curl/8.5.0",
    }]);
    let batch = Batch {
        customer: "load-e2e-01".to_owned(),
        key: "of-somebody-else".to_owned(),
        body: serde_json::to_vec(&entry)?,
        encoding: None,
        entries: 1,
        minutes: [START_S].into(),
    };
    let answer = Client::new(server.target().clone()).post(&batch)?;
    ensure!(answer.judge(&batch)? == Verdict::Accepted, "{answer}");
    Ok(())
}
