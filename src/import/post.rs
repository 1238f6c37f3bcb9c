//! Sending one batch until the server has answered for it.
//!
//! Owns the HTTP client, what each answer means, and the retries. It must never try another key for
//! a batch, and never take an answer for an acknowledgement that does not say so: only 202, and 409
//! of the type [`ALREADY_ACCEPTED`], are.

#![allow(clippy::disallowed_methods, reason = "retries of the import client wait in real time")]

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::ImportError;
use crate::limits;

/// Problem type of a batch that was counted before.
const ALREADY_ACCEPTED: &str = "/problems/batch-already-accepted";

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The first pause; each further one may be twice as long.
    pub(super) pause_min: Duration,
    /// The longest pause, unless the server asks for a longer one.
    pub(super) pause_max: Duration,
    /// When to give up on a batch.
    pub(super) give_up_after: Duration,
    /// When to give up if the server has never answered: it is more likely not there at all.
    pub(super) give_up_at_first_after: Duration,
}

impl Patience {
    /// For a follower: its logs wait on the disk for as long as the server is away.
    pub(super) const ENDLESS: Self = Self {
        pause_min: Duration::from_millis(200),
        pause_max: Duration::from_secs(30),
        give_up_after: Duration::MAX,
        give_up_at_first_after: Duration::MAX,
    };
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pause_min: Duration::from_millis(200),
            pause_max: Duration::from_secs(30),
            give_up_after: Duration::from_secs(5 * 60),
            give_up_at_first_after: Duration::from_secs(10),
        }
    }
}

/// What the server has done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Posted {
    /// Counted now.
    Accepted,
    /// Counted when it was sent before.
    Already,
}

/// Where batches go, for whom.
pub(super) struct Poster {
    agent: Agent,
    logs_url: String,
    customer: String,
    authorization: Option<String>,
    patience: Patience,
    /// Whether the server has ever answered anything.
    heard: Cell<bool>,
}

/// The parts of problem+json that are shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    detail: String,
}

enum Answer {
    Posted(Posted),
    /// Try again, after this long if the server said so.
    Later {
        reason: String,
        after: Option<Duration>,
    },
    Refused {
        status: u16,
        detail: String,
    },
}

impl Poster {
    pub(super) fn new(url: &str, customer: &str, token: Option<&str>, patience: Patience) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(Duration::from_secs(60)))
            .user_agent(concat!("logmill-import/", env!("CARGO_PKG_VERSION")));
        if is_loopback(url) {
            // A proxy could not reach this machine's own loopback.
            config = config.proxy(None);
        }
        Self {
            agent: config.build().into(),
            logs_url: format!("{url}/logs"),
            customer: customer.into(),
            authorization: token.map(|token| format!("Bearer {token}")),
            patience,
            heard: Cell::new(false),
        }
    }

    /// Sends `body` under `key` until there is an answer. `pause` hears before each retry why it is
    /// made, lets that long pass, and says whether to go on.
    pub(super) fn post(
        &self,
        key: &str,
        body: &[u8],
        pause: &mut dyn FnMut(&str, Duration) -> io::Result<bool>,
    ) -> Result<Posted, ImportError> {
        let started = Instant::now();
        let mut longest = self.patience.pause_min;
        loop {
            let (reason, after) = match self.post_once(key, body) {
                Answer::Posted(posted) => return Ok(posted),
                Answer::Refused { status, detail } => {
                    return Err(ImportError::Refused { status, detail });
                }
                Answer::Later { reason, after } => (reason, after),
            };
            let wait = jittered(longest).max(after.unwrap_or_default());
            let waited = started.elapsed();
            let patience = if self.heard.get() {
                self.patience.give_up_after
            } else {
                self.patience.give_up_at_first_after
            };
            if waited + wait > patience {
                return Err(ImportError::GaveUp { seconds: waited.as_secs(), reason });
            }
            if !pause(&reason, wait)? {
                return Err(ImportError::Stopped { reason });
            }
            longest = (longest * 2).min(self.patience.pause_max);
        }
    }

    fn post_once(&self, key: &str, body: &[u8]) -> Answer {
        let mut request = self
            .agent
            .post(&self.logs_url)
            .header("content-type", "application/json")
            .header("x-customer-id", &self.customer)
            .header("idempotency-key", key);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        match request.send(body) {
            Ok(response) => {
                self.heard.set(true);
                judge(response)
            }
            Err(error) if is_lasting(&error) => {
                Answer::Refused { status: 0, detail: error.to_string() }
            }
            Err(error) => Answer::Later { reason: error.to_string(), after: None },
        }
    }
}

fn judge(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    if status == 202 {
        let replayed = parts.headers.contains_key("idempotency-replayed");
        return Answer::Posted(if replayed { Posted::Already } else { Posted::Accepted });
    }
    let read = body
        .into_with_config()
        .limit(limits::IMPORT_ANSWER_BYTES_MAX)
        .lossy_utf8(true)
        .read_to_string();
    let text = read.unwrap_or_default();
    let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    if status == 409 && problem.kind.ends_with(ALREADY_ACCEPTED) {
        return Answer::Posted(Posted::Already);
    }
    let said = [problem.detail, problem.title, text.trim().chars().take(300).collect()];
    let detail = said.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    // 502 and 504 come from a proxy that does not reach the server.
    if matches!(status, 429 | 502 | 503 | 504) {
        let after = retry_after(&parts.headers);
        return Answer::Later { reason: format!("the server answers {status}: {detail}"), after };
    }
    Answer::Refused { status, detail }
}

/// `Retry-After` in seconds; a date there leaves the pause to us.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Errors that no retry can end: they lie in what the user asked for.
fn is_lasting(error: &ureq::Error) -> bool {
    use ureq::Error;
    matches!(error, Error::BadUri(_) | Error::Http(_) | Error::InvalidProxyUrl | Error::Tls(_))
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
}

/// Between half of `pause` and all of it, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1_000;
    let share = u32::try_from(random).unwrap_or_default();
    pause / 2 + pause / 2 * share / 1_000
}
