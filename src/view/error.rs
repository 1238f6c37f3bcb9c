//! Why there is nothing to show, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::text::clean;
use crate::client::AskError;
use crate::limits;

const NO_LOGMILL: &str = "--url must be a logmill server of this version: http://HOST:PORT";

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no answer.
    #[error("{}", clean(&.0.to_string()))]
    Ask(#[from] AskError),
    /// The answer has more points than can be drawn.
    #[error("the answer has more than {} numbers", limits::VIEW_NUMBERS_MAX)]
    TooLong,
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// The file of an export cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ViewError {
    /// What a person should do, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Ask(AskError::Unreachable { .. }) => {
                "start a server with `logmill`, or name another with --url"
            }
            Self::Ask(AskError::Refused { status, problem, .. }) => match status {
                _ if problem.ends_with("/missing-customer-id") => {
                    "say whose requests: --customer ID"
                }
                400 => "--help lists what can be asked",
                401 => "set LOGMILL_TOKEN to a token of this server",
                403 => "set LOGMILL_TOKEN to a token that may read this customer",
                404 => NO_LOGMILL,
                _ => "try again; the server's log may say more",
            },
            Self::Ask(AskError::Foreign { .. }) => NO_LOGMILL,
            Self::TooLong => "ask for a shorter range, or for --window-size hour",
            Self::File { .. } => "choose another --output; a file that is there stays as it was",
            Self::Output(_) => return None,
        })
    }

    /// Whether the command or its surroundings must be mended before it can work.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        let is_refused = matches!(self, Self::Ask(AskError::Refused { status: 400..=499, .. }));
        is_refused || matches!(self, Self::TooLong)
    }

    /// Whether whoever reads has seen enough.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever gave a wrong flag or token must mend that; a server that is away may come back.
    #[test]
    fn errors_say_what_to_do() {
        let refused = |status, problem: &str| {
            let (url, problem, detail) = ("http://h".into(), problem.into(), "no".into());
            ViewError::Ask(AskError::Refused { url, status, problem, detail })
        };
        let hint = |error: &ViewError| error.hint().unwrap_or_default();
        assert!(hint(&refused(400, "/problems/missing-customer-id")).contains("--customer"));
        assert!(hint(&refused(401, "/problems/unauthorized")).contains("LOGMILL_TOKEN"));
        assert!(refused(403, "/problems/forbidden").is_usage());
        assert!(!refused(500, "/problems/internal").is_usage());
        let away = AskError::Unreachable { url: "http://h".into(), reason: "a\u{1b}".into() };
        let away = ViewError::from(away);
        assert_eq!(away.to_string(), "http://h does not answer: a\\u{1b}");
        assert!(!away.is_usage() && hint(&away).contains("--url"));
        let pipe = ViewError::Output(io::ErrorKind::BrokenPipe.into());
        assert!(pipe.is_broken_pipe() && pipe.hint().is_none());
    }
}
