//! What only HTTP has of a query: forms, tags, links, refusals, and who may ask for whom.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Service, config, dir, entries};

const RANGE: &str = "from=2025-12-01T00:00:00Z&to=2025-12-02T00:00:00Z";

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }
}

impl Service {
    fn ask_with(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_at(self.address, target, headers)
    }

    fn ask_at(&self, at: std::net::SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.agent.get(format!("http://{at}{target}"));
        let request = headers.iter().fold(request, |request, (k, v)| request.header(*k, *v));
        let mut answer = request.call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
    }

    fn ask_acme(&self, target: &str, accept: &str) -> Answer {
        self.ask_with(target, &[("x-customer-id", "acme"), ("accept", accept)])
    }
}

fn with_entries(dir: &tempfile::TempDir) -> Service {
    let service = Service::start(config(dir));
    assert_eq!(service.post("acme", "a", &entries(0, 20)).0, 202);
    assert_eq!(service.post("other", "a", &entries(0, 5)).0, 202);
    service
}

/// Each form says the same.
#[test]
fn an_answer_comes_in_the_form_that_is_wanted() {
    let dir = dir();
    let service = with_entries(&dir);
    let lists = [
        ("/analytics?", "windows", "windowStart,by,key,requests"),
        ("/analytics/series?", "points", "windowStart,requests,late,revision,final,bytes"),
        ("/analytics/series?split=path&limit=2&", "points", "windowStart,key,requests"),
        ("/analytics/series?path=/3&", "points", "windowStart,requests"),
        ("/analytics/top?", "top", "key,requests,kind,before"),
        ("/customers?", "customers", "customerId,requests"),
    ];
    for (target, list, head) in lists {
        let target = format!("{target}{RANGE}");
        let rows = service.ask_acme(&target, "application/json").json()[list].clone();
        assert!(!rows.as_array().expect("a list").is_empty(), "{target}");
        let lines = service.ask_acme(&target, "application/x-ndjson");
        assert_eq!(lines.header("content-type"), "application/x-ndjson");
        let line = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        assert_eq!(lines.text.lines().map(line).collect::<Value>(), rows, "{target}");
        let table = service.ask_acme(&target, "text/csv");
        assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(table.text.lines().next(), Some(head), "{target}");
        assert!(table.text.lines().count() > rows.as_array().map_or(0, Vec::len), "{target}");
    }
    let table =
        service.ask_acme(&format!("/analytics/top?limit=1&compare=previous&{RANGE}"), "text/csv");
    assert_eq!(table.text, "key,requests,kind,before\nGET /0,3,,0\n");
    let refused = service.ask_acme(&format!("/analytics?{RANGE}"), "text/html");
    assert_eq!((refused.status, refused.kind().as_str()), (406, "/problems/not-acceptable"));
    service.stop();
}

/// A client that has the answer is told so, and one that has another is not.
#[test]
fn a_tag_spares_an_answer_that_is_known() {
    let dir = dir();
    let service = with_entries(&dir);
    let target = format!("/analytics/summary?{RANGE}");
    let first = service.ask_acme(&target, "*/*");
    let tag = first.header("etag").to_owned();
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let again = |accept| {
        let headers = [("x-customer-id", "acme"), ("if-none-match", &*tag), ("accept", accept)];
        service.ask_with(&target, &headers)
    };
    let known = again("*/*");
    assert_eq!((known.status, known.text.as_str(), known.header("etag")), (304, "", &*tag));
    assert_eq!(again("text/csv").status, 200, "another form");
    assert_eq!(service.post("acme", "b", &entries(30, 1)).0, 202);
    let changed = again("*/*");
    assert_eq!(changed.json()["requests"], 21, "late data changes what was asked before");
    service.stop();
}

/// The link of each page leads to the next, in whatever form, and the pages are the whole.
#[test]
fn links_lead_through_all_pages() {
    let dir = dir();
    let service = with_entries(&dir);
    let mut target = format!("/analytics/top?limit=3&pathPrefix=%2F&{RANGE}");
    let mut keys = Vec::new();
    loop {
        let page = service.ask_acme(&target, "text/csv");
        keys.extend(page.text.lines().skip(1).map(str::to_owned));
        match page.header("link").strip_prefix('<').and_then(|link| link.split_once(">; rel=")) {
            Some((next, "\"next\"")) => next.clone_into(&mut target),
            _ => break,
        }
    }
    let whole = service.ask_acme(&format!("/analytics/top?limit=100&{RANGE}"), "text/csv");
    assert_eq!(keys, whole.text.lines().skip(1).collect::<Vec<_>>());
    assert_eq!(keys.len(), 7);
    service.stop();
}

/// Every parameter that cannot be taken says so, and says what could.
#[test]
fn a_question_that_makes_no_sense_is_refused_in_words() {
    let dir = dir();
    let service = with_entries(&dir);
    let bad = [
        ("/analytics?from=yesterday", "RFC 3339"),
        ("/analytics?from=-24y", "-24h"),
        ("/analytics?from=-&to=now", "-24h"),
        ("/analytics?timezone=Mars/Olympus", "IANA"),
        ("/analytics?path=/&kind=bot", "one filter"),
        ("/analytics?kind=robot", "person, ai, crawler"),
        ("/analytics?cursor=r1", "the next of an answer"),
        ("/analytics/series?split=path&kind=bot", "counted apart"),
        ("/analytics/series?split=userAgent&limit=51", "1 to 50"),
        ("/analytics/series?limit=5", "there is no split"),
        ("/analytics/top?by=path&userAgent=curl", "counted apart"),
        ("/analytics/top?limit=0", "1 to 1000"),
        ("/analytics/top?compare=next", "previous"),
        ("/analytics/top?cursor=m00000000", "the next of an answer"),
        ("/analytics/summary?path=/", "there is no parameter"),
        ("/customers?limit=1001", "1 to 1000"),
    ];
    for (target, words) in bad {
        let refused = service.ask_acme(target, "*/*");
        assert_eq!((refused.status, refused.kind().as_str()), (400, "/problems/invalid-query"));
        assert!(refused.text.contains(words), "{target}: {}", refused.text);
    }
    let long = format!("/analytics?path={}", "a".repeat(3_000));
    assert_eq!(service.ask_acme(&long, "*/*").status, 400);
    service.stop();
}

