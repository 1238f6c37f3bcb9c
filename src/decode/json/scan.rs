//! The quick reader of JSON bodies: one pass over the bytes, nothing copied.
//!
//! It takes bodies as nearly all senders write them and gives up at anything else; then the body is
//! read again with serde_json, which alone decides what is valid. IMPORTANT: it must never take
//! what serde_json refuses, nor take it for something else. The fuzzer `json_body` compares them.

use std::borrow::Cow;

use memchr::memchr2;

use super::Fields;

/// Hands the fields of each entry to `each`, which may give up, too. `None` means that nothing
/// that was handed on counts.
pub(super) fn scan<'a>(
    body: &'a str,
    mut each: impl FnMut(&Fields<'a>) -> Option<()>,
) -> Option<()> {
    let mut scanner = Scanner { body, at: 0 };
    scanner.take(b'[')?;
    loop {
        each(&scanner.entry()?)?;
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
}

impl<'a> Scanner<'a> {
    fn entry(&mut self) -> Option<Fields<'a>> {
        let (mut received_at, mut method, mut path, mut user_agent) = (None, None, None, None);
        self.take(b'{')?;
        loop {
            self.take(b'"')?;
            let field = match self.name()? {
                Name::ReceivedAt => Some(&mut received_at),
                Name::Method => Some(&mut method),
                Name::Path => Some(&mut path),
                Name::UserAgent => Some(&mut user_agent),
                Name::Other => None,
            };
            self.take(b':')?;
            match (self.next()?, field) {
                (b'"', Some(field)) if field.is_none() => *field = Some(self.string()?),
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
            received_at: received_at?,
            method: method?,
            path: path?,
            user_agent: user_agent?,
        })
    }
    /// The name of a field, from after its first quote.
    #[inline]
    fn name(&mut self) -> Option<Name> {
        let rest = &self.body.as_bytes()[self.at..];
        // Names that stand there as they are need no search for their end.
        let (name, bytes) = if rest.starts_with(b"receivedAt\"") {
            (Name::ReceivedAt, 11)
        } else if rest.starts_with(b"method\"") {
            (Name::Method, 7)
        } else if rest.starts_with(b"path\"") {
            (Name::Path, 5)
        } else if rest.starts_with(b"userAgent\"") {
            (Name::UserAgent, 10)
        } else {
            return self.other_name();
        };
        self.at += bytes;
        Some(name)
    }

    /// A name that is another, or has escapes in it.
    fn other_name(&mut self) -> Option<Name> {
        Some(match self.string()?.as_ref() {
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

    /// A string, from after its first quote.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let mut end = start;
        let mut is_escaped = false;
        loop {
            end += memchr2(b'"', b'\\', self.body.as_bytes().get(end..)?)?;
            if self.body.as_bytes()[end] == b'"' {
                break;
            }
            is_escaped = true;
            end += 2;
        }
        self.at = end + 1;
        if is_escaped {
            let quoted = self.body.get(start - 1..=end)?;
            return serde_json::from_str(quoted).ok().map(Cow::Owned);
        }
        let text = self.body.get(start..end)?;
        // All of them, without a branch: the compiler makes this a few wide instructions.
        let has_control = text.bytes().fold(false, |found, byte| found | (byte < b' '));
        (!has_control).then_some(Cow::Borrowed(text))
    }

    /// A value of a field that is ignored, from after its first byte: text, or a plain number or
    /// word.
    fn pass_over(&mut self, first: u8) -> Option<()> {
        if first == b'"' {
            return self.string().map(drop);
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

#[cfg(test)]
mod tests;
