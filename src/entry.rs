//! One access-log entry and the rules it must meet, whatever format it came in.

use std::fmt;

use crate::counts::OTHER;
use crate::limits;
use crate::window::Minute;

/// An entry as a decoder hands it on: checked, trimmed, borrowing from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// The UTC minute in which the request was received.
    pub minute: Minute,
    /// The method as sent; it is counted in upper case. Some formats have none.
    pub method: Option<&'a str>,
    /// The path, with its query string.
    pub path: &'a str,
    /// The user agent; may be empty.
    pub user_agent: &'a str,
    /// Status of the answer, where it is said.
    pub status: Option<u16>,
    /// Bytes of the answer, where they are said.
    pub bytes: Option<u64>,
}

/// What an entry says beside its time, as it stands in the body.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The method, if the format has one.
    pub method: Option<&'a str>,
    /// The path.
    pub path: &'a str,
    /// The user agent.
    pub user_agent: &'a str,
    /// The status.
    pub status: Option<u64>,
    /// The bytes.
    pub bytes: Option<u64>,
    /// Whether all text is known to have no control byte.
    pub is_clean: bool,
}

/// A field of an entry; what it is called differs from format to format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// None of them: the entry as a whole.
    Entry,
    /// When the request was received.
    Time,
    /// Its method.
    Method,
    /// Its path.
    Path,
    /// Who sent it.
    UserAgent,
    /// The answer's status.
    Status,
    /// The answer's bytes.
    Bytes,
}

/// The names in logmill's own format.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entry => "entry",
            Self::Time => "receivedAt",
            Self::Method => "method",
            Self::Path => "path",
            Self::UserAgent => "userAgent",
            Self::Status => "status",
            Self::Bytes => "bytes",
        })
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field that it is wrong with.
    pub field: Field,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    /// Says what is wrong with which field.
    pub fn new(field: Field, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

impl<'a> LogEntry<'a> {
    /// Trims and checks what an entry says.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    #[inline(always)]
    pub fn new(minute: Minute, said: Said<'a>) -> Result<Self, FieldError> {
        let method = said.method.map(|method| check_method(trim(method))).transpose()?;
        let (path, user_agent) = (trim(said.path), trim(said.user_agent));
        if path.is_empty() || (method.is_none() && path == OTHER) {
            return Err(path_error(path));
        }
        let path = check_text(Field::Path, path, limits::PATH_BYTES_MAX, said.is_clean)?;
        let max = limits::USER_AGENT_BYTES_MAX;
        let user_agent = check_text(Field::UserAgent, user_agent, max, said.is_clean)?;
        let status = said.status.map(check_status).transpose()?;
        let bytes = said.bytes.map(check_bytes).transpose()?;
        Ok(Self { minute, method, path, user_agent, status, bytes })
    }
}

#[cold]
fn path_error(path: &str) -> FieldError {
    let reason = match path {
        "" => "must not be empty",
        _ => "must not be (other): so the paths past a window's limit are called",
    };
    FieldError::new(Field::Path, reason)
}

/// Whether a text is a method: a token (RFC 9110, section 5.6.2) that is not too long.
#[must_use]
pub fn is_method(text: &str) -> bool {
    (1..=limits::METHOD_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_token)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without white space at both ends; most texts have none.
#[inline]
fn trim(text: &str) -> &str {
    match (text.as_bytes().first(), text.as_bytes().last()) {
        (Some(first), Some(last)) if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

#[inline]
fn check_method(method: &str) -> Result<&str, FieldError> {
    match method {
        "GET" | "POST" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" => Ok(method),
        method => check_rare_method(method),
    }
}

fn check_rare_method(method: &str) -> Result<&str, FieldError> {
    let error = |reason: String| Err(FieldError::new(Field::Method, reason));
    if method.is_empty() {
        return error("must not be empty".into());
    }
    let max = limits::METHOD_BYTES_MAX;
    if method.len() > max {
        return error(format!("has {} bytes, at most {max} are taken", method.len()));
    }
    if method.bytes().all(is_token) {
        Ok(method)
    } else {
        error("must be an HTTP method: letters, digits and !#$%&'*+-.^_`|~ only".into())
    }
}

#[inline]
fn check_text(field: Field, text: &str, max: usize, is_clean: bool) -> Result<&str, FieldError> {
    if text.len() <= max && (is_clean || !has_control(text.as_bytes())) {
        return Ok(text);
    }
    Err(text_error(field, text, max))
}

#[cold]
fn text_error(field: Field, text: &str, max: usize) -> FieldError {
    let control = text.bytes().find(u8::is_ascii_control);
    let reason = match control.filter(|_| text.len() <= max) {
        Some(byte) => format!("holds the control byte 0x{byte:02x}"),
        None => format!("has {} bytes, at most {max} are taken", text.len()),
    };
    FieldError::new(field, reason)
}

fn check_status(status: u64) -> Result<u16, FieldError> {
    let known = u16::try_from(status).ok().filter(|status| (100..=999).contains(status));
    known.ok_or_else(|| FieldError::new(Field::Status, "must be a status, from 100 to 999"))
}

fn check_bytes(bytes: u64) -> Result<u64, FieldError> {
    let max = limits::ENTRY_BYTES_MAX;
    let fits = Some(bytes).filter(|bytes| *bytes <= max);
    fits.ok_or_else(|| FieldError::new(Field::Bytes, format!("is {bytes}, at most {max} count")))
}

/// Whether there is an ASCII control byte, eight bytes at a time: in each word that has one, the
/// top bit of some byte is set (Warren, Hacker's Delight, 6-1).
fn has_control(text: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let (words, rest) = text.as_chunks();
    let found = words.iter().fold(0, |found, word| {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let not_del = word ^ (ONES * 0x7f);
        let del = not_del.wrapping_sub(ONES) & !not_del;
        found | ((below_space | del) & TOPS)
    });
    found != 0 || rest.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_byte_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut text = *b"\x80\xff ~/abcdefgh\xc3\xa9 0~\x80z";
                text[at] = byte;
                assert_eq!(has_control(&text), byte.is_ascii_control(), "{byte:#x} at {at}");
            }
        }
    }
}
