//! The whole service in one process, on a port of its own, asked by HTTP.

mod faults;
mod isolation;
mod queries;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::config::{Config, OnDuplicate};
use crate::disk::{Disk, Layout, RealDisk};
use crate::entropy::SystemEntropy;
use crate::error::EngineError;
use crate::http::{self, Door};
use crate::service::Listeners;
use crate::status::{Phase, Status};
use crate::tokens::Tokens;

/// A running service; [`Service::stop`] ends it as SIGTERM would.
struct Service {
    address: SocketAddr,
    /// Where operators come.
    admin: SocketAddr,
    agent: ureq::Agent,
    tokens: Option<Arc<Tokens>>,
    stop: oneshot::Sender<()>,
    served: std::thread::JoinHandle<Result<(), Arc<EngineError>>>,
    lock: std::path::PathBuf,
}

impl Service {
    fn start(config: Config) -> Self {
        Self::start_on(Arc::new(RealDisk), config)
    }

    fn start_on(disk: Arc<dyn Disk>, config: Config) -> Self {
        let tokens = Tokens::configured(&config, &SystemEntropy).expect("a tokens file");
        let tokens = tokens.map(Arc::new);
        let lock = Layout::new(&config.server.data_dir).lock();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let for_service = tokens.clone();
        let run = move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let bind = || TcpListener::bind("127.0.0.1:0");
                let public = bind().await.expect("a free port");
                let operators = bind().await.expect("a free port");
                let addresses = [&public, &operators].map(|l| l.local_addr().expect("bound"));
                tell.send(addresses).expect("somebody waits");
                let listeners = Listeners { public, operators: Some(operators) };
                let shutdown = async { drop(stopped.await) };
                super::run_on(disk, &config, for_service, false, listeners, shutdown).await
            })
        };
        let served = std::thread::Builder::new().spawn(run).expect("a thread");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let [address, admin] = told.recv().expect("it listens");
        let service = Self { address, admin, agent, tokens, stop, served, lock };
        while service.get("/readyz", "x").0 != 200 {
            assert!(!service.served.is_finished(), "the service ended before it was ready");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        service
    }

    fn get(&self, target: &str, customer: &str) -> (u16, Value) {
        let request = self.agent.get(format!("http://{}{target}", self.address));
        let mut response = request.header("x-customer-id", customer).call().expect("an answer");
        (response.status().as_u16(), response.body_mut().read_json().unwrap_or_default())
    }

    fn post(&self, customer: &str, key: &str, entries: &Value) -> (u16, Value) {
        self.try_post(customer, key, entries).expect("an answer")
    }

    fn try_post(
        &self,
        customer: &str,
        key: &str,
        entries: &Value,
    ) -> Result<(u16, Value), ureq::Error> {
        let request = self.agent.post(format!("http://{}/logs", self.address));
        let request = request.header("x-customer-id", customer).header("idempotency-key", key);
        let mut response = request.send_json(entries)?;
        Ok((response.status().as_u16(), response.body_mut().read_json().unwrap_or_default()))
    }

    fn stop(self) {
        self.end(true).expect("a clean end");
    }

    /// Waits for its end, asked for or not.
    fn end(self, ask: bool) -> Result<(), Arc<EngineError>> {
        if ask {
            self.stop.send(()).expect("it runs");
        }
        let ended = self.served.join().expect("no panic");
        // The engine's threads hold the directory until they have ended.
        while RealDisk.lock(&self.lock).expect("a lock file").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        ended
    }
}

