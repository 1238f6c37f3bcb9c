//! What `logmill top`, `series`, `tail` and `export` show of a running server.
//!
//! # Layout
//!
//! `ask` puts a question to the server, page by page; `answer` is what it says; `text` makes it fit
//! for a terminal; `top`, `series` and `tail` each draw one thing; `export` copies answers, and
//! `file` keeps half of one from being taken for all of it.
//!
//! This is a client: it asks by HTTP alone, and counts nothing. Names come from whoever visited a
//! site: none may reach a terminal with a control character in it, and none may break a line of a
//! table.

mod answer;
mod ask;
mod export;
mod file;
mod series;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod top;

pub use ask::{Question, Server, ViewError};
pub use export::{Form, Progress, export};
pub use file::whole_file;
pub use series::series;
pub use tail::tail;
pub use text::Screen;
pub use top::top;
