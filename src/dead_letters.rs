//! Entries that were put aside: what is wrong with each, and its original bytes.
//!
//! They travel as the counts of their batch do, through journal, worker and checkpoint into the
//! store, so that they are there exactly once whatever crashes (A2). Pure.
//!
//! # Format
//!
//! ```text
//! letters   framing u8 | name of the format | header line | number of letters | each letter
//! letter    index in the batch since the one before, less 1 | reason | original bytes
//! ```
//!
//! Numbers are varints (`fields.rs`); texts and bytes have their length before them.

use std::sync::Arc;

use crate::decode::Framing;
use crate::fields::{put_bytes, put_varint, take_bytes, take_text, take_varint};
use crate::ids::{AcceptTime, CustomerId, Group};

/// What was put aside of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters(Option<Box<Letters>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Letters {
    framing: Framing,
    format: Box<str>,
    /// The header line of a CSV body.
    header: Box<[u8]>,
    letters: Vec<DeadLetter>,
}

/// One entry that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Place in its batch, from 0.
    pub index: u32,
    /// What is wrong with it.
    pub reason: Box<str>,
    /// As it stood in the body.
    pub original: Box<[u8]>,
}

/// What was put aside of an accepted batch, and whose it is.
#[derive(Debug, PartialEq, Eq)]
pub struct DeadBatch {
    /// Whose batch it was.
    pub customer: CustomerId,
    /// The batch's idempotency key.
    pub key: Box<str>,
    /// The request that brought it.
    pub request_id: Box<str>,
    /// What was put aside.
    pub letters: DeadLetters,
}

/// A batch of dead letters with its place in the order of all batches.
#[derive(Debug, Clone)]
pub struct PutAside {
    /// The group that its batch was accepted in.
    pub group: Group,
    /// When.
    pub accepted: AcceptTime,
    /// Which batch of the group.
    pub place: u32,
    /// What was put aside.
    pub batch: Arc<DeadBatch>,
}

impl PutAside {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.batch.letters.bytes()
    }
}

impl DeadBatch {
    /// The dead letters of a batch, if it has any.
    #[must_use]
    pub fn of(
        customer: &CustomerId,
        key: &str,
        request_id: &str,
        letters: DeadLetters,
    ) -> Option<Arc<Self>> {
        (!letters.is_empty()).then(|| {
            let (customer, key, request_id) = (customer.clone(), key.into(), request_id.into());
            Arc::new(Self { customer, key, request_id, letters })
        })
    }
}

impl DeadLetters {
    /// None yet, of a body of this kind.
    #[must_use]
    pub fn of(framing: Framing, format: &str) -> Self {
        let (header, letters) = (Box::default(), Vec::new());
        Self(Some(Box::new(Letters { framing, format: format.into(), header, letters })))
    }

    /// Whether nothing was put aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries were put aside.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Each of them, in the order of the batch.
    pub fn iter(&self) -> std::slice::Iter<'_, DeadLetter> {
        self.0.as_ref().map_or(&[][..], |letters| &letters.letters).iter()
    }

    /// What surrounds a body of one of them, and the name of its format.
    #[must_use]
    pub fn kind(&self) -> Option<(Framing, &str)> {
        self.0.as_ref().map(|letters| (letters.framing, &*letters.format))
    }

    /// A letter's bytes as a body of their own.
    #[must_use]
    pub fn body(&self, letter: &DeadLetter) -> Vec<u8> {
        let Some(Letters { framing, header, .. }) = self.0.as_deref() else { return Vec::new() };
        match framing {
            // An element that is no object is no body, or one of other entries.
            Framing::Json if !letter.original.starts_with(b"{") => {
                [b"[", &*letter.original, b"]"].concat()
            }
            _ if !header.is_empty() => [header, &b"\n"[..], &letter.original].concat(),
            _ => letter.original.to_vec(),
        }
    }

    /// About how many bytes of memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let one = |letter: &DeadLetter| {
            size_of::<DeadLetter>() + letter.reason.len() + letter.original.len()
        };
        self.iter().map(one).sum()
    }

    pub(crate) fn begins_with(&mut self, framing: Framing, header: &[u8]) {
        if let Some(letters) = &mut self.0 {
            (letters.framing, letters.header) = (framing, header.into());
        }
    }

    pub(crate) fn push(&mut self, letter: DeadLetter) {
        if let Some(letters) = &mut self.0 {
            letters.letters.push(letter);
        }
    }

    /// The letters as bytes: what the journal keeps of them. Nothing if there is none.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(Letters { framing, format, header, letters }) = self.0.as_deref() else {
            return bytes;
        };
        if letters.is_empty() {
            return bytes;
        }
        bytes.push(framing.number());
        put_bytes(&mut bytes, format.as_bytes());
        put_bytes(&mut bytes, header);
        put_varint(&mut bytes, letters.len() as u64);
        let mut next = 0;
        for letter in letters {
            put_varint(&mut bytes, u64::from(letter.index) - next);
            next = u64::from(letter.index) + 1;
            put_bytes(&mut bytes, letter.reason.as_bytes());
            put_bytes(&mut bytes, &letter.original);
        }
        bytes
    }

    /// The letters that these bytes say; `None` if they say none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (number, mut rest) = bytes.split_first()?;
        let framing = Framing::of_number(*number)?;
        let format = take_text(&mut rest)?.into();
        let header = take_bytes(&mut rest)?.into();
        let count = usize::try_from(take_varint(&mut rest)?).ok()?;
        if count == 0 || count > rest.len() {
            return None;
        }
        let mut letters = Vec::with_capacity(count);
        let mut next = 0_u64;
        for _ in 0..count {
            let index = u32::try_from(next.checked_add(take_varint(&mut rest)?)?).ok()?;
            next = u64::from(index) + 1;
            letters.push(DeadLetter {
                index,
                reason: take_text(&mut rest)?.into(),
                original: take_bytes(&mut rest)?.into(),
            });
        }
        let letters = Letters { framing, format, header, letters };
        rest.is_empty().then(|| Self(Some(Box::new(letters))))
    }
}
