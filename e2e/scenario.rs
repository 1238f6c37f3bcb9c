//! The format of a scenario: what is sent, what happens to the server, what must come out.
//!
//! A scenario is a folder `scenarios/NNN_name/` with a `scenario.toml` and the files it names. The
//! format says nothing of processes or sockets, so that another driver can run the same folder. It
//! only describes; `steps.rs` acts. An unknown field is an error: a typing mistake must not turn
//! into an assertion that is never made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::traffic::Traffic;

/// One scenario folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The name of the folder.
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// One sentence: what holds if this passes.
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) server: ServerOptions,
    /// Entries by name; a `send` step says when they go out.
    #[serde(default)]
    pub(crate) traffic: BTreeMap<String, Traffic>,
    #[serde(rename = "step")]
    pub(crate) steps: Vec<Step>,
    /// The same scenario again on a fresh directory, changed in a way that must not matter.
    #[serde(default, rename = "variant")]
    pub(crate) variants: Vec<Variant>,
}

/// How the server differs from its defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerOptions {
    /// Written to a file as it stands and given with `--config`.
    #[serde(default)]
    pub(crate) config: toml::Table,
    /// Files of the folder that lie in the server's working directory before it starts.
    #[serde(default)]
    pub(crate) files: Vec<PathBuf>,
}

/// A change that must leave every expected file as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) partitions: Option<u16>,
    /// Seed of another order of the entries.
    pub(crate) shuffle: Option<u64>,
    /// Entries of a batch; other batches have other keys.
    pub(crate) batch: Option<usize>,
    /// Kills or stops the server during each `send` that does not do so itself.
    pub(crate) interrupt: Option<Interrupt>,
}

/// One thing to do or to check, in the order of the file.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Sends a traffic, at least once each batch, until every batch has its answer.
    Send(Send),
    /// Ends the server and starts it again on the same directory.
    Restart(Restart),
    /// Replaces files of the server and sends it SIGHUP.
    HangUp(HangUp),
    /// Sends each request of a table as raw bytes and checks its answer.
    Requests(Requests),
    /// Runs `logmill import` on a log file of the folder.
    Import(Import),
    /// Compares `GET /analytics` with a file.
    Expect(Expect),
    /// Checks a number of `GET /metrics`.
    Metric(Metric),
}

/// `do = "send"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    pub(crate) traffic: String,
    /// Concurrent senders, each with its own connection.
    #[serde(default = "default_senders")]
    pub(crate) senders: usize,
    /// Batches sent once more, with the same key and content, after they were acknowledged.
    #[serde(default)]
    pub(crate) duplicates: usize,
    /// How many senders send each batch at the same moment; exactly one of them gets the 202.
    #[serde(default = "one")]
    pub(crate) racing: usize,
    pub(crate) interrupt: Option<Interrupt>,
    /// Final answers by status. Not checked where a variant changes the batches or interrupts.
    #[serde(default)]
    pub(crate) answers: BTreeMap<String, u64>,
}

/// Ends the server at evenly spread moments of the load and starts it again each time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interrupt {
    pub(crate) signal: Signal,
    pub(crate) times: usize,
}

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signal {
    /// SIGKILL: a crash.
    Kill,
    /// SIGTERM: must exit 0 within ten seconds.
    Term,
}

/// `do = "restart"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    pub(crate) signal: Signal,
}

/// `do = "hang_up"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HangUp {
    /// A file of the server's working directory, and the one of the folder that takes its place.
    #[serde(default)]
    pub(crate) replace: BTreeMap<PathBuf, PathBuf>,
    /// What the server must then say in its log.
    pub(crate) log: String,
}

/// `do = "requests"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requests {
    /// A table of requests; its format is in `request.rs`.
    pub(crate) file: PathBuf,
}

/// `do = "import"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    /// Copied from the folder the first time; later steps go on with the copy.
    pub(crate) log: String,
    /// A file of the folder whose lines are first appended to the copy.
    pub(crate) append: Option<String>,
    /// Imports a gzip of the copy instead.
    #[serde(default)]
    pub(crate) gzip: bool,
    pub(crate) customer: String,
    /// What the lines are, if not lines of an access log.
    pub(crate) format: Option<String>,
    /// The exit codes that are right.
    pub(crate) exit: Vec<i32>,
    /// What stderr must name, each as a word of its own: line numbers, say.
    #[serde(default)]
    pub(crate) stderr: Vec<String>,
}

