//! Answers as Prometheus writes them.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::evaluate::{Labels, Series};
use crate::limits;
use crate::window::Minute;

/// An answer with this content.
#[must_use]
pub fn success(data: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Success<'a, T> {
        status: &'static str,
        data: &'a T,
    }
    to_json(&Success { status: "success", data })
}

/// A list, which may have been cut.
#[must_use]
pub fn list(items: &impl Serialize, is_cut: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a, T> {
        status: &'static str,
        data: &'a T,
        #[serde(skip_serializing_if = "Option::is_none")]
        warnings: Option<[String; 1]>,
    }
    let max = limits::PROMETHEUS_VALUES_MAX;
    let warnings = is_cut.then(|| [format!("there may be more: at most {max} are listed")]);
    to_json(&List { status: "success", data: items, warnings })
}

/// A refusal.
#[must_use]
pub fn failure(kind: &str, error: &str) -> Value {
    json!({"status": "error", "errorType": kind, "error": error})
}

/// Series, for `query_range`.
#[must_use]
pub fn matrix(series: &[Series]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Row<'a> {
        metric: &'a Labels,
        #[serde(serialize_with = "samples")]
        values: &'a [(Minute, u64)],
    }
    let rows =
        series.iter().map(|Series { labels, samples }| Row { metric: labels, values: samples });
    result("matrix", &rows.collect::<Vec<_>>())
}

/// Their values at one moment, for `query`; the largest first if they were ranked.
#[must_use]
pub fn vector(series: &[Series], is_ranked: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Row<'a> {
        metric: &'a Labels,
        value: Sample,
    }
    let mut series: Vec<_> = series
        .iter()
        .filter_map(|series| series.samples.first().map(|sample| (&series.labels, *sample)))
        .collect();
    if is_ranked {
        series.sort_by_key(|(_, (_, value))| std::cmp::Reverse(*value));
    }
    let row = |(metric, (at, value))| Row { metric, value: Sample(at, value) };
    result("vector", &series.into_iter().map(row).collect::<Vec<_>>())
}

/// A number, for `query`.
#[must_use]
pub fn scalar(at: Minute, number: f64) -> Vec<u8> {
    result("scalar", &(at.unix_seconds(), number.to_string()))
}

/// A number at each moment, for `query_range`.
#[must_use]
pub fn constant(times: impl Iterator<Item = Minute>, number: f64) -> Vec<u8> {
    let number = number.to_string();
    let values: Vec<_> = times.map(|at| (at.unix_seconds(), &number)).collect();
    result("matrix", &[json!({"metric": {}, "values": values})])
}

fn result(kind: &'static str, result: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a, T> {
        result_type: &'static str,
        result: &'a T,
    }
    success(&Data { result_type: kind, result })
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data is always JSON")
}

/// A time in seconds, and the value as text: Prometheus keeps numbers that JSON has none for.
struct Sample(Minute, u64);

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.unix_seconds(), self.1.to_string()).serialize(serializer)
    }
}

fn samples<S: Serializer>(values: &[(Minute, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut seq = serializer.serialize_seq(Some(values.len()))?;
    for (at, value) in values {
        seq.serialize_element(&Sample(*at, *value))?;
    }
    seq.end()
}
