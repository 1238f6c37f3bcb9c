//! Commands of the binary that are run beside a server, to their end.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::server::{Server, wait_for_exit};

/// One command.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A command that runs, and what it has written.
pub(super) struct Tool {
    shown: String,
    child: Child,
    out: File,
    err: File,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Said {
    shown: String,
    /// None if it was killed.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Tool {
    /// Starts the binary with these arguments in the server's working directory.
    pub(super) fn start(server: &Server, arguments: &[&str]) -> Result<Self> {
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = Command::new(server.binary());
        command.current_dir(server.scratch()).args(arguments).stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(err.try_clone()?);
        let child = command.spawn().context("the binary does not start")?;
        Ok(Self { shown: arguments.join(" "), child, out, err })
    }

    /// Waits until it ends.
    pub(super) fn wait(mut self) -> Result<Said> {
        let status = wait_for_exit(&mut self.child, TIMEOUT).context(self.shown.clone())?;
        let (out, err) = (text(self.out)?, text(self.err)?);
        Ok(Said { shown: self.shown, code: status.code(), out, err })
    }

    /// Ends it as a crash does, if it has not ended.
    pub(super) fn kill(mut self) -> Result<Said> {
        self.child.kill()?;
        self.wait()
    }
}

/// Runs the binary with these arguments, which must end with this exit code.
pub(super) fn run(server: &Server, arguments: &[&str], code: i32) -> Result<Said> {
    let said = Tool::start(server, arguments)?.wait()?;
    said.ensure_code(code)?;
    Ok(said)
}

impl Said {
    pub(super) fn ensure_code(&self, code: i32) -> Result<()> {
        ensure!(self.code == Some(code), "expected exit code {code}: {self}");
        Ok(())
    }

    /// Stdout as JSON, one value a line.
    pub(super) fn json_lines(&self) -> Result<Vec<Value>> {
        let lines = self.out.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().with_context(|| format!("no lines of JSON: {self}"))
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, code, out, err } = self;
        let short = |text: &str| text.chars().take(1_000).collect::<String>();
        write!(f, "`{shown}` ended with {code:?}:\n{}{}", short(out), short(err))
    }
}

fn text(mut file: File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}
