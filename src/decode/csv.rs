//! CSV bodies (RFC 4180), with or without a header line.

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::DecodeError;
use super::format::{CsvHeader, Fields};
use super::mapping::{Columns, Mapping};
use super::records::Records;
use crate::entry::{Field, FieldError};
use crate::limits;

/// Hands on each row of a body.
///
/// # Errors
/// If the header line lacks a column, or access log lines are said to be rows.
pub(super) fn read(
    body: &[u8],
    header: CsvHeader,
    records: &mut Records<'_, '_>,
) -> Result<(), DecodeError> {
    let Fields::Mapped(mapping) = records.fields() else {
        let detail = "lines of an access log are no CSV; send them as text/plain";
        return Err(DecodeError::Syntax(detail.into()));
    };
    let mut reader = reader(body);
    let mut row = ByteRecord::new();
    let mut columns: Option<Columns> = None;
    loop {
        let start = reader.position().byte();
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return Err(DecodeError::Syntax(format!("the body is not CSV: {error}"))),
        }
        // A row of nothing but space is none, as an empty line is.
        if row.len() == 1 && row[0].is_empty() {
            continue;
        }
        let original = between(body, start, reader.position().byte());
        let cells: Result<Vec<_>, _> = row.iter().map(std::str::from_utf8).collect();
        let columns = match (&columns, &cells) {
            (Some(columns), _) => columns,
            (None, Ok(cells)) if is_header(header, || mapping.is_header(cells)) => {
                columns = Some(header_columns(original, mapping.columns_of(cells), records)?);
                continue;
            }
            (None, Err(_)) if header == CsvHeader::Present => {
                return Err(DecodeError::Syntax("the header line is not UTF-8".into()));
            }
            (None, _) => {
                let usual = mapping.usual_columns();
                if let (CsvHeader::AsItLooks, Ok(cells)) = (header, &cells)
                    && !mapping.fits(&usual, cells)
                {
                    return Err(DecodeError::Syntax(neither_header_nor_row(mapping)));
                }
                records.has_no_header();
                columns.insert(usual)
            }
        };
        records.read_by(original, |reader, each| match cells {
            Ok(cells) if cells.iter().any(|cell| cell.contains('\n')) => {
                let reason = "has a line break within a cell; is a quote too much or missing?";
                Err(FieldError::new(Field::Entry, reason))
            }
            Ok(cells) => reader.cells(columns, &cells, each),
            Err(_) => Err(FieldError::new(Field::Entry, "is not UTF-8")),
        });
    }
}

/// The cells of one row, if the line is one and no more.
pub(super) fn cells(line: &[u8]) -> Option<Vec<String>> {
    let mut reader = reader(line);
    let mut row = ByteRecord::new();
    if line.is_empty() || !reader.read_byte_record(&mut row).ok()? {
        return Some(Vec::new());
    }
    let is_all = usize::try_from(reader.position().byte()).ok()? >= line.len();
    let text = |cell: &[u8]| std::str::from_utf8(cell).ok().map(str::to_owned);
    // A quote that nothing closes takes all that follows, which is not there.
    let is_closed = line.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2);
    row.iter().map(text).collect::<Option<_>>().filter(|_| is_all && is_closed)
}

fn reader(body: &[u8]) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(body)
}

fn neither_header_nor_row(mapping: &Mapping) -> String {
    let names = mapping.usual_names().join(", ");
    format!(
        "the first line is neither a header that names the format's columns nor a row of {names}; \
         columns are parted by commas, and text/csv; header=absent says that there is no header"
    )
}

fn is_header(header: CsvHeader, looks_so: impl FnOnce() -> bool) -> bool {
    match header {
        CsvHeader::Present => true,
        CsvHeader::Absent => false,
        CsvHeader::AsItLooks => looks_so(),
    }
}

fn header_columns(
    line: &[u8],
    columns: Result<Columns, String>,
    records: &mut Records<'_, '_>,
) -> Result<Columns, DecodeError> {
    let max = limits::CSV_HEADER_BYTES_MAX;
    if line.len() > max {
        let detail = format!("the header line has {} bytes, at most {max} are taken", line.len());
        return Err(DecodeError::Syntax(detail));
    }
    records.has_header(line);
    columns.map_err(DecodeError::Syntax)
}

/// The bytes of a row without its ends of lines. Space before it stays: a quote behind it is none.
fn between(body: &[u8], start: u64, end: u64) -> &[u8] {
    let at = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
    let row = body.get(at(start)..at(end)).unwrap_or_default();
    let lead = row.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    row[lead..].trim_ascii_end()
}
