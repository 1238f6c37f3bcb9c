//! `logmill demo`: a server of its own with days of made-up traffic, and more as it comes.
//!
//! It is configured by its flags alone: neither logmill.toml nor LOGMILL_* variables change it, and
//! no data of another server is touched.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use indicatif::HumanCount;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::healthcheck::{ask, base_url};
use super::loadgen::duration;
use super::{Exit, serve, signals};
use crate::config::Config;
use crate::disk::RealDisk;
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::error::EngineError;
use crate::loadgen::{self, Days, LoadOptions, Stop};
use crate::service::{self, Listeners};
use crate::status::Status;
use crate::{limits, telemetry};

const EXAMPLES: &str = "\
Examples:
  logmill demo
  logmill demo --rate 20 --for 10m
  logmill demo --data-dir demo --listen 127.0.0.1:9000

The traffic is that of `logmill loadgen`: browsers, search engines, AI crawlers, monitors and
libraries that visit three sites, busy by day and quiet at night (UTC); some entries come late, some
batches twice. Ctrl-C ends it.";

const NO_RUNTIME: &str = "cannot start the runtime";
const ANY_LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The busiest first.
const CUSTOMERS: [&str; 3] = ["shop", "blog", "docs"];
/// A range of 24 hours and the one before it.
const HISTORY_MINUTES: u64 = 2 * 24 * 60;
/// A batch of the history is one customer's entries of so long, on average: of much longer, whole
/// hours of a customer would be empty.
const HISTORY_BATCH_SECONDS: u64 = 20;
/// From the start of the server until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// For so long the traffic stays as busy as it is.
const STRETCH: Duration = Duration::from_secs(5 * 60);
const LATE_PERCENT: u8 = 2;
const DUPLICATES_PERCENT: u8 = 3;
/// Paths of each site.
const PATHS: usize = 300;

/// `logmill demo`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Where to listen [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// Keep the data here [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Entries per second in an average minute
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000))]
    rate: u64,

    /// End by itself after this time
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
}

/// Serves until it is asked to end, or its time is over.
pub fn run(args: &DemoArgs, out: &mut impl Write) -> Exit {
    match demo(args, out) {
        Ok(()) => Exit::Ok,
        Err(error) => serve::fail(&error, serve::hint(&error)),
    }
}

fn demo(args: &DemoArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let stop = Arc::<Stop>::default();
    let ask = Arc::clone(&stop);
    signals::ask_at_first(move || ask.ask()).context("cannot listen for signals")?;
    let home = match &args.data_dir {
        Some(_) => None,
        None => {
            let home = tempfile::Builder::new().prefix("logmill-demo-").tempdir();
            Some(home.context("there is no place for temporary data")?)
        }
    };
    let data_dir = match (&args.data_dir, &home) {
        (Some(kept), _) => kept.clone(),
        (None, Some(home)) => home.path().join("data"),
        (None, None) => bail!("there is no data directory"),
    };
    let mut config = Config::default();
    config.log.level = "error".to_owned();
    telemetry::logging::init(&config.log)?;
    config.server.data_dir.clone_from(&data_dir);

    let runtime = Runtime::new().context(NO_RUNTIME)?;
    let listener = runtime.block_on(async { listen(args.listen, out) })?;
    if is_new(&data_dir) {
        writeln!(out, "counting the requests of the last two days …").and_then(|()| out.flush())?;
        count_history(&config, args.rate, &stop)?;
    }
    if !stop.is_asked() {
        // Where operators come, every customer can be looked at; nobody needs another door.
        let public = runtime.block_on(async { serve::bind(ANY_LOCAL) })?;
        let listeners = Listeners { public, operators: Some(listener) };
        let sent = on_server(&runtime, config, listeners, |url| {
            introduce(url, args, out)?;
            live(url, args, &stop)
        })?;
        writeln!(out, "stopped after {} live requests", HumanCount(sent))?;
    }
    Ok(())
}

