//! A client as a log shipper is one: it keeps its connection and sends each batch at least once.
//!
//! A batch is sent with the same key until it is answered 202 or 409. Only 429, 503 and a lost
//! connection are tried again; any other answer is a failure of the scenario.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use ureq::{Agent, Body, http};

use crate::server::Target;
use crate::traffic::Batch;

/// One request, from connecting to the last byte of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// One batch with all its retries; restarts of the server fall into it.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(90);
/// The pause before a retry grows by this step up to the maximum.
const BACKOFF_STEP: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// Larger than any answer of a scenario.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// The problem type of a finished duplicate.
const ALREADY_ACCEPTED: &str = "/problems/batch-already-accepted";
/// The detail of a 503 that leaves it open what became of the batch.
const FAILED_BEFORE_ANSWER: &str = "the server failed before it could answer";

/// Talks to the server wherever it listens at the moment.
pub(crate) struct Client {
    agent: Agent,
    target: Target,
    /// Sent with each query.
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The answer says when to try again.
    pub(crate) retry_after: bool,
    /// It is that of an earlier request.
    pub(crate) replayed: bool,
    pub(crate) body: String,
}

/// How a batch was finally answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) verdict: Verdict,
    /// An attempt before had no answer, so that attempt may be the accepted one.
    pub(crate) answer_lost: bool,
}

/// The two answers that end the sending of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 202
    Accepted,
    /// 409
    Duplicate,
}

impl Client {
    pub(crate) fn new(target: Target) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .build();
        Self { agent: config.new_agent(), target, token: None }
    }

    /// The same, asking with a token.
    pub(crate) fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    pub(crate) fn get(
        &self,
        path: &str,
        customer: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut request = self.agent.get(format!("{}{path}", self.target.url()));
        request = request.query_pairs(query.iter().copied());
        if let Some(customer) = customer {
            request = request.header("x-customer-id", customer);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(Answer::read(request.call()?)?)
    }

    /// Sends a batch until it is accepted or known to have been accepted, or until `stop`.
    pub(crate) fn deliver(&self, batch: &Batch, stop: &AtomicBool) -> Result<Delivery> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        let mut answer_lost = false;
        for attempt in 1.. {
            let last = match self.post(batch) {
                Ok(answer) => match answer.status {
                    202 | 409 => {
                        let verdict = answer.judge(batch)?;
                        return Ok(Delivery { verdict, answer_lost });
                    }
                    429 | 503 => answer.to_string(),
                    _ => bail!("batch {} of {}: {answer}", batch.key, batch.customer),
                },
                Err(error) => {
                    answer_lost = true;
                    error.to_string()
                }
            };
            ensure!(!stop.load(Ordering::Relaxed), "another sender failed first");
            if Instant::now() >= deadline {
                bail!("batch {} was not taken within {DELIVERY_TIMEOUT:?}: {last}", batch.key);
            }
            thread::sleep(BACKOFF_STEP.saturating_mul(attempt).min(BACKOFF_MAX));
        }
        unreachable!("the loop ends by returning")
    }

    /// Sends a batch once.
    pub(crate) fn post(&self, batch: &Batch) -> Result<Answer, ureq::Error> {
        let mut request = self
            .agent
            .post(format!("{}/logs", self.target.url()))
            .header("content-type", "application/json")
            .header("x-customer-id", &batch.customer)
            .header("idempotency-key", &batch.key);
        if let Some(encoding) = batch.encoding {
            request = request.header("content-encoding", encoding.name());
        }
        Answer::read(request.send(&batch.body)?)
    }

    /// Sends a body once as these headers say, to `/logs` with a query such as `?key=derive`.
    pub(crate) fn post_body(
        &self,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(format!("{}/logs{query}", self.target.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Answer::read(request.send(body)?)
    }
}

impl Answer {
    fn read(mut response: http::Response<Body>) -> Result<Self, ureq::Error> {
        let status = response.status().as_u16();
        let retry_after = response.headers().contains_key("retry-after");
        let replayed = response.headers().get("idempotency-replayed").is_some_and(|v| v == "true");
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string()?;
        Ok(Self { status, retry_after, replayed, body })
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {self}"))
    }

    /// Whether a 503 came from a server that had failed with the batch under way, so that only a
    /// retry tells whether the batch is in its journal.
    pub(crate) fn may_hide_an_accepted_batch(&self) -> bool {
        self.status == 503 && self.body.contains(FAILED_BEFORE_ANSWER)
    }

    /// Checks the body of a 202 or 409 against the batch, so that an answer cannot belong to
    /// another one.
    pub(crate) fn judge(&self, batch: &Batch) -> Result<Verdict> {
        let body = self.json()?;
        let (verdict, accepted) = match self.status {
            202 => (Verdict::Accepted, &body),
            _ => {
                ensure!(body["type"] == ALREADY_ACCEPTED, "expected {ALREADY_ACCEPTED}: {self}");
                (Verdict::Duplicate, &body["accepted"])
            }
        };
        ensure!(accepted["batchId"] == batch.key, "expected batch {:?}: {self}", batch.key);
        ensure!(accepted["entries"] == batch.entries, "sent {} entries: {self}", batch.entries);
        ensure!(
            accepted["windows"] == batch.minutes.len(),
            "touched {} minutes: {self}",
            batch.minutes.len()
        );
        Ok(verdict)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.body.chars().take(500).collect();
        write!(f, "answered {} {shown}", self.status)
    }
}