/// Where days begin, and how times are written.
#[test]
fn days_are_those_of_the_place() {
    let dir = dir();
    let service = with_entries(&dir);
    let range = "from=2025-11-30T00:00:00%2B01:00&to=2025-12-03T00:00:00%2B01:00";
    let target = format!("/analytics/series?windowSize=day&timezone=America/New_York&{range}");
    let points = service.ask_acme(&target, "*/*").json()["points"].clone();
    assert_eq!(points[0]["windowStart"], "2025-11-30T00:00:00-05:00");
    assert_eq!((&points[0]["requests"], points.as_array().map(Vec::len)), (&json!(20), Some(1)));
    // Without a start it is 60 days back, clocks changed or not.
    for (to, first) in [("2025-11-29", "2025-09-30"), ("2026-05-20", "2026-03-21")] {
        let to = format!("to={to}T00:00:00%2B{}:00", if to.contains("-11-") { "01" } else { "02" });
        let days = format!("/analytics/series?windowSize=day&timezone=Europe/Berlin&{to}");
        let body = json!([{"receivedAt": format!("{first}T12:00:00Z"), "method": "GET",
            "path": "/", "userAgent": "curl"}]);
        assert_eq!(service.post("berlin", first, &body).0, 202);
        let named = [("x-customer-id", "berlin")];
        let points = service.ask_with(&days, &named).json()["points"].clone();
        let start = points[0]["windowStart"].as_str().unwrap_or_default().to_owned();
        assert!(start.starts_with(first), "{start} is not the 60th day before");
    }
    service.stop();
}

/// T1: a customer sees itself, an operator sees all, and nothing but the door makes an operator.
#[test]
fn customers_are_listed_for_operators() {
    let dir = dir();
    let service = with_entries(&dir);
    let target = format!("/customers?{RANGE}");
    let ids = |answer: Answer| {
        let customers = answer.json()["customers"].clone();
        let customers = customers.as_array().expect("a list").iter();
        customers.map(|c| c["customerId"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(service.ask_at(service.admin, &target, &[])), ["acme", "other"]);
    let named = [("x-customer-id", "other")];
    assert_eq!(ids(service.ask_at(service.admin, &target, &named)), ["acme", "other"]);
    let prefixed = format!("{target}&prefix=ot");
    assert_eq!(ids(service.ask_at(service.admin, &prefixed, &[])), ["other"]);
    assert_eq!(ids(service.ask_with(&target, &named)), ["other"]);
    assert_eq!(ids(service.ask_with(&prefixed, &[("x-customer-id", "acme")])), [""; 0]);
    let refused = service.ask_with(&target, &[]);
    assert_eq!((refused.status, refused.kind().as_str()), (400, "/problems/missing-customer-id"));
    let nobody = service.ask_at(service.admin, &format!("/analytics/summary?{RANGE}"), &[]);
    assert_eq!(nobody.kind(), "/problems/missing-customer-id");
    service.stop();
}

/// What is described is what there is: each parameter of each route, and no other.
#[test]
fn the_description_names_every_parameter() {
    let dir = dir();
    let service = Service::start(config(&dir));
    let described = service.ask_acme("/openapi.json", "*/*").json();
    assert_eq!(described["openapi"], "3.1.0");
    let paths = described["paths"].as_object().expect("paths");
    let of_queries = ["/analytics", "/analytics/series", "/analytics/top", "/analytics/summary"];
    for route in of_queries.into_iter().chain(["/customers"]) {
        let parameters = paths[route]["get"]["parameters"].as_array().expect("parameters").iter();
        let named = parameters.map(|parameter| parameter["name"].as_str().expect("a name"));
        let mut named: Vec<_> = named.collect();
        let refused = service.ask_acme(&format!("{route}?nonsense=1"), "*/*").json();
        let (_, known) =
            refused["detail"].as_str().and_then(|d| d.split_once("known: ")).expect("a list");
        let mut known: Vec<_> = known.split(", ").collect();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known, "{route}");
    }
    for route in paths.keys().filter(|route| *route != "/logs") {
        assert_eq!(service.ask_acme(route, "*/*").status, 200, "{route}");
    }
    service.stop();
}

/// The page that shows it loads nothing from elsewhere.
#[test]
fn the_page_of_the_description_is_served() {
    let dir = dir();
    let service = Service::start(config(&dir));
    let page = service.ask_acme("/docs/", "text/html");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    assert!(page.header("content-security-policy").contains("script-src 'self';"));
    assert!(!page.text.contains("://"), "{}", page.text);
    for script in page.text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let script = script.trim_start_matches("./");
        let found = service.ask_acme(&format!("/docs/{script}"), "*/*");
        assert_eq!(found.status, 200, "{script}");
        assert!(!script.contains("initializer") || found.text.contains("/openapi.json"));
    }
    assert_eq!(service.ask_acme("/docs/nothing.js", "*/*").status, 404);
    service.stop();
}