fn config(dir: &tempfile::TempDir) -> Config {
    let mut config = Config::default();
    config.server.data_dir = dir.path().join("data");
    config
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// One entry for each of the minutes from `from` on, all of 2025-12.
fn entries(from: u32, count: u32) -> Value {
    let entry = |minute: u32| {
        let (day, hour, minute) = (1 + minute / 1_440, minute / 60 % 24, minute % 60);
        let path = format!("/{}", minute % 7);
        let time = format!("2025-12-{day:02}T{hour:02}:{minute:02}:30Z");
        json!({"receivedAt": time, "method": "GET", "path": path, "userAgent": "curl/8.5.0"})
    };
    (from..from + count).map(entry).collect()
}

/// W2: pages hold every window once, hours and days are the sums of minutes, and the ranking of
/// any range is the sum of its windows — from memory, and from the store.
#[test]
fn every_view_of_a_range_adds_up_to_the_same() {
    const MINUTES: u32 = 3_000;
    let dir = dir();
    let check = |service: &Service| {
        let range = "from=2025-12-01T00:00:00Z&to=2025-12-04T00:00:00Z";
        let mut starts = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = service.get(&format!("/analytics?{range}{cursor}"), "acme");
            assert_eq!(status, 200, "{page}");
            let windows = page["windows"].as_array().expect("windows");
            starts.extend(windows.iter().map(|w| w["windowStart"].to_string()));
            assert!(windows.iter().all(|window| window["requests"] == 1));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(starts.len(), MINUTES as usize);
        let (_, series) = service.get(&format!("/analytics/series?{range}"), "acme");
        let points = series["points"].as_array().expect("points");
        assert!(points.iter().map(|point| point["windowStart"].to_string()).eq(starts.clone()));
        assert!(points.iter().all(|point| point["requests"] == 1 && point["final"] == true));
        assert_eq!(series["next"], json!(null));
        assert!(starts.is_sorted_by(|a, b| a < b));
        for (size, windows) in [("hour", 50), ("day", 3)] {
            let (_, page) = service.get(&format!("/analytics?{range}&windowSize={size}"), "acme");
            let page = page["windows"].as_array().expect("windows");
            assert_eq!(page.len(), windows);
            let sum: u64 = page.iter().filter_map(|window| window["requests"].as_u64()).sum();
            assert_eq!(sum, u64::from(MINUTES), "{size}");
            let by_size = format!("/analytics/series?{range}&windowSize={size}");
            let (_, series) = service.get(&by_size, "acme");
            let points = series["points"].as_array().expect("points").iter();
            let same = |(a, b): (&Value, &Value)| {
                a["requests"] == b["requests"] && a["windowStart"] == b["windowStart"]
            };
            assert!(points.len() == windows && points.zip(page).all(same), "{size}");
        }
        let ragged = "from=2025-12-01T00:30:00Z&to=2025-12-03T01:15:00Z&limit=3";
        let (_, top) = service.get(&format!("/analytics/top?{ragged}"), "acme");
        assert_eq!(top["requests"], 2 * 1_440 + 75 - 30);
        let listed = top["top"].as_array().expect("rows").iter();
        let listed: u64 = listed.filter_map(|row| row["requests"].as_u64()).sum();
        assert_eq!(listed + top["others"].as_u64().expect("others"), 2 * 1_440 + 75 - 30);
    };
    let service = Service::start(config(&dir));
    for (n, from) in (0..MINUTES).step_by(500).enumerate() {
        let (status, answer) = service.post("acme", &format!("k{n}"), &entries(from, 500));
        assert_eq!((status, &answer["windows"]), (202, &json!(500)));
    }
    check(&service);
    service.stop();
    let service = Service::start(config(&dir));
    check(&service);
    service.stop();
}

/// A3 as senders see it, in both configured forms.
#[test]
fn a_repeated_key_is_answered_as_configured() {
    let dir = dir();
    let service = Service::start(config(&dir));
    assert_eq!(service.post("acme", "k", &entries(0, 2)).0, 202);
    let (status, problem) = service.post("acme", "k", &entries(0, 2));
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/batch-already-accepted")));
    assert_eq!(problem["accepted"], json!({"batchId": "k", "entries": 2, "windows": 2}));
    assert_eq!(service.post("acme", "k", &entries(0, 3)).0, 422);
    assert_eq!(service.post("other", "k", &entries(0, 3)).0, 202, "T1: keys are a customer's own");
    service.stop();

    let mut config = config(&dir);
    config.idempotency.on_duplicate = OnDuplicate::Replay;
    let service = Service::start(config);
    let (status, answer) = service.post("acme", "k", &entries(0, 2));
    assert_eq!((status, answer), (202, json!({"batchId": "k", "entries": 2, "windows": 2})));
    assert_eq!(service.post("acme", "k", &entries(0, 3)).0, 422);
    service.stop();
}

/// Whoever is told that the server is ready sends to it.
#[test]
fn a_server_that_would_refuse_batches_is_not_ready() {
    let dir = dir();
    let config = config(&dir);
    let status = Arc::new(Status::new(1, super::ceilings(&config)));
    let recovery = super::recovery(&config, 1, false, &status, Arc::new(RealDisk));
    let app = super::app(&config, None, &recovery);
    // As in the moment between the start of the engine's threads and requests that reach them.
    status.enter(Phase::Running);
    let asked = Request::get("/readyz").body(Body::empty()).expect("a request");
    let answer = http::routes(Arc::new(app), Door::Public).oneshot(asked);
    let answer = tokio::runtime::Runtime::new().expect("a runtime").block_on(answer);
    assert_eq!(answer.expect("an answer").status(), 503);
}

/// L1: what cannot be served says so, and what to do.
#[test]
fn a_second_process_on_the_directory_is_refused_by_name() {
    let dir = dir();
    let service = Service::start(config(&dir));
    let second = tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        super::run(&config(&dir), None, false, listener, std::future::pending()).await
    });
    let error = second.expect_err("the directory is in use");
    assert!(matches!(*error, EngineError::InUse { .. }), "{error}");
    service.stop();
}
