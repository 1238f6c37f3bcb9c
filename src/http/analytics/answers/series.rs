//! Series, of totals and by key.

use std::iter::once;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{ResponsesJson, RevisionsJson};
use crate::counts::Totals;
use crate::http::analytics::form::{Answer, Table};
use crate::query::{Calendar, SplitPoint};
use crate::window::WindowSize;

/// `GET /analytics/series`
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::analytics) struct SeriesJson<'a> {
    pub(in crate::http::analytics) customer_id: &'a str,
    pub(in crate::http::analytics) window_size: WindowSize,
    pub(in crate::http::analytics) points: Vec<PointJson>,
    pub(in crate::http::analytics) next: Option<String>,
}

/// Totals, or some of the requests, or requests by key, as the parameters say.
#[derive(ToSchema)]
#[schema(as = Series)]
#[serde(untagged)]
#[expect(dead_code, reason = "says that one of these is answered")]
pub(in crate::http::analytics) enum SeriesAnswer<'a> {
    Totals(SeriesJson<'a>),
    Split(SplitJson<'a>),
}

/// One window's totals.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::analytics) struct PointJson {
    window_start: String,
    requests: u64,
    #[serde(flatten)]
    revisions: RevisionsJson,
    r#final: bool,
    #[serde(flatten)]
    responses: ResponsesJson,
}

impl PointJson {
    pub(in crate::http::analytics) fn new(
        window_start: String,
        totals: &Totals,
        is_final: bool,
    ) -> Self {
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
pub(in crate::http::analytics) struct SplitJson<'a> {
    pub(in crate::http::analytics) customer_id: &'a str,
    pub(in crate::http::analytics) window_size: WindowSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http::analytics) split: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(in crate::http::analytics) keys: Option<&'a [Box<str>]>,
    pub(in crate::http::analytics) points: Vec<SplitPointJson<'a>>,
    pub(in crate::http::analytics) next: Option<String>,
}

/// One window's requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::analytics) struct SplitPointJson<'a> {
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
    pub(in crate::http::analytics) fn new(
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
