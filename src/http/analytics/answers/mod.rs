//! What answers look like, in each form: whole windows here, the others in files of their own.

mod lists;
mod series;
mod summary;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::form::{Answer, Table};
use crate::counts::{Counts, TimedCounts, Totals};
use crate::query::{By, Range};
use crate::responses::Responses;
use crate::window::WindowSize;

pub(super) use lists::{BeforeJson, Compare, CustomerJson, CustomersJson, TopJson, TopRowJson};
pub(super) use series::{PointJson, SeriesAnswer, SeriesJson, SplitJson, SplitPointJson};
pub(super) use summary::SummaryJson;

/// `GET /analytics`
#[derive(Serialize, ToSchema)]
pub(super) struct WindowsJson<'a> {
    pub(super) windows: Vec<WindowJson<'a>>,
    pub(super) next: Option<String>,
}

/// One window.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WindowJson<'a> {
    customer_id: &'a str,
    window_start: String,
    window_size: WindowSize,
    requests: u64,
    #[serde(flatten)]
    revisions: Option<RevisionsJson>,
    r#final: bool,
    #[serde(serialize_with = "as_map", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    requests_by_path: Option<&'a Counts>,
    #[serde(serialize_with = "as_map", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    requests_by_user_agent: Option<&'a Counts>,
    #[serde(flatten)]
    responses: ResponsesJson,
}

/// What came late; absent where only some of the requests are asked for.
#[derive(Serialize, ToSchema)]
struct RevisionsJson {
    late: u64,
    revision: u64,
}

/// What entries said of the answers they got; what none said is absent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ResponsesJson {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    requests_by_status: BTreeMap<u16, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl RevisionsJson {
    fn of(totals: &Totals) -> Self {
        Self { late: totals.late, revision: totals.revision }
    }
}

impl ResponsesJson {
    fn of(responses: &Responses) -> Self {
        Self { requests_by_status: responses.statuses().collect(), bytes: responses.bytes() }
    }
}

fn as_map<S: Serializer>(counts: &Option<&Counts>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().flat_map(|counts| counts.iter()))
}

impl<'a> WindowJson<'a> {
    /// Of a filtered window, the names of what the filter looks at.
    pub(super) fn new(
        range: &'a Range,
        filtered: Option<By>,
        (start, window): &'a TimedCounts,
        is_final: bool,
    ) -> Self {
        Self {
            customer_id: range.customer.as_str(),
            window_start: range.calendar.show(*start),
            window_size: range.calendar.size(),
            requests: window.totals.requests,
            revisions: filtered.is_none().then(|| RevisionsJson::of(&window.totals)),
            r#final: is_final,
            requests_by_path: (filtered != Some(By::Agent)).then_some(&window.paths),
            requests_by_user_agent: (filtered != Some(By::Path)).then_some(&window.agents),
            responses: ResponsesJson::of(&window.totals.responses),
        }
    }
}

impl Answer for WindowsJson<'_> {
    type Row<'r>
        = &'r WindowJson<'r>
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.windows.iter()
    }

    fn table(&self, table: &mut Table) {
        table.line(["windowStart", "by", "key", "requests"]);
        for window in &self.windows {
            let mut line = |by: &str, key: &str, requests: u64| {
                table.line([&window.window_start, by, key, &requests.to_string()]);
            };
            line("total", "", window.requests);
            for (status, requests) in &window.responses.requests_by_status {
                line("status", &status.to_string(), *requests);
            }
            let named =
                [("path", window.requests_by_path), ("userAgent", window.requests_by_user_agent)];
            for (by, counts) in named {
                let counts = counts.iter().flat_map(|counts| counts.iter());
                counts.for_each(|(key, requests)| line(by, key, requests));
            }
        }
    }
}
