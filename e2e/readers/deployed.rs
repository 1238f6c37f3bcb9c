//! What is in `deploy/`: its files, and the queries of its dashboards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A file of `deploy/`.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

pub(super) fn text(name: &str) -> Result<String> {
    let path = path(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The queries of a dashboard to one data source, with Grafana's variables filled in.
pub(super) fn queries(dashboard: &str, source: &str) -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(&text(dashboard)?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let ours = targets.filter(|target| target["datasource"]["uid"] == source);
    let filled = ours.filter_map(|target| target["expr"].as_str()).map(|query| {
        query
            .replace("$customer", "acme")
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s")
            .replace("$__range", "600s")
    });
    Ok(filled.collect())
}

/// Every series of logmill that a text names.
pub(super) fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c));
    words.filter(|word| word.starts_with("logmill_")).collect()
}
