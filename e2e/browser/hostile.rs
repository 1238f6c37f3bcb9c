//! Names that are markup or script: whoever sends requests writes them, and operators read them.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Scene, on_stage, site};
use crate::torture::{Ending, Setting};

/// Paths that would do something if they were ever taken for more than text.
const PATHS: [&str; 7] = [
    "/<img src=x onerror=\"window.struck=1\">",
    "/</title><script>window.struck=2</script>",
    "/\"><svg/onload=window.struck=3>",
    "/javascript:window.struck=4",
    "/{{constructor.constructor('window.struck=5')()}}",
    "/%3Cscript%3Ewindow.struck=6%3C/script%3E",
    "/\u{202e}gnp.elif\u{2066}/__proto__",
];
const AGENTS: [&str; 3] =
    ["<img src=x onerror=window.struck=7>/1.0", "__proto__", "constructor/1.0 <b>bold</b>"];
const CUSTOMER: &str = "acme";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    on_stage(setting, &Scene::default(), |stage| {
        let mut entries = Vec::new();
        for (number, path) in PATHS.iter().enumerate() {
            for agent in AGENTS {
                // Each path another number of times, so that their order is known.
                entries.extend((0..=number).map(|_| site::named(path, agent)));
            }
        }
        site::send(&stage.client, CUSTOMER, &entries)?;
        stage.open("?customer=acme")?;
        let shown = stage.chrome.run(
            "return [...document.querySelectorAll('#paths button.key')].map(e => e.textContent)",
        )?;
        let sent: Vec<String> = PATHS.iter().rev().map(|path| format!("GET {path}")).collect();
        ensure!(shown == json!(sent), "the page shows {shown}, sent were {sent:?}");
        let drawn = stage.chrome.run(
            "return Chart.getChart('chart').data.datasets.flatMap(({ stack, data }) =>
               (stack === 'requests' ? data : [])).reduce((sum, n) => sum + n, 0)",
        )?;
        ensure!(drawn == json!(entries.len()), "the chart has {drawn} of {}", entries.len());
        stage.chrome.run("document.querySelector('#chart-details summary').click()")?;
        stage.chrome.shoot("hostile")?;
        // As filters they go into the address, and out of it again.
        for place in ["#paths", "#agents"] {
            stage.chrome.click(&format!("{place} button.key"))?;
            stage.chrome.wait("a filter", "return !document.getElementById('filter').hidden")?;
            stage.await_figures()?;
            stage.chrome.run("location.reload()")?;
            stage.await_figures()?;
            stage.chrome.click("#filter-off")?;
            stage.await_figures()?;
        }
        let struck = stage.chrome.run(
            "const made = document.querySelectorAll('main :is(img, script, svg, b)').length;
             return [window.struck ?? null, made, Object.prototype.polluted ?? null]",
        )?;
        ensure!(struck == json!([null, 0, null]), "names have struck: {struck}");
        Ok(format!("{} paths and {} agents are text", PATHS.len(), AGENTS.len()))
    })
}
