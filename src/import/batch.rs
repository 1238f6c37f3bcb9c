//! Entries of lines, gathered to the JSON body of one `POST /logs`.
//!
//! Owns the body's bytes and where its entries begin; pure. The same lines always give the same
//! bytes, which is what lets a batch be sent again under its key: IMPORTANT: another order or
//! spelling of fields would turn every pending batch into a conflict.

use serde::Serialize;

use crate::entry::LogEntry;
use crate::limits;

/// A body under construction.
#[derive(Default)]
pub(super) struct Batch {
    body: Vec<u8>,
    entries: Vec<Start>,
}

/// Where an entry begins.
#[derive(Clone, Copy)]
struct Start {
    /// In the body.
    at: usize,
    /// Before its line in the log.
    before: Reached,
}

/// A position between lines, or inside one that was counted before it ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Reached {
    pub(super) end: u64,
    pub(super) lines: u64,
    pub(super) inside_line: bool,
    pub(super) combined: bool,
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
    /// Whether the batch must be sent before `entry` is added, to have no more bytes than `max`.
    pub(super) fn is_full_for(&self, entry: &[u8], max: usize) -> bool {
        let bytes = self.bytes() + entry.len() + b",".len();
        self.entries() >= limits::IMPORT_BATCH_ENTRIES_MAX || (self.entries() > 0 && bytes > max)
    }

    /// Adds the entry of the line that begins at `before`.
    pub(super) fn push(&mut self, entry: &[u8], before: Reached) {
        self.entries.push(Start { at: self.body.len(), before });
        self.body.push(if self.body.is_empty() { b'[' } else { b',' });
        self.body.extend_from_slice(entry);
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes the body has.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + b"]".len()
    }

    /// The whole body.
    pub(super) fn body(&self) -> Vec<u8> {
        [&self.body[..], b"]"].concat()
    }

    /// Takes its second half off, and says where in the log that begins. One entry has no halves.
    pub(super) fn split_off(&mut self) -> Option<(Reached, Self)> {
        let mut entries = self.entries.split_off(self.entries().div_ceil(2));
        let Start { at, before } = *entries.first()?;
        entries.iter_mut().for_each(|start| start.at -= at);
        let mut body = self.body.split_off(at);
        body[0] = b'[';
        Some((before, Self { body, entries }))
    }
}
