//! Entrance for fuzzers: a line of an access log.

use super::batch::{Batch, Reached, entry};
use crate::decode::combined::parse_line;
use crate::decode::{Fields, Format, LineReader, summarise};
use crate::fuzzing::Taken;
use crate::limits;
use crate::user_agent::{self, AgentCache};
use crate::window::Minute;

/// A line is refused by a column of it, or the entry made of it is one that the server takes and
/// counts in the line's minute, under its method and path.
pub fn combined_line(line: &[u8]) -> Taken {
    let trimmed = line.trim_ascii();
    let parsed = match parse_line(trimmed) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!((1..=trimmed.len() + 1).contains(&error.column), "{error}");
            return false;
        }
    };
    let mut batch = Batch::default();
    let lines = LineReader::new(Fields::AccessLine, line);
    if lines.read(line, |parsed| batch.push(&entry(parsed), Reached::default())).is_err() {
        let (path, agent) = (parsed.path.len(), parsed.user_agent.len());
        let is_odd = parsed.status.is_some_and(|status| status > 999)
            || parsed.bytes.is_some_and(|bytes| bytes > limits::ENTRY_BYTES_MAX);
        let is_long = path > limits::PATH_BYTES_MAX || agent > limits::USER_AGENT_BYTES_MAX;
        assert!(is_long || is_odd, "{parsed:?}");
        return false;
    }
    let body = batch.body();
    let summary = summarise(&Format::default(), &body, &mut AgentCache::new());
    let summary = summary.unwrap_or_else(|error| panic!("{error:?}: {parsed:?}"));
    let [window] = &summary.windows[..] else { panic!("one minute: {summary:?}") };
    assert_eq!(Minute::of_unix_seconds(parsed.time.as_second()), Some(window.minute));
    let (path, agent) = (summary.names.get(window.paths[0].0), window.agents[0].0);
    let method = parsed.method.to_ascii_uppercase();
    assert_eq!(path, format!("{method} {}", parsed.path.trim()));
    assert_eq!(summary.names.get(agent), user_agent::family(&parsed.user_agent));
    true
}
