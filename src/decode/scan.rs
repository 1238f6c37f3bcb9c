//! The quick reader of logmill's own entries: one pass over the bytes, nothing copied.
//!
//! It takes bodies as nearly all senders write them and gives up at anything else; then the body is
//! read again with serde_json, which alone decides what is valid. IMPORTANT: it must never take
//! what serde_json refuses, nor take it for something else. The fuzzer `json_body` compares them.
//!
//! An entry that is written as the one before is read along its layout (`layout.rs`).

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::format::Framing;
use super::layout::{Layout, Number, Slot, Text, number, plain_string};
use super::rfc3339::MinuteMemo;
use crate::entry::{LogEntry, Said};
use crate::insight::Summariser;
use crate::window::Minute;

/// Adds each entry of the body to an empty sum. `None` means that it gave up, and that nothing of
/// the sum counts.
pub(super) fn scan(framing: Framing, body: &[u8], sum: &mut Summariser<'_>) -> Option<()> {
    let body = simdutf8::basic::from_utf8(body).ok()?;
    let mut sink = Sink { sum, times: MinuteMemo::default(), layout: Layout::default() };
    match framing {
        Framing::Json if body.starts_with('[') || body.trim_ascii_start().starts_with('[') => {
            array(body, &mut sink)
        }
        Framing::Json => Scanner::new(body, has_control::<false>(body)).only(&mut sink),
        Framing::Lines => lines(body, &mut sink),
        Framing::Csv(_) => None,
    }
}

