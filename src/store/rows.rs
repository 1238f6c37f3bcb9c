//! Bytes of keys and values, and the error both can give.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use redb::{ReadableTable, Table};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::counts::{Counts, Dimension, Parts, Totals, WindowCounts};
use crate::fields::{put_varint, take_varint};
use crate::ids::{CustomerId, Group};
use crate::responses::Responses;
use crate::window::{Minute, WindowSize};

/// What kind of window a row is of. The number is stored and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Level {
    /// Exact counts of one minute.
    Minute = 0,
    /// A cache: base and minutes of one hour.
    Hour = 1,
    /// What the expired minutes of an hour held.
    HourBase = 2,
    /// A cache: base and hours of one day.
    Day = 3,
    /// What the expired hours of a day held.
    DayBase = 4,
}

impl Level {
    pub(super) fn of(size: WindowSize) -> Self {
        match size {
            WindowSize::Minute => Self::Minute,
            WindowSize::Hour => Self::Hour,
            WindowSize::Day => Self::Day,
        }
    }
}

/// A stored row of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A window's own. An hour's or a day's may be out of date, or not there yet.
    Window(WindowSize, Minute),
    /// What the expired minutes of an hour, or hours of a day, held.
    Folded(WindowSize, Minute),
}

impl Row {
    /// Where its window starts.
    #[must_use]
    pub fn start(self) -> Minute {
        let (Self::Window(_, start) | Self::Folded(_, start)) = self;
        start
    }

    /// Its key; a minute is made of itself, so nothing is folded into it.
    pub(super) fn key(self, customer: &CustomerId) -> Option<Vec<u8>> {
        let level = match self {
            Self::Window(size, _) => Level::of(size),
            Self::Folded(size, _) => parts_of(size)?.1,
        };
        Some(key(level, self.start(), customer.as_str()))
    }
}

/// What a window is made of: the size of its parts, and where those are that have expired. A minute
/// is made of itself.
pub(super) fn parts_of(size: WindowSize) -> Option<(WindowSize, Level)> {
    match size {
        WindowSize::Minute => None,
        WindowSize::Hour => Some((WindowSize::Minute, Level::HourBase)),
        WindowSize::Day => Some((WindowSize::Hour, Level::DayBase)),
    }
}

/// Why a row cannot be had.
#[derive(Debug)]
pub(super) enum RowError {
    /// A value of this table fails its checksum or cannot be decoded.
    Corrupt(String),
    /// redb refuses or fails.
    Database(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for RowError {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

pub(super) type RowResult<T> = Result<T, RowError>;

/// Key of a window.
pub(super) fn key(level: Level, start: Minute, customer: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + customer.len());
    key.push(level as u8);
    key.extend(start.0.to_be_bytes());
    key.extend(customer.as_bytes());
    key
}

/// The start and the customer in a window's key.
pub(super) fn parse_key(key: &[u8]) -> Option<(Minute, CustomerId)> {
    let start = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
    let customer = CustomerId::new(std::str::from_utf8(key.get(5..)?).ok()?).ok()?;
    Some((Minute(start), customer))
}

/// The three tables that windows are in.
pub(super) struct WindowTables<T> {
    pub(super) totals: T,
    pub(super) paths: T,
    pub(super) agents: T,
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> WindowTables<T> {
    /// Reads a window, or parts of it; `None` if there is no row of it.
    pub(super) fn get(&self, key: &[u8], parts: Parts) -> RowResult<Option<WindowCounts>> {
        let Some(totals) = self.totals.get(key)? else { return Ok(None) };
        let totals = totals_of(key, totals.value())?;
        let counts = |table: &T, name| match table.get(key)? {
            Some(row) => decode_counts(name, open(name, key, row.value())?),
            None => Err(RowError::Corrupt(name.into())),
        };
        let paths = if parts.paths { counts(&self.paths, "paths")? } else { Counts::default() };
        let agents = if parts.agents { counts(&self.agents, "agents")? } else { Counts::default() };
        Ok(Some(WindowCounts { totals, paths, agents }))
    }

    /// Hands on each path, or agent family, of a window with its count, if there is a row of it.
    pub(super) fn each(
        &self,
        key: &[u8],
        by: Dimension,
        each: impl FnMut(&str, u64),
    ) -> RowResult<()> {
        let (table, name) = match by {
            Dimension::Path => (&self.paths, "paths"),
            Dimension::Agent => (&self.agents, "agents"),
        };
        let Some(row) = table.get(key)? else { return Ok(()) };
        each_count(name, open(name, key, row.value())?, each)
    }
}

impl WindowTables<Table<'_, &'static [u8], &'static [u8]>> {
    /// Writes a window over what is there.
    pub(super) fn put(&mut self, key: &[u8], window: &WindowCounts) -> RowResult<()> {
        self.totals.insert(key, seal(key, encode_totals(&window.totals)).as_slice())?;
        self.paths.insert(key, seal(key, encode_counts(&window.paths)).as_slice())?;
        self.agents.insert(key, seal(key, encode_counts(&window.agents)).as_slice())?;
        Ok(())
    }

    /// Removes a window.
    pub(super) fn remove(&mut self, key: &[u8]) -> RowResult<()> {
        self.totals.remove(key)?;
        self.paths.remove(key)?;
        self.agents.remove(key)?;
        Ok(())
    }
}

/// The key goes in by its hash as the seed, so that a value under another key does not validate.
fn checksum(key: &[u8], value: &[u8]) -> [u8; 8] {
    xxh3_64_with_seed(value, xxh3_64_with_seed(key, 0)).to_le_bytes()
}

pub(super) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(key, &value);
    value.extend(checksum);
    value
}

pub(super) fn open<'a>(table: &str, key: &[u8], value: &'a [u8]) -> RowResult<&'a [u8]> {
    match value.split_last_chunk::<8>() {
        Some((value, recorded)) if checksum(key, value) == *recorded => Ok(value),
        _ => Err(RowError::Corrupt(table.into())),
    }
}

