//! Sending one batch until the server has answered for it.
//!
//! Owns the retries; what an answer means is in [`crate::client`]. It must never try another key
//! for a batch.

#![allow(clippy::disallowed_methods, reason = "retries of the import client wait in real time")]

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use super::ImportError;
use crate::client::{self, Answer};
pub(super) use crate::client::{Patience, Posted};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where batches go, for whom.
pub(super) struct Poster {
    agent: Agent,
    logs_url: String,
    customer: String,
    patience: Patience,
    /// Whether the server has ever answered anything.
    heard: Cell<bool>,
}

impl Poster {
    pub(super) fn new(url: &str, customer: &str, patience: Patience) -> Self {
        Self {
            agent: client::agent(url, "logmill-import", REQUEST_TIMEOUT),
            logs_url: format!("{url}/logs"),
            customer: customer.into(),
            patience,
            heard: Cell::new(false),
        }
    }

    /// Sends `body` under `key` until there is an answer; `on_retry` hears why each retry is made.
    pub(super) fn post(
        &self,
        key: &str,
        body: &[u8],
        on_retry: &mut dyn FnMut(&str),
    ) -> Result<Posted, ImportError> {
        let started = Instant::now();
        let mut pause = self.patience.pause_min;
        loop {
            let (reason, after) = match self.post_once(key, body) {
                Answer::Posted(posted, _) => return Ok(posted),
                Answer::Refused { status, detail } => {
                    return Err(ImportError::Refused { status, detail });
                }
                Answer::Later { reason, after } => (reason, after),
            };
            let wait = client::jittered(pause).max(after.unwrap_or_default());
            let waited = started.elapsed();
            let patience = if self.heard.get() {
                self.patience.give_up_after
            } else {
                self.patience.give_up_at_first_after
            };
            if waited + wait > patience {
                return Err(ImportError::GaveUp { seconds: waited.as_secs(), reason });
            }
            on_retry(&reason);
            thread::sleep(wait);
            pause = (pause * 2).min(self.patience.pause_max);
        }
    }

    fn post_once(&self, key: &str, body: &[u8]) -> Answer {
        let request = self
            .agent
            .post(&self.logs_url)
            .header("content-type", "application/json")
            .header("x-customer-id", &self.customer)
            .header("idempotency-key", key);
        match request.send(body) {
            Ok(response) => {
                self.heard.set(true);
                client::judge(response)
            }
            Err(error) => client::failed(&error),
        }
    }
}
