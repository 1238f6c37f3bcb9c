//! A sender that costs next to nothing: HTTP/1.1 over one connection, written and read by hand.
//!
//! Ten times what a server can take must come from the machine that the server runs on.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::bodies::Body;
use crate::server::Target;

/// How long an answer may take before it counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Larger than any head of an answer.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// One connection that is kept; opened again when the server closes it.
pub(crate) struct Wire {
    target: Target,
    stream: Option<TcpStream>,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Seconds, where the header is there and says seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) fn new(target: &Target) -> Self {
        Self { target: target.clone(), stream: None, sent: Vec::new(), received: Vec::new() }
    }

    /// Sends a batch once.
    pub(crate) fn post(&mut self, customer: &str, key: &str, body: &Body) -> io::Result<Reply> {
        let mut request = std::mem::take(&mut self.sent);
        request.clear();
        request.extend_from_slice(head(customer, key, body).as_bytes());
        request.extend_from_slice(&body.bytes);
        let reply = self.exchange(&request);
        self.sent = request;
        reply
    }

    pub(crate) fn get(&mut self, path: &str, customer: &str) -> io::Result<Reply> {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-customer-id: {customer}\r\n\r\n");
        self.exchange(request.as_bytes())
    }

    /// Opens the connection, if it is not open.
    pub(crate) fn connect(&mut self) -> io::Result<&mut TcpStream> {
        if self.stream.is_none() {
            self.stream = Some(connect(&self.target)?);
        }
        Ok(self.stream.as_mut().expect("opened just now"))
    }

    /// Sends a request and waits for its answer. After an error the connection is a new one.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.connect()?;
        let mut stream = self.stream.take().expect("connected just now");
        stream.write_all(request)?;
        self.received.clear();
        let (reply, closes) = read_reply(&mut stream, &mut self.received)?;
        if !closes {
            self.stream = Some(stream);
        }
        Ok(reply)
    }
}

/// A connection to where the server listens now.
pub(crate) fn connect(target: &Target) -> io::Result<TcpStream> {
    let url = target.url();
    let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// The head of a `POST /logs` with this body.
pub(crate) fn head(customer: &str, key: &str, body: &Body) -> String {
    let encoding = body
        .encoding
        .map(|encoding| format!("content-encoding: {}\r\n", encoding.name()))
        .unwrap_or_default();
    format!(
        "POST /logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         x-customer-id: {customer}\r\nidempotency-key: {key}\r\n{encoding}\
         content-length: {}\r\n\r\n",
        body.bytes.len()
    )
}

/// Reads one answer; also says whether the server closes the connection after it.
fn read_reply(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<(Reply, bool)> {
    let broken = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut chunk = [0; 16 * 1024];
    let mut more = |received: &mut Vec<u8>| match stream.read(&mut chunk)? {
        0 => Err(io::Error::from(ErrorKind::UnexpectedEof)),
        length => {
            received.extend_from_slice(&chunk[..length]);
            Ok(())
        }
    };
    let head_bytes = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if received.len() > MAX_HEAD_BYTES {
            return Err(broken("the head of the answer does not end"));
        }
        more(received)?;
    };
    let head = String::from_utf8_lossy(&received[..head_bytes]).to_ascii_lowercase();
    let header = |name: &str| {
        head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    };
    let status = head.get(9..12).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| broken("no status line"))?;
    let length: Option<usize> = header("content-length").and_then(|length| length.parse().ok());
    let length = length.ok_or_else(|| broken("an answer without its length"))?;
    while received.len() < head_bytes + length {
        more(received)?;
    }
    let body = String::from_utf8_lossy(&received[head_bytes..head_bytes + length]).into_owned();
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    Ok((Reply { status, retry_after, body }, header("connection") == Some("close")))
}

impl Reply {
    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).map_err(|_| anyhow::anyhow!("not JSON: {self}"))
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.body.chars().take(300).collect();
        write!(f, "answered {} {shown}", self.status)
    }
}
