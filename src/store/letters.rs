//! Dead letters at rest: written with the checkpoint that holds their batch, kept for so long and
//! no more than so many bytes, and removed when they are replayed or dropped.

use std::time::Duration;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::rows::{RowError, RowResult, open, seal};
use super::{Bytes, FrozenStore, Store, StoreError};
use crate::dead_letters::PutAside;
use crate::decode::Framing;
use crate::fields::{put_bytes, put_varint, take_bytes, take_text, take_varint};
use crate::ids::{AcceptTime, CustomerId, Group};

/// Letters by customer, 0, group, place in the group, place in the batch: each customer's are in
/// order of time.
pub(super) const LETTERS: TableDefinition<Bytes, Bytes> = TableDefinition::new("letters");
/// What each customer holds of them: how many, and their bytes.
pub(super) const LETTERS_HELD: TableDefinition<Bytes, (u64, u64)> =
    TableDefinition::new("letters_held");

/// How long dead letters are kept, and how many bytes of them. What is past that goes, the oldest
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterRetention {
    /// Since their batch was accepted.
    pub age: Duration,
    /// Bytes of one customer's.
    pub customer_bytes: u64,
    /// Bytes of all; past it, the customer that holds most loses its oldest.
    pub bytes: u64,
}

impl LetterRetention {
    /// All are kept.
    pub const FOREVER: Self =
        Self { age: Duration::MAX, customer_bytes: u64::MAX, bytes: u64::MAX };
}

/// How the dead letters stand after a checkpoint.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LetterStats {
    /// How many there are.
    pub held: u64,
    /// How many went because of their age.
    pub expired: u64,
    /// How many went because there were too many bytes.
    pub crowded_out: u64,
}

/// Names one dead letter for ever: `customer/group.batch.entry`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// Whose it is.
    pub customer: CustomerId,
    /// The group that its batch was accepted in.
    pub group: Group,
    /// Which batch of the group.
    pub place: u32,
    /// Which entry of the batch.
    pub index: u32,
}

/// One entry that was put aside, and all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its name.
    pub id: LetterId,
    /// When its batch was accepted.
    pub accepted: AcceptTime,
    /// The batch's idempotency key.
    pub key: Box<str>,
    /// The request that brought it.
    pub request_id: Box<str>,
    /// What surrounds the body.
    pub framing: Framing,
    /// The name of its format.
    pub format: Box<str>,
    /// What was wrong with it.
    pub reason: Box<str>,
    /// Its original bytes, as a body that can be sent again.
    pub body: Box<[u8]>,
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}.{}.{}", self.customer, self.group.0, self.place, self.index)
    }
}

impl std::str::FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (customer, numbers) = text.rsplit_once('/').filter(|(_, n)| !n.contains('+'))?;
            let mut numbers = numbers.split('.');
            let id = Self {
                customer: CustomerId::new(customer).ok()?,
                group: Group(numbers.next()?.parse().ok()?),
                place: numbers.next()?.parse().ok()?,
                index: numbers.next()?.parse().ok()?,
            };
            // One name for each: no sign, no zeros in front.
            Some(id).filter(|id| id.to_string() == text)
        };
        parse().ok_or_else(|| format!("{text:?} names no dead letter: as in acme/17.0.5"))
    }
}

impl LetterId {
    fn key(&self) -> Vec<u8> {
        let mut key = Self::prefix(&self.customer);
        key.extend(self.group.0.to_be_bytes());
        key.extend(self.place.to_be_bytes());
        key.extend(self.index.to_be_bytes());
        key
    }

    /// No customer has a 0 in its name.
    fn prefix(customer: &CustomerId) -> Vec<u8> {
        [customer.as_str().as_bytes(), &[0]].concat()
    }

    fn of_key(key: &[u8]) -> Option<Self> {
        let (customer, rest) = key.split_at_checked(key.len().checked_sub(17)?)?;
        let number = |at: usize| rest.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let group = rest.get(1..9)?.try_into().ok().map(u64::from_be_bytes)?;
        let customer = CustomerId::new(std::str::from_utf8(customer).ok()?).ok()?;
        Some(Self { customer, group: Group(group), place: number(9)?, index: number(13)? })
    }
}

