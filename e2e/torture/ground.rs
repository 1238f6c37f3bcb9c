//! What the cases that stop a server share: its settings, and what is told when one fails.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use super::{Ending, Setting};
use crate::client::Client;
use crate::server::{Launch, Server};

/// How often a server checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// All the time: checkpoints, reclaims and their crashes are frequent.
    Busy,
    /// Never by itself: everything waits for the replay.
    Lazy,
}

impl Pace {
    /// The settings as environment variables.
    pub(super) fn variables(self) -> Vec<(&'static str, String)> {
        let (interval, journal, memory) = match self {
            Self::Busy => ("100ms", "256KiB", "1MiB"),
            Self::Lazy => ("1h", "1GiB", "512MiB"),
        };
        vec![
            ("LOGMILL_CHECKPOINT_INTERVAL", interval.to_owned()),
            ("LOGMILL_CHECKPOINT_JOURNAL_BYTES", journal.to_owned()),
            ("LOGMILL_CHECKPOINT_MEMORY_BYTES", memory.to_owned()),
        ]
    }
}

/// The failpoints of the binary; none if it was built without them.
pub(super) fn failpoints(binary: &Path) -> Result<Vec<String>> {
    let output = Command::new(binary).arg("failpoints").output()?;
    if !output.status.success() {
        return Ok(Vec::new());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// What the server says that its recovery had to replay.
pub(super) fn replayed_groups(client: &Client) -> Result<u64> {
    const METRIC: &str = "logmill_replayed_groups_total ";
    let metrics = client.get("/metrics", None, &[])?.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(METRIC));
    value.context("the metric is not there")?.parse().context("the metric is no number")
}

/// Refused requests are many, and would drive the server's last words out of its log.
const LOG_LEVEL: &str = "log.level = 'info,logmill::http::observe=off'";

/// Runs a case with a server that it starts and stops itself. If it fails, the server's last words
/// are told, and its files are kept.
pub(crate) fn with_server(
    setting: &Setting,
    config: &str,
    run: impl FnOnce(&mut Server) -> Result<Ending>,
) -> Result<Ending> {
    let mut server = Server::prepare(Launch {
        binary: setting.binary.clone(),
        partitions: setting.partitions,
        config: format!("{LOG_LEVEL}\n{config}").parse()?,
        url: None,
    })?;
    run(&mut server).map_err(|error| {
        let lines = server.last_log_lines().join("\n  ");
        let kept = server.keep_files().display();
        anyhow!("{error:#}\nthe last lines of the server's stderr:\n  {lines}\nfiles: {kept}")
    })
}
