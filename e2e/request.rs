//! A table of single requests: how each is written to the wire and what its answer must be.
//!
//! A request starts out right (one valid entry, every header that is needed) and names only what
//! is wrong with it. In every text, `${x*100}` stands for 100 times `x`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::exchange::{Ending, Reply, exchange};
use crate::traffic::{Encoding, pad};

/// A file of requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The customer of each request that does not set its own.
    customer: String,
    request: Vec<Request>,
}

/// One request and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// What is wrong with it, in words.
    name: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "logs")]
    path: String,
    /// Headers with another value than usual, or additional ones.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Usual headers left out.
    #[serde(default)]
    drop: Vec<String>,
    /// Header lines written after the others: a name may come twice.
    #[serde(default)]
    add: Vec<(String, String)>,
    /// The body as it stands; or its bytes in hex; or fields of the one entry.
    body: Option<String>,
    body_hex: Option<String>,
    #[serde(default)]
    entry: Map<String, Value>,
    /// Fields of the entry left out.
    #[serde(default)]
    omit: Vec<String>,
    /// Pads the body with JSON whitespace to this many bytes.
    pad_to: Option<usize>,
    /// Compresses the body and says so.
    encoding: Option<Encoding>,
    /// Cuts this many bytes off the end of the body.
    #[serde(default)]
    cut: usize,
    #[serde(default)]
    framing: Framing,
    /// Everything there is to write, instead of all of the above.
    raw: Option<String>,
    expect: Expected,
}

/// How the length of the body is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Framing {
    #[default]
    Length,
    /// `Transfer-Encoding: chunked`, in small chunks.
    Chunked,
    /// A Content-Length larger than the body; then the client closes its side.
    TooLong,
    /// A Content-Length smaller than the body.
    TooShort,
    /// Two Content-Length headers that differ.
    Twice,
    /// A large Content-Length of which a byte comes now and then.
    Endless,
}

/// What the answer must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// 0 stands for a connection closed without an answer.
    status: OneOf<u16>,
    /// The `type` of the problem.
    #[serde(rename = "type")]
    problem: Option<OneOf<String>>,
    /// Index and field of each refused entry.
    #[serde(default)]
    errors: Vec<(u64, String)>,
    /// What the header `Allow` must name.
    allow: Option<String>,
    /// The request id that must come back.
    request_id: Option<String>,
    /// The HTTP library answers before the server sees the request: only the status counts.
    #[serde(default)]
    bare: bool,
    /// The server must close the connection although it was not asked to.
    #[serde(default)]
    closes: bool,
}

/// One value, or a list where more than one is right.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOf<T> {
    One(T),
    Any(Vec<T>),
}

