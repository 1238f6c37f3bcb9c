//! What can be configured: the sections, their defaults, and where each effective value came from.
//!
//! `config/logmill.toml` documents every key and a test holds it to [`Config::default`]. [`load`]
//! lays flags over environment over file over defaults. Nothing here reads the process environment,
//! and only [`read_file`] touches the file system.

mod layers;
mod senders;
mod suggest;
mod units;
mod validate;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::ids::CustomerId;
use crate::journal::ArchiveRetention;
pub use layers::{ConfigError, Effective, Entry, Overrides, Problem, Source, load, read_file};
pub use senders::{DeadLetters, Entries, OwnFormat, Paths, Query, formats};
pub use units::{Human, Size};
pub use validate::Invalid;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Every setting of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the server listens and keeps its data.
    pub server: Server,
    /// Timeouts of HTTP connections.
    pub http: Http,
    /// Who may send and read.
    pub auth: Auth,
    /// Bounds on what clients, the journal and the windows may take.
    pub limits: Limits,
    /// When memory is committed to the store.
    pub checkpoint: Checkpoint,
    /// How long and how many idempotency keys are remembered.
    pub idempotency: Idempotency,
    /// What becomes of invalid entries.
    pub entries: Entries,
    /// How long invalid entries are kept that were put aside.
    pub dead_letters: DeadLetters,
    /// Which paths count as one.
    pub paths: Paths,
    /// Formats of the user's own.
    pub formats: BTreeMap<String, OwnFormat>,
    /// Lateness of log entries.
    pub windows: Windows,
    /// How long windows are kept.
    pub retention: Retention,
    /// What is kept of the journal behind the checkpoint.
    pub archive: Archive,
    /// The store that answers queries.
    pub store: Store,
    /// What is logged, and in which form.
    pub log: Log,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port of the HTTP listener. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Where operators come: whoever reaches it reads every customer, without a token.
    #[serde(with = "units::address_or_off")]
    pub admin_listen: Option<SocketAddr>,
    /// Directory of journal, claims and store; made if it is missing.
    pub data_dir: PathBuf,
    /// Number of partition workers; 0 means one per CPU core, at most 64.
    pub partitions: u16,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: None,
            data_dir: PathBuf::from("data"),
            partitions: 0,
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Longest wait for the complete head of a request.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// Longest wait for the complete body of a request.
    #[serde(with = "units::duration")]
    pub body_timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(30), body_timeout: Duration::from_secs(30) }
    }
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The file of bearer tokens and their customers; empty for a server that asks for none.
    pub tokens_file: PathBuf,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest body of one batch, before and after decompression.
    pub body_bytes: Size,
    /// Most open connections.
    pub connections: u32,
    /// Bytes of all batches between admission and their partition workers.
    pub inflight_bytes: Size,
    /// Number of batches between admission and their partition workers.
    pub inflight_batches: u32,
    /// Share of the two in-flight limits that one customer may hold once the server is half full.
    pub customer_share_percent: u8,
    /// Customers whose share is another, with that one in percent.
    #[serde(with = "units::customer_shares")]
    pub customer_shares: BTreeMap<CustomerId, u8>,
    /// Most bytes of journal on disk.
    pub journal_bytes: Size,
    /// Free space of the file system below which nothing is accepted.
    pub free_bytes: Size,
    /// Distinct paths that one window counts by name.
    pub paths_per_window: u32,
    /// Distinct agent families that one window counts by name.
    pub agents_per_window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: Size::mib(2),
            connections: 4096,
            inflight_bytes: Size::mib(64),
            inflight_batches: 8192,
            customer_share_percent: 25,
            customer_shares: BTreeMap::new(),
            journal_bytes: Size::gib(2),
            free_bytes: Size::mib(256),
            paths_per_window: 100_000,
            agents_per_window: 10_000,
        }
    }
}

/// `[checkpoint]`: whichever of the three is reached first starts one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Longest time between two checkpoints.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// Bytes of journal since the last checkpoint.
    pub journal_bytes: Size,
    /// Bytes of deltas that the partition workers hold in memory.
    pub memory_bytes: Size,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            journal_bytes: Size::mib(256),
            memory_bytes: Size::mib(48),
        }
    }
}

/// `[idempotency]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// How long a key is remembered, in server uptime.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// Most keys that are remembered.
    pub max_keys: u64,
    /// What a batch that was accepted before is answered.
    pub on_duplicate: OnDuplicate,
    /// What a batch without a key is given, unless its sender says.
    pub missing_key: MissingKey,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self {
            retention: 7 * DAY,
            max_keys: 10_000_000,
            on_duplicate: OnDuplicate::default(),
            missing_key: MissingKey::default(),
        }
    }
}

/// What becomes of a batch without an idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingKey {
    /// 400: only its sender can tell a retry from another batch.
    #[default]
    Reject,
    /// Its key is made of what it says: batches that say the same are one.
    Derive,
    /// Its key is new: a retry is another batch.
    Generate,
}

impl MissingKey {
    /// The choice of a name, as it stands in a URL or a file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "reject" => Some(Self::Reject),
            "derive" => Some(Self::Derive),
            "generate" => Some(Self::Generate),
            _ => None,
        }
    }
}

/// The answer to a batch that was accepted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// 409 with the original answer under `accepted`.
    #[default]
    Conflict,
    /// The original 202 with `Idempotency-Replayed: true`.
    Replay,
}

/// `[windows]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Windows {
    /// How long after the end of its window an entry is still on time.
    #[serde(with = "units::duration")]
    pub grace: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self { grace: Duration::from_secs(60) }
    }
}

/// `[retention]`: days are kept for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How long minute windows are kept, from their end and from their last change.
    #[serde(with = "units::duration")]
    pub minutes: Duration,
    /// The same for hour windows.
    #[serde(with = "units::duration")]
    pub hours: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { minutes: 90 * DAY, hours: 730 * DAY }
    }
}

/// `[archive]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    /// How long batches are kept, compressed, after they are counted: `off`, `forever` or a
    /// duration.
    #[serde(with = "units::archive_retention")]
    pub retention: ArchiveRetention,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Memory for pages of the store.
    pub cache_bytes: Size,
}

impl Default for Store {
    fn default() -> Self {
        Self { cache_bytes: Size::mib(64) }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged, in the form of `tracing`'s `EnvFilter`: `info`, `info,logmill=debug`.
    pub level: String,
    /// The form of a line on stderr.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}
