//! What the server is filled with: three customers, of whom one has ninety days.

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::client::Client;

/// Who has most requests, then the others.
pub(super) const CUSTOMERS: [&str; 3] = ["acme", "globex", "initech"];
/// Days of the first one.
const DAYS: i64 = 90;
/// Entries of each of its hours, and of the last hour's minutes.
const PER_HOUR: usize = 12;
const PER_MINUTE: usize = 9;
/// Entries of a batch.
const BATCH: usize = 5_000;

/// Ways in which clients call themselves, each as often as it stands here.
const AGENTS: [&str; 12] = [
    CHROME,
    CHROME,
    CHROME,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; \
     +https://openai.com/gptbot)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; \
     +claudebot@anthropic.com)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "",
];
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
                      Gecko) Chrome/142.0.0.0 Safari/537.36";
const PATHS: [&str; 7] = ["/", "/pricing", "/", "/docs/start", "/login", "/api/v1/events", "/blog"];
/// Paths beside those, so that not all fit the page.
const PAGES: usize = 25;

/// One entry; `number` decides what it is of.
fn entry(number: usize, at: Timestamp) -> Value {
    let path = match number % 5 {
        4 => format!("/docs/page-{}", number / 5 % PAGES),
        _ => PATHS[number % PATHS.len()].to_owned(),
    };
    let status = match number % 40 {
        0 => 503,
        1..4 => 404,
        _ => 200,
    };
    json!({
        "receivedAt": at.to_string(), "method": "GET", "path": path,
        "userAgent": AGENTS[(number * 7 + number / 12) % AGENTS.len()],
        "status": status, "bytes": 100 + number % 900,
    })
}

/// Sends entries, all of one customer.
pub(super) fn send(client: &Client, customer: &str, entries: &[Value]) -> Result<()> {
    for (number, batch) in entries.chunks(BATCH).enumerate() {
        let moment = Timestamp::now().as_nanosecond();
        let key = format!("{moment}-{number}");
        let headers = [
            ("content-type", "application/json"),
            ("x-customer-id", customer),
            ("idempotency-key", &key),
        ];
        let answer = client.post_body("", &headers, serde_json::to_string(batch)?.as_bytes())?;
        ensure!(answer.status == 202, "{answer}");
    }
    Ok(())
}

/// Fills a server.
pub(super) fn fill(client: &Client) -> Result<usize> {
    let now = Timestamp::now();
    let mut entries = Vec::new();
    let mut put = |at: Timestamp, count: usize| {
        for _ in 0..count {
            entries.push(entry(entries.len(), at));
        }
    };
    for hour in 1..=DAYS * 24 {
        // By day twice as many as by night.
        let count = if hour % 24 < 12 { PER_HOUR } else { PER_HOUR / 2 };
        put(now - SignedDuration::from_mins(hour * 60 + 7), count);
    }
    for minute in 0..60 {
        let at = now - SignedDuration::from_mins(minute);
        put(at, PER_MINUTE + usize::try_from(minute % 7)?);
    }
    send(client, CUSTOMERS[0], &entries)?;
    let minutes = (0..30).map(|minute| now - SignedDuration::from_mins(minute));
    let few: Vec<Value> = minutes.enumerate().map(|(number, at)| entry(number, at)).collect();
    send(client, CUSTOMERS[1], &few)?;
    send(client, CUSTOMERS[2], &few[..3])?;
    Ok(entries.len())
}

/// Entries of this moment.
pub(super) fn fresh(count: usize) -> Vec<Value> {
    (0..count).map(|number| entry(number, Timestamp::now())).collect()
}

/// One entry that says this of itself.
pub(super) fn named(path: &str, agent: &str) -> Value {
    json!({
        "receivedAt": Timestamp::now().to_string(), "method": "GET", "path": path,
        "userAgent": agent,
    })
}
