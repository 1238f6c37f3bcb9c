//! T1 with tokens: whom a server lets in, for whom, and that turning somebody away changes nothing.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Service, config, dir, entries};
use crate::config::Config;

const ACME: &str = "acme-0123456789-0123456789";
const BOTH: &str = "both-0123456789-0123456789";
const EYES: &str = "eyes-0123456789-0123456789";
const NEXT: &str = "next-0123456789-0123456789";

/// Where a customer's windows are read.
const READING: [&str; 4] =
    ["/analytics", "/analytics/series", "/analytics/top", "/analytics/summary"];

#[expect(clippy::disallowed_methods, reason = "writes what an operator writes")]
fn write_tokens(dir: &tempfile::TempDir, acme: &str) {
    let text = format!(
        "[[token]]\ntoken = \"{acme}\"\ncustomers = [\"acme\"]\n\
         [[token]]\ntoken = \"{BOTH}\"\ncustomers = [\"acme\", \"other\"]\n\
         [[token]]\ntoken = \"{EYES}\"\noperator = true\n"
    );
    std::fs::write(dir.path().join("tokens.toml"), text).expect("written");
}

fn with_tokens(dir: &tempfile::TempDir) -> Config {
    write_tokens(dir, ACME);
    let mut config = config(dir);
    config.auth.tokens_file = dir.path().join("tokens.toml");
    config
}

/// What a request says of whom it is from.
#[derive(Debug, Clone, Copy, Default)]
struct From<'a> {
    token: &'a str,
    customer: &'a str,
}

struct Answer {
    status: u16,
    kind: String,
    headers: HeaderMap,
    body: Value,
}

impl Service {
    fn ask(&self, from: From<'_>, target: &str, key: &str, body: Option<&Value>) -> Answer {
        let url = format!("http://{}{target}", self.address);
        let authorization = format!("Bearer {}", from.token);
        let mut named = Vec::new();
        if !from.token.is_empty() {
            named.push(("authorization", authorization.as_str()));
        }
        if !from.customer.is_empty() {
            named.push(("x-customer-id", from.customer));
        }
        let answer = match body {
            Some(body) => {
                let request = self.agent.post(url).header("idempotency-key", key);
                named.iter().fold(request, |request, (k, v)| request.header(*k, *v)).send_json(body)
            }
            None => {
                let request = self.agent.get(url);
                named.iter().fold(request, |request, (k, v)| request.header(*k, *v)).call()
            }
        };
        let mut answer = answer.expect("an answer");
        let body: Value = answer.body_mut().read_json().unwrap_or_default();
        Answer {
            status: answer.status().as_u16(),
            kind: body["type"].as_str().unwrap_or_default().to_owned(),
            headers: answer.headers().clone(),
            body,
        }
    }

    fn send(&self, from: From<'_>, key: &str) -> Answer {
        self.ask(from, "/logs", key, Some(&entries(0, 2)))
    }

    fn requests_of(&self, from: From<'_>) -> Option<u64> {
        let range = "from=2025-12-01T00:00:00Z&to=2025-12-02T00:00:00Z&windowSize=day";
        let answer = self.ask(from, &format!("/analytics?{range}"), "", None);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["windows"][0]["requests"].as_u64()
    }
}

fn from<'a>(token: &'a str, customer: &'a str) -> From<'a> {
    From { token, customer }
}

#[test]
fn whoever_has_no_token_is_told_so_everywhere_but_in_the_open() {
    let dir = dir();
    let service = Service::start(with_tokens(&dir));
    for target in READING.into_iter().chain(["/customers", "/logs"]) {
        let body = (target == "/logs").then(|| entries(0, 2));
        for (token, challenge) in [
            ("", "Bearer realm=\"logmill\""),
            ("a b", "Bearer realm=\"logmill\""),
            (&ACME[1..], "Bearer realm=\"logmill\", error=\"invalid_token\""),
        ] {
            for customer in ["acme", "nobody", ""] {
                let answer = service.ask(from(token, customer), target, "k", body.as_ref());
                assert_eq!((answer.status, &*answer.kind), (401, "/problems/unauthorized"));
                assert_eq!(answer.headers["www-authenticate"], challenge);
                assert!(token.is_empty() || !answer.body.to_string().contains(token));
            }
        }
    }
    for target in ["/metrics", "/livez", "/healthz", "/readyz", "/version"] {
        assert_eq!(service.ask(From::default(), target, "", None).status, 200, "{target}");
    }
    // A4: the key that was turned away three times is still free.
    assert_eq!(service.send(from(ACME, "acme"), "k").status, 202);
    service.stop();
}

