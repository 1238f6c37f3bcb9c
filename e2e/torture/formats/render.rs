//! Entries as each format writes them.

use std::io::Write as _;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::Entry;

/// What entries are like: a value of `?format=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Logmill,
    Combined,
    Nginx,
    Caddy,
    Envoy,
    Apache,
    /// From the configuration.
    Shop,
    /// Has no method.
    Simple,
}

/// What is around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surround {
    Array,
    /// An object, and no more.
    Single,
    /// Objects one after the other, over lines.
    Objects,
    Lines,
    CsvWithHeader,
    CsvWithout,
}

impl Form {
    pub(super) const ALL: [Self; 8] = [
        Self::Logmill,
        Self::Combined,
        Self::Nginx,
        Self::Caddy,
        Self::Envoy,
        Self::Apache,
        Self::Shop,
        Self::Simple,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Logmill => "logmill",
            Self::Combined => "combined",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::Apache => "apache",
            Self::Shop => "shop",
            Self::Simple => "simple",
        }
    }

    /// What its entries are sent in here.
    pub(super) fn surrounds(self) -> &'static [Surround] {
        use Surround::{Array, CsvWithHeader, CsvWithout, Lines, Objects, Single};
        match self {
            Self::Logmill => &[Array, Single, Objects, Lines, CsvWithHeader, CsvWithout],
            Self::Combined => &[Lines],
            Self::Nginx | Self::Simple => &[Lines, Array, CsvWithHeader],
            Self::Caddy | Self::Envoy | Self::Apache => &[Lines, Objects],
            Self::Shop => &[Array, Lines],
        }
    }

    /// All entries, as one body or file.
    pub(super) fn body(self, entries: &[Entry], surround: Surround) -> Result<Vec<u8>> {
        match surround {
            Surround::CsvWithHeader | Surround::CsvWithout => {
                let mut body = Vec::new();
                let mut rows = entries.iter().map(|entry| self.value(entry)).peekable();
                if let (Surround::CsvWithHeader, Some(Ok(Value::Object(first)))) =
                    (surround, rows.peek())
                {
                    let names: Vec<_> = first.keys().map(String::as_str).collect();
                    write!(body, "{}\r\n", names.join(","))?;
                }
                for row in rows {
                    let row = row?;
                    let cells = row.as_object().into_iter().flatten().map(|(_, cell)| quoted(cell));
                    write!(body, "{}\r\n", cells.collect::<Vec<_>>().join(","))?;
                }
                Ok(body)
            }
            Surround::Lines if self == Self::Combined => {
                let lines: Result<Vec<_>> = entries.iter().map(combined).collect();
                Ok(lines?.concat().into_bytes())
            }
            Surround::Lines => {
                let mut body = Vec::new();
                for entry in entries {
                    serde_json::to_writer(&mut body, &self.value(entry)?)?;
                    body.push(b'\n');
                }
                Ok(body)
            }
            Surround::Objects | Surround::Single => {
                let mut body = Vec::new();
                for entry in entries {
                    serde_json::to_writer_pretty(&mut body, &self.value(entry)?)?;
                }
                Ok(body)
            }
            Surround::Array => {
                let values: Result<Vec<_>> =
                    entries.iter().map(|entry| self.value(entry)).collect();
                Ok(serde_json::to_vec(&values?)?)
            }
        }
    }

    /// An entry as an object, its fields in the order of the columns of CSV.
    fn value(self, entry: &Entry) -> Result<Value> {
        let &Entry { second, method, path: (path, _), agent: (agent, _), status, bytes } = entry;
        let time = Timestamp::from_second(second)?;
        // Half of them are written in another zone.
        let elsewhere = Offset::from_seconds(if second % 2 == 0 { 0 } else { 19_800 })?;
        let zoned = time.to_zoned(TimeZone::fixed(elsewhere));
        let iso = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let millis = second * 1_000 + 250;
        Ok(match self {
            Self::Logmill => json!({
                "receivedAt": iso, "method": method, "path": path, "userAgent": agent,
                "status": status, "bytes": bytes,
            }),
            Self::Combined => Value::String(combined(entry)?),
            Self::Nginx => json!({
                "time_iso8601": iso, "request_method": method, "request_uri": path,
                "http_user_agent": agent, "status": status.to_string(), "body_bytes_sent": bytes,
                "request_id": "5bfed6a791dae25451bfcbaeccf0a981",
            }),
            Self::Caddy => {
                let headers = match agent {
                    "" => json!({ "Accept": ["*/*"] }),
                    _ => json!({ "User-Agent": [agent], "Accept": ["*/*"] }),
                };
                json!({
                    "level": "info", "ts": format!("{second}.5241024").parse::<f64>()?,
                    "logger": "http.log.access.log0", "msg": "handled request",
                    "request": {
                        "remote_ip": "192.0.2.1", "proto": "HTTP/2.0", "method": method,
                        "host": "localhost", "uri": path, "headers": headers,
                    },
                    "duration": 0.000_929_675, "size": bytes, "status": status,
                })
            }
            Self::Envoy => json!({
                "start_time": Timestamp::from_millisecond(millis)?.to_string(), "method": method,
                "path": path, "protocol": "HTTP/1.1", "response_code": status,
                "response_flags": "-", "bytes_received": 0, "bytes_sent": bytes,
                "user_agent": if agent.is_empty() { Value::Null } else { agent.into() },
            }),
            Self::Apache => json!({
                "time": zoned.strftime("%Y-%m-%dT%H:%M:%S%z").to_string(), "host": "192.0.2.1",
                "method": method, "uri": bare,
                "query": if query.is_empty() { String::new() } else { format!("?{query}") },
                "status": status.to_string(), "bytes": bytes.to_string(), "userAgent": agent,
            }),
            Self::Shop => {
                let mut http = json!({ "url": bare });
                if !query.is_empty() {
                    http["query"] = query.into();
                }
                let mut shop = json!({
                    "ts": millis, "verb": method, "http": http, "code": status, "size": bytes,
                });
                match (agent, second % 2) {
                    ("", _) => {}
                    (_, 0) => shop["ua"] = agent.into(),
                    _ => shop["http"]["headers"] = json!({ "user-agent": [agent] }),
                }
                shop
            }
            Self::Simple => json!({
                "timestamp": iso, "path": path, "userAgent": agent, "status": status,
                "bytes": bytes,
            }),
        })
    }
}

