//! T1 on the wire: no header, cookie, query or path of a request gives it another's windows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::{Service, config, dir};
use crate::testing::SeededEntropy;

/// In a path that only `acme` has sent.
const SECRET: &str = "acme-secret";
const OWN: &str = "of-mallory";
const RANGE: &str = "from=2025-12-28T18:00:00Z&to=2025-12-28T19:00:00Z";
/// What `mallory` puts beside its own id, to be taken for `acme`.
const LINES: [&[u8]; 34] = [
    b"x-customer-id: acme",
    b"X-CUSTOMER-ID: acme",
    b"x-customer-id:acme",
    b"x-customer-id:\tacme\t",
    b"x-customer-id : acme",
    b"x-customer-id\t: acme",
    b" x-customer-id: acme",
    b" acme",
    b"\tacme",
    b"x-customer-id: mallory, acme",
    b"x-customer-id: mallory\rx-customer-id: acme",
    b"x-customer-id: mallory\nx-customer-id: acme",
    b"x-a: b\0\r\nx-customer-id: acme",
    b"x-customer-id: acme\0",
    b"x-customer-id: \"acme\"",
    b"x-customer-id: %61cme",
    b"x-customer-id: acme/../mallory",
    b"x-customer-id: \xc3\xa1cme",
    b"x-customer-id:",
    b"x_customer_id: acme",
    b"x-customer_id: acme",
    b"x-customer-id-: acme",
    b"customer-id: acme",
    b"cookie: x-customer-id=acme; customer=acme",
    b"authorization: Basic YWNtZTphY21l",
    b"x-forwarded-for: acme",
    b"x-original-url: /analytics?customerId=acme",
    b"x-http-method-override: POST",
    b"connection: x-customer-id, close",
    b"te: trailers",
    b"trailer: x-customer-id",
    b"expect: 100-continue",
    b"upgrade: h2c",
    b"forwarded: for=acme;host=acme",
];
const TARGETS: [&str; 17] = [
    "/analytics",
    "/analytics/series",
    "/analytics/top",
    "/analytics?x-customer-id=acme",
    "/analytics?customerId=acme",
    "/analytics?customer=acme&",
    "/analytics?%78-customer-id=acme",
    "/analytics/acme",
    "/acme/analytics",
    "//analytics",
    "/analytics/",
    "/analytics;acme",
    "/analytics/../analytics",
    "/%61nalytics",
    "/analytics%3fcustomerId=acme",
    "http://acme/analytics",
    "/analytics#x-customer-id=acme",
];

/// Sends bytes and reads all that comes back, until the server closes or says nothing for a while.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    // The server may have answered and gone before it has read all of it.
    stream.write_all(request).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn with_range(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    format!("{path}?{query}{}{RANGE}", if query.is_empty() { "" } else { "&" })
}

