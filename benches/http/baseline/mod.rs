//! The two servers that logmill is compared with.

mod null;
mod plain;

use std::future::pending;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use logmill::http::{ServerSettings, serve as serve_http};

/// Serves one of them until it is killed; its address is the one line on stdout.
pub(crate) fn serve(name: &str) -> Result<()> {
    let router = match name {
        "null" => null::router(),
        "plain" => plain::router(),
        other => anyhow::bail!("{other}: no such server"),
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(listen(router))
}

async fn listen(router: Router) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    // The same loop, limits and connection settings as logmill's.
    let settings = ServerSettings { connections: 4_096, header_timeout: Duration::from_secs(10) };
    serve_http(listener, router, settings, pending()).await;
    Ok(())
}
