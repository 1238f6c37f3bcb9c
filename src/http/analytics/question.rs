//! What a query asks for: from its parameters to a range, a filter and a place to go on from.

use axum::http::request::Parts;

use super::form::{Form, Known};
use crate::http::parameters::{Parameters, invalid};
use crate::http::problem::{Problem, Type};
use crate::ids::{AcceptTime, CustomerId};
use crate::limits;
use crate::query::{By, Calendar, Filter, Range, Rows};
use crate::user_agent::Kind;
use crate::window::{Minute, Span, WindowSize, seconds_of};

/// A query, understood as far as all queries are alike.
pub(super) struct Question {
    route: String,
    parameters: Parameters,
    now: AcceptTime,
    /// The form that the answer is wanted in.
    pub(super) form: Form,
    /// Answers that the client has.
    pub(super) known: Known,
}

impl Question {
    /// Reads what stands in a request; parameters that are not among the known are refused.
    pub(super) fn read(parts: &Parts, now: AcceptTime, known: &[&[&str]]) -> Result<Self, Problem> {
        Ok(Self {
            route: parts.uri.path().to_owned(),
            parameters: Parameters::parse(parts.uri.query(), &known.concat())?,
            now,
            form: Form::wanted(&parts.headers)?,
            known: Known::read(&parts.headers),
        })
    }

    /// Windows within a range, from where the cursor says.
    pub(super) fn range(&self, customer: CustomerId) -> Result<Range, Problem> {
        let calendar = self.calendar(self.window_size()?)?;
        let span = self.span(&calendar, 60)?;
        let resume = self.get("cursor").map(|text| parse_cursor(text, &calendar, span));
        Ok(Range { customer, calendar, span, resume: resume.transpose()? })
    }

    /// A range without windows; by default the last `minutes`.
    pub(super) fn minutes(&self, minutes: u32) -> Result<(Calendar, Span), Problem> {
        let calendar = self.calendar(WindowSize::Minute)?;
        let span = self.span(&calendar, minutes)?;
        Ok((calendar, span))
    }

    fn window_size(&self) -> Result<WindowSize, Problem> {
        match self.get("windowSize") {
            None | Some("minute") => Ok(WindowSize::Minute),
            Some("hour") => Ok(WindowSize::Hour),
            Some("day") => Ok(WindowSize::Day),
            Some(other) => Err(invalid("windowSize", other, "minute, hour or day")),
        }
    }

    fn calendar(&self, size: WindowSize) -> Result<Calendar, Problem> {
        let Some(zone) = self.get("timezone") else { return Ok(Calendar::utc(size)) };
        Calendar::of_zone(size, zone).ok_or_else(|| {
            invalid("timezone", zone, "a name of the IANA time zone database, as Europe/Berlin")
        })
    }

    /// The range, half-open. Without `to`, up to the end of the current window; without `from`,
    /// the last few windows.
    fn span(&self, calendar: &Calendar, windows: u32) -> Result<Span, Problem> {
        let time = |name| self.get(name).map(|text| parse_time(name, text, self.now)).transpose();
        let now = Minute(u32::try_from(self.now.0 / 60_000).unwrap_or(u32::MAX));
        let to = time("to")?.unwrap_or_else(|| calendar.after(calendar.floor(now)));
        let before = || {
            let size = calendar.size().minutes();
            let about = Minute(to.0.saturating_sub(windows * size));
            // Where clocks were changed meanwhile, that is a part of a window beside its start.
            let is_whole = calendar.floor(to) == to;
            if is_whole { calendar.floor(about.plus(size / 2)) } else { about }
        };
        let from = time("from")?.unwrap_or_else(before);
        if from > to {
            let detail = format!("from ({from}) is after to ({to})");
            return Err(Problem::new(Type::InvalidQuery, detail));
        }
        Ok(Span { from, to })
    }

