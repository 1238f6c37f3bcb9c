//! `logmill serve`: from the configuration to a running service, and to an exit code.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use crate::config::Effective;
use crate::entropy::SystemEntropy;
use crate::error::{EngineError, Kind};
use crate::service::Listeners;
use crate::tokens::{Tokens, TokensError};
use crate::{limits, service, telemetry};

/// Serves until SIGTERM or SIGINT. Prints the address on `out` once it is bound. SIGHUP has the
/// tokens file read again.
pub fn run(effective: &Effective, repair: bool, out: &mut impl Write) -> Exit {
    if let Err(error) = telemetry::logging::init(&effective.config.log) {
        return fail(&error.into(), None);
    }
    for warning in &effective.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("logmill-http")
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| {
            let served = runtime.block_on(serve(effective, repair, out));
            // A recovery that still runs is done again at the next start.
            runtime.shutdown_background();
            served
        });
    match served {
        Ok(()) => Exit::Ok,
        Err(error) => {
            let hint = hint(&error);
            fail(&error, hint)
        }
    }
}

/// What the engine says went wrong, by value or shared with its status.
fn engine_error(error: &anyhow::Error) -> Option<&EngineError> {
    error.downcast_ref::<Arc<EngineError>>().map(Arc::as_ref).or_else(|| error.downcast_ref())
}

/// What sort of failure it is and what to do, where that is known.
fn hint(error: &anyhow::Error) -> Option<(Kind, &'static str)> {
    let of_tokens = error.downcast_ref().map(|error: &TokensError| (Kind::Invalid, error.hint()));
    engine_error(error).map(|engine| (engine.kind(), engine.hint())).or(of_tokens)
}

async fn serve(effective: &Effective, repair: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let config = &effective.config;
    let tokens = Tokens::configured(config, &SystemEntropy)?.map(Arc::new);
    let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    tokio::spawn(reload_on(hangup, tokens.clone()));
    let listeners = Listeners {
        public: bind(config.server.listen)?,
        operators: config.server.admin_listen.map(bind).transpose()?,
    };
    let named = [("", Some(&listeners.public)), (" for operators", listeners.operators.as_ref())];
    for (whom, listener) in named {
        let Some(listener) = listener else { continue };
        let address = listener.local_addr().context("the listener has no address")?;
        writeln!(out, "listening{whom} on http://{address}").and_then(|()| out.flush()).ok();
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    service::run(config, tokens, repair, listeners, shutdown).await.map_err(anyhow::Error::new)
}

/// Has the tokens file read again at each SIGHUP; never ends. Without one the signal, whose default
/// is to end the process, does nothing.
async fn reload_on(mut hangup: Signal, tokens: Option<Arc<Tokens>>) {
    if let Some(tokens) = &tokens {
        say_how_they_stand(tokens, "tokens are asked for");
    }
    while hangup.recv().await.is_some() {
        let Some(tokens) = tokens.clone() else {
            tracing::info!("SIGHUP: there is no auth.tokens_file to read again");
            continue;
        };
        // A file, however short, is not read by a thread that serves.
        let read = tokio::task::spawn_blocking(move || match tokens.reload() {
            Ok(()) => say_how_they_stand(&tokens, "the tokens file was read again"),
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the tokens stay as they were");
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "SIGHUP: the tokens stay as they were");
        }
    }
}

fn say_how_they_stand(tokens: &Tokens, message: &str) {
    tracing::info!(tokens = tokens.count(), file = %tokens.path().display(), "{message}");
    if let Some(warning) = tokens.warning() {
        tracing::warn!("{warning}");
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, EngineError> {
    listen(address).map_err(|source| EngineError::Listen { address: address.to_string(), source })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Or a restarted server had to wait for the connections of the one before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // The usual backlog of 128 is full at once when many senders come back together, and the
    // system resets those who do not fit.
    socket.listen(limits::LISTEN_BACKLOG)
}

/// Lets the process open as many files as it may: many systems start it with 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

fn fail(error: &anyhow::Error, hint: Option<(Kind, &str)>) -> Exit {
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "error: {error:#}").ok();
    match hint {
        Some((kind, hint)) => {
            writeln!(stderr, "hint: {hint}").ok();
            if kind == Kind::Invalid { Exit::Usage } else { Exit::Findings }
        }
        None => Exit::Findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_engine_keeps_its_hint() {
        let in_use = || EngineError::InUse { path: "data".into() };
        for error in [anyhow::Error::new(in_use()), anyhow::Error::new(Arc::new(in_use()))] {
            assert_eq!(engine_error(&error).map(EngineError::hint), Some(in_use().hint()));
        }
    }
}
