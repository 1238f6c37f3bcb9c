//! What `logmill top`, `series`, `tail` and `export` show of a running server.
//!
//! # Layout
//!
//! `answer` is what the server says, and `error` that it does not; `text` makes it fit for a
//! terminal; `top`, `series` and `tail` each draw one thing; `export` copies answers, and
//! `file` keeps half of one from being taken for all of it.
//!
//! This is a client: it asks by HTTP alone, and counts nothing. Names come from whoever visited a
//! site: none may reach a terminal with a control character in it, and none may break a line of a
//! table.

mod answer;
mod error;
mod export;
mod file;
mod series;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod top;

use std::time::Duration;

use crate::client::{Patience, Token};

pub use crate::client::{AskError, Question, Server};
pub use error::ViewError;
pub use export::{Form, Progress, export};
pub use file::whole_file;
pub use series::series;
pub use tail::tail;
pub use text::Screen;
pub use top::top;

const PATIENCE: Patience = Patience {
    pause_min: Duration::from_millis(200),
    pause_max: Duration::from_secs(5),
    give_up_after: Duration::from_secs(60),
    give_up_at_first_after: Duration::ZERO,
};

/// The server at `url`, asked by this customer and with this token.
#[must_use]
pub fn server(url: String, customer: Option<String>, token: Option<&Token>) -> Server {
    Server::new("logmill-view", url, customer, token, PATIENCE)
}
