//! The service with all its threads on a disk that fails.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;
use crate::disk::DiskError;
use crate::engine::Engine;
use crate::status::{Ceilings, Status};
use crate::testing::{FaultyDisk, Op};

const RANGE: &str = "/analytics?from=2025-12-01T00:00:00Z&to=2025-12-02T00:00:00Z";

/// Which minutes of the day are counted; each at most once.
fn minutes(service: &Service) -> Vec<u32> {
    let (status, page) = service.get(RANGE, "acme");
    assert_eq!(status, 200, "{page}");
    let minute = |window: &Value| {
        assert_eq!(window["requests"], 1, "A2: {window}");
        let start = window["windowStart"].as_str().expect("a time");
        start[11..13].parse::<u32>().expect("hours") * 60 + start[14..16].parse::<u32>().expect("m")
    };
    page["windows"].as_array().expect("windows").iter().map(minute).collect()
}

/// Posts a minute after the other until the service ends; which were acknowledged.
fn post_until_it_fails(service: &Service) -> Vec<u32> {
    let mut acknowledged = Vec::new();
    for minute in 1..1_000 {
        match service.try_post("acme", &format!("k{minute}"), &entries(minute, 1)) {
            Ok((202, _)) => acknowledged.push(minute),
            Ok((status, problem)) => {
                assert_eq!((status, &problem["type"]), (503, &json!("/problems/unavailable")));
                return acknowledged;
            }
            Err(_) => return acknowledged,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the service does not end");
}

/// A1, A2: whatever fails, whoever was told 202 is counted by the next start, once; the service
/// ends with what failed, and no sync is called again.
#[test]
fn a_failing_disk_ends_the_service_and_loses_nothing() {
    let failures = [
        (Op::Write, ".segment"),
        (Op::SyncData, ".segment"),
        (Op::Write, ".page"),
        (Op::SyncData, ".page"),
        (Op::Link, "names"),
        (Op::SyncDir, "names"),
        (Op::Write, "store.redb"),
        (Op::SyncData, "store.redb"),
    ];
    for (op, part) in failures {
        let dir = dir();
        let mut config = config(&dir);
        config.checkpoint.interval = Duration::from_millis(100);
        let disk = Arc::<FaultyDisk>::default();
        let service = Service::start_on(disk.clone(), config.clone());
        assert_eq!(service.post("acme", "k0", &entries(0, 1)).0, 202);
        disk.take_log();
        disk.fail(op, part, ErrorKind::Other);
        let acknowledged = post_until_it_fails(&service);
        let error = service.end(false).expect_err("it failed");
        let source = std::error::Error::source(&*error).map(ToString::to_string);
        let said = format!("{error} {}", source.unwrap_or_default());
        assert!(said.contains(part), "{op:?} {part}: {said}");
        assert!(error.hint().contains("acknowledged is kept"), "{}", error.hint());

        let log = disk.take_log();
        let is_it =
            |(of, path): &&(Op, PathBuf)| *of == op && path.to_string_lossy().contains(part);
        let failed = log.iter().find(is_it).expect("it was called");
        let calls = log.iter().filter(|call| *call == failed).count();
        assert!(calls == 1 || op == Op::Write, "{failed:?} was called {calls} times");

        disk.succeed();
        let service = Service::start_on(disk, config);
        let counted = minutes(&service);
        assert!(acknowledged.iter().all(|minute| counted.contains(minute)), "{op:?} {part}");
        for minute in 0..=acknowledged.len() as u64 + 1 {
            let minute = u32::try_from(minute).expect("small");
            let (status, _) = service.post("acme", &format!("k{minute}"), &entries(minute, 1));
            let expected = if counted.contains(&minute) { 409 } else { 202 };
            assert_eq!(status, expected, "{op:?} {part}: minute {minute}");
        }
        assert_eq!(minutes(&service).len(), acknowledged.len() + 2);
        service.stop();
    }
}

/// A4, L1: a disk that is full refuses batches as long as it is, and nothing else happens.
#[test]
fn a_full_disk_is_waited_out() {
    let dir = dir();
    let disk = Arc::<FaultyDisk>::default();
    let service = Service::start_on(disk.clone(), config(&dir));
    for _ in 0..3 {
        disk.fail(Op::CreateNew, ".page", ErrorKind::StorageFull);
    }
    for _ in 0..3 {
        let (status, problem) = service.post("acme", "k", &entries(0, 1));
        assert_eq!((status, &problem["type"]), (503, &json!("/problems/disk-full")));
    }
    assert_eq!(service.get("/readyz", "x").0, 200);
    assert_eq!(service.post("acme", "k", &entries(0, 1)).0, 202, "its key was not taken");
    assert_eq!(minutes(&service), [0]);
    service.stop();
}

/// A1: a server whose disk failed is not one to send to, nor one to leave running.
#[test]
fn a_failure_turns_the_health_checks_red() {
    let dir = dir();
    let config = config(&dir);
    let ceilings = Ceilings { free_bytes: 0, journal_bytes: 1, memory_bytes: 1 };
    let status = Arc::new(Status::new(1, ceilings));
    let recovery = super::super::recovery(&config, 1, false, &status, Arc::new(RealDisk));
    let app = Arc::new(super::super::app(&config, None, &recovery));
    let engine = Engine::start(&recovery, super::super::engine_settings(&config));
    app.engine.set(Arc::new(engine.expect("started"))).expect("the first");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ask = |target: &str| {
        let routes = http::routes(Arc::clone(&app), Door::Public);
        let request = Request::get(target).body(Body::empty()).expect("a request");
        let answer = runtime.block_on(routes.oneshot(request)).expect("never fails");
        (answer.status(), answer.headers().contains_key("retry-after"))
    };
    assert_eq!(ask("/readyz").0, StatusCode::OK);
    let gone = DiskError::new("sync", &dir.path().join("x"), ErrorKind::Other.into());
    status.fail(gone.into());
    for target in ["/readyz", "/livez", "/readyz?verbose"] {
        assert_eq!(ask(target), (StatusCode::SERVICE_UNAVAILABLE, true), "{target}");
    }
}
