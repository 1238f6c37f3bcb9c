//! Entries of access log lines, gathered to the JSON body of one `POST /logs`.
//!
//! Owns the body's bytes and its limits; pure. The same lines always give the same bytes, which is
//! what lets a batch be sent again under its key: IMPORTANT: another order or spelling of fields
//! would turn every pending batch into a conflict.

use serde::Serialize;

use crate::decode::combined::AccessLine;
use crate::limits;

/// A body under construction.
#[derive(Default)]
pub(super) struct Batch {
    body: Vec<u8>,
    entries: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    received_at: String,
    method: &'a str,
    path: &'a str,
    user_agent: &'a str,
}

/// The JSON of a line that the server will take, or why it will not.
pub(super) fn entry(line: &AccessLine<'_>) -> Result<Vec<u8>, String> {
    let too_long = |what: &str, has: usize, max: usize| {
        if has > max { Err(format!("{what} has {has} bytes, at most {max} count")) } else { Ok(()) }
    };
    too_long("the path", line.path.len(), limits::PATH_BYTES_MAX)?;
    too_long("the user agent", line.user_agent.len(), limits::USER_AGENT_BYTES_MAX)?;
    let entry = Entry {
        received_at: line.time.to_string(),
        method: &line.method,
        path: &line.path,
        user_agent: &line.user_agent,
    };
    serde_json::to_vec(&entry).map_err(|error| error.to_string())
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