fn encode_totals(totals: &Totals) -> Vec<u8> {
    let mut value = Vec::with_capacity(16);
    let first = totals.first.map_or(0, |group| group.0);
    for number in [totals.requests, totals.late, totals.revision, first] {
        put_varint(&mut value, number);
    }
    if !totals.responses.is_empty() {
        totals.responses.put(&mut value);
    }
    value
}

/// The totals in a row of them.
pub(super) fn totals_of(key: &[u8], value: &[u8]) -> RowResult<Totals> {
    decode_totals(open("totals", key, value)?)
}

fn decode_totals(mut value: &[u8]) -> RowResult<Totals> {
    let mut take = || {
        let mut next = || take_varint(&mut value);
        let (requests, late, revision, first) = (next()?, next()?, next()?, next()?);
        let first = (first > 0).then_some(Group(first));
        let responses = match value {
            [] => Responses::default(),
            _ => Responses::take(&mut value)?,
        };
        Some(Totals { requests, late, revision, first, responses })
    };
    let totals = take().filter(|_| value.is_empty());
    totals.ok_or_else(|| RowError::Corrupt("totals".into()))
}

fn encode_counts(counts: &Counts) -> Vec<u8> {
    let mut value = Vec::with_capacity(16 + counts.len() * 40);
    put_varint(&mut value, counts.len() as u64);
    for (name, count) in counts.iter() {
        put_varint(&mut value, name.len() as u64);
        value.extend(name.as_bytes());
        put_varint(&mut value, count);
    }
    value
}

fn decode_counts(table: &str, value: &[u8]) -> RowResult<Counts> {
    let mut pairs = Vec::new();
    each_count(table, value, |name, count| pairs.push((name.into(), count)))?;
    Counts::from_sorted(pairs).ok_or_else(|| RowError::Corrupt(table.into()))
}

/// Hands on each name of a value with its count, in order.
fn each_count<'v>(
    table: &str,
    mut value: &'v [u8],
    mut each: impl FnMut(&'v str, u64),
) -> RowResult<()> {
    let mut take = || {
        for _ in 0..take_varint(&mut value)? {
            let len = usize::try_from(take_varint(&mut value)?).ok()?;
            let (name, rest) = value.split_at_checked(len)?;
            value = rest;
            each(std::str::from_utf8(name).ok()?, take_varint(&mut value)?);
        }
        value.is_empty().then_some(())
    };
    take().ok_or_else(|| RowError::Corrupt(table.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_validates_under_its_own_key_only() {
        let counts = Counts::from_unsorted(vec![("GET /".into(), 300), ("GET /a".into(), 1)]);
        let mut value = seal(b"key", encode_counts(&counts));
        let decoded = open("paths", b"key", &value).and_then(|v| decode_counts("paths", v));
        assert!(decoded.is_ok_and(|decoded| decoded == counts));
        assert!(open("paths", b"other", &value).is_err());
        value[3] ^= 1;
        assert!(open("paths", b"key", &value).is_err());
    }

    proptest::proptest! {
        #[test]
        fn keys_sort_by_time_then_customer(
            a in (0_u32..99, "[a-c]{1,3}"),
            b in (0_u32..99, "[a-c]{1,3}"),
        ) {
            let key = |(start, customer): &(u32, String)| {
                key(Level::Minute, Minute(*start), customer)
            };
            assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }
    }
}