impl Surround {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Single => "single",
            Self::Objects => "objects",
            Self::Lines => "lines",
            Self::CsvWithHeader => "csv-header",
            Self::CsvWithout => "csv",
        }
    }

    /// Whether a file of it can be imported.
    pub(super) fn is_lines(self) -> bool {
        matches!(self, Self::Lines | Self::CsvWithHeader | Self::CsvWithout)
    }

    /// The media types of lines in turn.
    pub(super) fn content_type(self, turn: usize) -> &'static str {
        match self {
            Self::Array | Self::Single | Self::Objects => "application/json",
            Self::Lines => ["text/plain", "application/x-ndjson", "application/jsonl"][turn % 3],
            Self::CsvWithHeader | Self::CsvWithout => "text/csv",
        }
    }
}

/// A line of an access log.
fn combined(entry: &Entry) -> Result<String> {
    let Entry { second, method, path: (path, _), agent: (agent, _), status, bytes } = entry;
    let time = Timestamp::from_second(*second)?.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    let agent = if agent.is_empty() { "-".to_owned() } else { agent.replace('"', "\\\"") };
    Ok(format!(
        "192.0.2.1 - - [{time}] \"{method} {path} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\"\n"
    ))
}

/// A cell of CSV.
fn quoted(cell: &Value) -> String {
    let text = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
