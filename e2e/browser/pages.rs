//! A series that the server gives in pages is shown and saved whole; one of too many pages is not
//! shown as if it were.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::controls::save;
use super::site::{self, CUSTOMERS};
use super::{Scene, Stage, on_stage};
use crate::torture::{Ending, Setting};

/// Cuts each answer of a split series after so many points, as the server does after so many names,
/// with a cursor that the server takes.
const CUT: &str = r#"
const whole = window.fetch;
const cursor = (start) => `m${(Date.parse(start) / 60000).toString(16).padStart(8, '0')}`;
window.fetch = async (url, options) => {
  const answer = await whole(url, options);
  if (!String(url).includes('split=') || answer.status !== 200) return answer;
  window.pages = (window.pages ?? 0) + 1;
  const headers = new Headers(answer.headers);
  const text = await answer.text();
  if (options.headers.accept === 'text/csv') {
    const [head, ...rows] = text.trimEnd().split('\n');
    const starts = [...new Set(rows.map((row) => row.split(',')[0]))];
    const next = starts[POINTS];
    const kept = next ? rows.filter((row) => starts.indexOf(row.split(',')[0]) < POINTS) : rows;
    const query = new URLSearchParams(url.split('?')[1]);
    if (next) query.set('cursor', cursor(next.trim()));
    if (next) headers.set('link', `</analytics/series?${query}>; rel="next"`);
    return new Response(`${[head, ...kept].join('\n')}\n`, { headers });
  }
  const json = JSON.parse(text);
  const next = json.points[POINTS];
  if (!next) return new Response(text, { headers });
  const cut = { ...json, points: json.points.slice(0, POINTS), next: cursor(next.windowStart) };
  return new Response(JSON.stringify(cut), { headers });
};"#;

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    on_stage(setting, &Scene::default(), |stage| {
        site::fill(&stage.client)?;
        stage.open("?range=1h")?;
        stage.chrome.click("#pause")?;
        let whole = drawn(stage)?;
        ensure!(whole.len() >= 60, "the hour is drawn: {whole:?}");
        // The minute at hand may be another by now: what is compared is what both have.
        cut_after(stage, 10)?;
        stage.open("?range=1h")?;
        stage.chrome.click("#pause")?;
        let paged = drawn(stage)?;
        for (start, requests) in &whole {
            let other = paged.iter().find(|(at, _)| at == start);
            ensure!(other.is_none_or(|(_, n)| n == requests), "{start} has {requests}, {other:?}");
        }
        ensure!(paged.len() == whole.len(), "{} windows in pages", paged.len());
        ensure!(!stage.text("chart-note")?.contains("not shown"), "all of it is shown");
        let asked = stage.chrome.run("return window.pages")?;
        let saved = save(stage, "series")?;
        let rows = saved.lines().skip(1).filter_map(|row| row.split_once(','));
        let starts = rows.map(|(start, _)| start).collect::<BTreeSet<_>>().len();
        // Nobody may have come in the minute at hand.
        ensure!(starts + 1 >= whole.len(), "the file has {starts} windows of {}", whole.len());
        ensure!(saved.matches("windowStart").count() == 1, "there is one head: {saved}");

        cut_after(stage, 2)?;
        stage.open("?range=1h")?;
        stage.chrome.click("#pause")?;
        let part = drawn(stage)?;
        stage.await_text("chart-note", "not shown: all after")?;
        ensure!(part.len() < whole.len(), "{} windows of a cut answer", part.len());
        ensure!(part.iter().all(|(_, n)| *n > 0), "what is not known is drawn as 0: {part:?}");
        stage.chrome.shoot("cut")?;
        stage.chrome.click("[data-csv='series']")?;
        stage.await_text("banner", "That cannot be saved")?;
        Ok(format!(
            "{} windows of {} in {asked} pages; of too many pages, {} and a word of it",
            paged.len(),
            CUSTOMERS[0],
            part.len()
        ))
    })
}

/// From the next page on, answers are cut.
fn cut_after(stage: &Stage<'_>, points: usize) -> Result<()> {
    let script = format!("{{ const POINTS = {points}; {CUT} }}");
    let source = json!({ "source": script });
    stage.chrome.devtools("Page.addScriptToEvaluateOnNewDocument", &source).map(drop)
}

/// The windows that the chart has, and their requests.
fn drawn(stage: &Stage<'_>) -> Result<Vec<(String, u64)>> {
    let drawn = stage.chrome.run(
        "const { labels, datasets } = Chart.getChart('chart').data;
         const parts = datasets.filter(({ stack }) => stack === 'requests');
         return labels.map((label, at) => [label, parts.reduce((sum, { data }) => sum + data[at], 0)]);",
    )?;
    let windows = drawn.as_array().into_iter().flatten();
    let window = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_u64()?));
    Ok(windows.filter_map(window).collect())
}
