//! What kind of sender a family of user agents is: a person, or which sort of machine.
//!
//! Owns the kinds and the rule. Like the family, the kind is a pure function of a string; unlike
//! the family it is never stored, so a name may be put into another kind at any time, and every
//! window that was ever counted is read anew.

use super::table;

/// What sends the requests of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A browser or another program that a person looks at.
    Person,
    /// Collects text for a model, or reads a page on behalf of an assistant.
    Ai,
    /// Search, search engine optimisation, link previews, feeds, archives.
    Crawler,
    /// Checks whether something answers, or how fast.
    Monitor,
    /// A library or a command line tool; who uses it and what for is not said.
    Client,
    /// Nobody that we know: an unlisted product, or no name at all.
    Unknown,
}

impl Kind {
    /// Every kind, in the order in which answers list them.
    pub const ALL: [Self; 6] =
        [Self::Person, Self::Ai, Self::Crawler, Self::Monitor, Self::Client, Self::Unknown];

    /// The kind's name in queries and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Ai => "ai",
            Self::Crawler => "crawler",
            Self::Monitor => "monitor",
            Self::Client => "client",
            Self::Unknown => "unknown",
        }
    }

    /// The kind called `name`, spelt exactly so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is known to be a machine.
    #[must_use]
    pub fn is_bot(self) -> bool {
        matches!(self, Self::Ai | Self::Crawler | Self::Monitor | Self::Client)
    }
}

/// The kind of `family`, a name as [`super::family`] gives it: that of the tables, or a crawler if
/// the name says so itself.
#[must_use]
pub fn kind(family: &str) -> Kind {
    match table::KINDS.get(family) {
        Some(kind) => *kind,
        None if ends_as_crawler(family) => Kind::Crawler,
        None => Kind::Unknown,
    }
}

/// Whether a part of the name ends in "bot" or the like: `SomeNewBot`, `examplebot-images`. The
/// letters elsewhere mean nothing: `Abbott`, `Botanica`.
fn ends_as_crawler(family: &str) -> bool {
    family.split(['-', '_', '.', ' ']).any(|part| {
        ["bot", "crawler", "spider"].iter().any(|end| {
            let start = part.len().checked_sub(end.len());
            start.and_then(|start| part.get(start..)).is_some_and(|p| p.eq_ignore_ascii_case(end))
        })
    })
}
