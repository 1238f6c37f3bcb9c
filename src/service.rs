//! The whole service: recovery and engine behind the HTTP edge, from a bound listener to the
//! last checkpoint.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admission::{Admission, AdmissionLimits};
use crate::claim::KeyRetention;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::control::{Controller, Decoding};
use crate::counts::KeyLimits;
use crate::disk::{Disk, Layout, RealDisk};
use crate::engine::{Engine, EngineSettings};
use crate::entropy::{Entropy, SystemEntropy};
use crate::error::EngineError;
use crate::http::{self, App, AppSettings, Decoders, Defaults, Door, Gate, ServerSettings};
use crate::ids::Group;
use crate::journal::Rules;
use crate::limits;
use crate::paths::PathRules;
use crate::recovery::Recovery;
use crate::status::{Ceilings, Status};
use crate::store::{LetterRetention, Retention};
use crate::telemetry::metrics;
use crate::tokens::Tokens;

/// How often free space is looked at and the metrics' samples are folded.
const UPKEEP: Duration = Duration::from_secs(1);
/// Memory of counts may grow to this many times of what makes a checkpoint due.
const MEMORY_HEADROOM: u64 = 3;

/// Where requests come in.
#[derive(Debug)]
pub struct Listeners {
    /// From everybody.
    pub public: TcpListener,
    /// From operators, who read every customer there without a token.
    pub operators: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public, operators: None }
    }
}

