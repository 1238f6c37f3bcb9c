//! A summary as bytes: what the journal keeps of a batch.
//!
//! # Format
//!
//! ```text
//! summary   number of names | each: length, text | number of windows | each window
//! window    twice the minutes since the one before, less 1 (the first: since 1970), and 1 more if
//!           there are responses | these | paths | agents
//! responses see `responses.rs`
//! counts    number of them | each: number of the name since the one before, less 1 | requests
//! ```
//!
//! All numbers are varints (`fields.rs`). What follows from these is not written: requests of a
//! window are the sum over its paths, and over its agents (W2), entries the sum over windows. So
//! each summary has one form, and each form that is taken is that of one summary.

use super::{NameCount, PartialInsight, Summary};
use crate::fields::{put_varint, take_varint};
use crate::names::{NameId, Names};
use crate::responses::Responses;
use crate::window::Minute;

impl Summary {
    /// The summary as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let pairs = self.windows.iter().map(|window| window.paths.len() + window.agents.len());
        let names = self.names.text_bytes() + self.names.len() * 2;
        let expected = names + pairs.sum::<usize>() * 3 + self.windows.len() * 8 + 8;
        let mut bytes = Vec::with_capacity(expected);
        put_varint(&mut bytes, self.names.len() as u64);
        for name in self.names.iter() {
            put_varint(&mut bytes, name.len() as u64);
            bytes.extend_from_slice(name.as_bytes());
        }
        put_varint(&mut bytes, self.windows.len() as u64);
        let mut next = 0;
        for window in &self.windows {
            let has_responses = !window.responses.is_empty();
            let since = u64::from(window.minute.0) - next;
            put_varint(&mut bytes, since << 1 | u64::from(has_responses));
            next = u64::from(window.minute.0) + 1;
            if has_responses {
                window.responses.put(&mut bytes);
            }
            put_counts(&mut bytes, &window.paths);
            put_counts(&mut bytes, &window.agents);
        }
        bytes
    }

    /// The summary that these bytes say; `None` if they say none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let names = take_names(&mut rest)?;
        let count = take_length(&mut rest)?;
        let mut windows = Vec::with_capacity(count);
        let (mut next, mut entries) = (0, 0_u32);
        for _ in 0..count {
            let since = take_varint(&mut rest)?;
            let minute = step(since >> 1, &mut next)?;
            let responses = match since & 1 {
                0 => Responses::default(),
                _ => Responses::take(&mut rest)?,
            };
            let (paths, requests) = take_counts(&mut rest, names.len())?;
            let (agents, by_agents) = take_counts(&mut rest, names.len())?;
            if requests != by_agents || u64::from(requests) < responses.requests() {
                return None;
            }
            entries = entries.checked_add(requests)?;
            let minute = Minute(minute);
            windows.push(PartialInsight { minute, requests, paths, agents, responses });
        }
        rest.is_empty().then_some(Self { entries, names, windows })
    }
}

fn put_counts(bytes: &mut Vec<u8>, counts: &[NameCount]) {
    put_varint(bytes, counts.len() as u64);
    let mut next = 0;
    for (NameId(name), requests) in counts {
        put_varint(bytes, u64::from(*name) - next);
        next = u64::from(*name) + 1;
        put_varint(bytes, u64::from(*requests));
    }
}

/// Counts of known names, in order, and their sum.
fn take_counts(bytes: &mut &[u8], names: usize) -> Option<(Vec<NameCount>, u32)> {
    let count = take_length(bytes)?;
    let mut counts = Vec::with_capacity(count);
    let (mut next, mut sum) = (0, 0_u32);
    for _ in 0..count {
        let name = step(take_varint(bytes)?, &mut next)?;
        let requests = u32::try_from(take_varint(bytes)?).ok()?;
        if name as usize >= names || requests == 0 {
            return None;
        }
        sum = sum.checked_add(requests)?;
        counts.push((NameId(name), requests));
    }
    Some((counts, sum))
}

fn take_names(bytes: &mut &[u8]) -> Option<Names> {
    let count = take_length(bytes)?;
    let mut names = Names::with_capacity(count);
    for known in 0..count {
        let length = take_length(bytes)?;
        let (name, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let id = names.intern(std::str::from_utf8(name).ok()?);
        if id.0 as usize != known {
            return None;
        }
    }
    Some(names)
}

/// How many of something follow, each of which takes a byte at least: a number that cannot be
/// right is not believed.
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    (length <= bytes.len()).then_some(length)
}

/// A number that is told by its distance from the least that it can be.
fn step(distance: u64, next: &mut u64) -> Option<u32> {
    let number = u32::try_from(next.checked_add(distance)?).ok()?;
    *next = u64::from(number) + 1;
    Some(number)
}

#[cfg(test)]
mod tests;
