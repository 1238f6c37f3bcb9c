//! What a body is said to be: what surrounds its entries, and what these are like.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::EntryError;
use super::combined;
use super::mapping::Mapping;
use super::presets;
use crate::entry::{Field, FieldError, LogEntry, Said};
use crate::window::Minute;

/// What surrounds the entries of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A JSON array of objects, or objects one after the other.
    Json,
    /// One entry a line.
    Lines,
    /// RFC 4180.
    Csv(CsvHeader),
}

/// Whether a CSV body begins with a line of names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CsvHeader {
    /// As its first line looks: no time is called as its column is.
    #[default]
    AsItLooks,
    /// It does.
    Present,
    /// It does not.
    Absent,
}

/// What the entries of a body are like.
#[derive(Debug, Clone)]
pub enum Fields {
    /// JSON objects or CSV rows.
    Mapped(Arc<Mapping>),
    /// Lines of an access log, in combined or common format.
    AccessLine,
}

/// The format of a body.
#[derive(Debug, Clone)]
pub struct Format {
    /// What surrounds the entries.
    pub framing: Framing,
    /// What they are like.
    pub fields: Fields,
}

impl Framing {
    /// Its number in digests, in the journal and in the store; it never changes its meaning.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::Lines => 2,
            Self::Csv(CsvHeader::AsItLooks) => 3,
            Self::Csv(CsvHeader::Present) => 4,
            Self::Csv(CsvHeader::Absent) => 5,
        }
    }

    /// The framing that a number stands for.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Json,
            2 => Self::Lines,
            3 => Self::Csv(CsvHeader::AsItLooks),
            4 => Self::Csv(CsvHeader::Present),
            5 => Self::Csv(CsvHeader::Absent),
            _ => return None,
        })
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Csv(CsvHeader::AsItLooks) => "text/csv",
            Self::Csv(CsvHeader::Present) => "text/csv; header=present",
            Self::Csv(CsvHeader::Absent) => "text/csv; header=absent",
        }
    }
}

impl Fields {
    /// The name of the format of access log lines.
    pub const ACCESS_LINE: &'static str = "combined";

    /// What `?format=` calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Mapped(mapping) => mapping.name(),
            Self::AccessLine => Self::ACCESS_LINE,
        }
    }

    /// What is wrong with the entry at a place of a body, in the words of the format.
    pub(super) fn error(&self, index: usize, error: FieldError) -> EntryError {
        let field = self.name_of(error.field).map(Box::from);
        EntryError { index, field, reason: error.reason }
    }

    /// Whether its entries have a method.
    #[must_use]
    pub fn has_method(&self) -> bool {
        match self {
            Self::Mapped(mapping) => mapping.has_method(),
            Self::AccessLine => true,
        }
    }

    /// What the format calls a field.
    #[must_use]
    pub fn name_of(&self, field: Field) -> Option<&str> {
        match self {
            Self::Mapped(mapping) => mapping.name_of(field),
            Self::AccessLine => match field {
                Field::Entry => None,
                Field::Time => Some("time"),
                Field::Method => Some("method"),
                Field::Path => Some("path"),
                Field::UserAgent => Some("user agent"),
                Field::Status => Some("status"),
                Field::Bytes => Some("bytes"),
            },
        }
    }
}

impl Format {
    /// Whether it is logmill's own, which nearly all bodies are.
    pub(super) fn is_usual(&self) -> bool {
        self.fields.name() == Formats::OWN
    }

    /// Tells formats apart in digests: the same bytes under another format say something else. A
    /// format whose definition was mended is still the same, so that a retry is known again.
    #[must_use]
    pub fn id(&self) -> u64 {
        let framing = u64::from(self.framing.number());
        // What its number alone is, so that keys of bodies that say no format stay what they were.
        if self.is_usual() {
            return framing;
        }
        xxh3_64_with_seed(self.fields.name().as_bytes(), framing)
    }
}

/// logmill's own entries in JSON.
impl Default for Format {
    fn default() -> Self {
        static OWN: LazyLock<Formats> = LazyLock::new(Formats::default);
        Self { framing: Framing::Json, fields: OWN.own().clone() }
    }
}

/// All formats by name: those known, and the user's own.
#[derive(Debug, Clone)]
pub struct Formats(BTreeMap<Box<str>, Fields>);

impl Formats {
    /// logmill's own format.
    pub const OWN: &'static str = "logmill";

    /// The known formats and others, whose names are not theirs.
    #[must_use]
    pub fn new(others: impl IntoIterator<Item = Mapping>) -> Self {
        let mapped = presets::mappings().chain(others);
        let mapped = mapped.map(|it| (it.name().into(), Fields::Mapped(Arc::new(it))));
        let lines = ["combined", "common"].map(|name| (name.into(), Fields::AccessLine));
        Self(lines.into_iter().chain(mapped).collect())
    }

    /// The format of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fields> {
        self.0.get(name)
    }

    /// logmill's own.
    ///
    /// # Panics
    /// Never: it is always there.
    #[must_use]
    pub fn own(&self) -> &Fields {
        self.get(Self::OWN).expect("it is in the table")
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

impl Default for Formats {
    fn default() -> Self {
        Self::new([])
    }
}

/// Hands on the entry that a line of an access log is; says which format the line has.
///
/// # Errors
/// What is wrong with it.
pub(super) fn access_line(
    line: &[u8],
    each: impl FnOnce(&LogEntry<'_>),
) -> Result<combined::Format, FieldError> {
    let wrong = |error: combined::LineError| FieldError::new(Field::Entry, error.to_string());
    let parsed = combined::parse_line(line).map_err(wrong)?;
    let minute = Minute::of_unix_seconds(parsed.time.as_second());
    let minute = minute.ok_or_else(|| FieldError::new(Field::Time, "lies before 1970"))?;
    let said = Said {
        method: Some(&parsed.method),
        path: &parsed.path,
        user_agent: &parsed.user_agent,
        status: parsed.status.map(u64::from).filter(|status| *status >= 100),
        bytes: parsed.bytes,
        is_clean: false,
    };
    each(&LogEntry::new(minute, said)?);
    Ok(parsed.format)
}
