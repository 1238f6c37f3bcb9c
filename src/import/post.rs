//! Sending one batch until the server has answered for it.
//!
//! Owns the retries. It must never try another key for a batch. What an answer means is in
//! [`crate::client`].

#![allow(clippy::disallowed_methods, reason = "retries of the import client wait in real time")]

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use ureq::Agent;

use super::ImportError;
use super::batch::Batch;
use crate::client::{self, Answer, Pauses, Token};
pub(super) use crate::client::{Patience, Posted};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

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

impl Poster {
    /// Batches are of the format that the server knows by this name.
    pub(super) fn new(
        url: &str,
        customer: &str,
        format: &str,
        token: Option<&Token>,
        patience: Patience,
    ) -> Self {
        Self {
            agent: client::agent(url, "logmill-import", REQUEST_TIMEOUT),
            // Said although it is the default: the token may have another.
            logs_url: format!("{url}/logs?format={format}&on_invalid=reject"),
            customer: customer.into(),
            authorization: token.and_then(Token::authorization),
            patience,
            heard: Cell::new(false),
        }
    }

    /// Sends a batch under `key` until there is an answer. `pause` hears before each retry why it
    /// is made, lets that long pass, and says whether to go on.
    pub(super) fn post(
        &self,
        key: &str,
        batch: &Batch,
        pause: &mut dyn FnMut(&str, Duration) -> io::Result<bool>,
    ) -> Result<Posted, ImportError> {
        let (body, mut is_first) = (batch.body(), true);
        let started = Instant::now();
        let mut pauses = Pauses::new(self.patience);
        loop {
            let (reason, after) = match self.post_once(key, &body) {
                Answer::Posted(posted, _) => return Ok(posted),
                Answer::Refused { status: 413, detail } if is_first => {
                    let (entries, bytes) = (batch.entries(), body.len());
                    return Err(ImportError::TooLarge { entries, bytes, detail });
                }
                Answer::Refused { status, detail } => {
                    return Err(ImportError::Refused { status, detail });
                }
                Answer::Later { reason, after } => (reason, after),
            };
            let waited = started.elapsed();
            let Some(wait) = pauses.next(waited, self.heard.get(), after) else {
                return Err(ImportError::GaveUp { seconds: waited.as_secs(), reason });
            };
            if !pause(&reason, wait)? {
                return Err(ImportError::Stopped { reason });
            }
            is_first = false;
        }
    }

    fn post_once(&self, key: &str, body: &[u8]) -> Answer {
        let authorization = self.authorization.as_deref();
        let (agent, url) = (&self.agent, &self.logs_url);
        let request = client::request(agent, url, &self.customer, key, authorization);
        match request.send(body) {
            Ok(response) => {
                self.heard.set(true);
                client::judge(response)
            }
            Err(error) => client::failed(&error),
        }
    }
}
