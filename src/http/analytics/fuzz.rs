//! Entrance for fuzzers: query strings.

use axum::http::Request;

use super::question::{FILTERS, Question, TIMES, WINDOWS, cursor, parse_cursor};
use crate::fuzzing::Taken;
use crate::http::fuzz::can_be_told;
use crate::http::problem::Problem;
use crate::ids::{AcceptTime, CustomerId};
use crate::window::{Minute, Span, WindowSize};

/// 2025-12-28T18:03:00Z
const NOW: AcceptTime = AcceptTime(1_766_944_980_000);

const KNOWN: [&[&str]; 4] =
    [TIMES, WINDOWS, FILTERS, &["split", "by", "limit", "compare", "prefix"]];

/// A query is refused in words, or asks for a range that can be walked and continued.
pub fn query_string(text: &[u8]) -> Taken {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (windows, top) = (windows(text), top(text));
    let taken = windows.is_ok() || top.is_ok();
    [windows.err(), top.err()].into_iter().flatten().for_each(can_be_told);
    taken
}

/// `None` if no request can hold the text.
fn question(text: &str) -> Option<Result<Question, Problem>> {
    let request = Request::builder().uri(format!("/analytics?{text}")).body(()).ok()?;
    Some(Question::read(&request.into_parts().0, NOW, &KNOWN))
}

fn windows(text: &str) -> Result<(), Problem> {
    let Some(question) = question(text) else { return Ok(()) };
    let question = question?;
    let range = question.range(CustomerId::new("acme").expect("valid"))?;
    let (calendar, span) = (&range.calendar, range.span);
    assert!(span.from <= span.to);
    assert!(range.resume.is_none_or(|start| span.contains(start)), "a page begins within");
    let filter = question.filter()?;
    question.by("split", &filter)?;
    let start = calendar.ceil(span.from);
    if span.contains(start) {
        let next = parse_cursor(&cursor(calendar.size(), start), calendar, span).map_err(|_| ());
        assert_eq!(next, Ok(start), "a page's next is taken");
        let link = question.link(calendar, span, &cursor(calendar.size(), start));
        let again = self::question(link.split_once('?').expect("a query").1).expect("a request");
        let again = again?.range(range.customer)?;
        assert_eq!((again.span, again.resume), (span, Some(start)), "{link} goes on");
    }
    Ok(())
}

fn top(text: &str) -> Result<(), Problem> {
    let Some(question) = question(text) else { return Ok(()) };
    let question = question?;
    let filter = question.filter()?;
    question.by("by", &filter)?;
    question.rows(10)?;
    question.compares()?;
    let (_, span) = question.minutes(60)?;
    assert_eq!(span.before().to, span.from);
    let minutes: u64 = span.cover().iter().map(|(_, part)| minutes(*part)).sum();
    assert_eq!(minutes, self::minutes(span));
    assert!(span.cover().iter().all(|(size, _)| *size <= WindowSize::Day));
    Ok(())
}

fn minutes(Span { from: Minute(from), to: Minute(to) }: Span) -> u64 {
    u64::from(to - from)
}