    /// Which requests are asked for.
    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        let mut given = FILTERS.iter().filter_map(|name| Some((*name, self.get(name)?)));
        let Some((name, value)) = given.next() else { return Ok(Filter::All) };
        if let Some((other, _)) = given.next() {
            let detail = format!("{name} and {other} are both given; a query takes one filter");
            return Err(Problem::new(Type::InvalidQuery, detail));
        }
        Ok(match (name, value) {
            ("path", path) => Filter::Path(path.into()),
            ("pathPrefix", prefix) => Filter::PathPrefix(prefix.into()),
            ("userAgent", family) => Filter::Agent(family.into()),
            (_, "bot") => Filter::Bots,
            (_, kind) => Filter::Kind(Kind::from_name(kind).ok_or_else(|| {
                let kinds = Kind::ALL.map(Kind::name).join(", ");
                invalid("kind", kind, &format!("bot, or one of {kinds}"))
            })?),
        })
    }

    /// What the requests are told apart by, if it is said; that must be possible for what the
    /// filter takes.
    pub(super) fn by(&self, name: &str, filter: &Filter) -> Result<Option<By>, Problem> {
        let by = match self.get(name) {
            None => return Ok(None),
            Some("path") => By::Path,
            Some("userAgent") => By::Agent,
            Some("kind") => By::Kind,
            Some(other) => return Err(invalid(name, other, "path, userAgent or kind")),
        };
        if filter.suits(by) {
            return Ok(Some(by));
        }
        let detail = format!(
            "paths and agents are counted apart: with a filter by one, {name} cannot be the other"
        );
        Err(Problem::new(Type::InvalidQuery, detail))
    }

    /// Whether the period before is asked for too.
    pub(super) fn compares(&self) -> Result<bool, Problem> {
        match self.get("compare") {
            None => Ok(false),
            Some("previous") => Ok(true),
            Some(other) => Err(invalid("compare", other, "previous")),
        }
    }

    pub(super) fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else { return Ok(default) };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| invalid("limit", text, &format!("a number from 1 to {max}")))
    }

    /// Rows of a list, from where the cursor says.
    pub(super) fn rows(&self, default: usize) -> Result<Rows, Problem> {
        let take = self.limit(default, limits::TOP_ROWS_MAX)?;
        let Some(text) = self.get("cursor") else { return Ok(Rows { skip: 0, take }) };
        let digits = text.strip_prefix('r').filter(|digits| digits.len() <= 8);
        let skip = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let skip = skip.ok_or_else(|| invalid("cursor", text, CURSOR))?;
        Ok(Rows { skip, take })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)
    }

    /// The cursor of the page of windows that begins there, and its link.
    pub(super) fn page_after(
        &self,
        range: &Range,
        next: Option<Minute>,
    ) -> (Option<String>, Option<String>) {
        let next = next.map(|start| cursor(range.calendar.size(), start));
        let link = next.as_deref().map(|next| self.link(&range.calendar, range.span, next));
        (next, link)
    }

    /// Where the answer to this question goes on. Times that were relative stay what they were.
    pub(super) fn link(&self, calendar: &Calendar, span: Span, next: &str) -> String {
        let (from, to) = (calendar.show(span.from), calendar.show(span.to));
        let query = self.parameters.with(&[("from", &from), ("to", &to), ("cursor", next)]);
        format!("{}?{query}", self.route)
    }
}

/// Parameters that say from when to when.
pub(super) const TIMES: &[&str] = &["from", "to", "timezone"];
/// Those that say in which windows, and where the page begins.
pub(super) const WINDOWS: &[&str] = &["windowSize", "cursor"];
/// Those that say which requests are asked for; a query takes one.
pub(super) const FILTERS: &[&str] = &["path", "pathPrefix", "userAgent", "kind"];

const CURSOR: &str = "the next of an answer to the same query";

/// The first minute that does not begin before the moment.
fn parse_time(name: &str, text: &str, now: AcceptTime) -> Result<Minute, Problem> {
    let form = "RFC 3339 in the years 1970 to 2199, as 2025-12-28T18:03:00Z (write + as %2B), now, \
                or before now, as -90m, -24h, -7d or -2w";
    let refused = || invalid(name, text, form);
    let seconds = match text.strip_prefix('-') {
        Some(ago) => now_seconds(now).saturating_sub(seconds_of(ago).ok_or_else(refused)?).max(0),
        None if text == "now" => now_seconds(now),
        None => {
            let moment: jiff::Timestamp = text.parse().map_err(|_| refused())?;
            moment.as_second() + i64::from(moment.subsec_nanosecond() > 0)
        }
    };
    let first_after = 7_258_118_400; // 2200-01-01T00:00:00Z
    if !(0..=first_after).contains(&seconds) {
        return Err(refused());
    }
    Minute::of_unix_seconds(seconds + 59).ok_or_else(refused)
}

fn now_seconds(now: AcceptTime) -> i64 {
    i64::try_from(now.0.div_ceil(1_000)).unwrap_or(i64::MAX)
}

/// Where the next page of windows begins; opaque to clients.
pub(super) fn cursor(size: WindowSize, start: Minute) -> String {
    format!("{}{:08x}", &size.to_string()[..1], start.0)
}

pub(super) fn parse_cursor(text: &str, calendar: &Calendar, span: Span) -> Result<Minute, Problem> {
    let size = calendar.size().to_string();
    let digits = text.strip_prefix(&size[..1]).filter(|digits| digits.len() == 8);
    digits
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map(Minute)
        .filter(|start| span.contains(*start) && calendar.floor(*start) == *start)
        .ok_or_else(|| invalid("cursor", text, CURSOR))
}

/// Where the next rows of a list begin, if there are more; opaque to clients.
pub(super) fn next_rows(rows: Rows, listed: usize, all: usize) -> Option<String> {
    let end = rows.skip + listed;
    (listed > 0 && end < all).then(|| format!("r{end:x}"))
}
