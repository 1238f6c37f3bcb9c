//! The quick reader of logmill's own entries: one pass over the bytes, nothing copied.
//!
//! It takes bodies as nearly all senders write them and gives up at anything else; then the body is
//! read again with serde_json, which alone decides what is valid. IMPORTANT: it must never take
//! what serde_json refuses, nor take it for something else. The fuzzer `json_body` compares them.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::format::Framing;
use super::rfc3339::MinuteMemo;
use crate::entry::{LogEntry, Said};
use crate::insight::Summariser;

/// Adds each entry of the body to an empty sum. `None` means that it gave up, and that nothing of
/// the sum counts.
pub(super) fn scan(framing: Framing, body: &[u8], sum: &mut Summariser<'_>) -> Option<()> {
    let body = simdutf8::basic::from_utf8(body).ok()?;
    let mut sink = Sink { sum, times: MinuteMemo::default() };
    match framing {
        Framing::Json if body.starts_with('[') || body.trim_ascii_start().starts_with('[') => {
            array(body, &mut sink)
        }
        Framing::Json => Scanner::new(body, has_control(body, false)).only(&mut sink),
        Framing::Lines => lines(body, &mut sink),
        Framing::Csv(_) => None,
    }
}

fn array(body: &str, sink: &mut Sink<'_, '_>) -> Option<()> {
    let mut scanner = Scanner::new(body, has_control(body, false));
    scanner.take(b'[')?;
    loop {
        scanner.entry(sink)?;
        match scanner.next()? {
            b',' => {}
            b']' => return scanner.ends(),
            _ => return None,
        }
    }
}

fn lines(body: &str, sink: &mut Sink<'_, '_>) -> Option<()> {
    let has_control = has_control(body, true);
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if !line.is_empty() {
            Scanner::new(line, has_control).only(sink)?;
        }
    }
    Some(())
}

/// Where entries go.
struct Sink<'s, 'c> {
    sum: &'s mut Summariser<'c>,
    times: MinuteMemo,
}

impl Sink<'_, '_> {
    fn add(&mut self, fields: Fields<'_>, is_clean: bool) -> Option<()> {
        let Fields { received_at, method, path, user_agent, status, bytes } = fields;
        let minute = self.times.minute(received_at).ok()?;
        let said = Said { method: Some(method), path, user_agent, status, bytes, is_clean };
        self.sum.add(&LogEntry::new(minute, said).ok()?);
        Some(())
    }
}

/// Looked at once in the whole body: most have none, and then no string has.
fn has_control(body: &str, is_lines: bool) -> bool {
    let is_control = |byte: u8| (byte < b' ') | (byte == 0x7f);
    let is_end = |byte: u8| is_lines & (byte == b'\n');
    body.bytes().fold(false, |found, byte| found | (is_control(byte) & !is_end(byte)))
}

/// What an entry says.
#[derive(Clone, Copy)]
struct Fields<'a> {
    received_at: &'a str,
    method: &'a str,
    path: &'a str,
    user_agent: &'a str,
    status: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Clone, Copy)]
enum Name {
    ReceivedAt,
    Method,
    Path,
    UserAgent,
    Status,
    Bytes,
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
    fn new(body: &'a str, has_control: bool) -> Self {
        Self { body, at: 0, has_control, has_escape: false }
    }

    /// The body is one entry and nothing else.
    fn only(mut self, sink: &mut Sink<'_, '_>) -> Option<()> {
        self.entry(sink)?;
        self.ends()
    }

    /// Whether nothing follows but white space.
    fn ends(mut self) -> Option<()> {
        self.skip_space();
        (self.at == self.body.len()).then_some(())
    }

    fn entry(&mut self, sink: &mut Sink<'_, '_>) -> Option<()> {
        // As they stand in the body.
        let (mut received_at, mut method, mut path, mut user_agent) = (None, None, None, None);
        let (mut status, mut bytes) = (None, None);
        self.take(b'{')?;
        loop {
            self.take(b'"')?;
            let name = self.name()?;
            self.take(b':')?;
            let (field, is_short) = match name {
                Name::ReceivedAt => (Some(&mut received_at), true),
                Name::Method => (Some(&mut method), true),
                Name::Path => (Some(&mut path), true),
                Name::UserAgent => (Some(&mut user_agent), false),
                Name::Status => {
                    self.number(&mut status)?;
                    (None, false)
                }
                Name::Bytes => {
                    self.number(&mut bytes)?;
                    (None, false)
                }
                Name::Other => {
                    let first = self.next()?;
                    self.pass_over(first)?;
                    (None, false)
                }
            };
            if let Some(field) = field {
                self.take(b'"')?;
                let text = if is_short { self.short_string() } else { self.string() }?;
                // A field that comes twice is for serde_json to refuse.
                if field.replace(text).is_some() {
                    return None;
                }
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        let (received_at, method, path, user_agent) = (received_at?, method?, path?, user_agent?);
        let fields = Fields { received_at, method, path, user_agent, status, bytes };
        if self.has_escape {
            let text = |string| self.text(string);
            let (received_at, method) = (&*text(received_at)?, &*text(method)?);
            let (path, user_agent) = (&*text(path)?, &*text(user_agent)?);
            sink.add(Fields { received_at, method, path, user_agent, ..fields }, false)
        } else {
            sink.add(fields, !self.has_control)
        }
    }

    /// What a string says.
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
        } else if rest.first_chunk() == Some(b"status\"") {
            (Name::Status, 7)
        } else if rest.first_chunk() == Some(b"bytes\"") {
            (Name::Bytes, 6)
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
            "status" => Name::Status,
            "bytes" => Name::Bytes,
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

    /// A whole number, for a field that has none yet.
    fn number(&mut self, field: &mut Option<u64>) -> Option<()> {
        let first = self.next()?;
        let start = self.at - 1;
        let rest = &self.body[start..];
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[..length];
        self.at = start + length;
        let is_usual = first != b'0' || length == 1;
        match field.replace(digits.parse().ok().filter(|_| is_usual)?) {
            None => Some(()),
            Some(_) => None,
        }
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
