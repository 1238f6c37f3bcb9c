//! What senders send: own formats, what becomes of invalid entries, which paths count as one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DAY, Size, units};
use crate::decode::{Formats, Mapping, OnInvalid, Places, TimeForm};
use crate::paths::{InvalidTemplate, PathRules};

/// `[entries]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entries {
    /// What becomes of a batch that holds invalid entries, unless its sender says.
    pub on_invalid: OnInvalid,
}

/// `[dead_letters]`: entries that were put aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetters {
    /// How long they are kept.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// Bytes of one customer's; past it the oldest go.
    pub customer_bytes: Size,
    /// Bytes of all; past it the oldest of whoever holds most go.
    pub bytes: Size,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { retention: 30 * DAY, customer_bytes: Size::mib(16), bytes: Size::mib(256) }
    }
}

/// `[paths]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Whether query strings are part of the path.
    pub query: Query,
    /// Paths that count as one: `/users/:id`, `/static/*`.
    pub templates: Vec<String>,
}

/// What becomes of the query string of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// It is part of the path.
    #[default]
    Keep,
    /// It is taken off.
    Strip,
}

impl Paths {
    /// The rules that this comes to.
    ///
    /// # Errors
    /// A template that cannot be used.
    pub fn rules(&self) -> Result<PathRules, InvalidTemplate> {
        let strips_query = self.query == Query::Strip;
        PathRules::new(strips_query, self.templates.iter().map(String::as_str))
    }
}

/// `[formats.NAME]`: where the sender's JSON objects, or CSV rows, have the fields. Each is a plain
/// name, or a JSON pointer such as `/request/headers/User-Agent/0`; of several the first that is
/// there counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnFormat {
    /// When the request was received.
    #[serde(deserialize_with = "one_or_more")]
    pub time: Vec<String>,
    /// How that is written.
    pub time_unit: TimeForm,
    /// The method; without one, paths count alone.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// The path.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// The query string, where it stands apart.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
    /// The whole request line, used where there is no path.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub request: Vec<String>,
    /// The user agent.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub user_agent: Vec<String>,
    /// The status.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// The bytes.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<String>,
}

impl OwnFormat {
    /// The mapping that this comes to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn mapping(&self, name: &str) -> Result<Mapping, String> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err("must be called by 1 to 32 of a-z 0-9 -".into());
        }
        if Formats::default().get(name).is_some() {
            return Err("must be called otherwise: the name is that of a known format".into());
        }
        Mapping::new(
            name,
            &Places {
                time: (&self.time, self.time_unit),
                method: &self.method,
                path: &self.path,
                query: &self.query,
                request: &self.request,
                user_agent: &self.user_agent,
                status: &self.status,
                bytes: &self.bytes,
            },
        )
    }
}

/// All formats: the known ones, and those of a configuration that was validated.
#[must_use]
pub fn formats(own: &BTreeMap<String, OwnFormat>) -> Formats {
    Formats::new(own.iter().filter_map(|(name, format)| format.mapping(name).ok()))
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be a name or a list of names")]
    enum Names {
        One(String),
        More(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::More(names) => names,
    })
}
