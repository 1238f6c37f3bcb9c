//! A range in a few figures.

use std::collections::BTreeMap;
use std::iter::once;

use serde::Serialize;
use utoipa::ToSchema;

use super::{ResponsesJson, RevisionsJson};
use crate::counts::Totals;
use crate::http::analytics::form::{Answer, Table};
use crate::ids::CustomerId;
use crate::query::{Calendar, Summary};
use crate::user_agent::Kind;
use crate::window::{Minute, Span};

/// `GET /analytics/summary`
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::analytics) struct SummaryJson<'a> {
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
    pub(in crate::http::analytics) fn new(
        customer: &'a CustomerId,
        calendar: &Calendar,
        (span, before): (Span, Span),
        summary: &'a Summary,
    ) -> Self {
        let sum = |wanted: fn(Kind) -> bool| {
            let kinds = summary.kinds.iter().filter(|(kind, _)| wanted(*kind));
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
            people: sum(|kind| kind == Kind::Person),
            bots: sum(Kind::is_bot),
            unknown: sum(|kind| kind == Kind::Unknown),
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
