//! A file read line by line: lines of an access log, JSON objects, or rows of a CSV file, each on a
//! line of its own. Which of the last two a line is, it says itself: an object begins with a brace.

use super::BYTE_ORDER_MARK;
use super::combined;
use super::csv;
use super::format::{Fields, access_line};
use super::mapping::Columns;
use crate::entry::{FieldError, LogEntry};

/// How the lines of one file become entries.
#[derive(Debug)]
pub struct LineReader {
    fields: Fields,
    /// Of a CSV file: its header line, if it has one.
    header: Option<Box<[u8]>>,
    columns: Option<Result<Columns, String>>,
}

/// Whether a line without an end can be told from one that is not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What it ends with shows that it is whole.
    Shows,
    /// It could go on.
    IsOpen,
}

impl LineReader {
    /// A reader of a file that begins with these bytes.
    #[must_use]
    pub fn new(fields: Fields, beginning: &[u8]) -> Self {
        let first = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = plain(first);
        let (mut header, mut columns) = (None, None);
        if let Fields::Mapped(mapping) = &fields
            && !first.starts_with(b"{")
        {
            let cells = csv::cells(first).unwrap_or_default();
            let cells: Vec<_> = cells.iter().map(String::as_str).collect();
            if mapping.is_header(&cells) {
                header = Some(first.into());
                columns = Some(mapping.columns_of(&cells));
            } else {
                columns = Some(Ok(mapping.usual_columns()));
            }
        }
        Self { fields, header, columns }
    }

    /// Whether a line is the header of the file and no entry.
    #[must_use]
    pub fn is_header(&self, line: &[u8]) -> bool {
        self.header.as_deref().is_some_and(|header| header == plain(line))
    }

    /// Whether the file is CSV.
    #[must_use]
    pub fn is_csv(&self) -> bool {
        self.columns.is_some()
    }

    /// Hands on the entry that a line is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, line: &[u8], each: impl FnOnce(&LogEntry<'_>)) -> Result<End, String> {
        let told = |error: FieldError| self.fields.error(0, error).to_string();
        let line = plain(line);
        let mapping = match &self.fields {
            Fields::AccessLine => {
                let format = access_line(line, each).map_err(told)?;
                let is_whole = format == combined::Format::Combined;
                return Ok(if is_whole { End::Shows } else { End::IsOpen });
            }
            Fields::Mapped(mapping) => mapping,
        };
        let mut reader = mapping.reader();
        if line.starts_with(b"{") {
            return reader.line(line, each).map(|()| End::Shows).map_err(told);
        }
        if line.starts_with(b"[") {
            return Err("is a JSON array; what is taken is one object a line".into());
        }
        let columns = match &self.columns {
            Some(Ok(columns)) => columns,
            Some(Err(why)) => return Err(why.clone()),
            None => return Err("must be a JSON object".into()),
        };
        let cells = csv::cells(line).ok_or("is no row of CSV on a line of its own")?;
        let cells: Vec<_> = cells.iter().map(String::as_str).collect();
        reader.cells(columns, &cells, each).map_err(told)?;
        Ok(End::IsOpen)
    }
}

/// A line without space around it, and without what some editors begin a file with.
fn plain(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii()
}
