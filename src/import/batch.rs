//! Entries of lines, gathered to the JSON body of one `POST /logs`.
//!
//! Owns the body's bytes and its limits; pure. The same lines always give the same bytes, which is
//! what lets a batch be sent again under its key: IMPORTANT: another order or spelling of fields
//! would turn every pending batch into a conflict.

use serde::Serialize;

use crate::entry::LogEntry;
use crate::limits;

/// A body under construction.
#[derive(Default)]
pub(super) struct Batch {
    body: Vec<u8>,
    entries: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    /// One name in the format of entries with a method, another in that of those without.
    #[serde(rename = "receivedAt", skip_serializing_if = "Option::is_none")]
    received_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    path: &'a str,
    #[serde(rename = "userAgent")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// The JSON of an entry.
pub(super) fn entry(entry: &LogEntry<'_>) -> Vec<u8> {
    let LogEntry { minute, method, path, user_agent, status, bytes } = *entry;
    // Seconds do not count.
    let time = minute.to_string();
    let (received_at, timestamp) =
        if method.is_some() { (Some(&*time), None) } else { (None, Some(&*time)) };
    let entry = Entry { received_at, timestamp, method, path, user_agent, status, bytes };
    serde_json::to_vec(&entry).expect("text and numbers are always JSON")
}

impl Batch {
    /// Whether the batch must be sent before `entry` is added.
    pub(super) fn is_full_for(&self, entry: &[u8]) -> bool {
        let bytes = self.body.len() + entry.len() + b",]".len();
        self.entries >= limits::IMPORT_BATCH_ENTRIES_MAX
            || (self.entries > 0 && bytes > limits::IMPORT_BATCH_BYTES_MAX)
    }

    pub(super) fn push(&mut self, entry: &[u8]) {
        self.body.push(if self.entries == 0 { b'[' } else { b',' });
        self.body.extend_from_slice(entry);
        self.entries += 1;
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The finished body; the batch is empty after it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.entries = 0;
        let mut body = std::mem::take(&mut self.body);
        body.push(b']');
        body
    }
}
