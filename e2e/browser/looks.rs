//! Light and dark, a pointer that hovers, and a phone.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Scene, Stage, on_stage, site};
use crate::torture::{Ending, Setting};

/// The narrowest screen that the page must fit.
const PHONE: (u32, u32) = (360, 780);
/// What text needs against its ground (WCAG 2.2, AA).
const CONTRAST: f64 = 4.5;

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    on_stage(setting, &Scene::default(), |stage| {
        site::fill(&stage.client)?;
        hover(stage)?;
        let light = colours(stage, "light")?;
        let dark = colours(stage, "dark")?;
        by_hand(stage)?;
        phone(stage)?;
        Ok(format!("least contrast {light:.1} light, {dark:.1} dark; nothing wider than a phone"))
    })
}

/// A pointer over the chart is told what is there.
fn hover(stage: &Stage<'_>) -> Result<()> {
    stage.open("?customer=acme")?;
    let at = stage.chrome.run(
        "const { left, top, width, height } = document.getElementById('chart')
           .getBoundingClientRect();
         return [left + width / 2, top + height / 2];",
    )?;
    let of = |at: &Value| at.as_f64().context("a place");
    stage.chrome.point_at(of(&at[0])?, of(&at[1])?)?;
    let shown = "const { tooltip } = Chart.getChart('chart');
                 return tooltip.opacity === 1 && tooltip.body.length > 0";
    stage.chrome.wait("a tooltip", shown)?;
    let said = stage.chrome.run(
        "const { title, body, footer } = Chart.getChart('chart').tooltip;
         return [...title, ...body.flatMap(({ lines }) => lines), ...footer].join('\\n')",
    )?;
    let said = said.as_str().context("a text")?;
    ensure!(said.contains("Chrome") && said.contains(" requests"), "the tooltip says {said}");
    stage.chrome.shoot("hover")?;
    stage.chrome.point_at(0.0, 0.0)
}

/// The least contrast of any text, in the colours that the system asks for.
fn colours(stage: &Stage<'_>, scheme: &str) -> Result<f64> {
    let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    stage.chrome.devtools("Emulation.setEmulatedMedia", &media)?;
    stage.open("?customer=acme&range=24h")?;
    let least = stage.chrome.run(LEAST_CONTRAST)?;
    let ratio = least[0].as_f64().context("a contrast")?;
    ensure!(ratio >= CONTRAST, "in {scheme}, text has a contrast of {ratio:.2}: {}", least[1]);
    stage.chrome.shoot(scheme)?;
    Ok(ratio)
}

/// Each text against the first ground behind it that is not transparent.
const LEAST_CONTRAST: &str = "
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if ((channels(colour)[3] ?? 1) > 0) return colour;
  }
  return 'rgb(255, 255, 255)';
};
let least = [99, ''];
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== '');
  if (!own || !element.checkVisibility() || element.closest('.skip, select')) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort();
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < least[0]) least = [ratio, element.outerHTML];
}
return least;";

/// The switch on the page is stronger than the system, and remembered.
fn by_hand(stage: &Stage<'_>) -> Result<()> {
    let ground = "return getComputedStyle(document.documentElement).backgroundColor";
    let dark = stage.chrome.run(ground)?;
    stage.chrome.run(
        "const theme = document.getElementById('theme'); theme.value = 'light';
         theme.dispatchEvent(new Event('change'))",
    )?;
    let light = stage.chrome.run(ground)?;
    ensure!(light != dark, "light is {light}, and dark is {dark}");
    stage.open("?customer=acme")?;
    ensure!(stage.chrome.run(ground)? == light, "the choice is remembered");
    stage.chrome.run("localStorage.clear()").map(drop)
}

/// Nothing is wider than the screen, in the fullest view there is.
fn phone(stage: &Stage<'_>) -> Result<()> {
    stage.chrome.resize(&json!(PHONE.0), &json!(PHONE.1))?;
    for (name, query) in [
        ("phone", "?customer=acme&range=90d"),
        (
            "phone-filter",
            "?customer=acme&pathPrefix=/a-path-that-is-longer-than-any-phone-is-wide/",
        ),
    ] {
        stage.open(query)?;
        let wide = stage.chrome.run(
            "const out = [...document.querySelectorAll('body *')].filter((e) =>
               e.checkVisibility() && !e.closest('.scroll, .skip, .unseen')
               && e.getBoundingClientRect().right > innerWidth + 0.5);
             return [document.documentElement.scrollWidth - innerWidth,
                     out.map((e) => e.outerHTML.slice(0, 120))]",
        )?;
        ensure!(wide == json!([0, []]), "wider than {} px at {query}: {wide}", PHONE.0);
        stage.chrome.shoot(name)?;
        stage.chrome.resize(&json!(PHONE.0), &json!(PHONE.1))?;
    }
    Ok(())
}
