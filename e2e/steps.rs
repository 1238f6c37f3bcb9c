//! Takes the steps of a scenario, one after the other, against a running server.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::client::Client;
use crate::compare::describe_difference;
use crate::load;
use crate::request;
use crate::scenario::{Expect, HangUp, Import, Metric, Scenario, Send, Step, Variant};
use crate::server::{Server, wait_for_exit};
use crate::traffic::{Encoding, Ledger, Placeholders};

/// One `logmill import`.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// A scenario in progress.
struct Run<'a> {
    scenario: &'a Scenario,
    variant: Option<&'a Variant>,
    server: &'a mut Server,
    client: Client,
    placeholders: Placeholders,
    ledger: Ledger,
    /// The metrics when the latest load began.
    metrics_before: String,
}

/// Takes every step; the first that fails ends the run.
pub(crate) fn take_all(
    scenario: &Scenario,
    variant: Option<&Variant>,
    server: &mut Server,
) -> Result<()> {
    let client = Client::new(server.target().clone());
    let mut run = Run {
        scenario,
        variant,
        server,
        client,
        placeholders: Placeholders::starting_now(),
        ledger: Ledger::default(),
        metrics_before: String::new(),
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        run.take(step).with_context(|| format!("step {} ({})", number + 1, describe(step)))?;
    }
    Ok(())
}

/// What a failure calls the step.
fn describe(step: &Step) -> String {
    match step {
        Step::Send(send) => format!("send {}", send.traffic),
        Step::Restart(restart) => format!("restart by {:?}", restart.signal),
        Step::HangUp(hang_up) => format!("hang_up until {:?}", hang_up.log),
        Step::Requests(requests) => format!("requests {}", requests.file.display()),
        Step::Import(import) => format!("import {}", import.log),
        Step::Expect(expect) => format!("expect {}", expect.file.display()),
        Step::Metric(metric) => format!("metric {}", metric.name),
    }
}

