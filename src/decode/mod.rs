//! Bodies to entries: what surrounds them (`json.rs`, `lines.rs`, `csv.rs`), then what they say
//! (`mapping.rs`, `combined.rs`). All hand on what [`entry`](crate::entry) checks.
//!
//! Pure: no I/O, no clock. A body is decoded whole before anything of it counts. logmill's own
//! entries are first read by `scan.rs`, which takes the usual quickly and gives up at the rest.

pub mod combined;
mod csv;
pub mod encoding;
mod format;
mod json;
mod layout;
mod line_reader;
mod lines;
mod mapping;
mod object;
mod presets;
mod records;
pub mod rfc3339;
mod scan;
mod time;

use serde::Serialize;

use crate::dead_letters::DeadLetters;
use crate::insight::{Summariser, Summary};
use crate::limits;
use crate::paths::PathRules;
use crate::user_agent::AgentCache;

pub use format::{CsvHeader, Fields, Format, Formats, Framing};
pub use line_reader::{End, LineReader};
pub use mapping::{Mapping, Missing, Places, Reader};
pub use time::TimeForm;

/// What becomes of a batch that holds invalid entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnInvalid {
    /// It is refused; nothing of it counts.
    #[default]
    Reject,
    /// The others count, and these are put aside.
    Skip,
}

impl OnInvalid {
    /// The choice of a name, as it stands in a URL or a file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "reject" => Some(Self::Reject),
            "skip" => Some(Self::Skip),
            _ => None,
        }
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
        /// The first of them, at most [`limits::ENTRY_ERRORS_LISTED_MAX`].
        listed: Vec<EntryError>,
    },
    /// It touches more minutes than a batch may.
    #[error("the batch touches more than {} minutes; send it in parts", limits::BATCH_WINDOWS_MAX)]
    TooManyWindows,
    /// So many entries break a rule that they are not put aside.
    #[error(
        "invalid entries: {count}, and at most {} of a batch are put aside; nothing of it was stored",
        limits::BATCH_DEAD_LETTERS_MAX
    )]
    TooManyInvalid {
        /// How many entries are invalid.
        count: usize,
        /// The first of them, at most [`limits::ENTRY_ERRORS_LISTED_MAX`].
        listed: Vec<EntryError>,
    },
}

/// What is wrong with one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryError {
    /// Place in the batch, from 0.
    pub index: usize,
    /// The field as the format calls it, where it is one field's fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Box<str>>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for EntryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field} {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// How bodies are read and counted.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'r> {
    /// What becomes of invalid entries.
    pub on_invalid: OnInvalid,
    /// Which paths count as one.
    pub paths: &'r PathRules,
}

/// What a body came to.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// What counts.
    pub summary: Summary,
    /// What was put aside.
    pub dead: DeadLetters,
    /// What is wrong with that, as far as it is listed.
    pub listed: Vec<EntryError>,
}

/// Decodes a body and sums it up: the whole of what happens to a batch before the sequencer.
///
/// # Errors
/// [`DecodeError`] says what the sender has to mend.
pub fn decode(
    format: &Format,
    body: &[u8],
    rules: Rules<'_>,
    agents: &mut AgentCache,
) -> Result<Decoded, DecodeError> {
    // Some editors begin every text with it; it says nothing.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if format.is_usual() {
        let mut sum = Summariser::new(agents, rules.paths, body.len());
        if scan::scan(format.framing, body, &mut sum).is_some() {
            return finish(sum, DeadLetters::default(), Vec::new());
        }
    }
    let mut sum = Summariser::new(agents, rules.paths, body.len());
    let (dead, listed) = records::read(format, body, rules.on_invalid, &mut sum)?;
    finish(sum, dead, listed)
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn finish(
    sum: Summariser<'_>,
    dead: DeadLetters,
    listed: Vec<EntryError>,
) -> Result<Decoded, DecodeError> {
    if sum.is_overfull() {
        return Err(DecodeError::TooManyWindows);
    }
    let summary = sum.finish();
    if summary.entries == 0 && dead.is_empty() {
        return Err(DecodeError::Empty);
    }
    Ok(Decoded { summary, dead, listed })
}

/// The same by no rules of a user's: all entries must be valid, and paths count as they are.
///
/// # Errors
/// As [`decode`].
pub fn summarise(
    format: &Format,
    body: &[u8],
    agents: &mut AgentCache,
) -> Result<Summary, DecodeError> {
    let rules = Rules { on_invalid: OnInvalid::Reject, paths: &PathRules::default() };
    decode(format, body, rules, agents).map(|decoded| decoded.summary)
}

#[cfg(test)]
mod tests;
