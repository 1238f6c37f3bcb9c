//! The metrics that a customer's counts are, by name. None of them is in `/metrics`, which is about
//! the server and names no customer.

use crate::counts::Dimension;

/// The label that says whose requests they are; every metric has it.
pub const CUSTOMER: &str = "customer";
/// The label that is a metric's name.
pub const NAME: &str = "__name__";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// All requests.
    Requests,
    /// Requests of each path.
    ByPath,
    /// Requests of each family of user agents.
    ByUserAgent,
    /// Requests of each status.
    ByStatus,
    /// Bytes of the answers.
    ResponseBytes,
    /// Requests that came when their minute was closed.
    Late,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Requests,
        Self::ByPath,
        Self::ByUserAgent,
        Self::ByStatus,
        Self::ResponseBytes,
        Self::Late,
    ];

    /// The metric of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "logmill_requests",
            Self::ByPath => "logmill_requests_by_path",
            Self::ByUserAgent => "logmill_requests_by_user_agent",
            Self::ByStatus => "logmill_requests_by_status",
            Self::ResponseBytes => "logmill_response_bytes",
            Self::Late => "logmill_late_requests",
        }
    }

    /// What it counts.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Requests => "Requests in the window that ends here.",
            Self::ByPath => "The same for each method and path.",
            Self::ByUserAgent => "The same for each family of user agents.",
            Self::ByStatus => "The same for each status, where entries say one.",
            Self::ResponseBytes => {
                "Bytes of the answers to these requests, where entries say them."
            }
            Self::Late => "Of these requests, those that came when their minute was closed.",
        }
    }

    /// Its labels, in order, beside its name.
    #[must_use]
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::ByPath => &[CUSTOMER, "path"],
            Self::ByUserAgent => &[CUSTOMER, "kind", "user_agent"],
            Self::ByStatus => &[CUSTOMER, "status"],
            Self::Requests | Self::ResponseBytes | Self::Late => &[CUSTOMER],
        }
    }

    /// By what its requests are told apart, if by names.
    #[must_use]
    pub fn dimension(self) -> Option<Dimension> {
        match self {
            Self::ByPath => Some(Dimension::Path),
            Self::ByUserAgent => Some(Dimension::Agent),
            _ => None,
        }
    }
}
