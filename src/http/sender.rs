//! What a sender says of its batch, in headers and in the URL: how the body is to be read, what the
//! batch is called, and what becomes of entries that are invalid.

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};

use super::headers::single;
use super::parameters::{Parameters, invalid};
use super::problem::{Problem, Type};
use crate::config::MissingKey;
use crate::decode::encoding::Encoding;
use crate::decode::{CsvHeader, Fields, Format, Formats, Framing, OnInvalid};
use crate::entropy::Entropy;
use crate::ids::{IdempotencyKey, InvalidId};
use crate::tokens::SenderDefaults;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What senders get that do not say.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// What a batch without a key is given.
    pub missing_key: MissingKey,
    /// What becomes of invalid entries.
    pub on_invalid: OnInvalid,
}

/// The same for one sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnDefaults<'s> {
    all: Defaults,
    format: Option<&'s str>,
}

impl Defaults {
    /// With what a sender's token says of its batches.
    pub(super) fn with(self, own: &SenderDefaults) -> OwnDefaults<'_> {
        let all = Self {
            missing_key: own.key.unwrap_or(self.missing_key),
            on_invalid: own.on_invalid.unwrap_or(self.on_invalid),
        };
        OwnDefaults { all, format: own.format.as_deref() }
    }
}

/// What is said of a batch.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) key: Key,
    pub(super) format: Format,
    pub(super) encoding: Encoding,
    pub(super) on_invalid: OnInvalid,
}

/// How a batch gets its idempotency key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    Given(IdempotencyKey),
    Derived,
    Generated,
}

impl Sender {
    /// # Errors
    /// What is missing, or is not taken.
    pub(super) fn read(
        headers: &HeaderMap,
        query: Option<&str>,
        formats: &Formats,
        defaults: OwnDefaults<'_>,
    ) -> Result<Self, Problem> {
        let OwnDefaults { all: defaults, format: own_format } = defaults;
        let parameters = match query {
            // Nearly always.
            None => None,
            Some(query) => Some(Parameters::parse(Some(query), &["format", "key", "on_invalid"])?),
        };
        let parameter = |name| parameters.as_ref().and_then(|all| all.get(name));
        let missing_key = match parameter("key") {
            None => defaults.missing_key,
            Some(name) => MissingKey::from_name(name)
                .ok_or_else(|| invalid("key", name, "reject, derive or generate"))?,
        };
        let key = match (idempotency_key(headers)?, missing_key) {
            (Some(key), _) => Key::Given(key),
            (None, MissingKey::Derive) => Key::Derived,
            (None, MissingKey::Generate) => Key::Generated,
            (None, MissingKey::Reject) => return Err(no_key()),
        };
        let on_invalid = match parameter("on_invalid") {
            None => defaults.on_invalid,
            Some(name) => OnInvalid::from_name(name)
                .ok_or_else(|| invalid("on_invalid", name, "reject or skip"))?,
        };
        let format = format(headers, parameter("format").or(own_format), formats)?;
        Ok(Self { key, format, encoding: encoding(headers)?, on_invalid })
    }
}

impl Key {
    /// The key of a batch of this format and body.
    pub(super) fn of(self, format: &Format, body: &[u8], entropy: &dyn Entropy) -> IdempotencyKey {
        match self {
            Self::Given(key) => key,
            Self::Derived => IdempotencyKey::derived(format.id(), body),
            Self::Generated => IdempotencyKey::generated(entropy.bits128()),
        }
    }
}

/// The key of a batch, if it has one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let invalid = |InvalidId(reason)| {
        Problem::new(Type::InvalidIdempotencyKey, format!("the header idempotency-key {reason}"))
    };
    let value = single(headers, &KEY).map_err(invalid)?;
    value.map(|value| IdempotencyKey::from_header(value).map_err(invalid)).transpose()
}

fn no_key() -> Problem {
    let detail = "set the header idempotency-key to a name that is new for each batch and stays \
                  the same when the batch is sent again; a sender that cannot may send to \
                  /logs?key=derive, see docs/senders";
    Problem::new(Type::MissingIdempotencyKey, detail)
}

/// The format of the body: what surrounds entries by content type, what they are like by name.
pub(super) fn format(
    headers: &HeaderMap,
    name: Option<&str>,
    formats: &Formats,
) -> Result<Format, Problem> {
    let fields = match name {
        None => None,
        Some(name) => Some(formats.get(name).ok_or_else(|| {
            let known: Vec<_> = formats.names().collect();
            invalid("format", name, &format!("one of {}", known.join(", ")))
        })?),
    };
    let framing = framing(headers)?;
    let format = Format { framing, fields: fields.unwrap_or(formats.own()).clone() };
    match (&format.fields, framing) {
        (Fields::AccessLine, Framing::Json | Framing::Csv(_)) => {
            let name = format.fields.name();
            let detail = format!(
                "lines of the format {name} are no JSON and no CSV; set the header content-type to \
                 text/plain"
            );
            Err(Problem::new(Type::UnsupportedContentType, detail))
        }
        _ => Ok(format),
    }
}

/// What is taken, by its media type.
const TAKEN: [(&str, Framing); 7] = [
    ("application/json", Framing::Json),
    ("application/x-ndjson", Framing::Lines),
    ("application/ndjson", Framing::Lines),
    ("application/jsonl", Framing::Lines),
    ("application/x-jsonlines", Framing::Lines),
    ("text/plain", Framing::Lines),
    ("text/csv", Framing::Csv(CsvHeader::AsItLooks)),
];

fn framing(headers: &HeaderMap) -> Result<Framing, Problem> {
    let refused = |found: &str| {
        let detail = format!(
            "content-type is {found}; what is taken is application/json, application/x-ndjson, \
             application/jsonl, text/csv and, one entry a line, text/plain, in UTF-8"
        );
        Problem::new(Type::UnsupportedContentType, detail)
    };
    let value = match single(headers, &CONTENT_TYPE) {
        Ok(Some(value)) => value,
        Ok(None) => return Err(refused("missing")),
        Err(_) => return Err(refused("sent more than once, or not ASCII")),
    };
    let not_taken = || refused(&format!("{value:?}"));
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let known = TAKEN.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name));
    let mut framing = known.ok_or_else(not_taken)?.1;
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(not_taken());
        }
        // RFC 4180, section 3.
        if let (Framing::Csv(header), true) =
            (&mut framing, name.trim().eq_ignore_ascii_case("header"))
        {
            *header = match value.to_ascii_lowercase().as_str() {
                "present" => CsvHeader::Present,
                "absent" => CsvHeader::Absent,
                _ => return Err(not_taken()),
            };
        }
    }
    Ok(framing)
}

/// How the body is compressed.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let refused = |found: &str| {
        let detail = format!(
            "content-encoding is {found}; what is taken is gzip, zstd, deflate, br or none"
        );
        Problem::new(Type::UnsupportedContentEncoding, detail)
    };
    let value = single(headers, &CONTENT_ENCODING)
        .map_err(|_| refused("sent more than once, or not ASCII"))?;
    let name = value.unwrap_or_default().trim().to_ascii_lowercase();
    Encoding::from_name(&name).ok_or_else(|| refused(&format!("{name:?}")))
}