fn encode(put_aside: &PutAside, at: usize) -> Option<(LetterId, Vec<u8>)> {
    let PutAside { group, accepted, place, batch } = put_aside;
    let (letter, (framing, format)) = (batch.letters.iter().nth(at)?, batch.letters.kind()?);
    let mut value = Vec::new();
    put_varint(&mut value, accepted.0);
    put_varint(&mut value, framing.number().into());
    for text in [&batch.key, &batch.request_id, format, &letter.reason] {
        put_bytes(&mut value, text.as_bytes());
    }
    put_bytes(&mut value, &batch.letters.body(letter));
    let customer = batch.customer.clone();
    Some((LetterId { customer, group: *group, place: *place, index: letter.index }, value))
}

fn decode(id: LetterId, mut value: &[u8]) -> Option<StoredLetter> {
    let rest = &mut value;
    let accepted = AcceptTime(take_varint(rest)?);
    let framing = Framing::of_number(u8::try_from(take_varint(rest)?).ok()?)?;
    let mut text = || take_text(rest).map(Box::<str>::from);
    let (key, request_id, format, reason) = (text()?, text()?, text()?, text()?);
    let body = take_bytes(rest)?.into();
    rest.is_empty().then_some(StoredLetter {
        id,
        accepted,
        key,
        request_id,
        framing,
        format,
        reason,
        body,
    })
}

fn corrupt() -> RowError {
    RowError::Corrupt("letters".into())
}

fn letter(key: &[u8], value: &[u8]) -> RowResult<StoredLetter> {
    let value = open("letters", key, value)?;
    LetterId::of_key(key).and_then(|id| decode(id, value)).ok_or_else(corrupt)
}

/// The tables of a transaction that is under way.
pub(super) struct LetterTables<'t> {
    letters: Table<'t, Bytes, Bytes>,
    held: Table<'t, Bytes, (u64, u64)>,
}

impl<'t> LetterTables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> RowResult<Self> {
        Ok(Self { letters: txn.open_table(LETTERS)?, held: txn.open_table(LETTERS_HELD)? })
    }

    /// Writes what was put aside.
    pub(super) fn put(&mut self, put_aside: &PutAside) -> RowResult<()> {
        let customer = &put_aside.batch.customer;
        let (mut count, mut bytes) = self.held_by(customer)?;
        for at in 0..put_aside.batch.letters.len() {
            let Some((id, value)) = encode(put_aside, at) else { continue };
            let key = id.key();
            let value = seal(&key, value);
            if self.letters.insert(key.as_slice(), value.as_slice())?.is_none() {
                count += 1;
                bytes += value.len() as u64;
            }
        }
        self.hold(customer, (count, bytes))
    }

    /// Removes what is past retention.
    pub(super) fn expire(
        &mut self,
        retention: LetterRetention,
        now: AcceptTime,
    ) -> RowResult<LetterStats> {
        let mut stats = LetterStats::default();
        let kept_ms = u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX);
        let mut holders = Vec::new();
        for row in self.held.iter()? {
            let (customer, held) = row?;
            let text = std::str::from_utf8(customer.value()).map_err(|_| corrupt())?;
            holders.push((CustomerId::new(text).map_err(|_| corrupt())?, held.value()));
        }
        for (customer, held) in &mut holders {
            while let Some(oldest) = self.oldest(customer)? {
                let is_old = oldest.accepted.0.saturating_add(kept_ms) <= now.0;
                if !is_old && held.1 <= retention.customer_bytes {
                    break;
                }
                *held = self.remove(&oldest.id)?;
                *(if is_old { &mut stats.expired } else { &mut stats.crowded_out }) += 1;
            }
        }
        let mut all: u64 = holders.iter().map(|(_, (_, bytes))| bytes).sum();
        while all > retention.bytes {
            let Some((customer, held)) = holders.iter_mut().max_by_key(|(_, held)| held.1) else {
                break;
            };
            let Some(oldest) = self.oldest(customer)? else { break };
            let before = held.1;
            *held = self.remove(&oldest.id)?;
            all -= before - held.1;
            stats.crowded_out += 1;
        }
        stats.held = holders.iter().map(|(_, (count, _))| count).sum();
        Ok(stats)
    }

    fn oldest(&self, customer: &CustomerId) -> RowResult<Option<StoredLetter>> {
        let prefix = LetterId::prefix(customer);
        let Some(row) = self.letters.range(prefix.as_slice()..)?.next() else { return Ok(None) };
        let (key, value) = row?;
        let is_mine = key.value().starts_with(&prefix);
        is_mine.then(|| letter(key.value(), value.value())).transpose()
    }

    /// Removes a letter, if it is there; says what its customer still holds.
    fn remove(&mut self, id: &LetterId) -> RowResult<(u64, u64)> {
        let removed = self.letters.remove(id.key().as_slice())?.map(|row| row.value().len() as u64);
        let (count, bytes) = self.held_by(&id.customer)?;
        let Some(removed) = removed else { return Ok((count, bytes)) };
        let held = (count.saturating_sub(1), bytes.saturating_sub(removed));
        self.hold(&id.customer, held)?;
        Ok(held)
    }

    fn held_by(&self, customer: &CustomerId) -> RowResult<(u64, u64)> {
        let held = self.held.get(customer.as_str().as_bytes())?;
        Ok(held.map(|held| held.value()).unwrap_or_default())
    }

    fn hold(&mut self, customer: &CustomerId, held: (u64, u64)) -> RowResult<()> {
        let customer = customer.as_str().as_bytes();
        match held {
            (0, _) => drop(self.held.remove(customer)?),
            held => drop(self.held.insert(customer, held)?),
        }
        Ok(())
    }
}

