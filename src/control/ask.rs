//! The client's side of the control socket.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::{Reply, Request};
use crate::disk::Layout;

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
    /// What it tells cannot be handed on.
    #[error("cannot write output")]
    Output {
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

/// Asks the server that runs on a data directory for something, and hands on what it tells on the
/// way. Blocks until that is done.
///
/// # Errors
/// [`AskError`]; `NotRunning` if there is no server to ask.
pub fn ask(
    layout: &Layout,
    request: &Request,
    mut told: impl FnMut(Reply) -> io::Result<()>,
) -> Result<(), AskError> {
    let path = layout.control();
    let mut stream = match UnixStream::connect(&path) {
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
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(broken)?;
        match serde_json::from_str(&line).map_err(|error| broken(error.into()))? {
            Reply::Done { .. } => return Ok(()),
            Reply::Failed { error } => return Err(AskError::Refused { reason: error }),
            reply => told(reply).map_err(|source| AskError::Output { source })?,
        }
    }
    Err(broken(io::ErrorKind::UnexpectedEof.into()))
}
