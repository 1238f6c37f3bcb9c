//! What dashboards and alerts in `deploy/` ask for: nothing that is not there. `e2e/readers/`
//! asks the real programs; this needs none of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{read, root};
use crate::prometheus::catalogue::Metric;
use crate::telemetry::metrics::{ALL, Sort};

/// Labels that Prometheus adds, or an alert has.
const ADDED: [&str; 4] = ["job", "instance", "alertname", "severity"];

/// A metric and its labels.
type Known = (String, BTreeSet<&'static str>);

/// All series of `/metrics`.
fn own() -> Vec<Known> {
    let mut known = Vec::new();
    for metric in ALL {
        let labels: BTreeSet<_> = metric.labels.iter().copied().chain(ADDED).collect();
        if metric.sort == Sort::Histogram {
            known.push((format!("{}_sum", metric.name), labels.clone()));
            known.push((format!("{}_count", metric.name), labels.clone()));
            let buckets = labels.into_iter().chain(["le"]).collect();
            known.push((format!("{}_bucket", metric.name), buckets));
        } else {
            known.push((metric.name.to_owned(), labels));
        }
    }
    known
}

/// All series of the Prometheus-compatible API.
fn of_customers() -> Vec<Known> {
    let known =
        |metric: Metric| (metric.name().to_owned(), metric.labels().iter().copied().collect());
    Metric::ALL.map(known).to_vec()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The names of labels in `{a="x",b=~"y"}`, and what they are compared with.
fn matchers(braces: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = braces;
    while let Some((label, tail)) = rest.split_once(['=', '!']) {
        let (_, tail) = tail.split_once('"').expect("a value in quotes");
        let (value, tail) = tail.split_once('"').expect("a value that ends");
        found.push((label.trim_matches([',', ' ']), value));
        rest = tail;
    }
    found
}

/// Fails if an expression asks for what is not known.
fn check(expression: &str, known: &[Known], place: &str) {
    let mut labels_of_all: BTreeSet<&str> = BTreeSet::new();
    for (at, _) in expression.match_indices("logmill_") {
        if expression[..at].ends_with(is_name) {
            continue;
        }
        let tail = &expression[at..];
        let (name, rest) = tail.split_at(tail.find(|c| !is_name(c)).unwrap_or(tail.len()));
        let metric = known.iter().find(|(metric, _)| metric == name);
        let (_, labels) = metric.unwrap_or_else(|| panic!("{place}: there is no {name}"));
        labels_of_all.extend(labels);
        let Some(braces) = rest.strip_prefix('{') else { continue };
        let (braces, _) = braces.split_once('}').expect("braces that end");
        for (label, value) in matchers(braces) {
            assert!(labels.contains(label), "{place}: {name} has no label {label}");
            check_value(label, value, place);
        }
    }
    let lists = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    for label in lists.flat_map(|list| list.split(',')).map(str::trim) {
        let is_known = labels_of_all.contains(label) || ADDED.contains(&label);
        assert!(is_known, "{place}: no metric of {expression} has a label {label}");
    }
}

/// Values of labels stand in the sources as they are.
fn check_value(label: &str, value: &str, place: &str) {
    let sources = match label {
        "problem" => "src/http/problem.rs",
        "route" => "src/http/observe.rs",
        "outcome" | "reason" => "src/telemetry/metrics.rs",
        "kind" => "src/user_agent/kind.rs",
        _ => return,
    };
    let found = read(sources).contains(&format!("\"{value}\""));
    assert!(found, "{place}: {sources} has no {label} {value:?}");
}

/// Every file below a folder of `deploy/`, by the end of its name.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Every `expr` of a dashboard, with the data source it is for.
fn expressions(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(expression)) = members.get("expr") {
                let source = members["datasource"]["uid"].as_str().expect("a data source");
                found.push((source.to_owned(), expression.clone()));
            }
            members.values().for_each(|member| expressions(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn dashboards_ask_for_what_is_there() {
    let mut count = 0;
    for path in files("deploy/grafana/dashboards", "json") {
        let place = path.display().to_string();
        let dashboard: Value = serde_json::from_str(&read(&path)).expect("JSON");
        let mut found = Vec::new();
        expressions(&dashboard, &mut found);
        for (source, expression) in found {
            let known = if source == "logmill" { of_customers() } else { own() };
            check(&expression, &known, &place);
            count += 1;
        }
    }
    assert!(count > 40, "the expressions were found");
}

/// The text as a whole: what comments and descriptions name must be there as well.
#[test]
fn alerts_ask_for_what_is_there_and_are_tested() {
    for file in ["rules.yml", "rules_test.yml"] {
        check(&read(format!("deploy/prometheus/{file}")), &own(), file);
    }
    let (rules, tests) =
        (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/rules_test.yml"));
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15, "the alerts were found");
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let fires = format!("alertname=\"{name}\"");
        assert!(tests.contains(&fires), "rules_test.yml does not see {name} fire");
    }
}

#[test]
fn what_is_not_there_is_found() {
    let refused = |expression: &str| {
        let expression = expression.to_owned();
        std::panic::catch_unwind(move || check(&expression, &own(), "here")).is_err()
    };
    assert!(!refused("sum by (outcome) (rate(logmill_batches_total{outcome=\"accepted\"}[5m]))"));
    for wrong in [
        "logmill_nosuch_total",
        "logmill_journal_sync_duration_seconds",
        "logmill_batches_total{nosuch=\"x\"}",
        "logmill_batches_total{outcome=\"nosuch\"}",
        "sum by (nosuch) (logmill_batches_total)",
        "logmill_entries_total{le=\"1\"}",
        "logmill_requests",
    ] {
        assert!(refused(wrong), "{wrong}");
    }
}
