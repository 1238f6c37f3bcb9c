//! What is asked: the parameters of a URL and of a posted form together, and for whom.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};

use super::super::App;
use super::super::auth::{self, Readable};
use super::super::headers;
use super::super::problem::{Problem, Type};
use crate::ids::{AcceptTime, CustomerId};
use crate::limits;
use crate::prometheus::plan::Scope;
use crate::prometheus::promql::parse_selector;
use crate::prometheus::time::{parse_time, span};
use crate::window::Span;

/// A request, with all of its parameters. Unknown ones are passed over, as Prometheus does: its
/// clients send some that change nothing here (`timeout`, `stats`).
pub(super) struct Asked {
    parts: Parts,
    parameters: Vec<(String, String)>,
    now: AcceptTime,
}

/// How long a list goes back that does not say, in seconds.
const LIST_SECONDS: f64 = 30.0 * 86_400.0;

impl Asked {
    /// Lets a request in that may ask for something, and reads a form too, if one is posted.
    pub(super) async fn read(app: &App, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let_in(app, &parts)?;
        let mut parameters = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        if parts.method == Method::POST {
            let max = limits::PROMETHEUS_FORM_BYTES_MAX;
            let body = tokio::time::timeout(app.settings.body_timeout, to_bytes(body, max));
            let late = |_| Problem::new(Type::BodyTimeout, "the form did not arrive in time");
            let large = |_| {
                let detail = format!("the form broke off, or has more than {max} bytes");
                Problem::new(Type::BodyTooLarge, detail)
            };
            parameters.extend(pairs(&body.await.map_err(late)?.map_err(large)?));
        }
        Ok(Self { parts, parameters, now: app.clock.wall() })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| {
            Problem::new(Type::InvalidQuery, format!("the parameter {name} is missing"))
        })
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.parameters.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Seconds since 1970.
    #[expect(clippy::cast_precision_loss, reason = "a year has fewer milliseconds than 2^53")]
    pub(super) fn now(&self) -> f64 {
        self.now.0 as f64 / 1_000.0
    }

    /// What `match[]` says; without one, everything.
    pub(super) fn scopes(&self) -> Result<Vec<Scope>, Problem> {
        let max = limits::PROMETHEUS_SELECTORS_MAX;
        if self.all("match[]").nth(max).is_some() {
            let detail = format!("there are more than {max} match[]");
            return Err(Problem::new(Type::InvalidQuery, detail));
        }
        let scopes = self.all("match[]").map(|text| Scope::of(parse_selector(text)?));
        let scopes = scopes.collect::<Result<Vec<_>, _>>()?;
        Ok(if scopes.is_empty() { vec![Scope::default()] } else { scopes })
    }

    /// The time of a list; by default the last 30 days.
    pub(super) fn span(&self) -> Result<Span, Problem> {
        let time = |name| self.get(name).map(|text| parse_time(name, text)).transpose();
        let end = time("end")?.unwrap_or_else(|| self.now());
        let start = time("start")?.unwrap_or(end - LIST_SECONDS);
        Ok(span(start, end, self.now))
    }

    /// Whose counts are asked for: the customer that the query names, or else the caller's.
    pub(super) fn customer(
        &mut self,
        app: &App,
        named: Option<&CustomerId>,
    ) -> Result<CustomerId, Problem> {
        if let Some(named) = named {
            match headers::named_customer(&self.parts.headers)? {
                None => {
                    let value = HeaderValue::from_str(named.as_str()).expect("an id is ASCII");
                    self.parts.headers.insert(headers::CUSTOMER, value);
                }
                Some(other) if other == *named => {}
                // T1: a gateway sets the header, and anybody can write a query.
                Some(_) => {
                    let detail = "the query names another customer than the header x-customer-id";
                    return Err(Problem::new(Type::Forbidden, detail));
                }
            }
        }
        auth::reader(app, &self.parts)
    }

    /// Whose counts could be asked for.
    pub(super) fn readable(&self, app: &App) -> Result<Readable, Problem> {
        auth::readable(app, &self.parts)
    }
}

/// Turns away whoever may read nothing, before a form is read. Whose counts are asked for may stand
/// in there.
fn let_in(app: &App, parts: &Parts) -> Result<(), Problem> {
    match auth::readable(app, parts) {
        Err(problem) if problem.kind() != Type::MissingCustomerId => Err(problem),
        _ => Ok(()),
    }
}

fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}
