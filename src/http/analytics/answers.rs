//! What answers look like, in each form.

use std::collections::BTreeMap;
use std::iter::once;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::form::{Answer, Table};
use crate::counts::{Counts, TimedCounts, Totals};
use crate::ids::CustomerId;
use crate::query::{By, Calendar, Range, SplitPoint, Summary, TopRow};
use crate::responses::Responses;
use crate::user_agent::kind;
use crate::window::{Minute, Span, WindowSize};

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

/// `GET /analytics/series`
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesJson<'a> {
    pub(super) customer_id: &'a str,
    pub(super) window_size: WindowSize,
    pub(super) points: Vec<PointJson>,
    pub(super) next: Option<String>,
}

/// Totals, or some of the requests, or requests by key, as the parameters say.
#[derive(ToSchema)]
#[schema(as = Series)]
#[serde(untagged)]
#[expect(dead_code, reason = "says that one of these is answered")]
pub(super) enum SeriesAnswer<'a> {
    Totals(SeriesJson<'a>),
    Split(SplitJson<'a>),
}

/// What a ranking can be compared with.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what question.rs reads")]
pub(super) enum Compare {
    Previous,
}

/// One window's totals.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PointJson {
    window_start: String,
    requests: u64,
    #[serde(flatten)]
    revisions: RevisionsJson,
    r#final: bool,
    #[serde(flatten)]
    responses: ResponsesJson,
}

impl PointJson {
    pub(super) fn new(window_start: String, totals: &Totals, is_final: bool) -> Self {
        Self {
            window_start,
            requests: totals.requests,
            revisions: RevisionsJson::of(totals),
            r#final: is_final,
            responses: ResponsesJson::of(&totals.responses),
        }
    }
}

impl Answer for SeriesJson<'_> {
    type Row<'r>
        = &'r PointJson
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.points.iter()
    }

    fn table(&self, table: &mut Table) {
        table.line(["windowStart", "requests", "late", "revision", "final", "bytes"]);
        for point in &self.points {
            let RevisionsJson { late, revision } = point.revisions;
            let numbers = [point.requests, late, revision].map(|number| number.to_string());
            let bytes = point.responses.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
            let last = [point.r#final.to_string(), bytes];
            table.line(once(point.window_start.clone()).chain(numbers).chain(last));
        }
    }
}

/// `GET /analytics/series` of some requests, or by key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SplitJson<'a> {
    pub(super) customer_id: &'a str,
    pub(super) window_size: WindowSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) split: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(super) keys: Option<&'a [Box<str>]>,
    pub(super) points: Vec<SplitPointJson<'a>>,
    pub(super) next: Option<String>,
}

/// One window's requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SplitPointJson<'a> {
    window_start: String,
    requests: u64,
    r#final: bool,
    #[serde(flatten)]
    by_key: Option<ByKeyJson<'a>>,
}

#[derive(Serialize, ToSchema)]
struct ByKeyJson<'a> {
    #[serde(serialize_with = "present")]
    #[schema(value_type = BTreeMap<String, u64>)]
    top: (&'a [Box<str>], &'a [u64]),
    others: u64,
}

/// Those keys that have requests.
fn present<S: Serializer>(
    (keys, requests): &(&[Box<str>], &[u64]),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (key, requests) in keys.iter().zip(*requests).filter(|(_, requests)| **requests > 0) {
        map.serialize_entry(key, requests)?;
    }
    map.end()
}

impl<'a> SplitPointJson<'a> {
    pub(super) fn new(
        calendar: &Calendar,
        keys: Option<&'a [Box<str>]>,
        point: &'a SplitPoint,
        is_final: bool,
    ) -> Self {
        let listed: u64 = point.by_key.iter().sum();
        let others = point.requests - listed;
        Self {
            window_start: calendar.show(point.start),
            requests: point.requests,
            r#final: is_final,
            by_key: keys.map(|keys| ByKeyJson { top: (keys, &point.by_key), others }),
        }
    }
}

impl<'a> Answer for SplitJson<'a> {
    type Row<'r>
        = &'r SplitPointJson<'a>
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.points.iter()
    }

    fn table(&self, table: &mut Table) {
        if self.split.is_none() {
            table.line(["windowStart", "requests"]);
        } else {
            table.line(["windowStart", "key", "requests"]);
        }
        for point in &self.points {
            let Some(ByKeyJson { top: (keys, requests), others }) = &point.by_key else {
                table.line([&point.window_start, &point.requests.to_string()]);
                continue;
            };
            let listed = keys.iter().map(|key| &**key).zip(requests.iter());
            for (key, requests) in listed.chain(once(("(others)", others))) {
                if *requests > 0 {
                    table.line([&point.window_start, key, &requests.to_string()]);
                }
            }
        }
    }
}

/// `GET /analytics/top`
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopJson<'a> {
    pub(super) customer_id: &'a str,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) by: &'static str,
    pub(super) requests: u64,
    pub(super) keys: usize,
    pub(super) top: Vec<TopRowJson<'a>>,
    pub(super) others: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<BeforeJson>,
    pub(super) next: Option<String>,
}

/// A key and its requests.
#[derive(Serialize, ToSchema)]
pub(super) struct TopRowJson<'a> {
    key: &'a str,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
}

/// The period that is compared with.
#[derive(Serialize, ToSchema)]
pub(super) struct BeforeJson {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) requests: u64,
}

