//! One line of an access log in Apache's and nginx's "combined" format or its sibling "common".
//!
//! ```text
//! host ident user [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 1234 "referer" "agent" …
//! ```
//!
//! Owns the grammar; pure. It never drops what it cannot read: a line is an [`AccessLine`] or a
//! [`LineError`] that says what was expected where. What is let pass, because servers write it:
//!
//! - anything with at least three words before the time: IPv6 hosts, users with spaces, and the
//!   `host:port` that `vhost_combined` puts first;
//! - further fields after the last one that is known;
//! - quotes inside a quoted field that no space follows, escaped (`\"`) or not;
//! - a request line that is no HTTP request (`-`, a TLS greeting, an empty one). It was a request,
//!   so it counts: its method is `-` and its path the text of the request line, or `-`.
//!
//! Text that is not UTF-8 is kept with U+FFFD in place of each invalid part. Control characters,
//! which no server writes, appear escaped (`\x00`) as servers would have written them.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::entry::is_method;
use crate::limits;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// The years, in UTC, that an entry can be of.
const YEARS: std::ops::RangeInclusive<i16> = limits::YEAR_MIN..=limits::YEAR_MAX;

/// What a line says about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLine<'a> {
    /// When the server received the request, or ended it: servers differ.
    pub time: Timestamp,
    /// The method as sent; `-` if the request line is no HTTP request.
    pub method: Cow<'a, str>,
    /// The request target as logged, escapes included but for `\"`.
    pub path: Cow<'a, str>,
    /// The user agent without the log's escapes; empty if there is none.
    pub user_agent: Cow<'a, str>,
    /// Status of the answer, unless logged as `-`.
    pub status: Option<u16>,
    /// Bytes sent, unless logged as `-`.
    pub bytes: Option<u64>,
    /// Which of the two formats the line has.
    pub format: Format,
}

/// The two formats that differ in what ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Ends with status and bytes.
    Common,
    /// Goes on with the quoted referer and user agent.
    Combined,
}

/// Why a line is not a line of an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at column {column}")]
pub struct LineError {
    /// Byte of the line, counted from 1.
    pub column: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// Reads one line, given without its line end.
///
/// # Errors
/// [`LineError`] where the line leaves the format.
pub fn parse_line(line: &[u8]) -> Result<AccessLine<'_>, LineError> {
    let mut scan = Scan { line, at: 0 };
    scan.at = time_start(line)?;
    let time = scan.time()?;
    scan.expect(b"] ", "`] ` after the time")?;
    let (method, path) = request(scan.quoted("the request line in quotes")?);
    scan.space("a space after the request line")?;
    let status = scan.number("a status of three digits or `-`", |digits| digits == 3)?;
    scan.space("a space and the number of bytes after the status")?;
    let bytes = scan.number("a number of bytes or `-`", |digits| digits <= 19)?;
    let status = status.and_then(|status| u16::try_from(status).ok());
    if !scan.at_end() {
        scan.space("a space after the number of bytes")?;
    }
    let (user_agent, format) = match scan.rest().first() {
        Some(b'"') => (scan.agent()?, Format::Combined),
        _ => (Cow::Borrowed(""), Format::Common),
    };
    Ok(AccessLine { time, method, path, user_agent, status, bytes, format })
}

/// Reads a time alone, as it stands between the brackets.
pub(super) fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let mut scan = Scan { line: text, at: 0 };
    scan.time().ok().filter(|_| scan.at_end())
}

/// Where the time begins, after the bracket: the first ` [dd/` behind host, ident and user.
fn time_start(line: &[u8]) -> Result<usize, LineError> {
    let is_time = |at: usize| {
        matches!(line.get(at..at + 5), Some([b' ', b'[', a, b, b'/'])
            if a.is_ascii_digit() && b.is_ascii_digit())
    };
    let words_before =
        |at: usize| line[..at].split(|&b| b == b' ').filter(|word| !word.is_empty()).count();
    match (0..line.len()).find(|&at| is_time(at)) {
        Some(at) if words_before(at) >= 3 => Ok(at + 2),
        Some(at) => {
            Err(LineError { column: at + 1, expected: "host, ident and user before the time" })
        }
        None => {
            let spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
            let column = spaces.map(|(at, _)| at + 2).nth(2).unwrap_or(line.len() + 1);
            Err(LineError { column, expected: "a time such as [17/May/2015:10:05:03 +0000]" })
        }
    }
}

