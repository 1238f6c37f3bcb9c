//! What the clients of a running server share: how they reach it, who they say they are, what an
//! answer to a batch means, and how long they pause before they try again; `ask` has answers to
//! questions, page by page.
//!
//! It must never take an answer for an acknowledgement that does not say so: only 202, and 409 of
//! the type [`ALREADY_ACCEPTED`], are. And 429, 502, 503, 504 and a lost connection alone mean
//! "again".

mod ask;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder};

pub(crate) use ask::Page;
pub use ask::{AskError, Question, Server};

use crate::limits;

/// The media type of batches, and of most answers.
pub(crate) const JSON: &str = "application/json";
/// Problem type of a batch that was counted before.
const ALREADY_ACCEPTED: &str = "/problems/batch-already-accepted";

/// A bearer token (RFC 6750); never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Any that a server may have in its tokens file, and more. None at all is how compose files
    /// and shells write "not set".
    ///
    /// # Errors
    /// It has other characters.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token consists of visible ASCII characters");
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the header; none if the token is empty, which means that there is none.
    pub(crate) fn authorization(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("Bearer {}", self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The first pause; each further one may be twice as long.
    pub(crate) pause_min: Duration,
    /// The longest pause, unless the server asks for a longer one.
    pub(crate) pause_max: Duration,
    /// When to give up on a batch.
    pub(crate) give_up_after: Duration,
    /// When to give up if the server has never answered: it is more likely not there at all.
    pub(crate) give_up_at_first_after: Duration,
}

impl Patience {
    /// For most.
    pub(crate) const USUAL: Self = Self {
        pause_min: Duration::from_millis(200),
        pause_max: Duration::from_secs(30),
        give_up_after: Duration::from_secs(5 * 60),
        give_up_at_first_after: Duration::from_secs(10),
    };
    /// For whose batches wait safely for as long as the server is away.
    pub(crate) const ENDLESS: Self =
        Self { give_up_after: Duration::MAX, give_up_at_first_after: Duration::MAX, ..Self::USUAL };

    /// The same for a server that is known to be there.
    pub(crate) fn of_known(self) -> Self {
        Self { give_up_at_first_after: self.give_up_after, ..self }
    }
}

/// The pauses between the tries of one batch.
#[derive(Debug)]
pub(crate) struct Pauses {
    patience: Patience,
    next: Duration,
}

impl Pauses {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, next: patience.pause_min }
    }

    /// How long to wait now, no less than the server has asked for; none if that is too long, after
    /// so much time, given whether the server has ever answered anything.
    pub(crate) fn next(
        &mut self,
        waited: Duration,
        heard: bool,
        after: Option<Duration>,
    ) -> Option<Duration> {
        let Patience { give_up_after, give_up_at_first_after, pause_max, .. } = self.patience;
        let wait = jittered(self.next).max(after.unwrap_or_default());
        self.next = (self.next * 2).min(pause_max);
        let most = if heard { give_up_after } else { give_up_at_first_after };
        (waited + wait <= most).then_some(wait)
    }
}

/// What the server has done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// Counted now.
    Accepted,
    /// Counted when it was sent before.
    Already,
}

/// What the server says it has counted of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Receipt {
    /// The key of the batch.
    pub(crate) batch_id: String,
    pub(crate) entries: usize,
    /// Minutes that the entries are of.
    pub(crate) windows: usize,
}

/// The parts of problem+json that clients need.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    detail: String,
    accepted: Receipt,
}

impl Problem {
    /// What a body says, and that in words, whatever it is.
    fn read(body: &str) -> (Self, String) {
        let problem: Self = serde_json::from_str(body).unwrap_or_default();
        let text = body.trim().chars().take(300).collect();
        let said = [&problem.detail, &problem.title, &text].into_iter().find(|t| !t.is_empty());
        let detail = said.cloned().unwrap_or_default();
        (problem, detail)
    }
}

/// What one try to send a batch came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The batch is counted.
    Posted(Posted, Receipt),
    /// Try again, after this long if the server said so.
    Later { reason: String, after: Option<Duration> },
    /// It will not be taken; the status is 0 if the request cannot even be made.
    Refused { status: u16, detail: String },
}

/// An HTTP client that calls itself `name` and gives each request that long.
pub(crate) fn agent(url: &str, name: &str, timeout: Duration) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(timeout))
        .user_agent(format!("{name}/{}", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        // A proxy could not reach this machine's own loopback.
        config = config.proxy(None);
    }
    config.build().into()
}

/// The request that brings a batch, still without its body.
pub(crate) fn request(
    agent: &Agent,
    logs_url: &str,
    customer: &str,
    key: &str,
    authorization: Option<&str>,
) -> RequestBuilder<WithBody> {
    let request = agent
        .post(logs_url)
        .header("content-type", JSON)
        .header("x-customer-id", customer)
        .header("idempotency-key", key);
    match authorization {
        Some(authorization) => request.header("authorization", authorization),
        None => request,
    }
}

/// What an answer to `POST /logs` means. Its body is read to the end, so that the connection can
/// take the next request.
pub(crate) fn judge(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let read = body
        .into_with_config()
        .limit(limits::IMPORT_ANSWER_BYTES_MAX)
        .lossy_utf8(true)
        .read_to_string();
    // Of a body that breaks off, the status is still true.
    let text = read.unwrap_or_default();
    if status == 202 {
        let replayed = parts.headers.contains_key("idempotency-replayed");
        let posted = if replayed { Posted::Already } else { Posted::Accepted };
        return Answer::Posted(posted, serde_json::from_str(&text).unwrap_or_default());
    }
    let (problem, detail) = Problem::read(&text);
    if status == 409 && problem.kind.ends_with(ALREADY_ACCEPTED) {
        return Answer::Posted(Posted::Already, problem.accepted);
    }
    if means_later(status) {
        let after = retry_after(&parts.headers);
        return Answer::Later { reason: format!("the server answers {status}: {detail}"), after };
    }
    Answer::Refused { status, detail }
}

/// What it means that there is no answer: a batch may have been counted, or never have arrived.
pub(crate) fn failed(error: &ureq::Error) -> Answer {
    if is_lasting(error) {
        Answer::Refused { status: 0, detail: error.to_string() }
    } else {
        Answer::Later { reason: error.to_string(), after: None }
    }
}

/// Whether an answer with this status asks for another try; 502 and 504 come from a proxy that does
/// not reach the server.
fn means_later(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
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

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test makes a tokens file")]

    use super::*;
    use crate::decode::Formats;
    use crate::entropy::SystemEntropy;
    use crate::tokens::Tokens;

    /// Whatever a server takes can be sent to it.
    #[test]
    fn a_token_of_a_server_is_one_of_a_client() {
        let visible: String = ('!'..='~').collect();
        let home = tempfile::tempdir().expect("a directory");
        let (path, quoted) = (home.path().join("tokens.toml"), toml::Value::from(&*visible));
        std::fs::write(&path, format!("[[token]]\ntoken = {quoted}\noperator = true\n"))
            .expect("written");
        let server = Tokens::open(&path, Formats::default(), &SystemEntropy).expect("a right file");
        assert!(server.find(&visible).is_some());
        let client = Token::new(&visible).expect("a token");
        assert_eq!(client.authorization(), Some(format!("Bearer {visible}")));
        assert!(!format!("{client:?}").contains(&visible));

        for no_token in ["two words", "s\u{e9}cret", "a\n"] {
            assert!(Token::new(no_token).is_err(), "{no_token:?}");
        }
        assert_eq!(Token::new("").expect("none").authorization(), None);
    }
}
