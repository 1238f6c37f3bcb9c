//! The layout of entries: what stands between their values. A sender writes every entry as it wrote
//! the one before; so the layout of one is learned, and others that have it are read from value to
//! value, with nothing between them to make sense of.

use wide::u8x32;

/// A value of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Time,
    Text(Text),
    Number(Number),
}

/// A value that is a string; its place in a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Method,
    Path,
    UserAgent,
}

/// A value that is a number; its place in a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Status,
    Bytes,
}

/// Each value, in order, with what stands before it.
#[derive(Debug, Default)]
pub(super) struct Layout {
    slots: Vec<(Gap, Slot)>,
    /// There was more in the entry than is known of here.
    is_partial: bool,
}

impl Layout {
    /// Knows nothing any more.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.is_partial = false;
    }

    /// Takes note of a value, and of what stands between it and the one before; no slot is a value
    /// of no concern.
    pub(super) fn push(&mut self, gap: &[u8], slot: Option<Slot>) {
        match (Gap::new(gap), slot) {
            (Some(gap), Some(slot)) => self.slots.push((gap, slot)),
            _ => self.is_partial = true,
        }
    }

    /// The values, if all of the layout is known.
    pub(super) fn slots(&self) -> &[(Gap, Slot)] {
        if self.is_partial { &[] } else { &self.slots }
    }
}

/// The bytes between two values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    bytes: u128,
    /// Which bits of as many bytes of a body are to be the same.
    mask: u128,
    len: usize,
}

impl Gap {
    const BYTES_MAX: usize = 16;

    fn new(gap: &[u8]) -> Option<Self> {
        let mut mask = [0; Self::BYTES_MAX];
        mask.get_mut(..gap.len())?.fill(u8::MAX);
        let (bytes, mask) = (u128::from_le_bytes(padded(gap)), u128::from_le_bytes(mask));
        Some(Self { bytes, mask, len: gap.len() })
    }

    /// Where the next value begins, if this is what stands there.
    #[inline]
    pub(super) fn pass(&self, body: &[u8], at: usize) -> Option<usize> {
        let rest = body.get(at..)?;
        let there = rest.first_chunk().map_or_else(|| padded(rest), |there| *there);
        let there = u128::from_le_bytes(there);
        ((there ^ self.bytes) & self.mask == 0).then_some(at + self.len)
    }
}

/// What is shorter than the longest gap, with zeros after it: no gap has any.
#[cold]
fn padded(short: &[u8]) -> [u8; Gap::BYTES_MAX] {
    let mut bytes = [0; Gap::BYTES_MAX];
    bytes[..short.len()].copy_from_slice(short);
    bytes
}

/// Where the string ends that the text begins with, after its first quote; `None` if it has a
/// backslash, or no end.
#[inline]
pub(super) fn plain_string(text: &[u8]) -> Option<usize> {
    let (blocks, rest) = text.as_chunks::<32>();
    let mut end = 0;
    for block in blocks {
        let block = u8x32::from(*block);
        let is_found = block.simd_eq(QUOTES) | block.simd_eq(BACKSLASHES);
        let found = is_found.to_bitmask();
        if found != 0 {
            end += found.trailing_zeros() as usize;
            return (text[end] == b'"').then_some(end);
        }
        end += block.as_array().len();
    }
    end += rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (text[end] == b'"').then_some(end)
}

const QUOTES: u8x32 = u8x32::new([b'"'; 32]);
const BACKSLASHES: u8x32 = u8x32::new([b'\\'; 32]);

/// The whole number that the text begins with, and how many digits it has; `None` if JSON has no
/// such number, or it is larger than any that counts.
#[inline]
pub(super) fn number(text: &[u8]) -> Option<(u64, usize)> {
    const DIGITS_MAX: usize = 18;
    let (mut value, mut digits) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        if digits == DIGITS_MAX {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
        digits += 1;
    }
    (digits == 1 || (digits > 1 && text[0] != b'0')).then_some((value, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_passed_where_it_stands() {
        let gap = Gap::new(br#","path":""#).expect("short");
        let body = br#"-,"path":"/pricing""#;
        assert_eq!(gap.pass(body, 1), Some(10));
        assert_eq!(gap.pass(body, 0), None);
        assert_eq!(gap.pass(&body[..10], 1), Some(10));
        assert_eq!(gap.pass(&body[..9], 1), None);
        assert_eq!(gap.pass(body, body.len()), None);
        assert!(Gap::new(&[b' '; 16]).is_some() && Gap::new(&[b' '; 17]).is_none());
    }

    #[test]
    fn strings_end_at_the_first_quote_if_nothing_is_escaped_before() {
        for length in 0..100 {
            let text = format!("{}\",\\", "é".repeat(length / 2) + &"a".repeat(length % 2));
            assert_eq!(plain_string(text.as_bytes()), Some(length));
            assert_eq!(plain_string(&text.as_bytes()[..length]), None);
            let escaped = format!("{}\\\"\"", "a".repeat(length));
            assert_eq!(plain_string(escaped.as_bytes()), None);
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        assert_eq!(number(b"0,"), Some((0, 1)));
        assert_eq!(number(b"200}"), Some((200, 3)));
        assert_eq!(number(b"999999999999999999"), Some((999_999_999_999_999_999, 18)));
        for text in ["", "-1", "01", "00", "1000000000000000000", "x"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_layout_is_known_whole_or_not_at_all() {
        let mut layout = Layout::default();
        layout.push(b"{", Some(Slot::Time));
        layout.push(b",", Some(Slot::Text(Text::Path)));
        assert_eq!(layout.slots().len(), 2);
        for (gap, slot) in [(&b","[..], None), (&[b' '; 20], Some(Slot::Time))] {
            layout.push(gap, slot);
            assert_eq!(layout.slots().len(), 0);
            layout.clear();
            layout.push(b"{", Some(Slot::Time));
            assert_eq!(layout.slots().len(), 1);
        }
    }
}
