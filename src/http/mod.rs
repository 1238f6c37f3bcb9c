//! The HTTP edge: requests in, answers out; what they mean is decided further in.

mod analytics;
mod auth;
mod body;
mod decoders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod headers;
mod health;
mod logs;
mod observe;
mod openapi;
mod parameters;
pub mod problem;
mod prometheus;
mod sender;
mod server;
mod stall;
mod unread;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::OnDuplicate;
use crate::decode::Formats;
use crate::engine::Engine;
use crate::entropy::Entropy;
use crate::journal::Rules;
use crate::limits;
use crate::paths::PathRules;
use crate::status::{Status, Unready};
use problem::{Problem, Type};

pub use auth::{Caller, Door, Gate};
pub use decoders::Decoders;
pub use observe::Observed;
pub use sender::Defaults;
pub use server::{ServerSettings, serve};

/// What the handlers need to know.
#[derive(Debug, Clone, Copy)]
pub struct AppSettings {
    /// Largest body of a batch, before and after decompression.
    pub body_bytes: u64,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// What a duplicate is answered.
    pub on_duplicate: OnDuplicate,
    /// What senders get that do not say.
    pub senders: Defaults,
    /// The rules entries are counted by.
    pub rules: Rules,
}

/// What all requests share.
pub struct App {
    /// Set when recovery is done.
    pub engine: OnceLock<Arc<Engine>>,
    /// Where the engine stands.
    pub status: Arc<Status>,
    /// Tokens, where they are asked for.
    pub gate: Gate,
    /// Room for batches.
    pub admission: Arc<Admission>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Turns of queries.
    pub queries: analytics::Turns,
    /// Turns of decoding.
    pub decoders: Decoders,
    /// All formats by name.
    pub formats: Formats,
    /// Which paths count as one.
    pub paths: Arc<PathRules>,
    /// What was configured.
    pub settings: AppSettings,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl App {
    /// Why nothing can be accepted. The engine runs a moment before requests can reach it.
    fn unready(&self) -> Option<Unready> {
        let unreachable = self.engine.get().is_none().then_some(Unready::Starting);
        self.status.unready().or(unreachable)
    }

    /// The engine, if it takes batches now.
    fn accepting(&self) -> Result<&Arc<Engine>, Problem> {
        match self.status.unready() {
            Some(unready) => Err(unready.into()),
            None => self.engine.get().ok_or_else(|| Unready::Starting.into()),
        }
    }

    /// The engine, if it answers queries now.
    fn answering(&self) -> Result<&Arc<Engine>, Problem> {
        match self.status.unreadable() {
            Some(unready) => Err(unready.into()),
            None => self.engine.get().ok_or_else(|| Unready::Starting.into()),
        }
    }
}

impl From<Unready> for Problem {
    fn from(unready: Unready) -> Self {
        let kind = match unready {
            Unready::DiskFull | Unready::NoSpaceToStart => Type::DiskFull,
            Unready::Starting | Unready::Stopping | Unready::Failed => Type::Unavailable,
            Unready::JournalFull | Unready::MemoryFull => Type::Overloaded,
        };
        Self::new(kind, unready.reason())
    }
}

/// All routes behind a door, and what happens around every request.
pub fn routes(app: Arc<App>, door: Door) -> Observed {
    let routes = Router::new()
        .route("/logs", post(logs::post))
        .route("/analytics", get(analytics::windows))
        .route("/analytics/series", get(analytics::series))
        .route("/analytics/top", get(analytics::top))
        .route("/analytics/summary", get(analytics::summary))
        .route("/customers", get(analytics::customers))
        .route("/metrics", get(health::metrics))
        .route("/livez", get(health::live))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/version", get(health::version))
        .merge(prometheus::routes())
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::to_page))
        .route("/docs/", get(openapi::page))
        .route("/docs/{file}", get(openapi::file))
        .merge(crate::dashboard::routes())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(Arc::clone(&app));
    Observed::new(app, door, routes)
}

/// Room for query turns, as limits.rs says.
#[must_use]
pub fn query_turns() -> analytics::Turns {
    analytics::Turns::new(limits::QUERIES_RUNNING_MAX, limits::QUERIES_WAITING_MAX)
}