/// `do = "expect"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// A whole reply, or one window, which then is all the reply may hold. In the file and in
    /// `from` and `to`, `{customer}` is the customer, `{now}` the minute in which the run began and
    /// `{now+1m}` the one after. A `revision` of `"<batches>"` is the number of batches sent that
    /// touched each of the window's minutes: it follows from how the entries were split.
    pub(crate) file: PathBuf,
    /// The customers to ask for: one, or all of a traffic.
    pub(crate) customer: Option<String>,
    pub(crate) traffic: Option<String>,
    /// The token to ask with.
    pub(crate) token: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
    #[serde(default = "minute")]
    pub(crate) size: String,
}

/// `do = "metric"`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metric {
    /// The name with its labels, as the exposition writes it.
    pub(crate) name: String,
    /// Adds the label `partition` and checks every partition.
    #[serde(default)]
    pub(crate) per_partition: bool,
    /// Counts from the start of the latest `send` instead of from the start of the server.
    #[serde(default)]
    pub(crate) since_send: bool,
    pub(crate) at_least: Option<f64>,
    pub(crate) at_most: Option<f64>,
    /// At most this share of another metric.
    pub(crate) share: Option<Share>,
}

/// A share of another metric, counted in the same way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Share {
    pub(crate) of: String,
    pub(crate) at_most: f64,
}

fn default_senders() -> usize {
    4
}

fn one() -> usize {
    1
}

fn minute() -> String {
    "minute".to_owned()
}

impl Scenario {
    /// Every scenario below `root`, by name.
    pub(crate) fn load_all(root: &Path) -> Result<Vec<Self>> {
        let mut folders = Vec::new();
        for item in std::fs::read_dir(root).with_context(|| format!("reading {root:?}"))? {
            let folder = item?.path();
            if folder.join("scenario.toml").is_file() {
                folders.push(folder);
            }
        }
        folders.sort();
        folders.into_iter().map(Self::load).collect()
    }

    fn load(folder: PathBuf) -> Result<Self> {
        let path = folder.join("scenario.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        let mut scenario: Self =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        let name = folder.file_name().context("a scenario has no folder name")?;
        scenario.name = name.to_string_lossy().into_owned();
        scenario.folder = folder;
        scenario.check().with_context(|| format!("in {}", path.display()))?;
        Ok(scenario)
    }

    /// What the types cannot say: every name resolves and every expectation expects something.
    fn check(&self) -> Result<()> {
        for step in &self.steps {
            match step {
                Step::Send(send) => {
                    self.traffic(&send.traffic)?;
                    ensure!(send.senders > 0 && send.racing > 0, "a send without senders");
                }
                Step::Expect(expect) => {
                    ensure!(
                        expect.customer.is_some() != expect.traffic.is_some(),
                        "an expect step names either a customer or a traffic"
                    );
                    expect.traffic.as_deref().map(|name| self.traffic(name)).transpose()?;
                }
                Step::Metric(metric) => ensure!(
                    metric.at_least.is_some() || metric.at_most.is_some() || metric.share.is_some(),
                    "the metric step for {} expects nothing",
                    metric.name
                ),
                Step::HangUp(hang_up) => {
                    ensure!(!hang_up.log.is_empty(), "a hang_up step that expects nothing");
                }
                Step::Restart(_) | Step::Requests(_) | Step::Import(_) => {}
            }
        }
        Ok(())
    }

    /// The traffic of that name.
    pub(crate) fn traffic(&self, name: &str) -> Result<&Traffic> {
        self.traffic.get(name).with_context(|| format!("there is no [traffic.{name}]"))
    }

    /// Why this scenario cannot run on a server that somebody else started.
    pub(crate) fn needs_own_server(&self) -> Option<&'static str> {
        if !self.server.config.is_empty() {
            return Some("it needs a configuration of its own");
        }
        self.steps.iter().find_map(|step| match step {
            Step::Restart(_) => Some("it restarts the server"),
            Step::HangUp(_) => Some("it sends the server a signal"),
            Step::Send(send) => send.interrupt.map(|_| "it stops the server under load"),
            Step::Metric(m) if m.per_partition => Some("it needs to know the partitions"),
            _ => None,
        })
    }
}
