//! Asking a running server: one question, as many pages as its answer has.
//!
//! A page counts when it has been read to its end; until then it can be asked for again. What the
//! server says is handed on as it is: it may hold anything, and is not fit for a terminal.

#![allow(clippy::disallowed_methods, reason = "retries of a client wait in real time")]

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ureq::http::HeaderMap;

use super::{JSON, Patience, Pauses, Problem, Token, is_lasting, means_later, retry_after};
use crate::limits;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running server, on whose behalf it is asked, and how patiently.
#[derive(Clone)]
pub struct Server {
    agent: ureq::Agent,
    url: String,
    customer: Option<String>,
    authorization: Option<String>,
    patience: Patience,
}

/// What is asked: a route and its parameters, as the HTTP API names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    route: &'static str,
    parameters: Vec<(&'static str, String)>,
}

/// One page of an answer.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    /// The query of the next page.
    pub(crate) next: Option<String>,
    pub(crate) tag: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers.
    #[error("{url} does not answer: {reason}")]
    Unreachable {
        /// The server.
        url: String,
        /// What the last try failed with.
        reason: String,
    },
    /// The server will not answer that.
    #[error("{url} answers {status}: {detail}")]
    Refused {
        /// The server.
        url: String,
        /// The answer's status.
        status: u16,
        /// The problem's type.
        problem: String,
        /// What the server says about it.
        detail: String,
    },
    /// The answer is none of this API.
    #[error("{url} answers what is no answer of logmill: {reason}")]
    Foreign {
        /// The server.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Question {
    /// A question without parameters.
    #[must_use]
    pub fn new(route: &'static str) -> Self {
        Self { route, parameters: Vec::new() }
    }

    /// The same with a parameter, if it is given.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.parameters.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// The same of another route, about this time.
    pub(crate) fn about(&self, route: &'static str, from: Timestamp, to: Timestamp) -> Self {
        let mut parameters = self.parameters.clone();
        parameters.retain(|(name, _)| !matches!(*name, "from" | "to"));
        Self { route, parameters }.with("from", Some(from)).with("to", Some(to))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }
}

impl Server {
    /// The server at `url`, asked by a client of this name.
    pub(crate) fn new(
        name: &str,
        url: String,
        customer: Option<String>,
        token: Option<&Token>,
        patience: Patience,
    ) -> Self {
        let agent = super::agent(&url, name, TIMEOUT);
        let authorization = token.and_then(Token::authorization);
        Self { agent, url, customer, authorization, patience }
    }

    /// The same, asked on behalf of this customer.
    pub(crate) fn of(&self, customer: &str) -> Self {
        Self { customer: Some(customer.to_owned()), ..self.clone() }
    }

    /// The same, given one try for each page: whoever looks again and again needs no other.
    pub(crate) fn once(&self) -> Self {
        let never = Duration::ZERO;
        let patience =
            Patience { give_up_after: never, give_up_at_first_after: never, ..self.patience };
        Self { patience, ..self.clone() }
    }

    /// Every page of the answer, in order, until `take` wants no more.
    pub(crate) fn pages<E: From<AskError>>(
        &self,
        question: &Question,
        accept: &str,
        take: impl FnMut(Page) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.pages_unless(None, question, accept, take).map(drop)
    }

    /// The same of JSON, unless the answer is the one with this tag; then what to know it by. An
    /// answer of several pages has no tag: that of the first says nothing of those behind it.
    pub(crate) fn changed_pages<E: From<AskError>>(
        &self,
        known: Option<&str>,
        question: &Question,
        take: impl FnMut(Page) -> Result<bool, E>,
    ) -> Result<Option<String>, E> {
        self.pages_unless(known, question, JSON, take)
    }

    fn pages_unless<E: From<AskError>>(
        &self,
        known: Option<&str>,
        question: &Question,
        accept: &str,
        mut take: impl FnMut(Page) -> Result<bool, E>,
    ) -> Result<Option<String>, E> {
        let mut query: Option<String> = None;
        loop {
            let known = known.filter(|_| query.is_none());
            let Some(page) = self.page(question, query.as_deref(), accept, known)? else {
                return Ok(known.map(str::to_owned));
            };
            let (next, tag) = (page.next.clone(), page.tag.clone());
            let wants_more = take(page)?;
            if next.is_none() || !wants_more {
                return Ok(tag.filter(|_| query.is_none() && next.is_none()));
            }
            if next == query {
                return Err(self.foreign("its pages do not go on").into());
            }
            query = next;
        }
    }