/// Serves on `listeners` until `shutdown` is done; then everything acknowledged is checkpointed.
///
/// While recovery runs, everything but `/livez` answers 503. With `repair` it goes on although
/// acknowledged batches cannot be read. With `tokens`, batches and queries need one of them.
///
/// # Errors
/// What ended the engine; what was acknowledged is durable all the same.
pub async fn run(
    config: &Config,
    tokens: Option<Arc<Tokens>>,
    repair: bool,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Arc<EngineError>> {
    run_on(Arc::new(RealDisk), config, tokens, repair, listeners.into(), shutdown).await
}

/// The same on any disk.
async fn run_on(
    disk: Arc<dyn Disk>,
    config: &Config,
    tokens: Option<Arc<Tokens>>,
    repair: bool,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Arc<EngineError>> {
    let partitions = partitions(config);
    let status = Arc::new(Status::new(partitions, ceilings(config)));
    let recovery = recovery(config, partitions, repair, &status, Arc::clone(&disk));
    let app = Arc::new(app(config, tokens, &recovery));

    let starting = tokio::task::spawn_blocking({
        let (app, settings) = (Arc::clone(&app), engine_settings(config));
        let recovery = recovery.clone();
        move || match start(&recovery, settings) {
            Ok(engine) => {
                tracing::info!(partitions, "ready");
                app.engine.set(Arc::new(engine)).ok();
            }
            Err(error) => app.status.fail(error),
        }
    });
    let upkeep = tokio::spawn(upkeep(Arc::clone(&app), Layout::new(&config.server.data_dir), disk));

    let settings = ServerSettings {
        connections: to_usize(config.limits.connections.into()),
        header_timeout: config.http.header_timeout,
    };
    let stop = async {
        tokio::select! {
            () = shutdown => tracing::info!("stopping"),
            _ = status.failed() => {}
        }
    };
    let abort_start = starting.abort_handle();
    tokio::select! {
        () = serve(listeners, &app, settings, stop) => {}
        () = control(starting, &app, &recovery) => {}
    }
    upkeep.abort();

    // A recovery cannot be interrupted; what it has done so far is done again.
    match app.engine.get().map(Arc::clone) {
        // After a failure nothing is written any more: recovery judges what is there.
        Some(engine) if status.failure().is_none() => {
            // If it fails, it says why in the status.
            tokio::task::spawn_blocking(move || engine.stop()).await.ok();
        }
        _ => abort_start.abort(),
    }
    status.failure().map_or(Ok(()), Err)
}

/// Serves behind every door until `stop` is done.
async fn serve(
    Listeners { public, operators }: Listeners,
    app: &Arc<App>,
    settings: ServerSettings,
    stop: impl Future<Output = ()>,
) {
    let (open, closed) = watch::channel(());
    // Told by the sender that is gone.
    let closing = |mut door: watch::Receiver<()>| async move { door.changed().await.unwrap_or(()) };
    let behind = |door| http::routes(Arc::clone(app), door);
    let for_all = http::serve(public, behind(Door::Public), settings, closing(closed.clone()));
    let for_operators = async {
        if let Some(listener) = operators {
            http::serve(listener, behind(Door::Operators), settings, closing(closed)).await;
        }
    };
    let stop = async {
        stop.await;
        drop(open);
    };
    tokio::join!(for_all, for_operators, stop);
}

/// Does what the control socket is asked, once the engine runs; never ends.
async fn control(starting: JoinHandle<()>, app: &App, recovery: &Recovery) {
    if let Err(error) = starting.await
        && error.is_panic()
    {
        let (thread, reason) = ("recovery".into(), "it panicked; its message is on stderr".into());
        app.status.fail(EngineError::Thread { thread, reason });
    }
    if let Some(engine) = app.engine.get() {
        let (disk, layout) = (Arc::clone(&recovery.disk), recovery.layout.clone());
        let decoding = Decoding { formats: app.formats.clone(), paths: Arc::clone(&app.paths) };
        let controller = Controller::new(Arc::clone(engine), disk, layout, decoding);
        if let Err(error) = controller.serve().await {
            tracing::warn!(%error, source = %error.source, "no control socket: no backup while running");
        }
    }
    std::future::pending::<()>().await;
}

/// Starts the engine; waits for space while the disk has none. Ending instead would only have
/// the process started again, for ever. Each try begins from what is on the disk.
fn start(recovery: &Recovery, settings: EngineSettings) -> Result<Engine, EngineError> {
    loop {
        match Engine::start(recovery, settings) {
            Err(error) if error.is_out_of_space() => {
                tracing::error!(%error, "the disk is full: waiting for space to start");
                recovery.status.waits_for_space(true);
                std::thread::sleep(limits::SPACE_RETRY_INTERVAL);
            }
            started => {
                recovery.status.waits_for_space(false);
                return started;
            }
        }
    }
}

async fn upkeep(app: Arc<App>, layout: Layout, disk: Arc<dyn Disk>) {
    loop {
        match disk.free_bytes(layout.root()) {
            Ok(bytes) => app.status.free_space_is(bytes),
            Err(error) => tracing::debug!(%error, "free space is not known"),
        }
        app.metrics.run_upkeep();
        tokio::time::sleep(UPKEEP).await;
    }
}

fn partitions(config: &Config) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u16::try_from(cores).unwrap_or(u16::MAX);
    match config.server.partitions {
        0 => cores.min(limits::PARTITIONS_MAX),
        partitions => partitions,
    }
}

/// The bounds of an engine's status under a configuration.
#[must_use]
pub fn ceilings(config: &Config) -> Ceilings {
    Ceilings {
        free_bytes: config.limits.free_bytes.bytes(),
        journal_bytes: config.limits.journal_bytes.bytes(),
        memory_bytes: config.checkpoint.memory_bytes.bytes() * MEMORY_HEADROOM,
    }
}

fn rules(config: &Config) -> Rules {
    Rules {
        grace: config.windows.grace,
        keys: KeyLimits {
            paths: to_usize(config.limits.paths_per_window.into()),
            agents: to_usize(config.limits.agents_per_window.into()),
        },
        paths: path_rules(config).id(),
    }
}

/// Those of a configuration that was validated.
fn path_rules(config: &Config) -> PathRules {
    config.paths.rules().unwrap_or_default()
}

/// How a data directory is recovered under a configuration.
pub fn recovery(
    config: &Config,
    partitions: u16,
    repair: bool,
    status: &Arc<Status>,
    disk: Arc<dyn Disk>,
) -> Recovery {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    Recovery {
        disk,
        layout: Layout::new(&config.server.data_dir),
        clock,
        entropy,
        status: Arc::clone(status),
        partitions,
        rules: rules(config),
        retention: retention(config),
        checkpoint_memory_bytes: to_usize(config.checkpoint.memory_bytes.bytes()),
        segment_bytes: limits::SEGMENT_BYTES,
        archive: config.archive.retention,
        store_cache_bytes: to_usize(config.store.cache_bytes.bytes()),
        until: Group(u64::MAX),
        repair,
    }
}

fn retention(config: &Config) -> Retention {
    let letters = &config.dead_letters;
    Retention {
        minutes: config.retention.minutes,
        hours: config.retention.hours,
        letters: LetterRetention {
            age: letters.retention,
            customer_bytes: letters.customer_bytes.bytes(),
            bytes: letters.bytes.bytes(),
        },
    }
}

fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        checkpoint_interval: config.checkpoint.interval,
        checkpoint_journal_bytes: config.checkpoint.journal_bytes.bytes(),
        checkpoint_memory_bytes: config.checkpoint.memory_bytes.bytes(),
        keys: KeyRetention {
            age: config.idempotency.retention,
            keys_max: config.idempotency.max_keys,
        },
    }
}

fn app(config: &Config, tokens: Option<Arc<Tokens>>, recovery: &Recovery) -> App {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shares = config.limits.customer_shares.iter();
    App {
        engine: OnceLock::new(),
        status: Arc::clone(&recovery.status),
        gate: Gate::new(tokens),
        admission: Admission::new(AdmissionLimits {
            bytes: config.limits.inflight_bytes.bytes(),
            batches: config.limits.inflight_batches.into(),
            customer_percent: config.limits.customer_share_percent.into(),
            customer_shares: shares.map(|(of, share)| (of.clone(), (*share).into())).collect(),
        }),
        clock: Arc::clone(&recovery.clock),
        entropy: Arc::clone(&recovery.entropy),
        metrics: metrics::install().clone(),
        queries: http::query_turns(),
        decoders: Decoders::new(cores),
        formats: config::formats(&config.formats),
        paths: Arc::new(path_rules(config)),
        settings: AppSettings {
            body_bytes: config.limits.body_bytes.bytes(),
            body_timeout: config.http.body_timeout,
            on_duplicate: config.idempotency.on_duplicate,
            senders: Defaults {
                missing_key: config.idempotency.missing_key,
                on_invalid: config.entries.on_invalid,
            },
            rules: rules(config),
        },
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
