//! The Prometheus-compatible API over HTTP: what it answers, in which form it refuses, and T1.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Service, config, dir, entries};
use crate::config::Config;

const ACME: &str = "acme-0123456789-0123456789";
const EYES: &str = "eyes-0123456789-0123456789";
/// 2025-12-01T00:10:00Z to 00:20:00Z.
const RANGE: &str = "start=1764547800&end=1764548400";

/// What a request brings beside its parameters.
type Headers<'a> = &'a [(&'a str, &'a str)];

impl Service {
    fn prometheus(&self, at: SocketAddr, target: &str, headers: Headers<'_>) -> (u16, Value) {
        let request = self.agent.get(format!("http://{at}/api/v1/{target}"));
        let request = headers.iter().fold(request, |request, (k, v)| request.header(*k, *v));
        let mut answer = request.call().expect("an answer");
        (answer.status().as_u16(), answer.body_mut().read_json().expect("JSON"))
    }

    fn form(&self, target: &str, form: &[(&str, &str)], headers: Headers<'_>) -> (u16, Value) {
        let request = self.agent.post(format!("http://{}/api/v1/{target}", self.address));
        let request = headers.iter().fold(request, |request, (k, v)| request.header(*k, *v));
        let mut answer = request.send_form(form.iter().copied()).expect("an answer");
        (answer.status().as_u16(), answer.body_mut().read_json().expect("JSON"))
    }

    fn data(&self, target: &str) -> Value {
        let (status, answer) = self.prometheus(self.address, target, &[("x-customer-id", "acme")]);
        assert_eq!((status, &answer["status"]), (200, &json!("success")), "{target}: {answer}");
        answer["data"].clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "writes what an operator writes")]
fn with_tokens(dir: &tempfile::TempDir) -> Config {
    let text = format!(
        "[[token]]\ntoken = \"{ACME}\"\ncustomers = [\"acme\"]\n\
         [[token]]\ntoken = \"{EYES}\"\noperator = true\ncustomers = [\"acme\", \"other\"]\n"
    );
    std::fs::write(dir.path().join("tokens.toml"), text).expect("written");
    let mut config = config(dir);
    config.auth.tokens_file = dir.path().join("tokens.toml");
    config
}

/// The names in a URL.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn send(service: &Service, headers: Headers<'_>) {
    for (customer, count) in [("acme", 20), ("other", 5)] {
        let request = service.agent.post(format!("http://{}/logs", service.address));
        let request = request.header("idempotency-key", "k").header("x-customer-id", customer);
        let request = headers.iter().fold(request, |request, (k, v)| request.header(*k, *v));
        let answer = request.send_json(entries(0, count)).expect("an answer");
        assert_eq!(answer.status().as_u16(), 202);
    }
}

#[test]
fn a_query_is_answered_from_memory_and_from_the_store() {
    let dir = dir();
    let check = |service: &Service| {
        let data = service.data(&format!("query_range?query=logmill_requests&{RANGE}&step=300"));
        assert_eq!(
            data,
            json!({"resultType": "matrix", "result": [{
                "metric": {"__name__": "logmill_requests", "customer": "acme"},
                "values": [[1_764_547_800, "5"], [1_764_548_100, "5"], [1_764_548_400, "5"]],
            }]})
        );
        let query = encoded("topk(1, sum by (path) (sum_over_time(logmill_requests_by_path[1d])))");
        let data = service.data(&format!("query?query={query}&time=2025-12-01T01:00:00Z"));
        assert_eq!(
            data,
            json!({"resultType": "vector", "result": [{
                "metric": {"path": "GET /0"},
                "value": [1_764_550_800, "3"],
            }]})
        );
        let query = encoded("sum by (kind) (logmill_requests_by_user_agent)");
        let data = service.data(&format!("query_range?query={query}&{RANGE}&step=10m"));
        assert_eq!(data["result"][0]["metric"], json!({"kind": "client"}));
        assert_eq!(
            data["result"][0]["values"],
            json!([[1_764_547_800, "10"], [1_764_548_400, "10"]])
        );
    };
    let service = Service::start(config(&dir));
    send(&service, &[]);
    check(&service);
    service.stop();
    let service = Service::start(config(&dir));
    check(&service);
    let form = [("query", "logmill_requests"), ("time", "1764547800"), ("timeout", "5s")];
    let (status, answer) = service.form("query", &form, &[("x-customer-id", "acme")]);
    assert_eq!((status, &answer["data"]["result"][0]["value"][1]), (200, &json!("1")));
    assert_eq!(service.data("query?query=1%2B1&time=4")["result"], json!([0, "2"]));
    service.stop();
}