/// A position in a line.
struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    fn at_end(&self) -> bool {
        self.at == self.line.len()
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, LineError> {
        Err(LineError { column: self.at + 1, expected })
    }

    fn expect(&mut self, text: &[u8], expected: &'static str) -> Result<(), LineError> {
        if !self.rest().starts_with(text) {
            return self.error(expected);
        }
        self.at += text.len();
        Ok(())
    }

    /// One space or more.
    fn space(&mut self, expected: &'static str) -> Result<(), LineError> {
        self.expect(b" ", expected)?;
        self.at += self.rest().iter().take_while(|byte| **byte == b' ').count();
        Ok(())
    }

    /// Exactly `count` digits, at most four.
    fn digits(&mut self, count: usize, expected: &'static str) -> Result<i16, LineError> {
        match self.rest().get(..count) {
            Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
                self.at += count;
                Ok(digits.iter().fold(0, |value, digit| value * 10 + i16::from(digit - b'0')))
            }
            _ => self.error(expected),
        }
    }

    /// Two digits, at most `max`.
    fn pair(&mut self, max: i8, expected: &'static str) -> Result<i8, LineError> {
        let start = self.at;
        let value = self.digits(2, expected)?;
        match i8::try_from(value) {
            Ok(value) if value <= max => Ok(value),
            _ => Err(LineError { column: start + 1, expected }),
        }
    }

    /// `-`, or digits of which there are as many as `fits` allows, up to a space or the end.
    fn number(
        &mut self,
        expected: &'static str,
        fits: impl Fn(usize) -> bool,
    ) -> Result<Option<u64>, LineError> {
        let word = self.rest().split(|&byte| byte == b' ').next().unwrap_or_default();
        if word == b"-" {
            self.at += 1;
            return Ok(None);
        }
        if word.is_empty() || !fits(word.len()) || !word.iter().all(u8::is_ascii_digit) {
            return self.error(expected);
        }
        self.at += word.len();
        Ok(Some(word.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))))
    }

    /// `17/May/2015:10:05:03 +0000`, with or without a fraction of the second.
    fn time(&mut self) -> Result<Timestamp, LineError> {
        let start = self.at;
        let day = self.pair(31, "a day of the month")?;
        self.expect(b"/", "`/` after the day")?;
        let month = self.month()?;
        self.expect(b"/", "`/` after the month")?;
        let year = self.digits(4, "a year of four digits")?;
        self.expect(b":", "`:` after the year")?;
        let hour = self.pair(23, "an hour, 00 to 23")?;
        self.expect(b":", "`:` after the hour")?;
        let minute = self.pair(59, "a minute, 00 to 59")?;
        self.expect(b":", "`:` after the minute")?;
        let second = self.pair(59, "a second, 00 to 59")?;
        if self.rest().first() == Some(&b'.') {
            let digits = self.rest().iter().skip(1).take_while(|byte| byte.is_ascii_digit());
            self.at += 1 + digits.count();
        }
        self.expect(b" ", "a space after the seconds")?;
        let offset = self.offset()?;

        let day_error = LineError { column: start + 1, expected: "a day that this month has" };
        let date = Date::new(year, month, day).map_err(|_| day_error)?;
        let year_error = LineError { column: start + 8, expected: "a year from 1970 to 2199" };
        let time = Time::new(hour, minute, second, 0).map_err(|_| day_error)?;
        let time = offset.to_timestamp(date.to_datetime(time)).map_err(|_| year_error)?;
        let in_utc = Offset::UTC.to_datetime(time);
        if YEARS.contains(&in_utc.year()) { Ok(time) } else { Err(year_error) }
    }

    fn month(&mut self) -> Result<i8, LineError> {
        const MONTHS: [&[u8]; 12] = [
            b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
            b"Dec",
        ];
        let name = self.rest().get(..3).unwrap_or_default();
        let month = (1..).zip(MONTHS).find(|(_, month)| month.eq_ignore_ascii_case(name));
        match month {
            Some((number, _)) => {
                self.at += 3;
                Ok(number)
            }
            None => self.error("a month from Jan to Dec"),
        }
    }

    fn offset(&mut self) -> Result<Offset, LineError> {
        const EXPECTED: &str = "an offset from UTC such as +0000";
        let start = self.at;
        let sign = match self.rest().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return self.error(EXPECTED),
        };
        self.at += 1;
        let hours = i32::from(self.pair(23, EXPECTED)?);
        let minutes = i32::from(self.pair(59, EXPECTED)?);
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60))
            .map_err(|_| LineError { column: start + 1, expected: EXPECTED })
    }

    /// A field in quotes. Only a quote before a space or the end of the line closes it.
    fn quoted(&mut self, expected: &'static str) -> Result<&'a [u8], LineError> {
        self.expect(b"\"", expected)?;
        let start = self.at;
        loop {
            match self.rest() {
                [] => return self.error("the quote that closes this field"),
                [b'\\', _, ..] => self.at += 2,
                [b'"'] | [b'"', b' ', ..] => break,
                [_, ..] => self.at += 1,
            }
        }
        self.at += 1;
        Ok(&self.line[start..self.at - 1])
    }

    /// The user agent, behind the referer.
    fn agent(&mut self) -> Result<Cow<'a, str>, LineError> {
        self.quoted("the referer in quotes")?;
        self.space("a space and the user agent after the referer")?;
        let raw = self.quoted("the user agent in quotes")?;
        if raw == b"-" { Ok(Cow::Borrowed("")) } else { Ok(text(raw, Escapes::All)) }
    }
}

