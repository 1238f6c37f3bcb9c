//! Owns the process under test: starts it, waits for it, ends it, keeps its last log lines.
//!
//! Every wait is bounded, and only the process started here is ever signalled. With `--url` there
//! is no process, only an address.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::client::Client;
use crate::scenario::Signal;

/// From the start of the process to its line on stdout.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(20);
/// From there to `GET /readyz` 200: recovery happens in between.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a SIGTERM may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// From a SIGHUP to its line in the log.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);
/// Lines of stderr that a failure shows.
const LOG_LINES: usize = 30;
/// The line on stdout that says where the server listens.
const LISTENING: &str = "listening on ";

/// What is needed to start the server.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) partitions: u16,
    pub(crate) config: toml::Table,
    /// A server that is already up, to be used instead of an own process.
    pub(crate) url: Option<String>,
}

/// Where the server listens now. Senders share it and so find the server again after a restart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target(Arc<RwLock<String>>);

impl Target {
    /// A server that was not started here.
    pub(crate) fn at(url: &str) -> Self {
        let target = Self::default();
        target.set(url);
        target
    }

    pub(crate) fn url(&self) -> String {
        self.0.read().expect("nobody panics while writing an address").clone()
    }

    fn set(&self, url: &str) {
        url.clone_into(&mut self.0.write().expect("nobody panics while reading an address"));
    }
}

/// The server under test and its directories.
pub(crate) struct Server {
    launch: Launch,
    /// The port of 127.0.0.1 to listen on; 0 is another one at each start.
    port: u16,
    target: Target,
    process: Option<Child>,
    /// Where the process tells its address, until it has.
    address: Option<mpsc::Receiver<String>>,
    log: Arc<Mutex<VecDeque<String>>>,
    /// Reads stderr to its end.
    log_reader: Option<thread::JoinHandle<()>>,
    /// Configuration, copies of log files and, unless it is elsewhere, the data directory.
    home: TempDir,
    data_dir: PathBuf,
}

impl Server {
    /// Makes the directories; nothing runs yet.
    pub(crate) fn prepare(launch: Launch) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("logmill-e2e-").tempdir()?;
        let data_dir = home.path().join("data");
        Ok(Self {
            launch,
            port: 0,
            target: Target::default(),
            process: None,
            address: None,
            log: Arc::default(),
            log_reader: None,
            home,
            data_dir,
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.launch.binary
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.launch.partitions
    }

    /// A directory for files that a step needs.
    pub(crate) fn scratch(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Has the data directory somewhere else, from the next start on.
    pub(crate) fn keep_data_in(&mut self, dir: &Path) {
        dir.clone_into(&mut self.data_dir);
    }

    /// Spreads over so many partitions, from the next start on.
    pub(crate) fn use_partitions(&mut self, partitions: u16) {
        self.launch.partitions = partitions;
    }

    /// Is configured so, from the next start on.
    pub(crate) fn use_config(&mut self, config: toml::Table) {
        self.launch.config = config;
    }

    /// Listens on this port, from the next start on: for clients that cannot be told another.
    pub(crate) fn listen_on(&mut self, port: u16) {
        self.port = port;
    }

    /// The process that runs now.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the server does not run")?.id())
    }

    /// Starts the process and waits until it is ready to serve.
    pub(crate) fn start(&mut self) -> Result<()> {
        if let Some(url) = &self.launch.url {
            self.target.set(url.trim_end_matches('/'));
            return self.wait_until_ready();
        }
        self.start_with(&[])
    }

    /// Starts the process and waits until it listens, which is before it is ready.
    pub(crate) fn launch(&mut self) -> Result<()> {
        self.spawn(&[])?;
        self.wait_until_listening()
    }

    /// Starts the process with some environment variables and waits until it is ready.
    pub(crate) fn start_with(&mut self, variables: &[(&str, String)]) -> Result<()> {
        self.spawn(variables)?;
        self.wait_until_listening()?;
        self.wait_until_ready()
    }

    /// Starts the process with some environment variables and does not wait for anything.
    pub(crate) fn spawn(&mut self, variables: &[(&str, String)]) -> Result<()> {
        let mut command = self.command()?;
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().context("the binary does not start")?;
        let stdout = child.stdout.take().context("the process has no stdout")?;
        let stderr = child.stderr.take().context("the process has no stderr")?;
        self.process = Some(child);
        let log = Arc::clone(&self.log);
        self.log_reader = Some(thread::spawn(move || keep_last_lines(stderr, &log)));
        let (sender, address) = mpsc::channel();
        thread::spawn(move || watch_stdout(stdout, &sender));
        self.address = Some(address);
        Ok(())
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let address = self.address.take().context("nothing was started")?;
        let Ok(url) = address.recv_timeout(LISTEN_TIMEOUT) else {
            // Without its stdout a process is about to end; its status says more.
            thread::sleep(POLL);
            self.ensure_running()?;
            bail!("the server did not say on stdout where it listens");
        };
        self.target.set(&url);
        Ok(())
    }

    /// Whether `GET /readyz` answers 200 at this moment.
    pub(crate) fn is_ready(&mut self) -> bool {
        if let Some(url) = self.address.as_ref().and_then(|address| address.try_recv().ok()) {
            self.target.set(&url);
            self.address = None;
        }
        let client = Client::new(self.target.clone());
        // Before it has an address, the one of the process before it is still there.
        self.address.is_none()
            && client.get("/readyz", None, &[]).is_ok_and(|answer| answer.status == 200)
    }

    /// How the process ended, if it has; all it had to say is in the log then.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.process.as_mut().map(Child::try_wait).transpose()?.flatten();
        if status.is_some() {
            self.process = None;
            if let Some(reader) = self.log_reader.take() {
                reader.join().expect("reading lines does not panic");
            }
        }
        Ok(status)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.launch.binary);
        // The surroundings must not configure the server: no `LOGMILL_*`, no ./logmill.toml.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOGMILL_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.home.path());
        command.args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"]);
        command.arg(&self.data_dir);
        command.arg("--partitions").arg(self.launch.partitions.to_string());
        if !self.launch.config.is_empty() {
            let path = self.home.path().join("e2e.toml");
            std::fs::write(&path, toml::to_string(&self.launch.config)?)?;
            command.arg("--config").arg(path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let client = Client::new(self.target.clone());
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let answer = client.get("/readyz", None, &[]);
            if matches!(&answer, Ok(answer) if answer.status == 200) {
                return Ok(());
            }
            self.ensure_running().context("before it was ready")?;
            if Instant::now() >= deadline {
                let last = answer.map_or_else(|e| format!("{e:#}"), |a| format!("{a}"));
                bail!("the server was not ready within {READY_TIMEOUT:?}; /readyz: {last}");
            }
            thread::sleep(POLL);
        }
    }

