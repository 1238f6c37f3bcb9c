//! What a query asks for: its parameters, and where a page of its answer begins.

use super::problem::{Problem, Type};
use crate::ids::AcceptTime;
use crate::limits;
use crate::window::{Minute, Span, WindowSize};

/// The query string, decoded.
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
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = format!("there is no parameter {name:?}; known: {}", known.join(", "));
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
            if pairs[..at].iter().any(|(before, _)| before == name) {
                let detail = format!("the parameter {name} is given more than once");
                return Err(Problem::new(Type::InvalidQuery, detail));
            }
        }
        Ok(Self(pairs))
    }

    /// What a page of windows is asked for by.
    pub(super) fn page(
        query: Option<&str>,
        now: AcceptTime,
    ) -> Result<(WindowSize, Span), Problem> {
        let parameters = Self::parse(query, &["from", "to", "windowSize", "cursor"])?;
        let size = parameters.window_size()?;
        let mut span = parameters.span(now, size)?;
        if let Some(cursor) = parameters.get("cursor") {
            span.from = parse_cursor(cursor, size, span)?;
        }
        Ok((size, span))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn window_size(&self) -> Result<WindowSize, Problem> {
        match self.get("windowSize") {
            None | Some("minute") => Ok(WindowSize::Minute),
            Some("hour") => Ok(WindowSize::Hour),
            Some("day") => Ok(WindowSize::Day),
            Some(other) => Err(invalid("windowSize", other, "minute, hour or day")),
        }
    }

    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else { return Ok(10) };
        let allowed = 1..=limits::TOP_ROWS_MAX;
        text.parse().ok().filter(|limit| allowed.contains(limit)).ok_or_else(|| {
            invalid("limit", text, &format!("a number from 1 to {}", limits::TOP_ROWS_MAX))
        })
    }

    /// The range, half-open. Without `to`, up to the end of the current window; without `from`,
    /// the last 60 windows.
    pub(super) fn span(&self, now: AcceptTime, size: WindowSize) -> Result<Span, Problem> {
        let time = |name| self.get(name).map(|text| parse_time(name, text)).transpose();
        let now = Minute(u32::try_from(now.0 / 60_000).unwrap_or(u32::MAX));
        let to = time("to")?.unwrap_or_else(|| now.floor(size).plus(size.minutes()));
        let from =
            time("from")?.unwrap_or_else(|| Minute(to.0.saturating_sub(60 * size.minutes())));
        if from > to {
            let detail = format!("from ({from}) is after to ({to})");
            return Err(Problem::new(Type::InvalidQuery, detail));
        }
        Ok(Span { from, to })
    }
}

/// The first minute that does not begin before the moment.
fn parse_time(name: &str, text: &str) -> Result<Minute, Problem> {
    let form = "RFC 3339 in the years 1970 to 2199, as 2025-12-28T18:03:00Z (write + as %2B)";
    let refused = || invalid(name, text, form);
    let moment: jiff::Timestamp = text.parse().map_err(|_| refused())?;
    let seconds = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    let first_after = 7_258_118_400; // 2200-01-01T00:00:00Z
    if !(0..=first_after).contains(&seconds) {
        return Err(refused());
    }
    Minute::of_unix_seconds(seconds + 59).ok_or_else(refused)
}

/// Where the next page begins; opaque to clients.
pub(super) fn cursor(size: WindowSize, start: Minute) -> String {
    format!("{}{:08x}", &size.to_string()[..1], start.0)
}

pub(super) fn parse_cursor(text: &str, size: WindowSize, span: Span) -> Result<Minute, Problem> {
    let digits = text.strip_prefix(&size.to_string()[..1]).filter(|digits| digits.len() == 8);
    digits
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map(Minute)
        .filter(|start| span.contains(*start) && start.floor(size) == *start)
        .ok_or_else(|| invalid("cursor", text, "the next of an answer to the same query"))
}