fn array(body: &str, sink: &mut Sink<'_, '_>) -> Option<()> {
    let mut scanner = Scanner::new(body, has_control::<false>(body));
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
    let has_control = has_control::<true>(body);
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

/// Where entries go, and what is remembered from one to the next.
struct Sink<'s, 'c> {
    sum: &'s mut Summariser<'c>,
    times: MinuteMemo,
    layout: Layout,
}

impl Sink<'_, '_> {
    #[inline]
    fn add(&mut self, minute: Minute, said: Said<'_>) -> Option<()> {
        self.sum.add(&LogEntry::new(minute, said).ok()?);
        Some(())
    }
}

/// Whether there is a control byte; looked at once in the whole body, because most have none, and
/// then no string has. The ends of lines are none.
fn has_control<const LINES: bool>(body: &str) -> bool {
    // What is below a space wraps around, and is above everything else.
    const BELOW_SPACE: u8 = u8::MAX - b' ' + 1;
    let (highest, has_del) = body.bytes().fold((0, false), |(highest, has_del), byte| {
        let byte = if LINES & (byte == b'\n') { b' ' } else { byte };
        (byte.wrapping_sub(b' ').max(highest), has_del | (byte == 0x7f))
    });
    highest >= BELOW_SPACE || has_del
}

struct Scanner<'a> {
    body: &'a str,
    at: usize,
    /// Whether the body has control bytes: below space they may stand between values, and in no
    /// string.
    has_control: bool,
    /// Whether a string so far had an escape, of those that were read one by one.
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
        self.skip_space();
        self.entry_as_before(sink).or_else(|| self.any_entry(sink))
    }

    /// An entry whose layout is known; otherwise nothing of it is read.
    fn entry_as_before(&mut self, sink: &mut Sink<'_, '_>) -> Option<()> {
        if self.has_control {
            return None;
        }
        let (body, mut at) = (self.body.as_bytes(), self.at);
        let (mut minute, mut texts, mut numbers) = (None, [None; 3], [None; 2]);
        for (gap, slot) in sink.layout.slots() {
            at = gap.pass(body, at)?;
            match *slot {
                Slot::Time => {
                    let rest = body.get(at..)?;
                    let (known, end) = match sink.times.quoted(rest) {
                        Some((minute, bytes)) => (minute, at + bytes),
                        None => {
                            let end = at + plain_string(rest)?;
                            (sink.times.minute(self.body.get(at..end)?).ok()?, end)
                        }
                    };
                    minute = Some(known);
                    at = end + 1;
                }
                Slot::Text(text) => {
                    let end = at + plain_string(body.get(at..)?)?;
                    texts[text as usize] = Some(self.body.get(at..end)?);
                    at = end + 1;
                }
                Slot::Number(field) => {
                    let (value, digits) = number(body.get(at..)?)?;
                    numbers[field as usize] = Some(value);
                    at += digits;
                }
            }
        }
        if body.get(at) != Some(&b'}') {
            return None;
        }
        let ([method, path, user_agent], [status, bytes]) = (texts, numbers);
        let (method, path, user_agent) = (Some(method?), path?, user_agent?);
        sink.add(minute?, Said { method, path, user_agent, status, bytes, is_clean: true })?;
        self.at = at + 1;
        Some(())
    }

    /// An entry in any order and with anything between; its layout is the one to expect then.
    fn any_entry(&mut self, sink: &mut Sink<'_, '_>) -> Option<()> {
        // As they stand in the body.
        let (mut received_at, mut texts, mut numbers) = (None, [None; 3], [None; 2]);
        sink.layout.clear();
        let mut gap = self.at;
        self.take(b'{')?;
        loop {
            self.take(b'"')?;
            let slot = self.slot()?;
            self.take(b':')?;
            let first = self.next()?;
            // A number has no quote to begin with.
            let value = self.at - usize::from(matches!(slot, Some(Slot::Number(_))));
            sink.layout.push(&self.body.as_bytes()[gap..value], slot);
            // A field that comes twice is for serde_json to refuse.
            let is_twice = match slot {
                Some(Slot::Time) => received_at.replace(self.text_of(first)?).is_some(),
                Some(Slot::Text(text)) => {
                    texts[text as usize].replace(self.text_of(first)?).is_some()
                }
                Some(Slot::Number(field)) => {
                    let (number, digits) = number(&self.body.as_bytes()[value..])?;
                    self.at = value + digits;
                    numbers[field as usize].replace(number).is_some()
                }
                None => {
                    self.pass_over(first)?;
                    false
                }
            };
            if is_twice {
                return None;
            }
            gap = self.at;
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        let ([method, path, user_agent], [status, bytes]) = (texts, numbers);
        let minute = sink.times.minute(&self.text(received_at?)?).ok()?;
        let (method, path) = (&*self.text(method?)?, &*self.text(path?)?);
        let user_agent = &*self.text(user_agent?)?;
        let (method, is_clean) = (Some(method), !self.has_control && !self.has_escape);
        sink.add(minute, Said { method, path, user_agent, status, bytes, is_clean })
    }

    /// What stands between the quotes of a string, if its first byte is one.
    fn text_of(&mut self, first: u8) -> Option<&'a str> {
        if first == b'"' { self.string() } else { None }
    }

    /// What a string says.
    fn text(&self, string: &'a str) -> Option<Cow<'a, str>> {
        if self.has_escape && string.contains('\\') {
            serde_json::from_str(&format!("\"{string}\"")).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(string))
        }
    }

    /// Which value follows, from after the first quote of its name; `None` is one of no concern.
    fn slot(&mut self) -> Option<Option<Slot>> {
        let name = self.string()?;
        Some(match self.text(name)?.as_ref() {
            "receivedAt" => Some(Slot::Time),
            "method" => Some(Slot::Text(Text::Method)),
            "path" => Some(Slot::Text(Text::Path)),
            "userAgent" => Some(Slot::Text(Text::UserAgent)),
            "status" => Some(Slot::Number(Number::Status)),
            "bytes" => Some(Slot::Number(Number::Bytes)),
            _ => None,
        })
    }

    /// The next byte that is no white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = *self.body.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.body.as_bytes().get(self.at) {
            self.at += 1;
        }
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

#[cfg(test)]
mod tests;
