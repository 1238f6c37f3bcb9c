//! What the server says, as far as it is shown. Fields that are not known here are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /analytics/top`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Top {
    pub(super) customer_id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) by: String,
    pub(super) requests: u64,
    pub(super) keys: u64,
    pub(super) top: Vec<TopRow>,
    pub(super) others: u64,
    pub(super) before: Option<Before>,
}

/// A key and its requests.
#[derive(Debug, Deserialize)]
pub(super) struct TopRow {
    pub(super) key: String,
    pub(super) requests: u64,
    pub(super) kind: Option<String>,
    pub(super) before: Option<u64>,
}

/// The period that is compared with.
#[derive(Debug, Deserialize)]
pub(super) struct Before {
    pub(super) requests: u64,
}

/// `GET /analytics/series`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Series {
    pub(super) customer_id: String,
    pub(super) window_size: String,
    /// With a split, the keys that have a row of their own.
    #[serde(default)]
    pub(super) keys: Vec<String>,
    pub(super) points: Vec<Point>,
}

/// One window of a series.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    pub(super) window_start: String,
    pub(super) requests: u64,
    #[serde(default)]
    pub(super) late: u64,
    #[serde(default)]
    pub(super) revision: u64,
    #[serde(default)]
    pub(super) top: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) others: u64,
}

/// `GET /analytics`, as far as `tail` shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Windows<'a> {
    #[serde(borrow)]
    pub(super) windows: Vec<&'a serde_json::value::RawValue>,
}

/// One window.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Window {
    pub(super) window_start: String,
    pub(super) requests: u64,
    #[serde(default)]
    pub(super) late: u64,
    #[serde(default)]
    pub(super) revision: u64,
    #[serde(default)]
    pub(super) requests_by_path: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) requests_by_user_agent: BTreeMap<String, u64>,
}
