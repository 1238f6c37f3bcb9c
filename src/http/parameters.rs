//! Query strings: taken apart, and put together again.

use super::problem::{Problem, Type};
use crate::limits;

/// The query string, decoded.
#[derive(Debug, Clone)]
pub(super) struct Parameters(Vec<(String, String)>);

pub(super) fn invalid(name: &str, value: &str, allowed: &str) -> Problem {
    const SHOWN: usize = 64;
    let dots = if value.chars().nth(SHOWN).is_some() { "…" } else { "" };
    let value: String = value.chars().take(SHOWN).collect();
    Problem::new(Type::InvalidQuery, format!("{name} is {value:?}{dots}; it must be {allowed}"))
}

impl Parameters {
    /// Takes a query string apart; an unknown or repeated parameter is a mistake, not ignored.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let uri = format!("/?{}", query.unwrap_or_default());
        let pairs = uri
            .parse()
            .ok()
            .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
            .ok_or_else(|| Problem::new(Type::InvalidQuery, "the query string is malformed"))?
            .0;
        for (at, (name, value)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = format!("there is no parameter {name:?}; known: {}", known.join(", "));
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
            if value.len() > limits::PARAMETER_BYTES_MAX {
                let max = limits::PARAMETER_BYTES_MAX;
                let detail = format!("the parameter {name} has more than {max} bytes");
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
            if pairs[..at].iter().any(|(before, _)| before == name) {
                let detail = format!("the parameter {name} is given more than once");
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The query string of the same question, with these instead of what it said.
    pub(super) fn with(&self, others: &[(&str, &str)]) -> String {
        let kept = self.0.iter().filter(|(name, _)| others.iter().all(|(other, _)| other != name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(kept.chain(others.iter().copied())).finish()
    }
}