#[test]
fn what_there_is_can_be_listed() {
    let dir = dir();
    let service = Service::start(config(&dir));
    send(&service, &[]);
    let list = |target: &str| service.data(&format!("{target}{RANGE}"));
    let labels = ["__name__", "customer", "kind", "path", "status", "user_agent"];
    assert_eq!(list("labels?"), json!(labels));
    let by_path = "match%5B%5D=logmill_requests_by_path";
    assert_eq!(list(&format!("labels?{by_path}&")), json!(["__name__", "customer", "path"]));
    assert_eq!(
        list(&format!("label/__name__/values?{by_path}&")),
        json!(["logmill_requests_by_path"])
    );
    assert_eq!(list("label/__name__/values?").as_array().map(Vec::len), Some(6));
    assert_eq!(list("label/user_agent/values?"), json!(["curl"]));
    assert_eq!(list("label/kind/values?"), json!(["client"]));
    assert_eq!(list("label/path/values?").as_array().map(Vec::len), Some(7));
    let some = encoded("logmill_requests_by_path{path=~\"GET /[01]\"}");
    let two = json!(["GET /0", "GET /1"]);
    assert_eq!(list(&format!("label/path/values?match%5B%5D={some}&")), two);
    assert_eq!(list("label/nosuch/values?"), json!([]));
    assert_eq!(list("label/customer/values?"), json!(["acme"]));
    let series = list(&format!("series?match%5B%5D={some}&"));
    let one =
        |path| json!({"__name__": "logmill_requests_by_path", "customer": "acme", "path": path});
    assert_eq!(series, json!([one("GET /0"), one("GET /1")]));
    assert_eq!(service.data("metadata").as_object().map(serde_json::Map::len), Some(6));
    assert_eq!(service.data("status/buildinfo")["application"], "logmill");
    let day = "start=2025-12-01T00:00:00Z&end=2025-12-02T00:00:00Z";
    let everybody = format!("label/customer/values?{day}");
    let (_, answer) = service.prometheus(service.admin, &everybody, &[]);
    assert_eq!(answer["data"], json!(["acme", "other"]));
    let plain = format!("series?match%5B%5D=logmill_requests&{day}");
    let (_, answer) = service.prometheus(service.admin, &plain, &[]);
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2));
    service.stop();
}

