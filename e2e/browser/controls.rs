//! What is shown is chosen by mouse, by keyboard alone, and by a link; "back" undoes it.

use anyhow::{Result, ensure};
use fantoccini::key::Key;
use serde_json::Value;

use super::site::{self, CUSTOMERS};
use super::{Scene, Stage, on_stage};
use crate::torture::{Ending, Setting};

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    on_stage(setting, &Scene::default(), |stage| {
        site::fill(&stage.client)?;
        by_mouse(stage)?;
        by_link(stage)?;
        by_keyboard(stage)?;
        saves(stage)?;
        Ok("mouse, links, back and forward, keyboard, CSV".to_owned())
    })
}

fn by_mouse(stage: &Stage<'_>) -> Result<()> {
    stage.open("")?;
    // Whoever has most requests comes first, and the address says so.
    stage.await_query("?customer=acme")?;
    stage.chrome.click("#ranges label:has([value='24h'])")?;
    stage.await_query("?customer=acme&range=24h")?;
    stage.await_text("requests-change", "the 24 h before")?;
    stage.chrome.click("#customer-name")?;
    stage.chrome.wait("the list", "return !document.getElementById('customer-list').hidden")?;
    let listed = stage.chrome.run(
        "return [...document.querySelectorAll('#customer-list li')].map(e => e.dataset.customer)",
    )?;
    ensure!(listed == serde_json::json!(CUSTOMERS), "the list is {listed}");
    stage.chrome.shoot("customers")?;
    stage.chrome.click("#customer-list [data-customer='globex']")?;
    stage.await_query("?customer=globex&range=24h")?;
    stage.await_text("title", "globex")?;
    stage.await_text("requests", "30")?;
    stage.chrome.click("#agents button.key")?;
    stage.await_text("filter-text", "Agent: Chrome")?;
    stage.await_text("paths", "counted apart")?;
    stage.chrome.click("#filter-off")?;
    stage.await_query("?customer=globex&range=24h")?;
    stage.chrome.back()?;
    stage.await_text("filter-text", "Agent: Chrome")?;
    stage.chrome.back()?;
    stage.chrome.back()?;
    stage.await_query("?customer=acme&range=24h")?;
    stage.await_text("title", "acme")?;
    stage.chrome.back()?;
    stage.await_query("?customer=acme")?;
    stage.await_text("requests-change", "the hour before")
}

fn by_link(stage: &Stage<'_>) -> Result<()> {
    stage.open(
        "?customer=acme&range=7d&timezone=Europe/Berlin&windowSize=day&path=GET%20/pricing",
    )?;
    stage.await_text("chart-title", "Requests per day")?;
    stage.await_text("filter-text", "Path: GET /pricing")?;
    let chosen = stage.chrome.run(
        "return [document.querySelector('#ranges :checked').value,
                 document.getElementById('timezone').value, document.getElementById('size').value]",
    )?;
    let is_zone = chosen[1] == "Europe/Berlin" || chosen[1] == "";
    ensure!(chosen[0] == "7d" && is_zone && chosen[2] == "day", "the controls say {chosen}");
    let long_ago = "?customer=acme&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&timezone=UTC";
    stage.chrome.open(&format!("{}{long_ago}", stage.page))?;
    stage.await_text("empty-why", "Nothing was counted for acme")?;
    let from = stage.chrome.run("return document.getElementById('from').value")?;
    ensure!(from == "2026-01-01T00:00", "the field says {from}");
    Ok(())
}

/// From the top of the page to a range and a customer, without a pointer.
fn by_keyboard(stage: &Stage<'_>) -> Result<()> {
    let key = |key: Key| stage.chrome.keys(&char::from(key).to_string());
    stage.open("?customer=acme")?;
    key(Key::Tab)?;
    ensure!(focused(stage)? == "skip", "the first stop skips to the figures");
    key(Key::Tab)?;
    ensure!(focused(stage)? == "customer-name", "the second stop is the customer");
    key(Key::Down)?;
    stage.chrome.wait("the list", "return !document.getElementById('customer-list').hidden")?;
    key(Key::Down)?;
    key(Key::Down)?;
    key(Key::Enter)?;
    stage.await_query("?customer=globex")?;
    stage.await_text("title", "globex")?;
    stage.chrome.keys("ini")?;
    stage.chrome.wait(
        "one customer",
        "return document.querySelectorAll('#customer-list li').length === 1",
    )?;
    key(Key::Escape)?;
    let field = stage.chrome.run("return document.getElementById('customer-name').value")?;
    ensure!(field == "globex", "Escape leaves the customer as it was, not {field}");
    for _ in 0..3 {
        key(Key::Tab)?;
    }
    ensure!(focused(stage)? == "range", "the next stops are pause, colours and range");
    key(Key::Right)?;
    stage.await_query("?customer=globex&range=6h")?;
    stage.await_text("requests-change", "the 6 h before")?;
    stage.chrome.run("document.getElementById('chart').focus()")?;
    key(Key::End)?;
    key(Key::Left)?;
    let said = stage.chrome.run("return document.getElementById('chart').ariaValueText")?;
    ensure!(said.as_str().is_some_and(|said| said.contains("request")), "the chart says {said}");
    Ok(())
}

/// The id, name or class of what has the focus.
fn focused(stage: &Stage<'_>) -> Result<Value> {
    stage
        .chrome
        .run("const e = document.activeElement; return e.id || e.name || e.className || e.tagName")
}

/// What is saved is the API's CSV.
fn saves(stage: &Stage<'_>) -> Result<()> {
    stage.open("?customer=globex")?;
    let saved = save(stage, "agents")?;
    ensure!(saved.contains("key") && saved.contains("Chrome"), "the file is {saved:?}");
    Ok(())
}

/// What a click on a panel's button saves.
pub(super) fn save(stage: &Stage<'_>, panel: &str) -> Result<String> {
    // The file goes where a headless browser keeps it; what is in it is looked at on its way.
    stage.chrome.run(
        "const made = URL.createObjectURL;
         URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; });
           return made.call(URL, blob); };",
    )?;
    stage.chrome.click(&format!("[data-csv='{panel}']"))?;
    stage.chrome.wait("a file", "return typeof window.saved === 'string'")?;
    let saved = stage.chrome.run("return window.saved")?;
    Ok(saved.as_str().unwrap_or_default().to_owned())
}
