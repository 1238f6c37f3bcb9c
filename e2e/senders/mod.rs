//! Real senders: the recipes in `docs/senders/` at work, with servers and senders killed meanwhile.
//!
//! A case takes the configuration out of the page, so what is proved is what a reader copies. Each
//! line has a path of its own, so that the answer tells of every single one whether it was lost or
//! counted twice. A sender that is not installed is skipped, and that is said.

pub(crate) mod ledger;
mod nginx;
mod recipe;
mod syslog_ng;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::server::wait_for_exit;
use crate::torture::dice::Dice;
use crate::torture::{Case, Setting};

/// Every sender that can be run here.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "nginx",
        title: "Each line that nginx writes is counted once, whatever is killed on its way",
        run: nginx::run,
    },
    Case {
        name: "syslog-ng",
        title: "Each line that syslog-ng sends is counted once, whatever is killed on its way",
        run: syslog_ng::run,
    },
];

/// Where daemons are that are not on a user's path.
const DAEMON_DIRS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// Ports that no outgoing connection is given by itself: a sender that knocks at the port of a
/// server that is down must not be handed that very port for its own end.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// What a SIGTERM may take.
const TERM_TIMEOUT: Duration = Duration::from_secs(10);
/// The settings that every path of its own needs, and short lives.
pub(crate) const CONFIG: &str = "
limits.paths_per_window = 1000000
limits.free_bytes = '1MiB'
log.level = 'info,logmill::http::observe=off'
";

/// A program that runs beside the server, until it is killed or dropped.
pub(crate) struct Daemon {
    pub(crate) command: Command,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// What it says goes to a file of that name in `home`.
    pub(crate) fn new(program: impl AsRef<OsStr>, home: &Path) -> Self {
        let mut command = Command::new(&program);
        let name = Path::new(program.as_ref()).file_name().unwrap_or_default();
        // No name that a log has which is sent: what it says would stand between its lines.
        let log = home.join(name).with_extension("said");
        // A signal for the terminal's group would end it behind the case's back.
        command.current_dir(home).stdin(Stdio::null()).process_group(0);
        Self { command, log, child: None }
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        self.command.stdout(log.try_clone()?).stderr(log);
        let program = self.command.get_program().to_string_lossy().into_owned();
        self.child = Some(self.command.spawn().context(program)?);
        Ok(())
    }

    /// Ends it as a crash does. It must still be running.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.ensure_running()?;
        self.end();
        Ok(())
    }

    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        let child = self.child.as_mut().context("nothing was started")?;
        if let Some(status) = child.try_wait()? {
            let said = std::fs::read(&self.log)?;
            let said = String::from_utf8_lossy(&said[said.len().saturating_sub(2_000)..]);
            let program = self.command.get_program().display();
            return Err(anyhow!("{program} ended by itself with {status}; it said:\n{said}"));
        }
        Ok(())
    }

    /// Ends it in good order, with exit code 0.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        self.ensure_running()?;
        let mut child = self.child.take().context("nothing was started")?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = wait_for_exit(&mut child, TERM_TIMEOUT)?;
        ensure!(status.success(), "after SIGTERM it ended with {status}");
        Ok(())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // With its workers, which would outlive it. Both fail only if all are already gone.
            let group = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            child.wait().ok();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program on the path or among the daemons.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(DAEMON_DIRS.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn unused_port(dice: &mut Dice) -> Result<u16> {
    let ports = u64::from(PORTS.end - PORTS.start);
    for _ in 0..100 {
        let port = PORTS.start + u16::try_from(dice.below(ports))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(anyhow!("no port of {PORTS:?} is free"))
}

/// How many lines a case writes.
fn lines(setting: &Setting, full: usize) -> Result<usize> {
    const QUICK_SHARE: usize = 5;
    let lines = if setting.full { full } else { full / QUICK_SHARE };
    ensure!(lines > 0, "nothing to write");
    Ok(lines)
}
