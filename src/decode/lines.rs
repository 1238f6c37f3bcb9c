//! One entry a line: NDJSON, and lines of an access log. Blank lines are none.

use super::format::Fields;
use super::records::Records;

/// Hands on each line of a body.
pub(super) fn read(body: &[u8], records: &mut Records<'_, '_>) {
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match (records.fields(), std::str::from_utf8(line)) {
            (Fields::AccessLine, _) => records.line(line),
            (Fields::Mapped(_), Ok(text)) => records.object(text),
            // Servers log what clients send, bytes that are no text included.
            (Fields::Mapped(_), Err(_)) => {
                let text = String::from_utf8_lossy(line);
                records.read_by(line, |reader, each| reader.json_lossy(&text, each));
            }
        }
    }
}
