//! Every figure on the page equals the API's.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::site::{self, CUSTOMERS};
use super::snapshot::{Row, Snapshot};
use super::{Scene, Stage, number, on_stage, same};
use crate::torture::{Ending, Setting};

/// What is looked at: ranges of each window size, zones whose days begin elsewhere, filters.
const VIEWS: [&str; 8] = [
    "?range=15m",
    "",
    "?range=24h&timezone=Asia/Kolkata",
    "?range=7d&timezone=Europe/Berlin",
    "?range=30d&windowSize=day&timezone=America/New_York",
    "?range=90d",
    "?range=24h&windowSize=hour&pathPrefix=/docs/",
    "?range=7d&kind=bot",
];

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    on_stage(setting, &Scene::default(), |stage| {
        let entries = site::fill(&stage.client)?;
        let mut compared = 0;
        for view in VIEWS {
            stage.open(view)?;
            stage.chrome.click("#pause")?;
            compared += compare(stage, view).with_context(|| format!("at {view:?}"))?;
        }
        let (figures, chart, weight) = first_view(stage)?;
        stage.chrome.shoot("90-days")?;
        Ok(format!(
            "{compared} figures as the API has them; of {entries} entries in 90 days the figures \
             are there in {figures} ms and the chart in {chart} ms, after {weight} kB"
        ))
    })
}

/// When a fresh browser shows 90 days, and what it has loaded for that.
fn first_view(stage: &Stage<'_>) -> Result<(u64, u64, u64)> {
    stage.chrome.devtools("Network.clearBrowserCache", &serde_json::json!({}))?;
    stage.open("?range=90d")?;
    let measured = stage.chrome.run(
        "const at = (name) => Math.round(performance.getEntriesByName(name)[0].startTime);
         const own = performance.getEntriesByType('resource').concat(
           performance.getEntriesByType('navigation'));
         const sent = own.reduce((sum, { transferSize }) => sum + transferSize, 0);
         return [at('figures'), at('chart'), Math.round(sent / 1000)];",
    )?;
    let of = |at: usize| measured[at].as_u64().context("a measure");
    Ok((of(0)?, of(1)?, of(2)?))
}

/// Compares everything that one look shows; how many figures that were.
fn compare(stage: &Stage<'_>, view: &str) -> Result<usize> {
    let shown = Snapshot::take(stage)?;
    let customer = CUSTOMERS[0];
    let (is_of_paths, is_of_agents) = (view.contains("path"), view.contains("kind="));
    let mut compared = summary(&shown, &shown.answer(stage, customer, &["/analytics/summary"])?)?;
    let series = shown.answer(stage, customer, &["/analytics/series", "split="])?;
    compared += chart(&shown, &series)?;
    if !is_of_agents {
        let paths = shown.answer(stage, customer, &["/analytics/top", "by=path"])?;
        compared += top(&shown.rows("paths")?, &paths).context("top paths")?;
    }
    if !is_of_paths {
        let agents = shown.answer(stage, customer, &["/analytics/top", "by=userAgent"])?;
        compared += top(&shown.rows("agents")?, &agents).context("top agents")?;
    }
    compared += live(&shown, &shown.answer(stage, customer, &["/analytics/series", "from=-15m"])?)?;
    let totals = shown.answer(stage, customer, &["/analytics/series", "timezone=", "windowSize="]);
    compared += revised(&shown, &totals?)?;
    Ok(compared)
}

fn summary(shown: &Snapshot, answer: &Value) -> Result<usize> {
    let of = |name: &str| answer[name].as_u64().with_context(|| format!("{name} in the summary"));
    let requests = of("requests")?;
    ensure!(requests > 0, "there is something to compare");
    same("requests", &shown.number("requests")?, &requests)?;
    let before = answer["before"]["requests"].as_u64().context("before")?;
    let change = shown.counts("requests-change")?;
    same("requests before", &change.first().copied(), &Some(before))?;
    let peak = answer["peak"]["requests"].as_u64().context("a peak")?;
    same("the busiest minute", &shown.number("peak")?, &peak)?;
    let groups = vec![of("people")?, of("bots")?, of("unknown")?];
    same("people, bots and unknown", &shown.counts("people-sub")?, &groups)?;
    close("the share of people", shown.text("people-share")?, of("people")?, requests)?;
    same("late", &shown.number("late")?, &of("late")?)?;
    if of("late")? > 0 {
        let batches = shown.counts("late-sub")?.last().copied();
        same("late batches", &batches, &Some(of("revision")?))?;
    }
    let statuses = answer["requestsByStatus"].as_object().context("statuses")?;
    let errors = statuses.iter().filter(|(status, _)| status.starts_with('5'));
    let errors: u64 = errors.filter_map(|(_, requests)| requests.as_u64()).sum();
    same("server errors", &shown.number("errors")?, &errors)?;
    let mut compared = 10;
    for row in shown.rows("kinds")? {
        let kind = row.key.clone().context("a kind")?;
        let part = answer["requestsByKind"][&kind].as_u64().unwrap_or(0);
        same(&kind, &number(&row.cells[1])?, &part)?;
        close(&kind, &row.cells[2], part, requests)?;
        compared += 2;
    }
    let crawlers = answer["ai"].as_array().context("AI crawlers")?;
    let rows = shown.rows("ai")?;
    same("AI crawlers", &rows.len(), &crawlers.len().max(1))?;
    for (row, crawler) in rows.iter().zip(crawlers) {
        same("an AI crawler", &row.key.as_deref(), &crawler["key"].as_str())?;
        same("its requests", &Some(number(&row.cells[1])?), &crawler["requests"].as_u64())?;
        compared += 2;
    }
    Ok(compared)
}

