//! Reading the windows of a run back from the server, to be compared with the books.

#![allow(clippy::disallowed_methods, reason = "retries of a client wait in real time")]

use std::thread;
use std::time::Instant;

use serde::Deserialize;
use ureq::Agent;

use super::books::{Answered, Books, Comparison, Places, Window};
use super::send::{REQUEST_TIMEOUT, Target};
use super::traffic::Traffic;
use crate::client::{self, Pauses, means_later, retry_after};
use crate::limits;

const MINUTE_SECONDS: i64 = 60;

#[derive(Deserialize)]
struct Page {
    windows: Vec<Answered>,
    next: Option<String>,
}

/// Compares every minute of every customer of the run with what the server answers.
///
/// # Errors
/// Why the server cannot be asked.
pub(super) fn verify(
    target: &Target,
    traffic: &Traffic,
    mut books: Books,
) -> Result<Comparison, String> {
    let agent = client::agent(&target.url, "logmill-loadgen", REQUEST_TIMEOUT);
    let (places, mut comparison) = (Places::new(traffic), Comparison::default());
    for (customer, (first, last)) in books.spans() {
        let mut query = Query {
            agent: &agent,
            target,
            customer: &traffic.shape.customers[usize::from(customer)],
            from: i64::from(first) * MINUTE_SECONDS,
            to: (i64::from(last) + 1) * MINUTE_SECONDS,
            cursor: None,
        };
        loop {
            let page = query.page()?;
            for answered in &page.windows {
                let minute = minute(&answered.window_start)
                    .ok_or_else(|| format!("no minute begins at {}", answered.window_start))?;
                let window = Window { customer, minute };
                books.compare(traffic, &places, window, answered, &mut comparison);
            }
            if page.next.is_none() {
                break;
            }
            if page.next == query.cursor {
                return Err(format!("the pages of {} do not go on", query.customer));
            }
            query.cursor = page.next;
        }
    }
    books.close(traffic, &mut comparison);
    Ok(comparison)
}

fn minute(start: &str) -> Option<u32> {
    let start: jiff::Timestamp = start.parse().ok()?;
    u32::try_from(start.as_second().div_euclid(MINUTE_SECONDS)).ok()
}

struct Query<'a> {
    agent: &'a Agent,
    target: &'a Target,
    customer: &'a str,
    /// In seconds since 1970.
    from: i64,
    to: i64,
    cursor: Option<String>,
}

impl Query<'_> {
    /// One page, asked for until the server has one.
    fn page(&self) -> Result<Page, String> {
        let (began, mut pauses) = (Instant::now(), Pauses::new(self.target.patience));
        loop {
            let (reason, after) = match self.ask() {
                Ok(response) if response.status() == 200 => {
                    let body = response.into_body().into_with_config();
                    let body = body.limit(limits::LOADGEN_ANSWER_BYTES_MAX).read_to_vec();
                    match body {
                        Ok(body) => {
                            return serde_json::from_slice(&body)
                                .map_err(|error| format!("{}: {error}", self.customer));
                        }
                        Err(error) => (error.to_string(), None),
                    }
                }
                Ok(response) => {
                    let status = response.status().as_u16();
                    let after = retry_after(response.headers());
                    let text = response.into_body().read_to_string().unwrap_or_default();
                    let text: String = text.chars().take(300).collect();
                    let reason = format!("GET /analytics is answered {status}: {text}");
                    if !means_later(status) {
                        return Err(reason);
                    }
                    (reason, after)
                }
                Err(error) if client::is_lasting(&error) => return Err(error.to_string()),
                Err(error) => (error.to_string(), None),
            };
            let waited = began.elapsed();
            // The server has answered before: it has acknowledged what is looked for.
            let Some(wait) = pauses.next(waited, true, after) else {
                return Err(format!("gave up after {} s: {reason}", waited.as_secs()));
            };
            thread::sleep(wait);
        }
    }

    fn ask(&self) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let time = |seconds| {
            jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
        };
        let mut request = self
            .agent
            .get(format!("{}/analytics", self.target.url))
            .query("windowSize", "minute")
            .query("from", time(self.from))
            .query("to", time(self.to))
            .header("x-customer-id", self.customer);
        if let Some(cursor) = &self.cursor {
            request = request.query("cursor", cursor);
        }
        if let Some(authorization) = self.target.authorization() {
            request = request.header("authorization", authorization);
        }
        request.call()
    }
}
