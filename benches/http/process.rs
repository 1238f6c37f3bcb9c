//! One server process: started, looked at from outside, stopped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it answers; it may have much to replay.
const START_MAX: Duration = Duration::from_secs(600);
/// How often it is asked.
const START_POLL: Duration = Duration::from_millis(5);
/// Where data directories go: beside the binary, which is on a real disk; `/tmp` may be memory.
pub(crate) const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Plain,
    Logmill,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Null, Self::Plain, Self::Logmill];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Plain => "plain",
            Self::Logmill => "logmill",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.with_context(|| format!("{name}: no such server"))
    }
}

/// A running server, killed when dropped.
pub(crate) struct Served {
    child: Child,
    address: SocketAddr,
    /// Removed with it, if it is its own.
    _data: Option<TempDir>,
}

impl Served {
    pub(crate) fn start(kind: Kind, config: Option<&str>) -> Result<Self> {
        if kind == Kind::Logmill {
            let data = tempfile::tempdir_in(DISK)?;
            let config = config.map(|file| format!("--config={file}"));
            let mut served = Self::start_on(data.path(), config.as_slice())?;
            served._data = Some(data);
            return Ok(served);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", kind.name()]);
        Self::launch(command)
    }

    /// Logmill on a data directory, which stays; back when it takes batches.
    pub(crate) fn start_on(data: &Path, flags: &[String]) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(flags);
        let served = Self::launch(command)?;
        served.wait_until_ready()?;
        Ok(served)
    }

    fn launch(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("the server does not start")?;
        let address = match address_on_stdout(&mut child) {
            Ok(address) => address,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        Ok(Self { child, address, _data: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time of all its threads so far, in the kernel too; to a hundredth of a second.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // After the name, which may hold anything, `utime` and `stime` are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(") ").context("no name in /proc/PID/stat")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<u64>);
        let mut next = || ticks.next().context("/proc/PID/stat is short")?.context("no number");
        Ok(Duration::from_millis((next()? + next()?) * 10))
    }

    /// The most memory that was resident.
    pub(crate) fn peak_memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmHWM")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// What `/metrics` says of a name without labels; some come with their first value.
    pub(crate) fn metric(&self, name: &str) -> Result<Option<f64>> {
        let url = format!("http://{}/metrics", self.address);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().context("not a number")).transpose()
    }

    /// Kills it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Has it end by itself, as an operator would.
    pub(crate) fn terminate(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<()> {
        let began = Instant::now();
        let url = format!("http://{}/readyz", self.address);
        while ureq::get(&url).call().is_err() {
            ensure!(began.elapsed() < START_MAX, "the server is not ready");
            std::thread::sleep(START_POLL);
        }
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already if it was stopped.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn address_on_stdout(child: &mut Child) -> Result<SocketAddr> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().trim_start_matches("listening on http://");
    address.parse().context("the server does not say its address")
}