/// Sends every request of the table at `path`; an error lists every answer that was wrong.
pub(crate) fn run_table(path: &Path, url: &str) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let mut wrong = String::new();
    for (number, request) in table.request.iter().enumerate() {
        let key = format!("request-{number}");
        if let Err(error) = request.run(&table.customer, &key, url) {
            wrong.push_str(&format!("{}\n    {error:#}\n", request.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.trim_end());
    Ok(())
}

impl Request {
    fn run(&self, customer: &str, key: &str, url: &str) -> Result<()> {
        let bytes = match &self.raw {
            Some(raw) => expand(raw)?.into_bytes(),
            None => self.bytes(customer, key)?,
        };
        let ending = match self.framing {
            Framing::TooLong => Ending::HalfClose,
            Framing::Endless => Ending::Drip,
            _ => Ending::Wait,
        };
        let reply = exchange(url, &bytes, ending, self.expect.closes)?;
        self.expect.check(&reply)
    }

    /// The request as it goes over the wire.
    fn bytes(&self, customer: &str, key: &str) -> Result<Vec<u8>> {
        let mut headers = BTreeMap::from([("host".to_owned(), "logmill".to_owned())]);
        headers.insert("x-customer-id".to_owned(), customer.to_owned());
        let mut body = Vec::new();
        if self.method == "POST" {
            headers.insert("idempotency-key".to_owned(), key.to_owned());
            headers.insert("content-type".to_owned(), "application/json".to_owned());
            body = self.body_bytes()?;
        }
        if !self.expect.closes {
            headers.insert("connection".to_owned(), "close".to_owned());
        }
        if let Some(encoding) = self.encoding {
            headers.insert("content-encoding".to_owned(), encoding.name().to_owned());
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), expand(value)?);
        }
        headers.retain(|name, _| !self.drop.contains(name));
        let mut lines: Vec<(String, String)> = headers.into_iter().collect();
        lines.extend(self.add.iter().cloned());
        if !self.set.contains_key("content-length") {
            lines.extend(self.framing.headers(&body));
        }
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in lines {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        match self.framing {
            Framing::Chunked => bytes.extend_from_slice(&chunked(&body)),
            _ => bytes.extend_from_slice(&body),
        }
        Ok(bytes)
    }

    fn body_bytes(&self) -> Result<Vec<u8>> {
        let mut body = match (&self.body, &self.body_hex) {
            (Some(text), None) => expand(text)?.into_bytes(),
            (None, Some(hex)) => bytes_of_hex(hex)?,
            (None, None) => serde_json::to_vec(&json!([self.entry()?]))?,
            (Some(_), Some(_)) => bail!("a request has either a body or a body_hex"),
        };
        if let Some(length) = self.pad_to {
            pad(&mut body, length)?;
        }
        if let Some(encoding) = self.encoding {
            body = encoding.encode(&body)?;
        }
        body.truncate(body.len().saturating_sub(self.cut));
        Ok(body)
    }

    /// The one entry: a valid one with the fields this request changes.
    fn entry(&self) -> Result<Map<String, Value>> {
        let mut entry = Map::from_iter([
            ("receivedAt".to_owned(), json!("2025-12-28T18:03:07.250Z")),
            ("method".to_owned(), json!("GET")),
            ("path".to_owned(), json!("/checkout")),
            ("userAgent".to_owned(), json!("curl/8.5.0")),
        ]);
        for (field, value) in &self.entry {
            let value = match value {
                Value::String(text) => Value::String(expand(text)?),
                other => other.clone(),
            };
            entry.insert(field.clone(), value);
        }
        entry.retain(|field, _| !self.omit.contains(field));
        Ok(entry)
    }
}

impl Framing {
    fn headers(self, body: &[u8]) -> Vec<(String, String)> {
        let lengths = match self {
            Self::Chunked => return vec![("transfer-encoding".to_owned(), "chunked".to_owned())],
            Self::Length if body.is_empty() => vec![],
            Self::Length => vec![body.len()],
            Self::TooLong => vec![body.len() + 100],
            Self::TooShort => vec![body.len() / 2],
            Self::Twice => vec![body.len(), body.len() + 1],
            Self::Endless => vec![1_000_000],
        };
        lengths.into_iter().map(|n| ("content-length".to_owned(), n.to_string())).collect()
    }
}

impl Expected {
    fn check(&self, reply: &Reply) -> Result<()> {
        ensure!(
            self.status.has(&reply.status),
            "expected status {}, got {reply}",
            self.status.shown()
        );
        ensure!(!self.closes || reply.closed, "the server kept the connection open: {reply}");
        if let Some(allow) = &self.allow {
            let got = reply.header("allow").unwrap_or_default();
            ensure!(got.contains(allow.as_str()), "expected Allow to name {allow}, got {got:?}");
        }
        if self.bare || reply.status < 400 {
            return Ok(());
        }
        self.check_problem(reply)
    }

    /// The members every error must have.
    fn check_problem(&self, reply: &Reply) -> Result<()> {
        let content_type = reply.header("content-type").unwrap_or_default();
        ensure!(
            content_type.starts_with("application/problem+json"),
            "expected application/problem+json, got {content_type:?}: {reply}"
        );
        let problem = reply.json()?;
        let kind = problem["type"].as_str().unwrap_or_default().to_owned();
        let expected = self.problem.as_ref().context("the table names no problem type")?;
        ensure!(expected.has(&kind), "expected type {}, got {reply}", expected.shown());
        ensure!(problem["status"] == reply.status, "its status is not the header's: {reply}");
        for member in ["detail", "requestId"] {
            let text = problem[member].as_str().unwrap_or_default();
            ensure!(!text.is_empty(), "it has no {member}: {reply}");
        }
        if let Some(id) = &self.request_id {
            ensure!(problem["requestId"] == *id, "expected requestId {id}, got {reply}");
        }
        for (index, field) in &self.errors {
            let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
            let named = errors.iter().any(|error| {
                error["index"] == *index
                    && error["field"] == *field
                    && error["reason"].as_str().is_some_and(|reason| !reason.is_empty())
            });
            ensure!(named, "no error for entry {index}, field {field}: {reply}");
        }
        Ok(())
    }
}

impl<T: PartialEq + std::fmt::Debug> OneOf<T> {
    fn has(&self, value: &T) -> bool {
        match self {
            Self::One(one) => one == value,
            Self::Any(any) => any.contains(value),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::One(one) => format!("{one:?}"),
            Self::Any(any) => format!("one of {any:?}"),
        }
    }
}

/// `text` with each `${x*100}` written out.
fn expand(text: &str) -> Result<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, behind) = after.split_once('}').context("a ${ without its }")?;
        let (unit, times) = inside.rsplit_once('*').context("a ${} without its *")?;
        expanded.push_str(before);
        expanded.push_str(&unit.repeat(times.parse()?));
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn bytes_of_hex(hex: &str) -> Result<Vec<u8>> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).with_context(|| format!("{byte:?} is no byte")))
        .collect()
}

/// The chunked transfer coding, in chunks small enough that there are several.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(37) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn post() -> String {
    "POST".to_owned()
}

fn logs() -> String {
    "/logs".to_owned()
}