#[test]
fn refusals_are_in_the_form_of_prometheus() {
    let dir = dir();
    let service = Service::start(config(&dir));
    let refused = |target: &str, customer: &str, status: u16, kind: &str, said: &str| {
        let headers = [("x-customer-id", customer)];
        let headers = if customer.is_empty() { &[][..] } else { &headers };
        let (found, answer) = service.prometheus(service.address, target, headers);
        assert_eq!((found, &answer["status"]), (status, &json!("error")), "{target}: {answer}");
        assert_eq!(answer["errorType"], kind, "{target}: {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(said), "{target}: {error}");
    };
    refused("query?query=up", "acme", 400, "bad_data", "there is no metric \"up\"");
    refused("query?query=rate(x[5m])", "acme", 400, "bad_data", "of PromQL this takes");
    refused("query", "acme", 400, "bad_data", "the parameter query is missing");
    refused("query_range?query=logmill_requests&start=0&end=1", "acme", 400, "bad_data", "step");
    let minutes = "query_range?query=logmill_requests&start=0&end=9999999&step=1";
    refused(minutes, "acme", 400, "bad_data", "a step of 16m fits");
    refused("query?query=logmill_requests", "", 400, "bad_data", "x-customer-id");
    refused("nosuch", "acme", 404, "not_found", "there is no /api/v1/nosuch");
    refused("series", "acme", 400, "bad_data", "match[] is missing");
    let many = "x".repeat(crate::limits::PROMETHEUS_FORM_BYTES_MAX);
    let (status, answer) = service.form("query", &[("query", &many)], &[]);
    assert_eq!((status, &answer["errorType"]), (413, &json!("bad_data")));
    service.stop();
}

/// Every way of asking for the counts of a customer.
fn ways(customer: &str) -> Vec<String> {
    let selector = encoded(&format!("logmill_requests_by_path{{customer=\"{customer}\"}}"));
    vec![
        format!("query?query={selector}"),
        format!("query_range?query=sum({selector})&{RANGE}&step=60"),
        format!("series?match%5B%5D={selector}&{RANGE}"),
        format!("label/path/values?match%5B%5D={selector}&{RANGE}"),
        format!("label/customer/values?match%5B%5D={selector}&{RANGE}"),
        format!("series?match%5B%5D=logmill_requests&match%5B%5D={selector}&{RANGE}"),
    ]
}

/// T1: a matcher allows nothing that the header would not, by any route.
#[test]
fn a_query_reads_no_other_customer() {
    let dir = dir();
    let service = Service::start(with_tokens(&dir));
    let (acme, eyes) = (format!("Bearer {ACME}"), format!("Bearer {EYES}"));
    let (acme, eyes) = ([("authorization", &*acme)], [("authorization", &*eyes)]);
    send(&service, &eyes);
    let ask =
        |target: &str, headers: Headers<'_>| service.prometheus(service.address, target, headers);
    for (own, (other, nobody)) in ways("acme").iter().zip(ways("other").iter().zip(ways("nobody")))
    {
        assert_eq!(ask(own, &acme).0, 200, "{own}");
        assert_eq!(ask(own, &eyes).0, 200, "{own}");
        assert_eq!(ask(own, &[]).0, 401, "{own}");
        let (status, refusal) = ask(other, &acme);
        assert_eq!((status, &refusal["errorType"]), (403, &json!("forbidden")), "{other}");
        assert_eq!(ask(&nobody, &acme), (403, refusal), "nothing tells that there is another");
        let disguised = [acme[0], ("x-customer-id", "acme")];
        assert_eq!(ask(other, &disguised).0, 403, "{other}");
        assert_eq!(ask(own, &[acme[0], ("x-customer-id", "other")]).0, 403, "{own}");
        assert_eq!(ask(other, &eyes).0, 200, "{other}");
        assert_eq!(service.prometheus(service.admin, other, &[]).0, 200, "{other}");
    }
    let form = [("query", "logmill_requests{customer=\"other\"}")];
    assert_eq!(service.form("query?query=1", &form, &acme).0, 200, "the first one counts");
    assert_eq!(service.form("query", &form, &acme).0, 403);
    assert_eq!(service.form("query", &form, &[("authorization", "Bearer nonsense")]).0, 401);
    for everybody in ["label/customer/values?", "series?match%5B%5D=logmill_requests&"] {
        let (status, answer) = ask(&format!("{everybody}{RANGE}"), &acme);
        assert_eq!(status, 200);
        let text = answer.to_string();
        assert!(text.contains("acme") && !text.contains("other"), "{text}");
    }
    service.stop();
}

/// T1: where a gateway says who asks, a query cannot say otherwise.
#[test]
fn a_matcher_does_not_overrule_the_header() {
    let dir = dir();
    let service = Service::start(config(&dir));
    send(&service, &[]);
    for (own, other) in ways("acme").iter().zip(ways("other")) {
        let ask = |target: &str, headers: Headers<'_>| {
            service.prometheus(service.address, target, headers).0
        };
        assert_eq!(ask(own, &[("x-customer-id", "acme")]), 200, "{own}");
        assert_eq!(ask(&other, &[("x-customer-id", "acme")]), 403, "{other}");
    }
    service.stop();
}
