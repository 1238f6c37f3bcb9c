//! Keys of batches whose senders name none, and what a token says in its sender's place.

use std::thread;

use anyhow::{Context as _, Result, ensure};

use super::ground::with_server;
use super::{Ending, Setting};
use crate::client::{Answer, Client};
use crate::scenario::Signal;
use crate::senders::unused_port;
use crate::torture::dice::Dice;

const CUSTOMER: &str = "acme";
const TOKENS: &str = "
[[token]]
token = 'nginx-of-a-torture-case'
customers = ['acme']
format = 'nginx'
key = 'derive'
on_invalid = 'skip'

[[token]]
token = 'plain-of-a-torture-case'
customers = ['acme']
";
const BODY: &str = r#"[
  {"receivedAt": "2026-03-01T10:00:07Z", "method": "GET", "path": "/", "userAgent": "curl/8.5.0"},
  {"receivedAt": "2026-03-01T10:01:07Z", "method": "GET", "path": "/", "userAgent": "curl/8.5.0"}]"#;
/// Senders of one body at the same moment.
const RACERS: usize = 16;
const GENERATED: u64 = 5;
/// Two lines of nginx, and one that has no time.
const NGINX: &str = r#"{"time_iso8601":"2026-03-01T11:00:07+00:00","request_method":"GET","request_uri":"/"}
{"request_method":"GET","request_uri":"/no-time"}
{"time_iso8601":"2026-03-01T11:00:08+00:00","request_method":"GET","request_uri":"/"}
"#;

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let replays = derived_and_generated(setting)?;
    tokens(setting).context("what a token says")?;
    Ok(Ending::Passed(format!("{replays} replays of one body, {GENERATED} generated keys")))
}

fn derived_and_generated(setting: &Setting) -> Result<usize> {
    let mut dice = Dice::new(setting.seed, 1);
    setting.on_server("", |server| {
        server.listen_on(unused_port(&mut dice)?);
        server.restart(Signal::Term)?;
        let client = Client::new(server.target().clone());
        let json = "application/json";
        let refused = post(&client, "", json, BODY)?;
        let problem = refused.json()?;
        ensure!(refused.status == 400, "without a key: {refused}");
        ensure!(problem["type"] == "/problems/missing-idempotency-key", "{refused}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains("?key=derive"), "no hint: {refused}");
        ensure!(post(&client, "?key=guess", json, BODY)?.status == 400, "?key=guess");
        ensure!(requests(&client)? == 0, "what was refused counts");

        let racers: Vec<Result<Answer>> = thread::scope(|scope| {
            let post_once = || post(&client, "?key=derive", json, BODY);
            let all: Vec<_> = (0..RACERS).map(|_| scope.spawn(post_once)).collect();
            all.into_iter().map(|one| one.join().expect("returns its errors")).collect()
        });
        let mut replays = 0;
        let mut first = 0;
        for answer in racers {
            let answer = answer?;
            ensure!(answer.status == 202, "?key=derive: {answer}");
            *(if answer.replayed { &mut replays } else { &mut first }) += 1;
        }
        ensure!(first == 1, "{first} of {RACERS} racers are told to be the first");
        for signal in [Signal::Kill, Signal::Term, Signal::Kill] {
            server.restart(signal)?;
            let answer = post(&client, "?key=derive", json, BODY)?;
            ensure!(answer.status == 202 && answer.replayed, "after {signal:?}: {answer}");
            replays += 1;
        }
        ensure!(requests(&client)? == 2, "a derived key does not count once");
        // Another content is another batch.
        let other = post(&client, "?key=derive", json, &BODY.replace("10:0", "12:0"))?;
        ensure!(other.status == 202 && !other.replayed, "another content: {other}");
        ensure!(requests(&client)? == 4, "another content does not count");

        for time in 0..GENERATED {
            let answer = post(&client, "?key=generate", json, BODY)?;
            ensure!(answer.status == 202 && !answer.replayed, "?key=generate, {time}: {answer}");
        }
        server.restart(Signal::Kill)?;
        let counted = requests(&client)?;
        ensure!(counted == 4 + 2 * GENERATED, "{counted} requests with generated keys");
        Ok(replays)
    })
}

fn tokens(setting: &Setting) -> Result<()> {
    const NGINX_TOKEN: Option<&str> = Some("nginx-of-a-torture-case");
    const PLAIN_TOKEN: Option<&str> = Some("plain-of-a-torture-case");
    let config = "auth.tokens_file = 'tokens.toml'";
    with_server(setting, config, |server| {
        std::fs::write(server.scratch().join("tokens.toml"), TOKENS)?;
        server.start()?;
        let lines = "application/x-ndjson";
        let nginx = Client::new(server.target().clone()).with_token(NGINX_TOKEN);
        let plain = Client::new(server.target().clone()).with_token(PLAIN_TOKEN);

        let first = post(&nginx, "", lines, NGINX)?;
        let body = first.json()?;
        ensure!(first.status == 202 && !first.replayed, "{first}");
        ensure!(body["entries"] == 2 && body["deadLetters"] == 1, "{first}");
        let again = post(&nginx, "", lines, NGINX)?;
        ensure!(again.status == 202 && again.replayed, "again: {again}");
        ensure!(requests(&nginx)? == 2, "a derived key does not count once");
        // The request has the last word.
        let strict = post(&nginx, "?on_invalid=reject&key=generate", lines, NGINX)?;
        ensure!(strict.status == 400, "?on_invalid=reject: {strict}");
        let own = post(&nginx, "?format=logmill", "application/json", BODY)?;
        ensure!(own.status == 202, "?format=logmill: {own}");
        let twice = post(&nginx, "?key=generate", lines, NGINX)?;
        ensure!(twice.status == 202 && !twice.replayed, "?key=generate: {twice}");
        ensure!(requests(&nginx)? == 6, "?key=generate does not count");

        for (query, problem) in [
            ("", "/problems/missing-idempotency-key"),
            ("?key=derive", "/problems/invalid-entries"),
            ("?key=derive&format=nginx", "/problems/invalid-entries"),
        ] {
            let answer = post(&plain, query, lines, NGINX)?;
            ensure!(answer.status == 400, "a token without defaults, {query:?}: {answer}");
            ensure!(answer.json()?["type"] == problem, "{query:?}: {answer}");
        }
        ensure!(requests(&plain)? == 6, "what was refused counts");
        server.finish()?;
        Ok(Ending::Passed(String::new()))
    })?;
    Ok(())
}

fn post(client: &Client, query: &str, content_type: &str, body: &str) -> Result<Answer> {
    let headers = [("content-type", content_type), ("x-customer-id", CUSTOMER)];
    Ok(client.post_body(query, &headers, body.as_bytes())?)
}

/// All requests of the day that the bodies are of.
fn requests(client: &Client) -> Result<u64> {
    let query =
        [("from", "2026-03-01T00:00:00Z"), ("to", "2026-03-02T00:00:00Z"), ("windowSize", "day")];
    let answer = client.get("/analytics", Some(CUSTOMER), &query)?;
    ensure!(answer.status == 200, "{answer}");
    let reply = answer.json()?;
    let windows = reply["windows"].as_array().context("windows is a list")?;
    Ok(windows.iter().filter_map(|window| window["requests"].as_u64()).sum())
}