fn request(target: &str, lines: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("GET {} HTTP/1.1\r\nhost: logmill\r\n", with_range(target));
    request.push_str("connection: close\r\n");
    let mut request = request.into_bytes();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

fn serving_both() -> (tempfile::TempDir, Service) {
    let dir = dir();
    let service = Service::start(config(&dir));
    for (customer, path) in [("acme", SECRET), ("mallory", OWN)] {
        let entry = json!({"receivedAt": "2025-12-28T18:03:00Z", "method": "GET",
            "path": format!("/{path}"), "userAgent": "curl/8.5.0"});
        // The same key with other content: keys are a customer's own too.
        assert_eq!(service.post(customer, "k", &json!([entry])).0, 202);
    }
    let asked = |of: &str| {
        let header = format!("x-customer-id: {of}");
        exchange(service.address, &request("/analytics", &[header.as_bytes()]))
    };
    assert!(asked("acme").contains(SECRET), "{}", asked("acme"));
    assert!(asked("mallory").contains(OWN), "{}", asked("mallory"));
    (dir, service)
}

#[test]
fn no_header_and_no_target_shows_another_customer() {
    let (_dir, service) = serving_both();
    let mine: &[u8] = b"x-customer-id: mallory";
    let mut answered = 0;
    let mut ask = |target: &str, lines: &[&[u8]]| {
        let request = request(target, lines);
        let answer = exchange(service.address, &request);
        let shown = String::from_utf8_lossy(&request);
        assert!(!answer.contains(SECRET), "{shown}\nis answered\n{answer}");
        assert!(!answer.starts_with("HTTP/1.1 5"), "{shown}\nis answered\n{answer}");
        answered += usize::from(answer.contains(OWN));
    };
    for target in TARGETS {
        ask(target, &[mine]);
        ask(target, &[]);
    }
    for line in LINES {
        ask("/analytics", &[mine, line]);
        ask("/analytics", &[line, mine]);
    }
    let chance = SeededEntropy::seeded(5);
    let below = |bound: usize| usize::try_from(chance.below(bound as u64)).expect("small");
    for _ in 0..300 {
        let mut lines: Vec<_> = (0..1 + below(4)).map(|_| LINES[below(LINES.len())]).collect();
        lines.insert(below(lines.len() + 1), mine);
        ask(TARGETS[below(TARGETS.len())], &lines);
    }
    assert!(answered > 20, "{answered} of the requests were answered with what is mallory's own");
    service.stop();
}

/// What a gateway takes for the body of one request must not be answered as another.
#[test]
fn no_body_is_answered_as_a_request() {
    let (_dir, service) = serving_both();
    let hidden = String::from_utf8(request("/analytics", &[b"x-customer-id: acme"]));
    let hidden = hidden.expect("plain text");
    let (address, two) =
        (service.address, format!("GET /livez HTTP/1.1\r\nhost: l\r\n\r\n{hidden}"));
    assert!(exchange(address, two.as_bytes()).contains(SECRET), "it is a request where one may be");
    let own = "x-customer-id: mallory\r\nidempotency-key: s\r\ncontent-type: application/json";
    let of_length = format!("content-length: {}", hidden.len());
    let chunked = "transfer-encoding: chunked";
    let bodies = [
        // Read or not, a body of a known length is a body.
        (of_length.clone(), hidden.clone()),
        (chunked.to_owned(), format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len())),
        (chunked.to_owned(), "0\r\nx-customer-id: acme\r\n\r\n".to_owned()),
        // Two lengths, or a length and chunks: whoever believes the other one sees a request.
        (format!("content-length: 0\r\n{of_length}"), hidden.clone()),
        (format!("{of_length}\r\ncontent-length: 0"), hidden.clone()),
        (format!("{of_length}\r\n{chunked}"), format!("0\r\n\r\n{hidden}")),
        (format!("{chunked}\r\n{of_length}"), format!("0\r\n\r\n{hidden}")),
        (format!("{of_length}\r\ntransfer-encoding: identity"), hidden.clone()),
        (format!("{of_length}\r\nTransfer-Encoding : chunked"), format!("0\r\n\r\n{hidden}")),
        (format!("{of_length}\r\ntransfer-encoding:\u{b}chunked"), format!("0\r\n\r\n{hidden}")),
        (format!("{chunked}\r\n{chunked}\r\n{of_length}"), format!("0\r\n\r\n{hidden}")),
    ];
    // At once, because a server that waits for more says nothing for as long as we wait.
    std::thread::scope(|scope| {
        for line in ["POST /logs", "GET /analytics", "GET /nothing"] {
            for (framing, body) in &bodies {
                let head = format!("{line} HTTP/1.1\r\nhost: logmill\r\n{own}\r\n{framing}");
                let (sent, to) = (format!("{head}\r\n\r\n{body}"), service.address);
                scope.spawn(move || {
                    let answer = exchange(to, sent.as_bytes());
                    assert!(!answer.contains(SECRET), "{sent}\nis answered\n{answer}");
                });
            }
        }
    });
    service.stop();
}
