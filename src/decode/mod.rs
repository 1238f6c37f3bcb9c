//! Bodies to entries. Each format is one file; all hand on what [`entry`](crate::entry) checks.
//!
//! Pure: no I/O, no clock. A body is decoded whole before anything of it counts.

pub mod combined;
pub mod encoding;
pub mod json;
pub mod rfc3339;

use serde::Serialize;

use crate::insight::{Summariser, Summary};
use crate::user_agent::AgentCache;

/// The format of a body. The number is part of content digests and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// A JSON array of objects with `receivedAt`, `method`, `path`, `userAgent`.
    Json = 1,
}

impl Format {
    /// Its number in content digests.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// Why a body was refused. Nothing of it counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not what its content type says.
    #[error("{0}")]
    Syntax(String),
    /// There is nothing in it.
    #[error("the batch has no entries; send at least one")]
    Empty,
    /// Entries break a rule.
    #[error("invalid entries: {count}; nothing of the batch was stored")]
    Entries {
        /// How many entries are invalid.
        count: usize,
        /// The first of them, at most [`crate::limits::ENTRY_ERRORS_LISTED_MAX`].
        listed: Vec<EntryError>,
    },
}

/// What is wrong with one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryError {
    /// Place in the batch, from 0.
    pub index: usize,
    /// The field, where it is one field's fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// What is wrong.
    pub reason: String,
}

/// Decodes a body and sums it up: the whole of what happens to a batch before the sequencer.
///
/// # Errors
/// [`DecodeError`] says what the sender has to mend.
pub fn summarise(
    format: Format,
    body: &[u8],
    agents: &mut AgentCache,
) -> Result<Summary, DecodeError> {
    let mut sum = Summariser::new(agents, body.len());
    match format {
        Format::Json => json::decode(body, &mut sum)?,
    }
    let summary = sum.finish();
    if summary.entries == 0 { Err(DecodeError::Empty) } else { Ok(summary) }
}
