//! Backups of a server under load: each copy is whole, passes its audit, can be served, and can be
//! rebuilt from its archive alone.
//!
//! A copy must have everything that was acknowledged before `logmill backup` was called, nothing
//! that was never sent, and each batch once; the same goes for what is rebuilt from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::books::{BatchId, Recipe};
use super::dice::Dice;
use super::fleet::Fleet;
use super::ground::{Pace, with_server};
use super::{Ending, Setting};
use crate::client::Client;
use crate::scenario::Signal;
use crate::server::{Launch, Server};

const COPIES: usize = 2;
const COPIES_FULL: usize = 20;
const SHIPPERS: usize = 16;
/// The longest load between two copies.
const LOAD: Duration = Duration::from_millis(800);
const CONFIG: &str = "
limits.paths_per_window = 1000000
limits.free_bytes = '1MiB'
archive.retention = 'forever'
";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let copies = if setting.full { COPIES_FULL } else { COPIES };
    with_server(setting, CONFIG, |server| {
        let mut dice = Dice::new(setting.seed, u64::MAX);
        let fleet = Fleet::new(Recipe::new(setting.seed, 0), setting.seed, SHIPPERS);
        let target = server.target().clone();
        let client = Client::new(target.clone());
        let mut audits = Audits::default();
        fleet.ship(&target, || {
            server.start_with(&Pace::Busy.variables())?;
            for copy in 0..copies {
                thread::sleep(dice.time(Duration::ZERO, LOAD));
                let kept = Copy { setting, dir: server.scratch().join(format!("copy-{copy}")) };
                let before = fleet.pause().acknowledged();
                kept.make(server)?;
                kept.check(&fleet, &before, &mut audits).with_context(|| format!("copy {copy}"))?;
                if dice.percent(30) {
                    server.stop(Signal::Kill)?;
                    server.start_with(&Pace::Busy.variables())?;
                }
            }
            Ok(())
        })?;
        fleet.check_all(&client)?;
        server.stop(Signal::Kill)?;
        // With a journal that waits for its replay, too.
        audits.audit(setting, server.data_dir())?;
        server.start()?;
        fleet.check_all(&client)?;
        server.finish()?;
        audits.audit(setting, server.data_dir())?;
        let figures = fleet.figures();
        Ok(Ending::Passed(format!("{copies} copies, each rebuilt too; {audits}; {figures}")))
    })
}

/// A copy of the data directory.
struct Copy<'s> {
    setting: &'s Setting,
    dir: PathBuf,
}

impl Copy<'_> {
    /// Has the running server make it.
    fn make(&self, server: &Server) -> Result<()> {
        let mut command = Command::new(&self.setting.binary);
        command.arg("backup").arg(&self.dir).arg("--data-dir").arg(server.data_dir());
        succeed(command.current_dir(server.scratch())).map(drop)
    }

    /// Audits and serves it, and what is rebuilt from it.
    fn check(&self, fleet: &Fleet, before: &BTreeSet<BatchId>, audits: &mut Audits) -> Result<()> {
        audits.audit(self.setting, &self.dir)?;
        let rebuilt = self.dir.with_extension("rebuilt");
        let mut command = Command::new(&self.setting.binary);
        command.arg("rebuild").arg(&rebuilt).arg("--data-dir").arg(&self.dir);
        succeed(&mut command).context("rebuilding")?;
        audits.audit(self.setting, &rebuilt)?;
        let copied = self.serve(&self.dir, fleet, before).context("served")?;
        let counted = self.serve(&rebuilt, fleet, before).context("rebuilt and served")?;
        ensure!(copied == counted, "rebuilding has lost or found batches");
        Ok(())
    }

    /// Starts a server on a directory; what it has counted.
    fn serve(
        &self,
        dir: &Path,
        fleet: &Fleet,
        before: &BTreeSet<BatchId>,
    ) -> Result<BTreeSet<BatchId>> {
        let mut server = Server::prepare(Launch {
            binary: self.setting.binary.clone(),
            partitions: self.setting.partitions,
            config: CONFIG.parse()?,
            url: None,
        })?;
        server.keep_data_in(dir);
        server.start()?;
        let client = Client::new(server.target().clone());
        let counted = fleet.counted_elsewhere(&client, before)?;
        fleet.repeat_some(&client, before)?;
        server.finish()?;
        Ok(counted)
    }
}

/// What all audits together saw.
#[derive(Debug, Default)]
pub(super) struct Audits {
    audits: u64,
    windows: u64,
    keys: u64,
}

impl Audits {
    /// Audits a directory on which no server runs; it must be right.
    pub(super) fn audit(&mut self, setting: &Setting, dir: &Path) -> Result<()> {
        let mut command = Command::new(&setting.binary);
        command.arg("audit").arg("--json").arg("--data-dir").arg(dir);
        let report: Value = serde_json::from_str(&succeed(&mut command).context("auditing")?)?;
        let number = |name: &str| report[name].as_u64().context("the report lacks a number");
        ensure!(number("wrong")? == 0 && number("windowsAtLeast")? == 0, "{report}");
        ensure!(number("windowsEqual")? > 0, "nothing was compared: {report}");
        self.audits += 1;
        self.windows += number("windowsEqual")?;
        self.keys += number("keysClaimed")?;
        Ok(())
    }
}

impl std::fmt::Display for Audits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { audits, windows, keys } = self;
        write!(f, "{audits} audits compared {windows} windows and found {keys} keys claimed")
    }
}

/// Runs a command that must end with 0; what it printed.
fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().context("the binary does not start")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{} said\n{out}{err}", output.status);
    Ok(out)
}