/// The chart as it is drawn, and as a table.
fn chart(shown: &Snapshot, answer: &Value) -> Result<usize> {
    let points = answer["points"].as_array().context("points")?;
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let drawn = shown.drawn()?;
    for (key, sum) in &drawn {
        let of = |point: &Value| match key.as_str() {
            "Others" => count(&point["others"]),
            key => count(&point["top"][key]),
        };
        same(&format!("{key} in the chart"), sum, &points.iter().map(of).sum())?;
    }
    let whole: u64 = points.iter().map(|point| count(&point["requests"])).sum();
    same("the whole chart", &drawn.iter().map(|(_, sum)| sum).sum(), &whole)?;
    let headings = shown.headings()?;
    let rows = shown.rows("chart-table")?;
    let filled: Vec<&Value> =
        points.iter().rev().filter(|point| count(&point["requests"]) > 0).collect();
    same("windows", &rows.len(), &filled.len())?;
    for (row, point) in rows.iter().zip(filled) {
        for (heading, cell) in headings.iter().zip(&row.cells).skip(1) {
            let answered = match *heading {
                "State" => continue,
                "Requests" => count(&point["requests"]),
                "Others" => count(&point["others"]),
                key => count(&point["top"][key]),
            };
            same(&format!("{heading} at {}", row.cells[0]), &number(cell)?, &answered)?;
        }
    }
    Ok(drawn.len() + rows.len() * (headings.len() - 2))
}

fn top(rows: &[Row], answer: &Value) -> Result<usize> {
    let listed = answer["top"].as_array().context("a list")?;
    let requests = answer["requests"].as_u64().context("requests")?;
    for (row, entry) in rows.iter().zip(listed) {
        let key = entry["key"].as_str();
        same("a key", &row.key.as_deref(), &key)?;
        let part = entry["requests"].as_u64().context("requests of a key")?;
        same("its requests", &number(&row.cells[1])?, &part)?;
        close("its share", &row.cells[2], part, requests)?;
        same("before", &row.before, &Some(entry["before"].as_u64().unwrap_or(0)))?;
    }
    let others = answer["others"].as_u64().context("others")?;
    same("rows", &rows.len(), &(listed.len() + usize::from(others > 0)))?;
    if others > 0 {
        let last = rows.last().context("a row of others")?;
        same("others", &number(&last.cells[1])?, &others)?;
    }
    Ok(rows.len() * 4)
}

/// Newest first; the oldest minute may have left the range by the time the API is asked again.
fn live(shown: &Snapshot, answer: &Value) -> Result<usize> {
    let points = answer["points"].as_array().context("points")?;
    let rows = shown.rows("live")?;
    ensure!(rows.len().abs_diff(points.len()) <= 1, "{} minutes are {points:?}", rows.len());
    for (row, point) in rows.iter().zip(points.iter().rev()) {
        same("a minute", &Some(number(&row.cells[1])?), &point["requests"].as_u64())?;
    }
    Ok(rows.len())
}

fn revised(shown: &Snapshot, answer: &Value) -> Result<usize> {
    let points = answer["points"].as_array().context("points")?.iter().rev();
    let late: Vec<&Value> = points.filter(|point| point["late"].as_u64() > Some(0)).collect();
    let rows = shown.rows("revised")?;
    same("revised windows", &rows.len(), &late.len().max(1))?;
    for (row, point) in rows.iter().zip(&late) {
        same("a revised window", &Some(number(&row.cells[1])?), &point["requests"].as_u64())?;
        let said: Vec<u64> = row.cells[2].split(' ').filter_map(|word| number(word).ok()).collect();
        let answered = [&point["late"], &point["revision"]].map(|n| n.as_u64().unwrap_or(0));
        same("what came late", &said.as_slice(), &answered.as_slice())?;
    }
    Ok(late.len() * 3)
}

/// Fails unless a percentage is that of a part, to the digit that is shown.
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
fn close(what: &str, shown: &str, part: u64, whole: u64) -> Result<()> {
    let exact = part as f64 / whole as f64 * 100.0;
    let text = shown.trim_end_matches(" %");
    let fits = match text.split_at_checked(1) {
        Some(("<", _)) => exact > 0.0 && exact < 0.1,
        Some((">", _)) => exact < 100.0 && exact > 99.9,
        _ => {
            (text.parse::<f64>().with_context(|| format!("{what}: {shown}"))? - exact).abs() < 0.051
        }
    };
    ensure!(fits, "{what}: the page shows {shown} for {part} of {whole}");
    Ok(())
}