/// Counts two days of requests as if each had been sent in its time.
fn count_history(config: &Config, rate: u64, stop: &Arc<Stop>) -> anyhow::Result<()> {
    let mut config = config.clone();
    // So that nothing of it is late.
    config.windows.grace = Duration::from_secs(2 * HISTORY_MINUTES * 60);
    // A runtime of its own: when it is dropped, no connection keeps the engine any more.
    let runtime = Runtime::new().context(NO_RUNTIME)?;
    let listener = runtime.block_on(async { serve::bind(ANY_LOCAL) })?;
    let server = config.clone();
    on_server(&runtime, server, listener.into(), |url| send(&history(url, rate), stop))?;
    drop(runtime);
    wait_until_free(&config)
}

/// Waits for the last thread of an engine to let go of the data directory.
#[expect(clippy::disallowed_methods, reason = "a person waits for it in real time")]
fn wait_until_free(config: &Config) -> anyhow::Result<()> {
    let status = Arc::new(Status::new(1, service::ceilings(config)));
    let recovery = service::recovery(config, 1, false, &status, Arc::new(RealDisk));
    let began = Instant::now();
    loop {
        match recovery.lock_existing() {
            Ok(_lock) => return Ok(()),
            Err(EngineError::InUse { .. }) if began.elapsed() < START_TIMEOUT => {
                thread::sleep(POLL);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The address that is asked for, or else the usual one, or else any.
fn listen(wanted: Option<SocketAddr>, out: &mut impl Write) -> anyhow::Result<TcpListener> {
    let usual = Config::default().server.listen;
    match (serve::bind(wanted.unwrap_or(usual)), wanted) {
        (Err(EngineError::Listen { source, .. }), None)
            if source.kind() == io::ErrorKind::AddrInUse =>
        {
            writeln!(out, "{usual} is taken; another port is used")?;
            Ok(serve::bind(SocketAddr::new(usual.ip(), 0))?)
        }
        (bound, _) => Ok(bound?),
    }
}

/// Whether a directory holds nothing yet.
fn is_new(data_dir: &Path) -> bool {
    data_dir.read_dir().map_or(true, |mut entries| entries.next().is_none())
}

/// Runs a server, does something with it by its best address, and ends it in good order.
fn on_server<T>(
    runtime: &Runtime,
    config: Config,
    listeners: Listeners,
    work: impl FnOnce(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let door = listeners.operators.as_ref().unwrap_or(&listeners.public);
    let url = base_url(door.local_addr().context("the listener has no address")?);
    let (end, is_over) = oneshot::channel::<()>();
    let server = runtime.spawn(async move {
        let shutdown = async {
            is_over.await.ok();
        };
        service::run(&config, None, false, listeners, shutdown).await
    });
    let done = wait_until_ready(&url, || server.is_finished()).and_then(|()| work(&url));
    // A server that has failed hears nothing any more, and says why.
    end.send(()).ok();
    runtime.block_on(server).context("the server ended early")??;
    done
}

#[expect(clippy::disallowed_methods, reason = "a person waits for it in real time")]
fn wait_until_ready(url: &str, has_ended: impl Fn() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !matches!(ask(&format!("{url}/readyz")), Ok(200)) {
        if has_ended() || began.elapsed() > START_TIMEOUT {
            bail!("the server did not become ready");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn introduce(url: &str, args: &DemoArgs, out: &mut impl Write) -> io::Result<()> {
    let [first, second, third] = CUSTOMERS;
    let kept = match &args.data_dir {
        Some(dir) => format!("its data stays in {}", dir.display()),
        None => "its data is removed then".to_owned(),
    };
    let until = match args.duration {
        Some(time) => format!("Ctrl-C, or in {} s; {kept}", time.as_secs()),
        None => format!("Ctrl-C; {kept}"),
    };
    writeln!(out, "dashboard  {url}/")?;
    writeln!(out, "traffic    about {} requests/s of {first}, {second} and {third}", args.rate)?;
    writeln!(out, "try        logmill top --url {url} --customer {first} --from -24h")?;
    writeln!(out, "to stop    {until}")?;
    out.flush()
}

/// Sends as much as is made now by day and by night, until it is enough; how much that was.
fn live(url: &str, args: &DemoArgs, stop: &Arc<Stop>) -> anyhow::Result<u64> {
    let (mut sent, mut left) = (0, args.duration);
    while !stop.is_asked() && left.is_none_or(|left| !left.is_zero()) {
        let stretch = left.unwrap_or(STRETCH).min(STRETCH);
        let minute = u64::try_from(Timestamp::now().as_second() / 60).unwrap_or_default();
        let rate = ((args.rate * loadgen::busyness_percent(minute) + 50) / 100).max(1);
        sent += send(&LoadOptions { duration: Some(stretch), ..options(url, rate) }, stop)?;
        left = left.map(|left| left.saturating_sub(stretch));
    }
    Ok(sent)
}

/// How many entries were acknowledged; that a person ends it early is no error.
fn send(options: &LoadOptions, stop: &Arc<Stop>) -> anyhow::Result<u64> {
    let report = loadgen::run(options, stop).context("cannot send traffic")?;
    match report.trouble() {
        Some(trouble) if !stop.is_asked() => bail!("the traffic was not taken: {trouble}"),
        _ => Ok(report.entries()),
    }
}

fn history(url: &str, rate: u64) -> LoadOptions {
    let entries = (rate * HISTORY_MINUTES * 60).min(limits::DEMO_HISTORY_ENTRIES_MAX);
    let minutes = SignedDuration::from_mins(i64::try_from(HISTORY_MINUTES).unwrap_or_default());
    let start = Timestamp::now() - minutes;
    let first_minute = u64::try_from(start.as_second() / 60).unwrap_or_default();
    LoadOptions {
        rate: None,
        entries: Some(entries),
        batch_entries: usize::try_from(rate * HISTORY_BATCH_SECONDS).unwrap_or(1).min(1_000),
        connections: 8,
        late: 0,
        duplicates: 0,
        start,
        days: Some(Days::new(first_minute, HISTORY_MINUTES, entries)),
        ..options(url, rate)
    }
}

fn options(url: &str, rate: u64) -> LoadOptions {
    LoadOptions {
        url: url.to_owned(),
        token: None,
        customers: CUSTOMERS.map(str::to_owned).into(),
        paths: PATHS,
        // Several batches a second, so that figures move at every look.
        batch_entries: usize::try_from(rate / 4).unwrap_or(1).clamp(1, 100),
        connections: 2,
        rate: Some(rate),
        duration: None,
        entries: None,
        batches: None,
        duplicates: DUPLICATES_PERCENT,
        late: LATE_PERCENT,
        bad: 0,
        seed: SystemEntropy.bits(),
        start: Timestamp::now(),
        days: None,
        run_id: format!("{:016x}", SystemEntropy.bits()),
        compression: None,
        verify: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_usual_port_that_is_taken_is_replaced() {
        let runtime = Runtime::new().expect("a runtime");
        let _entered = runtime.enter();
        let taken = serve::bind(ANY_LOCAL).expect("a free port");
        let address = taken.local_addr().expect("an address");
        let mut out = Vec::new();
        assert!(listen(Some(address), &mut out).is_err(), "that very port was asked for");
        assert!(out.is_empty());
        // Free or not until here, it is taken now.
        let _usual = serve::bind(Config::default().server.listen);
        let other = listen(None, &mut out).expect("any port").local_addr().expect("an address");
        assert_ne!(other, Config::default().server.listen);
        assert!(!out.is_empty(), "that is said");
    }

    #[test]
    fn only_an_empty_directory_gets_a_history() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(is_new(home.path()) && is_new(&home.path().join("missing")));
        tempfile::NamedTempFile::new_in(home.path()).expect("a file").keep().expect("kept");
        assert!(!is_new(home.path()));
    }

    #[test]
    fn a_history_is_bounded() {
        assert_eq!(history("http://h", 1_000).entries, Some(limits::DEMO_HISTORY_ENTRIES_MAX));
        assert_eq!(history("http://h", 1).entries, Some(2 * 86_400));
    }
}