/// Method and path of a request line, see the module's documentation for what is not HTTP.
pub(crate) fn request(raw: &[u8]) -> (Cow<'_, str>, Cow<'_, str>) {
    const NOTHING: Cow<'static, str> = Cow::Borrowed("-");
    let raw = raw.trim_ascii();
    if raw.is_empty() {
        return (NOTHING, NOTHING);
    }
    let (method, path) = match http_request(raw) {
        Some((method, target)) => (String::from_utf8_lossy(method), target),
        None => (NOTHING, raw),
    };
    let path = text(path, Escapes::QuotesOnly);
    // A path of spaces that are not ASCII would be nothing once trimmed.
    if path.trim().is_empty() { (method, NOTHING) } else { (method, path) }
}

/// A text with its control characters as a log would write them.
pub(super) fn without_controls(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte.is_ascii_control()) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_ascii_control() {
            true => clean.push_str(&format!("\\x{:02x}", u32::from(c))),
            false => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Method and target of `GET /path HTTP/1.1`, or of `GET /path` as in HTTP/0.9 and in request lines
/// that the server cut because they were too long.
fn http_request(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = raw.iter().position(|byte| *byte == b' ')?;
    let (method, rest) = raw.split_at(space);
    let rest = rest.trim_ascii();
    if !std::str::from_utf8(method).is_ok_and(is_method) {
        return None;
    }
    if let Some(space) = rest.iter().rposition(|byte| *byte == b' ') {
        let (target, protocol) = rest.split_at(space);
        if protocol.starts_with(b" HTTP/") {
            return Some((method, target.trim_ascii_end()));
        }
    }
    rest.starts_with(b"/").then_some((method, rest))
}

/// Which of the log's escapes are undone.
#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    /// `\"`: the escaped spelling of everything else is what a person sees in the log.
    QuotesOnly,
    /// `\"`, `\\` and `\xHH`, but for control characters.
    All,
}

/// The text of a quoted field.
fn text(raw: &[u8], escapes: Escapes) -> Cow<'_, str> {
    if !raw.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control()) {
        return String::from_utf8_lossy(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        match after {
            [b'"', tail @ ..] if *byte == b'\\' => {
                bytes.push(b'"');
                rest = tail;
            }
            [b'\\', tail @ ..] if *byte == b'\\' => {
                bytes.extend_from_slice(if escapes == Escapes::All { b"\\" } else { b"\\\\" });
                rest = tail;
            }
            [b'x', high, low, tail @ ..] if *byte == b'\\' && escapes == Escapes::All => {
                match hex(*high, *low).filter(|decoded| !decoded.is_ascii_control()) {
                    Some(decoded) => {
                        bytes.push(decoded);
                        rest = tail;
                    }
                    None => bytes.push(*byte),
                }
            }
            _ if byte.is_ascii_control() => {
                bytes.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            _ => bytes.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
