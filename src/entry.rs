//! One access-log entry and the rules it must meet, whatever format it came in.

use crate::limits;
use crate::window::Minute;

/// An entry as a decoder hands it on: checked, trimmed, borrowing from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// The UTC minute in which the request was received.
    pub minute: Minute,
    /// The method as sent; it is counted in upper case.
    pub method: &'a str,
    /// The path, with its query string.
    pub path: &'a str,
    /// The user agent; may be empty.
    pub user_agent: &'a str,
}

/// What is wrong with one field of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as in the documentation of the format.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    /// Says what is wrong with which field.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

impl<'a> LogEntry<'a> {
    /// Trims and checks the fields of an entry; whoever has looked at all of a body may know that
    /// they are clean of control bytes.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    #[inline]
    pub fn new(
        minute: Minute,
        method: &'a str,
        path: &'a str,
        user_agent: &'a str,
        is_clean: bool,
    ) -> Result<Self, FieldError> {
        let method = check_method(trim(method))?;
        let (path, user_agent) = (trim(path), trim(user_agent));
        if path.is_empty() {
            return Err(FieldError::new("path", "must not be empty"));
        }
        let path = check_text("path", path, limits::PATH_BYTES_MAX, is_clean)?;
        let max = limits::USER_AGENT_BYTES_MAX;
        let user_agent = check_text("userAgent", user_agent, max, is_clean)?;
        Ok(Self { minute, method, path, user_agent })
    }
}

/// Without white space at both ends; most texts have none.
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// A method is a token (RFC 9110, section 5.6.2).
fn check_method(method: &str) -> Result<&str, FieldError> {
    let error = |reason: String| Err(FieldError::new("method", reason));
    if method.is_empty() {
        return error("must not be empty".into());
    }
    let max = limits::METHOD_BYTES_MAX;
    if method.len() > max {
        return error(format!("has {} bytes, at most {max} are taken", method.len()));
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if method.bytes().all(|byte| byte.is_ascii_uppercase()) || method.bytes().all(token) {
        Ok(method)
    } else {
        error("must be an HTTP method: letters, digits and !#$%&'*+-.^_`|~ only".into())
    }
}

#[inline]
fn check_text<'a>(
    field: &'static str,
    text: &'a str,
    max: usize,
    is_clean: bool,
) -> Result<&'a str, FieldError> {
    if text.len() > max {
        let reason = format!("has {} bytes, at most {max} are taken", text.len());
        return Err(FieldError::new(field, reason));
    }
    if is_clean || !has_control(text.as_bytes()) {
        return Ok(text);
    }
    let byte = text.bytes().find(u8::is_ascii_control).unwrap_or_default();
    Err(FieldError::new(field, format!("holds the control byte 0x{byte:02x}")))
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
