//! Entrance for fuzzers: query strings.

use crate::fuzzing::Taken;
use crate::http::fuzz::can_be_told;
use crate::http::parameters::{Parameters, cursor, parse_cursor};
use crate::http::problem::Problem;
use crate::ids::AcceptTime;
use crate::window::{Minute, Span, WindowSize};

/// 2025-12-28T18:03:00Z
const NOW: AcceptTime = AcceptTime(1_766_944_980_000);

/// A query is refused in words, or asks for a range that can be walked and continued.
pub fn query_string(text: &[u8]) -> Taken {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let windows = windows(text);
    let top = top(text);
    let taken = windows.is_ok() || top.is_ok();
    [windows.err(), top.err()].into_iter().flatten().for_each(can_be_told);
    taken
}

fn windows(text: &str) -> Result<(), Problem> {
    let (size, span) = Parameters::page(Some(text), NOW)?;
    assert!(span.from <= span.to);
    let parameters = Parameters::parse(Some(text), &["from", "to", "windowSize", "cursor"])?;
    if parameters.get("cursor").is_some() {
        assert!(parameters.span(NOW, size)?.contains(span.from), "a page begins within the range");
    }
    let whole = Span { from: span.from.ceil(size), to: span.to.ceil(size) };
    if !whole.is_empty() {
        let next = parse_cursor(&cursor(size, whole.from), size, whole).map_err(|_| ());
        assert_eq!(next, Ok(whole.from), "a page's next is taken");
    }
    Ok(())
}

fn top(text: &str) -> Result<(), Problem> {
    let parameters = Parameters::parse(Some(text), &["from", "to", "by", "limit"])?;
    parameters.limit()?;
    let span = parameters.span(NOW, WindowSize::Minute)?;
    let minutes: u64 = span.cover().iter().map(|(_, part)| minutes(*part)).sum();
    assert_eq!(minutes, self::minutes(span));
    Ok(())
}

fn minutes(Span { from: Minute(from), to: Minute(to) }: Span) -> u64 {
    u64::from(to - from)
}