    /// Ends the process. It must still be running: one that ended by itself is a failure.
    pub(crate) fn stop(&mut self, signal: Signal) -> Result<()> {
        self.ensure_running()?;
        let mut child = self.process.take().context("there is no process to stop")?;
        if signal == Signal::Kill {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = wait_for_exit(&mut child, STOP_TIMEOUT)
            .with_context(|| format!("after SIGTERM, waiting {STOP_TIMEOUT:?} for the server"))?;
        ensure!(status.success(), "after SIGTERM the server ended with {status}, not with 0");
        Ok(())
    }

    /// Puts a copy of a file into the server's working directory, all of it at once.
    pub(crate) fn put(&self, from: &Path, name: &Path) -> Result<()> {
        let place = self.home.path().join(name);
        let beside = place.with_extension("new");
        std::fs::copy(from, &beside).with_context(|| format!("copying {from:?}"))?;
        std::fs::rename(&beside, &place).with_context(|| format!("replacing {place:?}"))
    }

    /// Sends SIGHUP and waits until the log has a new line with `text`.
    pub(crate) fn hang_up(&mut self, text: &str) -> Result<()> {
        self.ensure_running()?;
        let before = self.last_log_lines();
        let child = self.process.as_ref().context("there is no process to signal")?;
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP)?;
        let deadline = Instant::now() + HANG_UP_TIMEOUT;
        // Each line has its time, so that no two are the same.
        let is_said = |line: &String| line.contains(text) && !before.contains(line);
        while !self.last_log_lines().iter().any(is_said) {
            self.ensure_running().context("after SIGHUP")?;
            ensure!(Instant::now() < deadline, "after SIGHUP the log does not say {text:?}");
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Ends the process at once, if it has not ended by itself already.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.process.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Ends the process and starts it again on the same directory.
    pub(crate) fn restart(&mut self, signal: Signal) -> Result<()> {
        self.stop(signal)?;
        self.start().with_context(|| format!("starting again after {signal:?}"))
    }

    /// The end of a run: a server that still runs must also stop in good order.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.launch.url.is_some() {
            return Ok(());
        }
        self.stop(Signal::Term).context("at the end of the scenario")
    }

    /// Fails if the process has ended, which nobody but `stop` may make it do.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        match self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
            Some(status) => bail!("the server ended by itself with {status}"),
            None => Ok(()),
        }
    }

    /// Leaves the files where they are, for a person to look at.
    pub(crate) fn keep_files(&mut self) -> &Path {
        self.home.disable_cleanup(true);
        &self.data_dir
    }

    /// The last lines the server wrote to stderr.
    pub(crate) fn last_log_lines(&self) -> Vec<String> {
        let log = self.log.lock().expect("nobody panics while keeping a line");
        log.iter().cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // Both fail only if the process is already gone.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Waits for a process to end by itself; kills it and fails when it takes too long.
pub(crate) fn wait_for_exit(child: &mut Child, timeout: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    bail!("the process was still running after {timeout:?}")
}

/// Reads stdout to its end, so that the process never blocks on a full pipe.
fn watch_stdout(stdout: impl Read, found: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(url) = line.strip_prefix(LISTENING) {
            // The receiver has given up if this fails, and has said so.
            found.send(url.trim().to_owned()).ok();
        }
    }
}

fn keep_last_lines(stderr: impl Read, log: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut log = log.lock().expect("nobody panics while reading the log");
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}