impl<'a> TopRowJson<'a> {
    pub(super) fn new(by: By, row: &'a TopRow) -> Self {
        let kind = (by == By::Agent).then(|| kind(&row.key).name());
        Self { key: &row.key, requests: row.requests, kind, before: row.before }
    }
}

impl<'a> Answer for TopJson<'a> {
    type Row<'r>
        = &'r TopRowJson<'a>
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.top.iter()
    }

    fn table(&self, table: &mut Table) {
        table.line(["key", "requests", "kind", "before"]);
        for row in &self.top {
            let before = row.before.map(|before| before.to_string()).unwrap_or_default();
            let requests = row.requests.to_string();
            table.line([row.key, &requests, row.kind.unwrap_or_default(), &before]);
        }
    }
}

/// `GET /analytics/summary`
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SummaryJson<'a> {
    customer_id: &'a str,
    #[serde(flatten)]
    now: PeriodJson,
    before: PeriodJson,
    change: Option<f64>,
    peak: Option<PeakJson>,
    people: u64,
    bots: u64,
    unknown: u64,
    #[schema(value_type = BTreeMap<String, u64>)]
    requests_by_kind: BTreeMap<&'static str, u64>,
    ai: Vec<AgentJson<'a>>,
    user_agents: usize,
}

/// A period's totals.
#[derive(Serialize, ToSchema)]
struct PeriodJson {
    from: String,
    to: String,
    requests: u64,
    #[serde(flatten)]
    revisions: RevisionsJson,
    #[serde(flatten)]
    responses: ResponsesJson,
}

/// The minute with most requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PeakJson {
    window_start: String,
    requests: u64,
}

/// An agent and its requests.
#[derive(Serialize, ToSchema)]
struct AgentJson<'a> {
    key: &'a str,
    requests: u64,
}

impl PeriodJson {
    fn new(calendar: &Calendar, span: Span, totals: &Totals) -> Self {
        Self {
            from: calendar.show(span.from),
            to: calendar.show(span.to),
            requests: totals.requests,
            revisions: RevisionsJson::of(totals),
            responses: ResponsesJson::of(&totals.responses),
        }
    }
}

impl<'a> SummaryJson<'a> {
    pub(super) fn new(
        customer: &'a CustomerId,
        calendar: &Calendar,
        (span, before): (Span, Span),
        summary: &'a Summary,
    ) -> Self {
        let sum = |wanted: fn(&str) -> bool| {
            let kinds = summary.kinds.iter().filter(|(kind, _)| wanted(kind.name()));
            kinds.map(|(_, requests)| requests).sum()
        };
        let peak = summary.peak.map(|(start, requests): (Minute, u64)| PeakJson {
            window_start: calendar.show(start),
            requests,
        });
        Self {
            customer_id: customer.as_str(),
            now: PeriodJson::new(calendar, span, &summary.totals),
            before: PeriodJson::new(calendar, before, &summary.before),
            change: change(summary.before.requests, summary.totals.requests),
            peak,
            people: sum(|kind| kind == "person"),
            bots: summary.kinds.iter().filter(|(kind, _)| kind.is_bot()).map(|(_, n)| n).sum(),
            unknown: sum(|kind| kind == "unknown"),
            requests_by_kind: summary.kinds.iter().map(|(kind, n)| (kind.name(), *n)).collect(),
            ai: summary.ai.iter().map(|(key, n)| AgentJson { key, requests: *n }).collect(),
            user_agents: summary.agents,
        }
    }
}

/// As a part of what was before.
fn change(before: u64, now: u64) -> Option<f64> {
    // Exact up to 2^53, and nobody reads more digits of a change.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let (before, now) = (before as f64, now as f64);
    (before > 0.0).then(|| now / before - 1.0)
}

impl Answer for SummaryJson<'_> {
    type Row<'r>
        = &'r Self
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        once(self)
    }

    fn table(&self, table: &mut Table) {
        table.line(["figure", "value", "before"]);
        let (now, before) = (&self.now, &self.before);
        let mut pair = |name: &str, now: u64, before: u64| {
            table.line([name, &now.to_string(), &before.to_string()]);
        };
        pair("requests", now.requests, before.requests);
        pair("late", now.revisions.late, before.revisions.late);
        pair("revision", now.revisions.revision, before.revisions.revision);
        if now.responses.bytes.is_some() || before.responses.bytes.is_some() {
            let bytes = |period: &PeriodJson| period.responses.bytes.unwrap_or_default();
            pair("bytes", bytes(now), bytes(before));
        }
        let mut single = |name: &str, value: &str| table.line([name, value, ""]);
        if let Some(peak) = &self.peak {
            single("peak minute", &peak.window_start);
            single("requests in it", &peak.requests.to_string());
        }
        for (kind, requests) in &self.requests_by_kind {
            single(kind, &requests.to_string());
        }
        single("user agents", &self.user_agents.to_string());
    }
}

/// `GET /customers`
#[derive(Serialize, ToSchema)]
pub(super) struct CustomersJson<'a> {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) customers: Vec<CustomerJson<'a>>,
    pub(super) next: Option<String>,
}

/// A customer and its requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerJson<'a> {
    pub(super) customer_id: &'a str,
    pub(super) requests: u64,
}

impl<'a> Answer for CustomersJson<'a> {
    type Row<'r>
        = &'r CustomerJson<'a>
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.customers.iter()
    }

    fn table(&self, table: &mut Table) {
        table.line(["customerId", "requests"]);
        for customer in &self.customers {
            table.line([customer.customer_id, &customer.requests.to_string()]);
        }
    }
}
