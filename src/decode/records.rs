//! The entries of a body one by one: each counts, or it is known what is wrong with it.

use super::format::{CsvHeader, Fields, Format, Framing, access_line};
use super::mapping::Reader;
use super::{DecodeError, EntryError, OnInvalid, csv, json, lines};
use crate::dead_letters::{DeadLetter, DeadLetters};
use crate::entry::{FieldError, LogEntry};
use crate::insight::Summariser;
use crate::limits;

/// Reads all entries of a body into a sum.
///
/// # Errors
/// [`DecodeError`] says what the sender has to mend; the sum is of no use then.
pub(super) fn read(
    format: &Format,
    body: &[u8],
    on_invalid: OnInvalid,
    sum: &mut Summariser<'_>,
) -> Result<(DeadLetters, Vec<EntryError>), DecodeError> {
    let reader = match &format.fields {
        Fields::Mapped(mapping) => Some(mapping.reader()),
        Fields::AccessLine => None,
    };
    let dead = DeadLetters::of(format.framing, format.fields.name());
    let mut records = Records {
        fields: &format.fields,
        reader,
        sum,
        on_invalid,
        index: 0,
        invalid: 0,
        listed: Vec::new(),
        dead,
    };
    match format.framing {
        Framing::Json => json::read(body, &mut records)?,
        Framing::Lines => lines::read(body, &mut records),
        Framing::Csv(header) => csv::read(body, header, &mut records)?,
    }
    records.finish()
}

/// Where entries go that were found in a body.
pub(super) struct Records<'r, 's> {
    fields: &'r Fields,
    /// None for access log lines.
    reader: Option<Reader<'r>>,
    sum: &'r mut Summariser<'s>,
    on_invalid: OnInvalid,
    index: usize,
    invalid: usize,
    listed: Vec<EntryError>,
    dead: DeadLetters,
}

impl<'r> Records<'r, '_> {
    /// What the entries are like.
    pub(super) fn fields(&self) -> &'r Fields {
        self.fields
    }

    /// The header line that stands before each entry that is put aside.
    pub(super) fn has_header(&mut self, header: &[u8]) {
        self.dead.begins_with(Framing::Csv(CsvHeader::Present), header);
    }

    /// There is none, so that no entry that is put aside is taken for one.
    pub(super) fn has_no_header(&mut self) {
        self.dead.begins_with(Framing::Csv(CsvHeader::Absent), &[]);
    }

    /// Takes an entry that is a line of its own.
    pub(super) fn line(&mut self, line: &[u8]) {
        let taken = match &mut self.reader {
            Some(reader) => reader.line(line, |entry| self.sum.add(entry)),
            None => access_line(line, |entry| self.sum.add(entry)).map(drop),
        };
        self.took(line, taken);
    }

    /// Takes an entry that `read` makes of these bytes.
    pub(super) fn read_by(
        &mut self,
        original: &[u8],
        read: impl FnOnce(&mut Reader<'_>, &mut dyn FnMut(&LogEntry<'_>)) -> Result<(), FieldError>,
    ) {
        let Some(reader) = &mut self.reader else { return self.line(original) };
        let taken = read(reader, &mut |entry| self.sum.add(entry));
        self.took(original, taken);
    }

    fn took(&mut self, original: &[u8], taken: Result<(), FieldError>) {
        let index = self.index;
        self.index += 1;
        let Err(error) = taken else { return };
        self.invalid += 1;
        let error = self.fields.error(index, error);
        let has_room = self.invalid <= limits::BATCH_DEAD_LETTERS_MAX;
        if self.on_invalid == OnInvalid::Skip && has_room {
            let mut reason = error.to_string();
            if let Some((end, _)) = reason.char_indices().nth(limits::REASON_CHARS_MAX) {
                reason.truncate(end);
            }
            let index = u32::try_from(index).expect("fewer entries than bytes");
            self.dead.push(DeadLetter { index, reason: reason.into(), original: original.into() });
        }
        if self.listed.len() < limits::ENTRY_ERRORS_LISTED_MAX {
            self.listed.push(error);
        }
    }

    fn finish(self) -> Result<(DeadLetters, Vec<EntryError>), DecodeError> {
        let Self { on_invalid, invalid: count, listed, dead, .. } = self;
        match on_invalid {
            _ if count == 0 => Ok((DeadLetters::default(), Vec::new())),
            OnInvalid::Reject => Err(DecodeError::Entries { count, listed }),
            OnInvalid::Skip if count > limits::BATCH_DEAD_LETTERS_MAX => {
                Err(DecodeError::TooManyInvalid { count, listed })
            }
            OnInvalid::Skip => Ok((dead, listed)),
        }
    }
}