impl FrozenStore {
    /// Dead letters in the order of their names, of one customer or of all, that come after
    /// another; at most `max`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn letters(
        &self,
        customer: Option<&CustomerId>,
        after: Option<&LetterId>,
        max: usize,
    ) -> Result<Vec<StoredLetter>, StoreError> {
        self.reading(|txn| {
            let prefix = customer.map(LetterId::prefix).unwrap_or_default();
            let from = after.map_or_else(|| prefix.clone(), |id| [&*id.key(), &[0]].concat());
            let table = txn.open_table(LETTERS)?;
            let mut letters = Vec::new();
            for row in table.range(from.as_slice()..)?.take(max) {
                let (key, value) = row?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                letters.push(letter(key.value(), value.value())?);
            }
            Ok(letters)
        })
    }

    /// One dead letter, if it is there.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn letter(&self, id: &LetterId) -> Result<Option<StoredLetter>, StoreError> {
        self.reading(|txn| {
            let (table, key) = (txn.open_table(LETTERS)?, id.key());
            table.get(key.as_slice())?.map(|value| letter(&key, value.value())).transpose()
        })
    }
}

impl Store {
    /// Removes dead letters, durably; says how many were there.
    ///
    /// # Errors
    /// If the store fails; the process must end.
    pub fn remove_letters(&self, ids: &[LetterId]) -> Result<u64, StoreError> {
        self.writing(|txn| {
            let mut tables = LetterTables::open(txn)?;
            let mut removed = 0;
            for id in ids {
                let (before, _) = tables.held_by(&id.customer)?;
                let (after, _) = tables.remove(id)?;
                removed += before - after;
            }
            Ok(removed)
        })
    }
}

/// Looks at each letter; hands on the place of each that is not what was written.
pub(super) fn check(txn: &ReadTransaction, mut fault: impl FnMut(Option<String>)) -> RowResult<()> {
    for row in txn.open_table(LETTERS)?.iter()? {
        let (key, value) = row?;
        match letter(key.value(), value.value()) {
            Err(RowError::Corrupt(_)) => {
                fault(LetterId::of_key(key.value()).map(|id| id.to_string()));
            }
            other => drop(other?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
