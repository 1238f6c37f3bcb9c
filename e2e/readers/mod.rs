//! Real readers: `promtool` and Prometheus itself at the API and the metrics of a running server,
//! with the rules and the dashboards of `deploy/`; Schemathesis at all that is described. A program
//! that is not installed is skipped, and that is said.

mod deployed;
mod prometheus;
mod promtool;
mod schemathesis;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::torture::Case;

/// Every reader that can be run here.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "promtool",
        title: "promtool reads what was counted, and takes the rules that are deployed",
        run: promtool::run,
    },
    Case {
        name: "prometheus",
        title: "Prometheus finds every metric that is asked for, and its alerts fire",
        run: prometheus::run,
    },
    Case {
        name: "schemathesis",
        title: "Every answer is one that the description has, and none is a defect",
        run: schemathesis::run,
    },
];

/// One request to an HTTP API of Prometheus.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What an HTTP API of Prometheus says under `data`.
fn ask(url: &str, query: &[(&str, &str)]) -> Result<Value> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(REQUEST_TIMEOUT))
        .build()
        .new_agent();
    let mut response = agent.get(url).query_pairs(query.iter().copied()).call()?;
    let status = response.status().as_u16();
    let mut answer: Value = response.body_mut().read_json().context(url.to_owned())?;
    ensure!(
        status == 200 && answer["status"] == "success",
        "{url} {query:?} answered {status} {answer}"
    );
    Ok(answer["data"].take())
}
