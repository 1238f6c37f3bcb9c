//! Interned text: each distinct name is stored once and counted by a small number.
//!
//! A minute of traffic has few distinct paths and agents, and many entries; counting by
//! [`NameId`] costs a dozen bytes a name instead of a string a window.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Stands for one name of one [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

/// A set of names, each with its number, in the order of their first appearance.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// All names, one after the other.
    text: String,
    /// Where each name ends in `text`.
    ends: Vec<u32>,
    ids: HashTable<NameId>,
    hasher: DefaultHashBuilder,
}

/// Bytes of bookkeeping for one name, beside its text.
const BYTES_PER_NAME: usize = 16;

impl Names {
    /// The number of a name, given now if the name is new.
    ///
    /// # Panics
    /// Past 4 GiB of distinct text, which [`crate::limits`] keeps out of reach.
    pub fn intern(&mut self, name: &str) -> NameId {
        let Self { text, ends, ids, hasher } = self;
        let hash = hasher.hash_one(name);
        if let Some(id) = ids.find(hash, |id| slice(text, ends, *id) == name) {
            return *id;
        }
        let id = NameId(u32::try_from(ends.len()).expect("fewer than 2^32 names"));
        text.push_str(name);
        ends.push(u32::try_from(text.len()).expect("less than 4 GiB of names"));
        ids.insert_unique(hash, id, |id| hasher.hash_one(slice(text, ends, *id)));
        id
    }

    /// The number of a name that is there already.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NameId> {
        let hash = self.hasher.hash_one(name);
        self.ids.find(hash, |id| slice(&self.text, &self.ends, *id) == name).copied()
    }

    /// The name that a number stands for.
    ///
    /// # Panics
    /// If the number is of another set and has no name here.
    #[must_use]
    pub fn get(&self, id: NameId) -> &str {
        slice(&self.text, &self.ends, id)
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// About how much memory the names take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * BYTES_PER_NAME
    }
}

fn slice<'a>(text: &'a str, ends: &[u32], id: NameId) -> &'a str {
    let at = id.0 as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &text[start..ends[at] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Names::default();
        let ids: Vec<_> = (0..5_000).map(|n| names.intern(&format!("GET /{n}"))).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(names.intern(&format!("GET /{n}")), *id);
            assert_eq!(names.get(*id), format!("GET /{n}"));
        }
        assert_eq!(names.intern(""), NameId(5_000));
        assert_eq!(names.get(NameId(5_000)), "");
        assert_eq!(names.len(), 5_001);
    }
}
