//! One server process: started, looked at from outside, stopped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);

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
    /// Removed with it.
    _data: TempDir,
}

impl Served {
    pub(crate) fn start(kind: Kind, config: Option<&str>) -> Result<Self> {
        // Beside the binary, which is on a real disk; `/tmp` may be memory.
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut command = match kind {
            Kind::Logmill => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
                command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data.path());
                command.args(config.map(|file| format!("--config={file}")));
                command
            }
            Kind::Null | Kind::Plain => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve", kind.name()]);
                command
            }
        };
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
        let served = Self { child, address, _data: data };
        if kind == Kind::Logmill {
            served.wait_until_ready()?;
        }
        Ok(served)
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

    pub(crate) fn stop(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<()> {
        let began = Instant::now();
        let url = format!("http://{}/readyz", self.address);
        while ureq::get(&url).call().is_err() {
            ensure!(began.elapsed() < START_MAX, "the server is not ready");
            std::thread::sleep(Duration::from_millis(20));
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
