//! The control socket: what an operator on this machine may ask the running server to do.
//!
//! A Unix socket in the data directory, which only the server's own user can reach. A request is
//! one line of JSON, `{"backup":"/absolute/path"}`; the answer is lines of JSON: any number of
//! `{"stage","done","all"}`, then `{"ok":true}` or `{"error"}`. A client that goes away does not
//! stop a backup.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::backup::{Backup, BackupError};
use crate::disk::{Disk, DiskError, DiskResult, Layout};
use crate::engine::Engine;
use crate::limits;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    /// Copy the data directory there.
    Backup(PathBuf),
}

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// How far it has come.
    Progress {
        /// What is being done.
        stage: String,
        /// How much of it is done.
        done: u64,
        /// How much there is.
        all: u64,
    },
    /// It is done.
    Done {
        /// Always true.
        ok: bool,
    },
    /// It was not done.
    Failed {
        /// Why.
        error: String,
    },
}

/// Who does what is asked.
#[derive(Debug, Clone)]
pub struct Controller {
    /// The running engine.
    pub engine: Arc<Engine>,
    /// Where its data is.
    pub disk: Arc<dyn Disk>,
    /// How that is laid out.
    pub layout: Layout,
}

impl Controller {
    /// Answers requests, one after the other, until it is dropped.
    ///
    /// # Errors
    /// If the socket cannot be made. The server works without it.
    pub async fn serve(self) -> DiskResult<()> {
        let listener = self.bind()?;
        loop {
            match listener.accept().await {
                // One at a time: two backups at once would only be slower.
                Ok((stream, _)) => self.answer(stream).await,
                Err(error) => tracing::debug!(%error, "control socket"),
            }
        }
    }

    fn bind(&self) -> DiskResult<UnixListener> {
        let path = self.layout.control();
        // The directory is locked, so a socket that is there was left by a process that is gone.
        match self.disk.remove(&path) {
            Err(error) if error.source.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(&path).map_err(|error| DiskError::new("make the socket", &path, error))
    }

    async fn answer(&self, mut stream: UnixStream) {
        let (reader, mut writer) = stream.split();
        let mut line = String::new();
        let mut reader = tokio::io::BufReader::new(reader.take(limits::CONTROL_LINE_BYTES_MAX));
        let asked =
            tokio::time::timeout(limits::CONTROL_LINE_TIME_MAX, reader.read_line(&mut line));
        if !matches!(asked.await, Ok(Ok(_))) {
            return;
        }
        let (replies, mut told) = mpsc::channel(16);
        match serde_json::from_str::<Request>(&line) {
            Ok(Request::Backup(to)) => {
                let controller = self.clone();
                drop(tokio::task::spawn_blocking(move || controller.backup(&to, &replies)));
            }
            Err(error) => {
                replies.send(Reply::Failed { error: error.to_string() }).await.ok();
                drop(replies);
            }
        }
        let mut listening = true;
        while let Some(reply) = told.recv().await {
            let mut line = serde_json::to_vec(&reply).expect("a reply is plain JSON");
            line.push(b'\n');
            listening = listening && writer.write_all(&line).await.is_ok();
        }
    }

    fn backup(&self, to: &Path, replies: &mpsc::Sender<Reply>) {
        tracing::info!(to = %to.display(), "backup begins");
        let result = self.copy_to(to, &|stage, done, all| {
            let stage = stage.name().to_owned();
            // Progress that nobody has time for is left out.
            replies.try_send(Reply::Progress { stage, done, all }).ok();
        });
        let reply = match result {
            Ok(()) => {
                tracing::info!(to = %to.display(), "backup is complete");
                Reply::Done { ok: true }
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(to = %to.display(), error, "backup failed");
                Reply::Failed { error }
            }
        };
        replies.blocking_send(reply).ok();
    }

    fn copy_to(&self, to: &Path, watch: crate::backup::Watch<'_>) -> Result<(), BackupError> {
        let backup = Backup::begin(Arc::clone(&self.disk), self.layout.clone(), to)?;
        let frozen = self.engine.freeze().map_err(|_| BackupError::Stopped)?;
        Ok(backup.write(&frozen, watch)?)
    }
}

/// Why a running server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server runs on the data directory.
    #[error("no server runs on {}", path.display())]
    NotRunning {
        /// The data directory.
        path: PathBuf,
    },
    /// The server is gone, or cannot be talked to.
    #[error("cannot talk to the server on {}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The server says no.
    #[error("the server refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

/// Asks the server that runs on a data directory to copy it. Blocks until that is done.
///
/// # Errors
/// [`AskError`]; `NotRunning` if there is no server to ask.
pub fn ask_for_backup(
    layout: &Layout,
    to: &Path,
    mut progress: impl FnMut(&str, u64, u64),
) -> Result<(), AskError> {
    let path = layout.control();
    let mut stream = match BlockingStream::connect(&path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(AskError::NotRunning { path: layout.root().to_path_buf() });
        }
        connected => connected.map_err(|source| AskError::Broken { path: path.clone(), source })?,
    };
    let broken = |source| AskError::Broken { path: path.clone(), source };
    let mut line = serde_json::to_vec(&Request::Backup(to.to_path_buf()))
        .map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(broken)?;
        match serde_json::from_str(&line).map_err(|error| broken(error.into()))? {
            Reply::Progress { stage, done, all } => progress(&stage, done, all),
            Reply::Done { .. } => return Ok(()),
            Reply::Failed { error } => return Err(AskError::Refused { reason: error }),
        }
    }
    Err(broken(io::ErrorKind::UnexpectedEof.into()))
}
