//! A server that accepts each key once, as logmill does, and misbehaves as a test tells it to.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

/// What to do with a request instead of the usual.
pub(super) enum Reply {
    /// Do as usual.
    Accept,
    /// Count the batch, then close the connection without an answer.
    AcceptAndHangUp,
    /// Answer this status and do nothing.
    Status(u16),
}

/// A posted entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) received_at: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) user_agent: String,
}

#[derive(Default)]
struct Received {
    bodies: HashMap<(String, String), Vec<u8>>,
    entries: Vec<Entry>,
    script: VecDeque<Reply>,
    requests: usize,
    conflicts: usize,
    /// Largest body that is taken, if there is such a limit.
    body_max: Option<usize>,
}

pub(super) struct Server {
    pub(super) url: String,
    received: Arc<Mutex<Received>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("is bound"));
        let received = Arc::new(Mutex::new(Received::default()));
        let shared = Arc::clone(&received);
        let serve = move || {
            for stream in listener.incoming() {
                let answered = stream.and_then(|stream| answer(stream, &shared));
                assert!(answered.is_ok(), "the client went away: {answered:?}");
            }
        };
        std::thread::Builder::new().spawn(serve).expect("a thread");
        Self { url, received }
    }

    pub(super) fn then(&self, replies: impl IntoIterator<Item = Reply>) {
        self.with(|received| received.script.extend(replies));
    }

    pub(super) fn takes_at_most(&self, bytes: usize) {
        self.with(|received| received.body_max = Some(bytes));
    }

    pub(super) fn forget_replies(&self) {
        self.with(|received| received.script.clear());
    }

    /// The paths counted so far, sorted.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.entries().into_iter().map(|entry| entry.path).collect();
        paths.sort();
        paths
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.with(|received| received.entries.clone())
    }

    pub(super) fn requests(&self) -> usize {
        self.with(|received| received.requests)
    }

    /// Requests that brought other content under a known key: none, ever.
    pub(super) fn conflicts(&self) -> usize {
        self.with(|received| received.conflicts)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Received) -> T) -> T {
        work(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn answer(stream: TcpStream, shared: &Mutex<Received>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    assert!(line.starts_with("POST /logs?format=logmill&on_invalid=reject HTTP/1.1"), "{line}");
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    assert_eq!(headers["content-type"], "application/json");
    let mut body = vec![0; headers["content-length"].parse().expect("a number")];
    reader.read_exact(&mut body)?;
    let id = (headers["x-customer-id"].clone(), headers["idempotency-key"].clone());

    let mut received = shared.lock().unwrap_or_else(PoisonError::into_inner);
    received.requests += 1;
    let (status, problem) = match received.script.pop_front() {
        Some(Reply::AcceptAndHangUp) => {
            accept(&mut received, id, body);
            return Ok(());
        }
        Some(Reply::Status(status)) => (status, r#"{"detail":"as the test said"}"#),
        _ if received.body_max.is_some_and(|max| body.len() > max) => {
            (413, r#"{"detail":"send smaller batches"}"#)
        }
        Some(Reply::Accept) | None => accept(&mut received, id, body),
    };
    drop(received);
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} X\r\ncontent-type: application/problem+json\r\nretry-after: 0\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{problem}",
        problem.len()
    )
}

fn accept(received: &mut Received, id: (String, String), body: Vec<u8>) -> (u16, &'static str) {
    match received.bodies.get(&id) {
        Some(known) if *known == body => (409, r#"{"type":"/problems/batch-already-accepted"}"#),
        Some(_) => {
            received.conflicts += 1;
            (422, r#"{"type":"/problems/key-reused"}"#)
        }
        None => {
            let entries: Vec<Entry> = serde_json::from_slice(&body).expect("a JSON array");
            assert!(!entries.is_empty() && entries.len() <= 1_000 && body.len() <= 1024 * 1024);
            received.entries.extend(entries);
            received.bodies.insert(id, body);
            (202, "{}")
        }
    }
}
