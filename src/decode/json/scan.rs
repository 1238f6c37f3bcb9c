//! The quick reader of JSON bodies: one pass over the bytes, nothing copied.
//!
//! It takes bodies as nearly all senders write them and gives up at anything else; then the body is
//! read again with serde_json, which alone decides what is valid. IMPORTANT: it must never take
//! what serde_json refuses, nor take it for something else. The fuzzer `json_body` compares them.

use std::borrow::Cow;

use memchr::memchr2;

use super::Fields;

/// Hands the fields of each entry to `each`, with whether they are known to have no control byte;
/// it may give up, too. `None` means that nothing that was handed on counts.
pub(super) fn scan<'a>(
    body: &'a str,
    mut each: impl FnMut(&Fields<'a>, bool) -> Option<()>,
) -> Option<()> {
    // Looked at once in the whole body: most have none, and then no string has.
    let is_control = |byte: u8| (byte < b' ') | (byte == 0x7f);
    let has_control = body.bytes().fold(false, |found, byte| found | is_control(byte));
    let mut scanner = Scanner { body, at: 0, has_control, has_escape: false };
    scanner.take(b'[')?;
    loop {
        let fields = scanner.entry()?;
        each(&fields, !scanner.has_control && !scanner.has_escape)?;
        match scanner.next()? {
            b',' => {}
            b']' => break,
            _ => return None,
        }
    }
    scanner.skip_space();
    (scanner.at == body.len()).then_some(())
}

#[derive(Clone, Copy)]
enum Name {
    ReceivedAt,
    Method,
    Path,
    UserAgent,
    Other,
}

struct Scanner<'a> {
    body: &'a str,
    at: usize,
    /// Whether the body has control bytes: below space they may stand between values, and in no
    /// string.
    has_control: bool,
    /// Whether a string so far had an escape.
    has_escape: bool,
}

impl<'a> Scanner<'a> {
    fn entry(&mut self) -> Option<Fields<'a>> {
        // Kept as they stand in the body until all are there: two words each, in registers.
        let (mut received_at, mut method, mut path, mut user_agent) = (None, None, None, None);
        self.take(b'{')?;
        loop {
            self.take(b'"')?;
            let (field, is_short) = match self.name()? {
                Name::ReceivedAt => (Some(&mut received_at), true),
                Name::Method => (Some(&mut method), true),
                Name::Path => (Some(&mut path), true),
                Name::UserAgent => (Some(&mut user_agent), false),
                Name::Other => (None, false),
            };
            self.take(b':')?;
            match (self.next()?, field) {
                (b'"', Some(field)) if field.is_none() => {
                    *field = Some(if is_short { self.short_string() } else { self.string() }?);
                }
                // A field that comes twice is for serde_json to refuse.
                (_, Some(_)) => return None,
                (first, None) => self.pass_over(first)?,
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        Some(Fields {
            received_at: self.text(received_at?)?,
            method: self.text(method?)?,
            path: self.text(path?)?,
            user_agent: self.text(user_agent?)?,
        })
    }

    /// What a string says.
    #[inline]
    fn text(&self, string: &'a str) -> Option<Cow<'a, str>> {
        if self.has_escape && string.contains('\\') {
            serde_json::from_str(&format!("\"{string}\"")).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(string))
        }
    }

    /// The name of a field, from after its first quote.
    #[inline]
    fn name(&mut self) -> Option<Name> {
        let rest = &self.body.as_bytes()[self.at..];
        // Names that stand there as they are need no search for their end.
        let (name, bytes) = if rest.first_chunk() == Some(b"receivedAt\"") {
            (Name::ReceivedAt, 11)
        } else if rest.first_chunk() == Some(b"method\"") {
            (Name::Method, 7)
        } else if rest.first_chunk() == Some(b"path\"") {
            (Name::Path, 5)
        } else if rest.first_chunk() == Some(b"userAgent\"") {
            (Name::UserAgent, 10)
        } else {
            return self.other_name();
        };
        self.at += bytes;
        Some(name)
    }

    /// A name that is another, or has escapes in it.
    fn other_name(&mut self) -> Option<Name> {
        let name = self.string()?;
        Some(match self.text(name)?.as_ref() {
            "receivedAt" => Name::ReceivedAt,
            "method" => Name::Method,
            "path" => Name::Path,
            "userAgent" => Name::UserAgent,
            _ => Name::Other,
        })
    }

    /// The next byte that is no white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.body.as_bytes().get(self.at)?;
        if byte <= b' ' {
            self.skip_space();
            byte = *self.body.as_bytes().get(self.at)?;
        }
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip_space(&mut self) {
        let rest = &self.body.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    /// The same as [`Self::string`], quicker where a string ends soon.
    #[inline]
    fn short_string(&mut self) -> Option<&'a str> {
        const WORDS: usize = 6;
        let start = self.at;
        let rest = self.body.as_bytes().get(start..)?;
        let (words, _) = rest.as_chunks::<8>();
        for (word, chunk) in words.iter().take(WORDS).enumerate() {
            let found = quote_or_backslash(u64::from_le_bytes(*chunk));
            if found != 0 {
                let end = word * 8 + found.trailing_zeros() as usize / 8;
                if rest[end] != b'"' || self.has_control {
                    break;
                }
                self.at = start + end + 1;
                return self.body.get(start..start + end);
            }
        }
        self.string()
    }

    /// A string, from after its first quote: what stands between its quotes.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut end = start;
        loop {
            end += memchr2(b'"', b'\\', self.body.as_bytes().get(end..)?)?;
            if self.body.as_bytes()[end] == b'"' {
                break;
            }
            self.has_escape = true;
            end += 2;
        }
        self.at = end + 1;
        let string = self.body.get(start..end)?;
        let is_invalid = self.has_control && string.bytes().any(|byte| byte < b' ');
        (!is_invalid).then_some(string)
    }

    /// A value of a field that is ignored, from after its first byte: text, or a plain number or
    /// word.
    fn pass_over(&mut self, first: u8) -> Option<()> {
        if first == b'"' {
            let string = self.string()?;
            return self.text(string).map(drop);
        }
        let start = self.at - 1;
        let rest = &self.body.as_bytes()[start..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'.').count();
        let value = &rest[..length];
        self.at = start + length;
        let is_digits = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let is_whole = |digits: &[u8]| is_digits(digits) && (digits == b"0" || digits[0] != b'0');
        let is_number = match value.iter().position(|byte| *byte == b'.') {
            None => is_whole(value),
            Some(point) => is_whole(&value[..point]) && is_digits(&value[point + 1..]),
        };
        (is_number || matches!(value, b"null" | b"true" | b"false")).then_some(())
    }
}

/// The lowest byte of the word that is a quote or a backslash has its top bit set in the result,
/// and no byte below it has (Warren, Hacker's Delight, 6-1).
#[inline]
fn quote_or_backslash(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')))
}

#[cfg(test)]
mod tests;