#[test]
fn a_token_is_for_its_customers() {
    let dir = dir();
    let service = Service::start(with_tokens(&dir));
    // The token alone tells the customer, if there is one.
    assert_eq!(service.send(from(ACME, ""), "k").status, 202);
    assert_eq!(service.send(from(ACME, "acme"), "k").status, 409);
    assert_eq!(service.requests_of(from(ACME, "")), Some(2));
    let unnamed = service.send(from(BOTH, ""), "k");
    assert_eq!((unnamed.status, &*unnamed.kind), (400, "/problems/missing-customer-id"));
    assert_eq!(service.send(from(BOTH, "other"), "k").status, 202);

    // Whether there is such a customer makes no difference; nor is anything of it counted.
    let refused = |token: &str, customer: &str| {
        let answer = service.send(from(token, customer), "k2");
        assert_eq!((answer.status, &*answer.kind), (403, "/problems/forbidden"), "{customer}");
        assert!(!answer.headers.contains_key("www-authenticate"));
        answer.body["detail"].to_string()
    };
    assert_eq!(refused(ACME, "other"), refused(ACME, "nobody"));
    assert_eq!(refused(EYES, "acme"), refused(EYES, "nobody"));
    refused(EYES, "");
    for target in READING {
        let ask = |customer| service.ask(from(ACME, customer), target, "", None);
        assert_eq!((ask("other").status, ask("nobody").status), (403, 403), "{target}");
        assert_eq!(ask("other").body["detail"], ask("nobody").body["detail"]);
        assert_eq!(ask("no/id").kind, "/problems/invalid-customer-id");
    }
    assert_eq!(service.requests_of(from(EYES, "acme")), Some(2));
    assert_eq!(service.requests_of(from(EYES, "other")), Some(2));
    assert_eq!(service.requests_of(from(EYES, "nobody")), None);
    assert_eq!(service.send(from(BOTH, "other"), "k2").status, 202);
    service.stop();
}

#[test]
fn a_token_lists_the_customers_that_it_reads() {
    let dir = dir();
    let service = Service::start(with_tokens(&dir));
    assert_eq!(service.send(from(BOTH, "acme"), "k").status, 202);
    assert_eq!(service.send(from(BOTH, "other"), "k").status, 202);
    let target = "/customers?from=2025-12-01T00:00:00Z&to=2025-12-02T00:00:00Z";
    let listed = |token, customer| {
        let answer = service.ask(from(token, customer), target, "", None);
        let customers = answer.body["customers"].as_array().expect("a list").clone();
        customers.iter().map(|c| c["customerId"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(ACME, ""), ["acme"]);
    assert_eq!(listed(ACME, "other"), ["acme"], "naming another shows nothing of it");
    assert_eq!(listed(BOTH, ""), ["acme", "other"]);
    assert_eq!(listed(EYES, ""), ["acme", "other"]);
    service.stop();
}

#[test]
fn tokens_change_while_the_server_runs() {
    let dir = dir();
    let service = Service::start(with_tokens(&dir));
    let reload = || service.tokens.as_ref().expect("tokens").reload();
    write_tokens(&dir, "short");
    assert!(reload().expect_err("a bad file").to_string().contains("line 2"));
    assert_eq!(service.send(from(ACME, ""), "k").status, 202);
    write_tokens(&dir, NEXT);
    reload().expect("a good file");
    assert_eq!(service.send(from(ACME, ""), "k").status, 401);
    assert_eq!(service.send(from(NEXT, ""), "k").status, 409);
    service.stop();
}

/// Without a tokens file a gateway may send an authorization of its own.
#[test]
fn without_tokens_nobody_is_asked_for_one() {
    let dir = dir();
    let service = Service::start(config(&dir));
    assert!(service.tokens.is_none());
    assert_eq!(service.send(from("x", "acme"), "k").status, 202);
    assert_eq!(service.send(from("x", ""), "k").kind, "/problems/missing-customer-id");
    assert_eq!(service.requests_of(from("x", "acme")), Some(2));
    assert_eq!(service.requests_of(from("", "acme")), Some(2));
    assert_eq!(json!(null), service.ask(from("", "b"), "/analytics", "", None).body["next"]);
    service.stop();
}

/// L1: who is turned away has not been read, and holds no room.
#[test]
fn turning_away_comes_before_the_body() {
    use std::io::{Read as _, Write as _};

    let dir = dir();
    let service = Service::start(with_tokens(&dir));
    let mut stream = std::net::TcpStream::connect(service.address).expect("it listens");
    let head = "POST /logs HTTP/1.1\r\nhost: l\r\nx-customer-id: acme\r\nidempotency-key: k\r\n\
                content-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("set");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer before the body has come");
    assert_eq!(&answer, b"HTTP/1.1 401");
    service.stop();
}
