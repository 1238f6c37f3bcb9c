//! What can end the process, and what a person should do about it.
//!
//! A refused request is not an error of this kind: see [`crate::http::problem`]. Each module has
//! its own error with path and cause; here they meet, and get the one [`Kind`] that decides how
//! the process ends.

use std::path::PathBuf;

use crate::claim::ProbeError;
use crate::disk::DiskError;
use crate::journal::Damage;
use crate::store::StoreError;

/// What sort of failure it is; alone decides exit code and hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for cannot be right: mend the configuration or the command.
    Invalid,
    /// Something outside is missing, full or busy: mend that, then start again.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupt,
    /// A defect in logmill.
    Internal,
}

/// Why the engine cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system cannot decide a race.
    #[error(transparent)]
    Probe(ProbeError),
    /// Another process runs on the data directory.
    #[error("another logmill runs on {}", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory holds something else.
    #[error("{} is not empty and is no data directory of logmill: it has no VERSION", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory was written by another version.
    #[error("{} has layout version {found:?}; this logmill reads version {known}", path.display())]
    Version {
        /// The data directory.
        path: PathBuf,
        /// What its VERSION says.
        found: String,
        /// What this program writes.
        known: u32,
    },
    /// Acknowledged batches, or claims, cannot be read.
    #[error("the data directory {} is damaged: {}", path.display(), list(damage))]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What is missing.
        damage: Vec<Damage>,
    },
    /// A thread ended that must not.
    #[error("the thread {thread} stopped: {reason}")]
    Thread {
        /// Its name.
        thread: String,
        /// Its last words.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl From<ProbeError> for EngineError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Disk(error) => Self::Disk(error),
            error => Self::Probe(error),
        }
    }
}

fn list(damage: &[Damage]) -> String {
    damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl EngineError {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Disk(_) | Self::Probe(_) | Self::InUse { .. } | Self::Listen { .. } => {
                Kind::Unavailable
            }
            Self::Store(error) if error.is_corrupt() => Kind::Corrupt,
            Self::Damaged { .. } => Kind::Corrupt,
            Self::Store(_) => Kind::Unavailable,
            Self::NotOurs { .. } | Self::Version { .. } => Kind::Invalid,
            Self::Thread { .. } => Kind::Internal,
        }
    }

    /// Whether the disk is full: nothing is wrong that space would not mend.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_out_of_space(),
            Self::Store(error) => error.is_out_of_space(),
            _ => false,
        }
    }

    /// What a person should do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            _ if self.is_out_of_space() => {
                "free some space and start again; nothing that was acknowledged is lost"
            }
            Self::Disk(_) => "look at the disk, then start again; what was acknowledged is kept",
            Self::Store(error) if error.is_corrupt() => {
                "the disk changed stored bytes: restore the data directory from a copy, or make a \
                 new one with `logmill rebuild` if archive.retention was on"
            }
            Self::Store(_) => "look at the disk, then start again; what was acknowledged is kept",
            Self::Probe(_) => {
                "put --data-dir on a local file system with hard links, as ext4 or xfs"
            }
            Self::InUse { .. } => "stop the other process or choose another --data-dir",
            Self::NotOurs { .. } => "choose an empty or a new directory with --data-dir",
            Self::Version { .. } => "run the version of logmill that wrote it, or a newer one",
            Self::Damaged { .. } => {
                "restore the data directory from a copy, or start with --repair to go on without \
                 the batches and keys that cannot be read"
            }
            Self::Thread { .. } => {
                "start again: recovery counts every acknowledged batch; please report this"
            }
            Self::Listen { .. } => "choose another address with --listen",
        }
    }
}