    /// The answer's only page, or its first.
    pub(crate) fn first_page(&self, question: &Question) -> Result<Page, AskError> {
        let page = self.page(question, None, JSON, None)?;
        page.ok_or_else(|| self.foreign("nothing has changed, unasked"))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn foreign(&self, reason: &(impl ToString + ?Sized)) -> AskError {
        AskError::Foreign { url: self.url.clone(), reason: reason.to_string() }
    }

    fn unreachable(&self, reason: String) -> AskError {
        AskError::Unreachable { url: self.url.clone(), reason }
    }

    /// A page, unless it is the one with this tag.
    fn page(
        &self,
        question: &Question,
        query: Option<&str>,
        accept: &str,
        known: Option<&str>,
    ) -> Result<Option<Page>, AskError> {
        let (began, mut pauses, mut heard) = (Instant::now(), Pauses::new(self.patience), false);
        loop {
            let (reason, after) = match self.ask(question, query, accept, known) {
                Ok(page) => return Ok(page),
                Err(Failed::Lasting(error)) => return Err(*error),
                Err(Failed::Passing { reason, after, answered }) => {
                    heard |= answered || query.is_some();
                    (reason, after)
                }
            };
            let Some(wait) = pauses.next(began.elapsed(), heard, after) else {
                return Err(self.unreachable(reason));
            };
            thread::sleep(wait);
        }
    }

    fn ask(
        &self,
        question: &Question,
        query: Option<&str>,
        accept: &str,
        known: Option<&str>,
    ) -> Result<Option<Page>, Failed> {
        let route = format!("{}{}", self.url, question.route);
        let mut request = match query {
            Some(query) => self.agent.get(format!("{route}?{query}")),
            None => {
                let parameters = question.parameters.iter();
                self.agent.get(route).query_pairs(parameters.map(|(name, value)| (*name, &**value)))
            }
        };
        request = request.header("accept", accept);
        for (name, value) in [
            ("x-customer-id", self.customer.as_deref()),
            ("authorization", self.authorization.as_deref()),
            ("if-none-match", known),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) if is_lasting(&error) => {
                return Err(Failed::lasting(self.unreachable(error.to_string())));
            }
            Err(error) => return Err(Failed::passing(error.to_string(), None, false)),
        };
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        if status == 304 && known.is_some() {
            return Ok(None);
        }
        let body = body.into_with_config().limit(limits::PAGE_READ_BYTES_MAX).read_to_vec();
        let body = match body {
            Ok(body) => body,
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                return Err(Failed::lasting(self.foreign("a page without an end")));
            }
            Err(error) => return Err(Failed::passing(error.to_string(), None, true)),
        };
        if status == 200 {
            let tag = parts.headers.get("etag").and_then(|tag| tag.to_str().ok());
            let (next, tag) = (next(&parts.headers), tag.map(str::to_owned));
            return Ok(Some(Page { body, next, tag }));
        }
        let (problem, detail) = Problem::read(&String::from_utf8_lossy(&body));
        if means_later(status) {
            let reason = format!("it says {status}: {detail}");
            return Err(Failed::passing(reason, retry_after(&parts.headers), true));
        }
        let url = self.url.clone();
        Err(Failed::lasting(AskError::Refused { url, status, problem: problem.kind, detail }))
    }
}

/// Why one request brought nothing.
enum Failed {
    /// Another try may.
    Passing { reason: String, after: Option<Duration>, answered: bool },
    /// No other try will.
    Lasting(Box<AskError>),
}

impl Failed {
    fn lasting(error: AskError) -> Self {
        Self::Lasting(Box::new(error))
    }

    fn passing(reason: String, after: Option<Duration>, answered: bool) -> Self {
        Self::Passing { reason, after, answered }
    }
}

/// The query of the page that the header `Link` calls the next (RFC 8288). It holds all parameters
/// of the question, and relative times as they were.
fn next(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all("link").iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(", ")).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), r#"rel="next""# | "rel=next"));
        is_next.then(|| target.split_once('?').map(|(_, query)| query.to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let next = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("link", HeaderValue::from_static(link));
            next(&headers)
        };
        let found = Some("from=2026-11-26T00%3A00%3A00Z&cursor=m1".to_owned());
        let link = r#"</analytics?from=2026-11-26T00%3A00%3A00Z&cursor=m1>; rel="next""#;
        assert_eq!(next(link), found);
        assert_eq!(next(r#"</a?b=c>; rel="prev", <http://h/a?d=e>; rel=next"#), Some("d=e".into()));
        for link in [r#"</a?b=c>; rel="prev""#, r#"</a>; rel="next""#, "nonsense", ""] {
            assert_eq!(next(link), None, "{link}");
        }
    }
}
