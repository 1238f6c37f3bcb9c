//! The names things go by: newtypes, so that a customer cannot be passed where a key is meant.
//!
//! Everything that comes from a client is checked here, once, when the value is made; the rest of
//! the code can rely on it. Nothing in here does I/O.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::limits;

/// Why a header value is not a valid identifier; the text is shown to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub String);

/// Who the logs belong to: 1–128 of `A-Z a-z 0-9 . _ : @ -`, first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerId(Arc<str>);

impl CustomerId {
    /// Checks and takes a customer id.
    ///
    /// # Errors
    /// [`InvalidId`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > limits::CUSTOMER_ID_BYTES_MAX {
            let max = limits::CUSTOMER_ID_BYTES_MAX;
            return Err(InvalidId(format!("must have 1 to {max} characters, has {}", text.len())));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(InvalidId("must begin with a letter or a digit".into()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
        match text.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(InvalidId(format!("may hold A-Z a-z 0-9 . _ : @ - only, has {c:?}"))),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name a sender gives a batch and repeats when it retries: 1–255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Checks and takes a key as it stands in the header: bare, or an RFC 8941 string in quotes.
    ///
    /// Both spellings of the same key are the same key.
    ///
    /// # Errors
    /// [`InvalidId`] says which rule the text breaks.
    pub fn from_header(text: &str) -> Result<Self, InvalidId> {
        if text.starts_with('"') { Self::new(&unquote(text)?) } else { Self::new(text) }
    }

    /// Checks and takes a key without quotes.
    ///
    /// # Errors
    /// [`InvalidId`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX {
            let max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
            return Err(InvalidId(format!("must have 1 to {max} characters, has {}", text.len())));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidId("may hold visible ASCII characters only".into()));
        }
        Ok(Self(text.into()))
    }

    /// The key of a batch that is known by what it says: equal bodies of one format have the same.
    ///
    /// As those below it has a space, so that no sender can give such a key itself.
    #[must_use]
    pub fn derived(format: u64, body: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("logmill derived idempotency key v1");
        hash.update(&format.to_le_bytes()).update(body);
        Self(format!("derived {}", &hash.finalize().to_hex()[..32]).into())
    }

    /// A key from 128 random bits, for a batch that nobody can send again.
    #[must_use]
    pub fn generated(bits: u128) -> Self {
        Self(format!("generated {bits:032x}").into())
    }

    /// The key of an entry that was put aside and is sent again: the group of its batch, and both
    /// places. However often it is, it counts once. The batch's own key would not do: past its
    /// retention another batch may have it.
    #[must_use]
    pub fn replayed(group: Group, place: u32, index: u32) -> Self {
        Self(format!("replayed {}.{place}.{index}", group.0).into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes the content out of an RFC 8941 string (section 3.3.3): quotes around it, `\"` and `\\` in it.
fn unquote(text: &str) -> Result<String, InvalidId> {
    let malformed = || InvalidId("begins with a quote but is not an RFC 8941 string".into());
    let inner = text.strip_prefix('"').ok_or_else(malformed)?;
    let mut content = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next().ok_or_else(malformed)? {
            '"' if chars.as_str().is_empty() => return Ok(content),
            '"' => return Err(malformed()),
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\')) => content.push(c),
                _ => return Err(malformed()),
            },
            c => content.push(c),
        }
    }
}

/// Names one HTTP request in answers and logs: 1–128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the client's id if it is well-formed.
    #[must_use]
    pub fn from_header(text: &str) -> Option<Self> {
        let fits = (1..=limits::REQUEST_ID_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(text.into()))
    }

    /// Makes an id from 128 random bits.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        let mut id = String::with_capacity(32);
        write!(id, "{bits:032x}").expect("a string takes everything");
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Number of a group: what one journal sync covers. Dense, from 1, never used twice in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Group(pub u64);

impl Group {
    /// The group after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One life of the process, counted in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// Number of a checkpoint: which store transaction a delta goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Wall-clock milliseconds since 1970, at which a group was accepted; never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AcceptTime(pub u64);

/// xxh3-128 of what a batch says: its format and its decompressed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub u128);

impl ContentDigest {
    /// Digests a body together with the number of its format.
    #[must_use]
    pub fn of(format: u64, body: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128_with_seed(body, format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customer_ids_hold_only_what_the_rule_allows() {
        for good in ["a", "7", "cus-axon", "A.b_c:d@e-f", &"x".repeat(128)] {
            assert!(CustomerId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "../x", "a/b", "é", "a\0", &"x".repeat(129)] {
            assert!(CustomerId::new(bad).is_err(), "{bad:?}");
        }
    }

    /// T1, A3: what the server makes itself no sender can name, and other things have other keys.
    #[test]
    fn keys_that_are_made_are_told_from_all_others() {
        let keys = [
            IdempotencyKey::derived(1, b"x"),
            IdempotencyKey::derived(2, b"x"),
            IdempotencyKey::derived(1, b"y"),
            IdempotencyKey::generated(1),
            IdempotencyKey::generated(2),
            IdempotencyKey::replayed(Group(1), 11, 1),
            IdempotencyKey::replayed(Group(2), 11, 1),
            IdempotencyKey::replayed(Group(11), 1, 1),
            IdempotencyKey::replayed(Group(1), 1, 11),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key}");
            assert!(IdempotencyKey::new(key.as_str()).is_err(), "{key}");
            assert!(IdempotencyKey::from_header(&format!("\"{key}\"")).is_err(), "{key}");
            assert!(key.as_str().len() <= limits::IDEMPOTENCY_KEY_BYTES_MAX);
        }
        assert_eq!(keys[0], IdempotencyKey::derived(1, b"x"));
    }

    #[test]
    fn a_quoted_key_is_the_same_key() {
        let bare = IdempotencyKey::from_header("k-1").expect("valid");
        assert_eq!(IdempotencyKey::from_header("\"k-1\""), Ok(bare));
        let escaped = IdempotencyKey::from_header(r#""a\"b\\c""#).expect("valid");
        assert_eq!(escaped.as_str(), r#"a"b\c"#);
        for bad in ["", "\"", "\"\"", "\"a", "\"a\"b", "\"a\\x\"", "a b", "\"a b\"", "é"] {
            assert!(IdempotencyKey::from_header(bad).is_err(), "{bad:?}");
        }
        assert!(IdempotencyKey::from_header(&"k".repeat(255)).is_ok());
        assert!(IdempotencyKey::from_header(&"k".repeat(256)).is_err());
    }
}
