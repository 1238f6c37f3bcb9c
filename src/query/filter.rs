//! What of a customer's requests is asked for, and what they are told apart by.
//!
//! Paths and agents are counted apart from each other, so that a filter by one says nothing of the
//! other: [`Filter::suits`] tells which questions a filter can be put to.

use crate::counts::Dimension;
use crate::user_agent::{Kind, kind};

/// What the requests of an answer are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `METHOD path`.
    Path,
    /// Agent family.
    Agent,
    /// Kind of agent.
    Kind,
}

impl By {
    /// The counts that it is made of.
    #[must_use]
    pub fn dimension(self) -> Dimension {
        match self {
            Self::Path => Dimension::Path,
            Self::Agent | Self::Kind => Dimension::Agent,
        }
    }

    /// The key under which a name counts.
    #[must_use]
    pub fn key(self, name: &str) -> &str {
        match self {
            Self::Path | Self::Agent => name,
            Self::Kind => kind(name).name(),
        }
    }
}

/// Which requests are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those of a path, with its method or with any.
    Path(Box<str>),
    /// Those of paths that begin so, with the method or without.
    PathPrefix(Box<str>),
    /// Those of a family of agents.
    Agent(Box<str>),
    /// Those of agents of a kind.
    Kind(Kind),
    /// Those of agents that are bots of any kind.
    Bots,
}

impl Filter {
    /// The counts that it looks at; `None` if it takes all.
    #[must_use]
    pub fn dimension(&self) -> Option<Dimension> {
        match self {
            Self::All => None,
            Self::Path(_) | Self::PathPrefix(_) => Some(Dimension::Path),
            Self::Agent(_) | Self::Kind(_) | Self::Bots => Some(Dimension::Agent),
        }
    }

    /// Whether what it takes can be told apart so.
    #[must_use]
    pub fn suits(&self, by: By) -> bool {
        self.dimension().is_none_or(|dimension| dimension == by.dimension())
    }

    /// Whether it takes requests of this name.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Path(path) => *name == **path || without_method(name) == Some(path),
            Self::PathPrefix(prefix) => {
                name.starts_with(&**prefix)
                    || without_method(name).is_some_and(|path| path.starts_with(&**prefix))
            }
            Self::Agent(family) => *name == **family,
            Self::Kind(wanted) => kind(name) == *wanted,
            Self::Bots => kind(name).is_bot(),
        }
    }
}

/// The path of `METHOD path`. Formats without a method have the path alone.
fn without_method(key: &str) -> Option<&str> {
    key.split_once(' ').map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_its_method_or_without() {
        let takes = |filter: &Filter| {
            let names = ["GET /a", "POST /a", "/a", "GET /ab", "GET /b a"];
            names.into_iter().filter(|name| filter.takes(name)).collect::<Vec<_>>()
        };
        assert_eq!(takes(&Filter::Path("/a".into())), ["GET /a", "POST /a", "/a"]);
        assert_eq!(takes(&Filter::Path("GET /a".into())), ["GET /a"]);
        let prefixed = ["GET /a", "POST /a", "/a", "GET /ab"];
        assert_eq!(takes(&Filter::PathPrefix("/a".into())), prefixed);
        assert_eq!(takes(&Filter::PathPrefix("GET /a".into())), ["GET /a", "GET /ab"]);
    }

    #[test]
    fn bots_are_what_people_are_not() {
        let (people, bots) = (Filter::Kind(Kind::Person), Filter::Bots);
        assert!(people.takes("Chrome") && !bots.takes("Chrome"));
        assert!(bots.takes("GPTBot") && !people.takes("GPTBot"));
        assert!(!bots.takes("(none)") && !people.takes("(none)"));
    }

    #[test]
    fn paths_do_not_know_agents() {
        assert!(Filter::Path("/a".into()).suits(By::Path));
        assert!(!Filter::Path("/a".into()).suits(By::Agent));
        assert!(Filter::Bots.suits(By::Kind) && Filter::Bots.suits(By::Agent));
        assert!(!Filter::Bots.suits(By::Path));
        assert!(Filter::All.suits(By::Path) && Filter::All.suits(By::Kind));
    }
}
