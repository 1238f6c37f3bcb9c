//! What the page says when there is nothing to show: an empty store, a token that is missing, a
//! server that is away.

use std::process::Command;

use anyhow::{Result, ensure};
use fantoccini::key::Key;
use serde_json::json;

use super::{Scene, Stage, on_stage, site};
use crate::scenario::Signal;
use crate::torture::{Ending, Setting};

const READER: &str = "reader-of-a-browser-case";
const TOKENS: &str = "
[[token]]
token = 'operator-of-a-browser-case'
operator = true

[[token]]
token = 'reader-of-a-browser-case'
customers = ['globex']
";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    // A browser writes down what it could not get.
    let away = ["net::ERR_", "status of 400", "status of 503"];
    let without_tokens = Scene { tokens: None, expected: &away };
    let ended = on_stage(setting, &without_tokens, |stage| {
        empty(stage)?;
        comes_and_goes(stage)?;
        whose_requests(stage)?;
        Ok("empty, live, away and back, named by hand and by a gateway".to_owned())
    })?;
    let Ending::Passed(first) = ended else { return Ok(ended) };
    let with_tokens = Scene { tokens: Some(TOKENS), expected: &["status of 401"] };
    on_stage(setting, &with_tokens, |stage| {
        asks_for_a_token(stage)?;
        Ok(format!("{first}; tokens"))
    })
}

/// An empty store says what to send, and what it says works.
fn empty(stage: &Stage<'_>) -> Result<()> {
    stage.chrome.open(&stage.page)?;
    stage.await_text("empty-why", "No customer has sent anything.")?;
    stage.chrome.shoot("empty")?;
    let command = stage.text("empty-curl")?;
    ensure!(command.contains("/logs"), "the command is {command}");
    match Command::new("sh").args(["-c", &format!("{command} --fail --silent")]).output() {
        Ok(output) if output.status.code() == Some(127) => {
            site::send(&stage.client, "acme", &site::fresh(1))?;
        }
        Ok(output) => ensure!(output.status.success(), "{command} says {output:?}"),
        Err(error) => return Err(error.into()),
    }
    stage.await_text("requests", "1")?;
    stage.await_text("live", "counting")
}

/// New requests come by themselves; a server that is away leaves the figures as they are.
fn comes_and_goes(stage: &mut Stage<'_>) -> Result<()> {
    stage.open("?customer=acme&range=15m")?;
    site::send(&stage.client, "acme", &site::fresh(20))?;
    stage.await_text("live", "+20")?;
    stage.await_text("requests", "21")?;
    stage.server.stop(Signal::Kill)?;
    stage.await_text("banner", "No answer from the server")?;
    ensure!(stage.text("requests")? == "21", "the figures stay");
    stage.chrome.shoot("away")?;
    stage.server.start()?;
    site::send(&stage.client, "acme", &site::fresh(5))?;
    stage.await_text("requests", "26")?;
    stage.chrome.wait("no banner", "return document.getElementById('banner').hidden")
}

/// Where nobody tells who there is, the page asks; where a gateway says it, the page does not.
fn whose_requests(stage: &Stage<'_>) -> Result<()> {
    let page = format!("{}/", stage.server.target().url());
    stage.chrome.open(&page)?;
    stage.await_text("nobody-why", "Name a customer")?;
    stage.chrome.keys(&format!("acme{}", char::from(Key::Enter)))?;
    stage.await_text("requests", "26")?;
    let gateway = json!({"headers": {"x-customer-id": "acme"}});
    stage.chrome.devtools("Network.enable", &json!({}))?;
    stage.chrome.devtools("Network.setExtraHTTPHeaders", &gateway)?;
    stage.chrome.open(&page)?;
    stage.await_text("requests", "26")?;
    let field = stage.chrome.run(
        "const { value, readOnly } = document.getElementById('customer-name');
         return [value, readOnly, location.search]",
    )?;
    ensure!(field == json!(["acme", true, ""]), "the customer is the gateway's: {field}");
    stage.chrome.devtools("Network.setExtraHTTPHeaders", &json!({"headers": {}})).map(drop)
}

/// A token is asked for, kept in the tab, and asked for again in another one.
fn asks_for_a_token(stage: &Stage<'_>) -> Result<()> {
    let page = format!("{}/", stage.server.target().url());
    stage.chrome.open(&page)?;
    stage.await_text("access-title", "A token is needed")?;
    stage.chrome.shoot("token")?;
    let enter = char::from(Key::Enter);
    stage.chrome.keys(&format!("nobody-has-such-a-token{enter}"))?;
    stage.await_text("access-why", "token")?;
    stage.chrome.keys(&format!("{READER}{enter}"))?;
    stage.await_text("empty-why", "globex")?;
    let kept = stage.chrome.run(
        "return [sessionStorage.length, localStorage.length, document.cookie, location.href]",
    )?;
    ensure!(kept == json!([1, 0, "", page]), "the token is in the tab only: {kept}");
    stage.chrome.run("sessionStorage.clear(); location.reload()")?;
    stage.await_text("access-title", "A token is needed")
}
