//! One exchange over a raw TCP connection, for requests that no HTTP library would send.
//!
//! Writing and reading go on at the same time: a server may answer and close before it has the
//! whole body, and that answer must not be lost in a write error.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The whole exchange.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long one read or write may block before the deadline is looked at.
const IO_TIMEOUT: Duration = Duration::from_millis(100);

/// What the client does when it has written everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Waits for the answer.
    Wait,
    /// Closes its side: nothing more will come.
    HalfClose,
    /// Goes on with a space now and then, for ever.
    Drip,
}

/// What came back before the connection closed or the answer was whole.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// 0 if the server closed the connection without an answer.
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
    /// The server closed the connection.
    pub(crate) closed: bool,
}

/// Sends `bytes` to the server at `url`. With `until_closed` the answer alone is not enough: the
/// server must also close the connection for `closed` to be true.
pub(crate) fn exchange(
    url: &str,
    bytes: &[u8],
    ending: Ending,
    until_closed: bool,
) -> Result<Reply> {
    let address = url.strip_prefix("http://").context("only http:// is spoken here")?;
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {url}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write(&stream, bytes, ending, &done));
        let reply = read(&stream, until_closed);
        done.store(true, Ordering::Relaxed);
        // Wakes the writer; it fails only if the connection is already gone.
        stream.shutdown(Shutdown::Both).ok();
        reply
    })
}

/// Writes until all is written, the server refuses more, or the reader has seen enough.
fn write(mut stream: &TcpStream, mut bytes: &[u8], ending: Ending, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let next: &[u8] = match (bytes.is_empty(), ending) {
            (false, _) => bytes,
            (true, Ending::Wait) => return,
            (true, Ending::HalfClose) => {
                // It fails only if the connection is already gone.
                stream.shutdown(Shutdown::Write).ok();
                return;
            }
            (true, Ending::Drip) => {
                thread::sleep(IO_TIMEOUT);
                b" "
            }
        };
        match stream.write(next) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if is_timeout(&error) => {}
            // The server has closed its side; what it said before is for the reader.
            Err(_) => return,
        }
    }
}

fn read(mut stream: &TcpStream, until_closed: bool) -> Result<Reply> {
    let deadline = Instant::now() + TIMEOUT;
    let mut received = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(Reply { closed: true, ..Reply::parse(&received)? }),
            Ok(length) => received.extend_from_slice(&chunk[..length]),
            Err(error) if is_timeout(&error) => {}
            Err(_) => return Ok(Reply { closed: true, ..Reply::parse(&received)? }),
        }
        if !until_closed && Reply::is_whole(&received) {
            return Reply::parse(&received);
        }
        if Instant::now() >= deadline {
            ensure!(!received.is_empty(), "no answer within {TIMEOUT:?}");
            return Reply::parse(&received);
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Reply {
    /// The value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("the body is not JSON: {self}"))
    }

    fn is_whole(received: &[u8]) -> bool {
        let Ok(reply) = Self::parse(received) else { return false };
        let length = reply.header("content-length").and_then(|v| v.parse::<usize>().ok());
        length.is_some_and(|length| reply.body.len() >= length)
    }

    fn parse(received: &[u8]) -> Result<Self> {
        if received.is_empty() {
            return Ok(Self::default());
        }
        let text = String::from_utf8_lossy(received);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .with_context(|| format!("the answer breaks off in its header: {text:?}"))?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse().ok()).context("no status line")?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Self { status, headers, body: body.to_owned(), closed: false })
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            0 => f.write_str("the connection closed without an answer"),
            status => {
                let shown: String = self.body.chars().take(300).collect();
                write!(f, "{status} {shown}")
            }
        }
    }
}
