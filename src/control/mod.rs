//! The control socket: what an operator on this machine may ask the running server to do.
//!
//! A Unix socket in the data directory, which only the server's own user can reach. A request is
//! one line of JSON, such as `{"backup":"/absolute/path"}` or `{"list":{"customer":"acme"}}`; the
//! answer is lines of JSON: any number of `{"stage","done","all"}`, or of dead letters, then
//! `{"ok":true}` or `{"error"}`. A client that goes away does not stop what it has asked for.

mod ask;
mod letters;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

pub use ask::{AskError, ask};
pub use letters::Decoding;

use crate::backup::{Backup, BackupError};
use crate::decode::{Fields, Framing};
use crate::disk::{Disk, DiskError, DiskResult, Layout};
use crate::engine::Engine;
use crate::limits;
use crate::store::StoredLetter;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Copy the data directory there.
    Backup(PathBuf),
    /// Tell dead letters.
    List(Which),
    /// Count dead letters that are valid now.
    Replay {
        /// Which of them.
        #[serde(flatten)]
        which: Which,
        /// The format to read them by, in place of each one's own.
        format: Option<String>,
    },
    /// Remove dead letters.
    Drop(Which),
}

/// Which dead letters are meant: all, without anything.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Which {
    /// One customer's.
    pub customer: Option<String>,
    /// These alone, by their names.
    pub ids: Vec<String>,
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
    /// A dead letter.
    Letter(Box<Letter>),
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

/// A dead letter as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Its name, `customer/group.batch.entry`.
    pub id: String,
    /// Whose it is.
    pub customer: String,
    /// When its batch was accepted, in RFC 3339.
    pub accepted_at: String,
    /// The batch's idempotency key.
    pub batch_id: String,
    /// The request that brought it.
    pub request_id: String,
    /// The media type of `body`.
    pub content_type: String,
    /// The name of its format.
    pub format: String,
    /// What was wrong with it.
    pub reason: String,
    /// Its original bytes, with U+FFFD for what is no text.
    pub body: String,
    /// The same in hexadecimal digits, where they are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hex: Option<String>,
    /// What became of it, if something was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Fate>,
}

/// What became of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It counts, and is removed.
    Counted,
    /// It counted before, and is removed.
    CountedBefore,
    /// It is removed.
    Dropped,
    /// It is still there, for this reason.
    Left(String),
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Counted => f.write_str("counted"),
            Self::CountedBefore => f.write_str("was counted before"),
            Self::Dropped => f.write_str("dropped"),
            Self::Left(reason) => f.write_str(reason),
        }
    }
}

impl Letter {
    fn of(letter: &StoredLetter, result: Option<Fate>) -> Self {
        let accepted = i64::try_from(letter.accepted.0).unwrap_or(i64::MAX);
        let accepted = jiff::Timestamp::from_millisecond(accepted).unwrap_or_default();
        let hex = || letter.body.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            id: letter.id.to_string(),
            customer: letter.id.customer.to_string(),
            accepted_at: accepted.to_string(),
            batch_id: letter.key.to_string(),
            request_id: letter.request_id.to_string(),
            content_type: media_type(letter).to_owned(),
            format: letter.format.to_string(),
            reason: letter.reason.to_string(),
            body: String::from_utf8_lossy(&letter.body).into_owned(),
            body_hex: std::str::from_utf8(&letter.body).err().map(|_| hex()),
            result,
        }
    }
}

fn media_type(letter: &StoredLetter) -> &'static str {
    match (letter.framing, &*letter.format) {
        (Framing::Lines, Fields::ACCESS_LINE) => "text/plain",
        (framing, _) => framing.media_type(),
    }
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
    /// How bodies are read.
    pub decoding: Arc<Decoding>,
    turn: Arc<Mutex<()>>,
}

impl Controller {
    /// A controller of a running engine.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        disk: Arc<dyn Disk>,
        layout: Layout,
        decoding: Decoding,
    ) -> Self {
        Self { engine, disk, layout, decoding: Arc::new(decoding), turn: Arc::default() }
    }

    /// Answers requests until it is dropped.
    ///
    /// # Errors
    /// If the socket cannot be made. The server works without it.
    pub async fn serve(self) -> DiskResult<()> {
        let listener = self.bind()?;
        let room = Arc::new(Semaphore::new(limits::CONTROL_CONNECTIONS_MAX));
        loop {
            let place = Arc::clone(&room).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let controller = self.clone();
                    drop(tokio::spawn(async move {
                        controller.answer(stream).await;
                        drop(place);
                    }));
                }
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
        let asked = timeout(limits::CONTROL_LINE_TIME_MAX, reader.read_line(&mut line));
        if !matches!(asked.await, Ok(Ok(_))) {
            return;
        }
        let (replies, mut told) = mpsc::channel(16);
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => {
                let controller = self.clone();
                drop(tokio::task::spawn_blocking(move || controller.run(request, &replies)));
            }
            Err(error) => {
                let is_cut = line.len() as u64 == limits::CONTROL_LINE_BYTES_MAX;
                let error = match is_cut {
                    true => format!("the request has more than {} bytes", line.len()),
                    false => error.to_string(),
                };
                replies.send(Reply::Failed { error }).await.ok();
                drop(replies);
            }
        }
        while let Some(reply) = told.recv().await {
            let mut line = serde_json::to_vec(&reply).expect("a reply is plain JSON");
            line.push(b'\n');
            let told = timeout(limits::CONTROL_WRITE_TIME_MAX, writer.write_all(&line)).await;
            if !matches!(told, Ok(Ok(()))) {
                // Gone, or asleep: what it has asked for knows by the closed channel.
                break;
            }
        }
    }

    fn run(&self, request: Request, replies: &mpsc::Sender<Reply>) {
        let tell = |reply| replies.blocking_send(reply).is_ok();
        // Whatever changes something, or takes long, has the server to itself.
        let _turn = match (&request, self.turn.try_lock()) {
            (Request::List(_), _) => None,
            (_, Ok(turn)) => Some(turn),
            (_, Err(_)) => {
                let error = "it is at another backup, replay or drop; try again when that is done";
                tell(Reply::Failed { error: error.into() });
                return;
            }
        };
        let done = match request {
            Request::Backup(to) => return self.backup(&to, replies),
            Request::List(which) => self.list(&which, &tell),
            Request::Drop(which) => self.drop_letters(&which, &tell),
            Request::Replay { which, format } => self.replay(&which, format.as_deref(), &tell),
        };
        tell(match done {
            Ok(()) => Reply::Done { ok: true },
            Err(error) => Reply::Failed { error: format!("{:#}", anyhow::Error::new(error)) },
        });
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
