//! Entrances for fuzzers: each takes bytes that an attacker or a broken disk may have chosen, hands
//! them to the code that meets them first, and panics if that breaks a promise.
//!
//! `fuzz/` has a cargo-fuzz target for each; `cargo test` replays their corpora, and inputs made
//! from them, through the same functions. What needs private parts of a module is a `fuzz` module
//! below it. Not part of the server: compiled for tests and fuzzers only.

mod bodies;
mod entries;
mod files;
mod forms;
mod settings;

#[cfg(test)]
mod tests;

pub use bodies::{json_body, rfc3339, summary};
pub use entries::{body, dead_letters};
pub(crate) use files::Files;
pub use forms::time;
pub use settings::config;

pub use crate::claim::fuzz_page as claim_page;
pub use crate::http::fuzz::{headers, query_string};
pub use crate::import::fuzz::combined_line;
pub use crate::journal::fuzz_segment as segment;
pub use crate::store::fuzz_rows as store_rows;

/// Whether the bytes were taken for what they claim to be; tells how deep an input reaches.
pub type Taken = bool;

/// An entrance.
pub type Target = fn(&[u8]) -> Taken;

/// Every target by the name of its binary and its corpus in `fuzz/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("json_body", json_body),
    ("body", body),
    ("dead_letters", dead_letters),
    ("time", time),
    ("combined_line", combined_line),
    ("rfc3339", rfc3339),
    ("headers", headers),
    ("query_string", query_string),
    ("config", config),
    ("summary", summary),
    ("segment", segment),
    ("claim_page", claim_page),
    ("store_rows", store_rows),
];
