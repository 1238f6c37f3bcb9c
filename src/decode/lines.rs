//! One entry a line: NDJSON, and lines of an access log. Blank lines are none.

use super::records::Records;

/// Hands on each line of a body.
pub(super) fn read(body: &[u8], records: &mut Records<'_, '_>) {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).for_each(|line| records.line(line));
}
