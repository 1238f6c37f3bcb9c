//! Connections: accepted up to a limit, timed, and let end when the server stops.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::Service;

use super::stall::Impatient;
use crate::limits;
use crate::telemetry::metrics;

/// How connections are treated.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    /// Open connections. Some further ones are served too, but in a hurry: see
    /// [`limits::HURRIED_CONNECTIONS_MAX`].
    pub connections: usize,
    /// How long the head of a request may take to arrive, a connection may be idle, and a client
    /// may take to read on.
    pub header_timeout: Duration,
}

/// Serves until `shutdown` is done, then lets requests that are under way end, within
/// [`crate::limits::SHUTDOWN_REQUESTS_MAX`].
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    settings: ServerSettings,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(settings.connections));
    let hurried = Arc::new(Semaphore::new(limits::HURRIED_CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    let http = (connection_builder(settings.header_timeout, true), settings.header_timeout);
    let hurry = limits::HURRIED_HEADER_TIME_MAX;
    let hurried_http = (connection_builder(hurry, false), hurry);
    loop {
        let accept = async {
            let (slot, (http, patience)) = match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => (slot, &http),
                // Idle connections must not keep health checks and senders out.
                Err(_) => (
                    Arc::clone(&hurried).acquire_owned().await.expect("never closed"),
                    &hurried_http,
                ),
            };
            (listener.accept().await, slot, http, *patience)
        };
        let (accepted, slot, http, patience) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: nothing is gained by asking again at once.
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Small answers must not wait for the client's acknowledgement of earlier ones.
        stream.set_nodelay(true).ok();
        let service = TowerToHyperService::new(service.clone());
        let stream = TokioIo::new(Impatient::new(stream, patience));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            metrics::connections(1.0);
            if let Err(error) = connection.await {
                // The client's doing: broken off, timed out or no HTTP.
                tracing::debug!(%error, "connection ended");
            }
            metrics::connections(-1.0);
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits::SHUTDOWN_REQUESTS_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time; their connections are cut");
    }
}

fn connection_builder(header_timeout: Duration, keep_alive: bool) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
        .keep_alive(keep_alive);
    http
}