impl Run<'_> {
    fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Send(send) => self.send(send),
            Step::Restart(restart) => self.server.restart(restart.signal),
            Step::HangUp(hang_up) => self.hang_up(hang_up),
            Step::Requests(requests) => {
                let table = self.scenario.folder.join(&requests.file);
                request::run_table(&table, &self.server.target().url())
            }
            Step::Import(import) => self.import(import),
            Step::Expect(expect) => self.expect(expect),
            Step::Metric(metric) => self.metric(metric),
        }
    }

    fn hang_up(&mut self, hang_up: &HangUp) -> Result<()> {
        for (old, new) in &hang_up.replace {
            self.server.put(&self.scenario.folder.join(new), old)?;
        }
        self.server.hang_up(&hang_up.log)
    }

    fn send(&mut self, send: &Send) -> Result<()> {
        let traffic = self.scenario.traffic(&send.traffic)?;
        let batches = traffic.batches(&send.traffic, self.placeholders, self.variant)?;
        self.metrics_before = self.metrics()?;
        let interrupt = send.interrupt.or(self.variant.and_then(|v| v.interrupt));
        let answers = load::run(send, interrupt, &batches, self.server)?;
        batches.iter().for_each(|batch| self.ledger.record(batch));
        let as_written = interrupt.is_none() && self.variant.is_none_or(|v| v.batch.is_none());
        if as_written && !send.answers.is_empty() {
            ensure!(
                answers == send.answers,
                "expected answers {:?}, got {answers:?}",
                send.answers
            );
        }
        Ok(())
    }

    fn expect(&mut self, expect: &Expect) -> Result<()> {
        let path = self.scenario.folder.join(&expect.file);
        let file = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        let customers = match (&expect.customer, &expect.traffic) {
            (Some(customer), _) => vec![customer.clone()],
            (None, Some(traffic)) => self.scenario.traffic(traffic)?.customers.all(),
            (None, None) => bail!("an expect step needs a customer"),
        };
        let client = Client::new(self.server.target().clone()).with_token(expect.token.as_deref());
        for customer in customers {
            let expected = self.expected(&file, &customer)?;
            let from = self.placeholders.fill(&expect.from, &customer);
            let to = self.placeholders.fill(&expect.to, &customer);
            let query = [("from", from.as_str()), ("to", &to), ("windowSize", &expect.size)];
            let answer = client.get("/analytics", Some(&customer), &query)?;
            ensure!(answer.status == 200, "{customer}: {answer}");
            if let Some(difference) = describe_difference(&expected, &answer.json()?) {
                bail!("{customer} has other windows than expected:\n{difference}");
            }
        }
        Ok(())
    }

    /// The whole reply that `file` describes for a customer.
    fn expected(&self, file: &str, customer: &str) -> Result<Value> {
        let filled = self.placeholders.fill(file, customer);
        let mut reply: Value = serde_json::from_str(&filled).context("the expected file")?;
        if reply.get("windows").is_none() {
            reply = json!({ "windows": [reply], "next": null });
        }
        let windows = reply["windows"].as_array_mut().context("windows is a list")?;
        for window in windows {
            if window["revision"] == "<batches>" {
                let start = window["windowStart"].as_str().context("windowStart")?;
                let size = window["windowSize"].as_str().context("windowSize")?;
                window["revision"] = self.ledger.batches(customer, start, size)?.into();
            }
        }
        Ok(reply)
    }

    fn metric(&self, metric: &Metric) -> Result<()> {
        let now = self.metrics()?;
        let names: Vec<String> = match metric.per_partition {
            true => (0..self.server.partitions())
                .map(|partition| format!("{}{{partition=\"{partition}\"}}", metric.name))
                .collect(),
            false => vec![metric.name.clone()],
        };
        let before = if metric.since_send { self.metrics_before.as_str() } else { "" };
        let count = |name: &str| -> Result<f64> {
            let value = sample(&now, name).with_context(|| format!("there is no metric {name}"))?;
            Ok(value - sample(before, name).unwrap_or(0.0))
        };
        for name in names {
            let value = count(&name)?;
            if let Some(least) = metric.at_least {
                ensure!(value >= least, "{name} is {value}, expected at least {least}");
            }
            if let Some(most) = metric.at_most {
                ensure!(value <= most, "{name} is {value}, expected at most {most}");
            }
            if let Some(share) = &metric.share {
                let (whole, most) = (count(&share.of)?, share.at_most);
                ensure!(
                    value <= whole * most,
                    "{name} is {value}, expected at most {most} of {} which is {whole}",
                    share.of
                );
            }
        }
        Ok(())
    }

    fn metrics(&self) -> Result<String> {
        let answer = self.client.get("/metrics", None, &[])?;
        ensure!(answer.status == 200, "/metrics {answer}");
        Ok(answer.body)
    }

    fn import(&self, import: &Import) -> Result<()> {
        let log = self.log_file(import)?;
        let stderr_path = self.server.scratch().join("import.stderr");
        let mut child = Command::new(self.server.binary())
            .current_dir(self.server.scratch())
            .arg("import")
            .arg(&log)
            .args(["--customer", &import.customer, "--url", &self.server.target().url()])
            .arg("--state")
            .arg(self.server.scratch().join("import.state"))
            .args(import.format.iter().flat_map(|format| ["--format", format]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr_path)?)
            .spawn()
            .context("the binary does not start")?;
        let status = wait_for_exit(&mut child, IMPORT_TIMEOUT)?;
        let stderr = String::from_utf8_lossy(&std::fs::read(&stderr_path)?).into_owned();
        ensure!(
            status.code().is_some_and(|code| import.exit.contains(&code)),
            "expected exit code {:?}, got {status}; stderr:\n{stderr}",
            import.exit
        );
        let words: Vec<&str> = stderr.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        for word in &import.stderr {
            ensure!(words.contains(&word.as_str()), "stderr does not name {word}:\n{stderr}");
        }
        Ok(())
    }

    /// The copy of the log to import, grown and compressed as the step says.
    fn log_file(&self, import: &Import) -> Result<PathBuf> {
        let copy = self.server.scratch().join(&import.log);
        if !copy.exists() {
            std::fs::copy(self.scenario.folder.join(&import.log), &copy)?;
        }
        if let Some(name) = &import.append {
            let lines = std::fs::read(self.scenario.folder.join(name))?;
            File::options().append(true).open(&copy)?.write_all(&lines)?;
        }
        if import.gzip { compress(&copy) } else { Ok(copy) }
    }
}

/// A gzip of a file, beside it.
fn compress(path: &Path) -> Result<PathBuf> {
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(".gz");
    std::fs::write(&compressed, Encoding::Gzip.encode(&std::fs::read(path)?)?)?;
    Ok(compressed.into())
}

/// The value of a series in the text exposition of Prometheus.
fn sample(exposition: &str, name: &str) -> Option<f64> {
    exposition.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
