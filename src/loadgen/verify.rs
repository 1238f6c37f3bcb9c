//! Reading the windows of a run back from the server, to be compared with the books.

use jiff::Timestamp;
use serde::Deserialize;

use super::books::{Answered, Books, Comparison, Places, Window};
use super::send::Target;
use super::traffic::Traffic;
use crate::client::{AskError, JSON, Page, Question, Server};

const MINUTE_SECONDS: i64 = 60;

#[derive(Deserialize)]
struct Windows {
    windows: Vec<Answered>,
}

/// Compares every minute of every customer of the run with what the server answers.
///
/// # Errors
/// Why the server cannot be asked.
pub(super) fn verify(
    target: &Target,
    traffic: &Traffic,
    mut books: Books,
) -> Result<Comparison, AskError> {
    // The server has answered before: it has acknowledged what is looked for.
    let (patience, token) = (target.patience.of_known(), target.token.as_ref());
    let server = Server::new("logmill-loadgen", target.url.clone(), None, token, patience);
    let (places, mut comparison) = (Places::new(traffic), Comparison::default());
    for (customer, (first, last)) in books.spans() {
        let server = server.of(&traffic.shape.customers[usize::from(customer)]);
        let question = Question::new("/analytics").with("windowSize", Some("minute"));
        let question = question.about("/analytics", start(first), start(last.saturating_add(1)));
        let compare = |page: Page| -> Result<bool, AskError> {
            let page: Windows =
                serde_json::from_slice(&page.body).map_err(|error| server.foreign(&error))?;
            for answered in &page.windows {
                let start = &answered.window_start;
                let no_minute = || server.foreign(&format!("no minute begins at {start}"));
                let minute = minute(start).ok_or_else(no_minute)?;
                let window = Window { customer, minute };
                books.compare(traffic, &places, window, answered, &mut comparison);
            }
            Ok(true)
        };
        server.pages(&question, JSON, compare)?;
    }
    books.close(traffic, &mut comparison);
    Ok(comparison)
}

fn start(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * MINUTE_SECONDS).unwrap_or(Timestamp::MAX)
}

fn minute(start: &str) -> Option<u32> {
    let start: Timestamp = start.parse().ok()?;
    u32::try_from(start.as_second().div_euclid(MINUTE_SECONDS)).ok()
}
