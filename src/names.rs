//! Interned text: each distinct name is stored once and counted by a small number.
//!
//! A minute of traffic has few distinct paths and agents, and many entries; counting by
//! [`NameId`] costs a dozen bytes a name instead of a string a window.

use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::LazyLock;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Stands for one name of one [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

/// A set of names, each with its number, in the order of their first appearance.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// All names, one after the other.
    text: String,
    places: Vec<Place>,
    ids: HashTable<NameId>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    /// Where the name ends in the text.
    end: u32,
}

/// Bytes of bookkeeping for one name, beside its text.
const BYTES_PER_NAME: usize = 24;

/// A path with its method, more or less.
const NAME_BYTES_EXPECTED: usize = 48;

/// One seed for the whole process, so that a name is hashed once on its way from set to set, and
/// a random one, so that nobody can prepare names that collide.
static SEED: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// The hash of a name from its parts before and after its first space.
fn hash_parts(first: &str, rest: &str) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(rest.as_bytes());
    hasher.write(first.as_bytes());
    hasher.finish()
}

impl Names {
    /// An empty set with room for so many names.
    #[must_use]
    pub fn with_capacity(names: usize) -> Self {
        Self {
            text: String::with_capacity(names * NAME_BYTES_EXPECTED),
            places: Vec::with_capacity(names),
            ids: HashTable::with_capacity(names),
        }
    }

    /// The number of a name, given now if the name is new.
    ///
    /// # Panics
    /// Past 4 GiB of distinct text, which [`crate::limits`] keeps out of reach.
    pub fn intern(&mut self, name: &str) -> NameId {
        self.intern_hashed(name, Self::hash(name))
    }

    /// The hash of a name, the same in every set of this process.
    #[must_use]
    pub fn hash(name: &str) -> u64 {
        let (first, rest) = name.split_once(' ').unwrap_or((name, ""));
        hash_parts(first, rest)
    }

    /// The number of a name whose hash is known; or of one in a set in which all names come with a
    /// hash of the caller's.
    ///
    /// # Panics
    /// As [`Self::intern`].
    pub fn intern_hashed(&mut self, name: &str, hash: u64) -> NameId {
        self.get_or_add(hash, |text| text == name.as_bytes(), &[name])
    }

    /// The number of `first + " " + rest`, without putting them together; `first` has no space.
    ///
    /// # Panics
    /// As [`Self::intern`].
    pub fn intern_joined(&mut self, first: &str, rest: &str) -> NameId {
        debug_assert!(!first.contains(' '), "names are parted at the first space");
        let space = first.len();
        let is_same = |text: &[u8]| {
            text.len() == space + 1 + rest.len()
                && text[space] == b' '
                && text[space + 1..] == *rest.as_bytes()
                && text[..space] == *first.as_bytes()
        };
        self.get_or_add(hash_parts(first, rest), is_same, &[first, " ", rest])
    }

    /// The hash of the name that a number stands for.
    ///
    /// # Panics
    /// As [`Self::get`].
    #[must_use]
    pub fn hash_of(&self, id: NameId) -> u64 {
        self.places[id.0 as usize].hash
    }

    fn get_or_add(&mut self, hash: u64, is_same: impl Fn(&[u8]) -> bool, parts: &[&str]) -> NameId {
        let Self { text, places, ids } = self;
        let found = ids.find(hash, |id| is_same(&text.as_bytes()[range(places, *id)]));
        if let Some(id) = found {
            return *id;
        }
        let id = NameId(u32::try_from(places.len()).expect("fewer than 2^32 names"));
        text.extend(parts.iter().copied());
        let end = u32::try_from(text.len()).expect("less than 4 GiB of names");
        places.push(Place { hash, end });
        ids.insert_unique(hash, id, |id| places[id.0 as usize].hash);
        id
    }

    /// The name that a number stands for.
    ///
    /// # Panics
    /// If the number is of another set and has no name here.
    #[must_use]
    pub fn get(&self, id: NameId) -> &str {
        &self.text[range(&self.places, id)]
    }

    /// Gives back what growing took too much.
    pub fn shrink_to_fit(&mut self) {
        let Self { text, places, ids } = self;
        text.shrink_to_fit();
        places.shrink_to_fit();
        ids.shrink_to_fit(|id| places[id.0 as usize].hash);
    }

    /// All names, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..).map(NameId).take(self.places.len()).map(|id| self.get(id))
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all names' text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// About how much memory the names take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.places.len() * BYTES_PER_NAME
    }
}

fn range(places: &[Place], id: NameId) -> Range<usize> {
    let at = id.0 as usize;
    let start = if at == 0 { 0 } else { places[at - 1].end as usize };
    start..places[at].end as usize
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

    /// However a name comes, it is the same name.
    #[test]
    fn parts_make_the_name_they_are_parts_of() {
        let (mut names, mut other) = (Names::default(), Names::default());
        for (first, rest) in [("GET", "/"), ("GET", "/a b"), ("GET", ""), ("", "x"), ("G", "ET /")]
        {
            let joined = names.intern_joined(first, rest);
            let whole = format!("{first} {rest}");
            assert_eq!(names.get(joined), whole);
            assert_eq!(names.intern(&whole), joined);
            assert_eq!(names.intern_joined(first, rest), joined);
            assert_eq!(names.hash_of(joined), Names::hash(&whole));
            let copied = other.intern_hashed(&whole, names.hash_of(joined));
            assert_eq!(other.get(copied), whole);
            assert_eq!(other.intern(&whole), copied);
        }
        assert_eq!(names.len(), 5);
        assert_ne!(names.intern("GET"), names.intern("GET "));
    }
}
