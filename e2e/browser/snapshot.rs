//! What the page shows, read once, and what the API answers to what the page has asked.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Stage, number};

/// Reads every figure at one moment, so that no refresh comes between two of them.
const READ: &str = "
const text = (id) => document.getElementById(id).innerText;
const rows = (id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => ({
  key: row.querySelector('button')?.dataset.key ?? null,
  title: row.querySelector('[title$=before]')?.title ?? null,
  cells: [...row.children].map((cell) => cell.innerText.trim()),
}));
const asked = performance.getEntriesByType('resource').map(({ name }) => new URL(name))
  .map(({ pathname, search }) => pathname + search);
const ids = ['requests', 'requests-change', 'peak', 'people-share', 'people-sub', 'late',
  'late-sub', 'errors'];
document.getElementById('chart-details').open = true;
document.getElementById('chart-details').dispatchEvent(new Event('toggle'));
return {
  asked,
  texts: Object.fromEntries(ids.map((id) => [id, text(id)])),
  tables: Object.fromEntries(['paths', 'agents', 'kinds', 'ai', 'live', 'revised', 'chart-table']
    .map((id) => [id, rows(id)])),
  headings: [...document.querySelectorAll('#chart-table th[scope=col]')].map((e) => e.innerText),
  drawn: Chart.getChart('chart').data.datasets.filter(({ stack }) => stack === 'requests')
    .map(({ label, data }) => [label, data.reduce((sum, n) => sum + n, 0)]),
};";

/// One look at the page.
pub(super) struct Snapshot(Value);

/// A row of a table: what its button stands for, and its cells.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Option<String>,
    /// What `title` says of the time before.
    pub(super) before: Option<u64>,
    pub(super) cells: Vec<String>,
}

impl Snapshot {
    pub(super) fn take(stage: &Stage<'_>) -> Result<Self> {
        Ok(Self(stage.chrome.run(READ)?))
    }

    /// The text of a figure.
    pub(super) fn text(&self, id: &str) -> Result<&str> {
        self.0["texts"][id].as_str().with_context(|| format!("no text of #{id}"))
    }

    /// The number that a figure is.
    pub(super) fn number(&self, id: &str) -> Result<u64> {
        number(self.text(id)?).with_context(|| format!("#{id}"))
    }

    /// All numbers in the text of a figure, percentages left out.
    pub(super) fn counts(&self, id: &str) -> Result<Vec<u64>> {
        let text = self.text(id)?.replace('\n', " ");
        let words: Vec<&str> = text.split(' ').collect();
        let is_count = |at: usize| {
            words[at].starts_with(|c: char| c.is_ascii_digit())
                && words.get(at + 1).is_none_or(|next| !next.starts_with('%'))
        };
        let counts = (0..words.len()).filter(|at| is_count(*at));
        counts.map(|at| number(words[at])).collect()
    }

    /// The rows of a table.
    pub(super) fn rows(&self, table: &str) -> Result<Vec<Row>> {
        let rows = self.0["tables"][table].as_array().context("a table")?;
        let row = |row: &Value| {
            let title = row["title"].as_str().and_then(|title| title.split(' ').next());
            let cells = row["cells"].as_array().context("cells")?.iter();
            let cells = cells.filter_map(|cell| cell.as_str().map(str::to_owned)).collect();
            let key = row["key"].as_str().map(str::to_owned);
            Ok(Row { key, before: title.map(number).transpose()?, cells })
        };
        rows.iter().map(row).collect()
    }

    /// The headings of the chart's table.
    pub(super) fn headings(&self) -> Result<Vec<&str>> {
        let headings = self.0["headings"].as_array().context("headings")?;
        Ok(headings.iter().filter_map(Value::as_str).collect())
    }

    /// What the chart has drawn in all, by key.
    pub(super) fn drawn(&self) -> Result<Vec<(String, u64)>> {
        let drawn = self.0["drawn"].as_array().context("a chart")?.iter();
        drawn
            .map(|pair| {
                let (key, sum) = (pair[0].as_str(), pair[1].as_u64());
                Ok((key.context("a label")?.to_owned(), sum.context("a sum")?))
            })
            .collect()
    }

    /// What the API answers to the last question of the page that has all of these in it.
    pub(super) fn answer(&self, stage: &Stage<'_>, customer: &str, of: &[&str]) -> Result<Value> {
        let asked = self.0["asked"].as_array().context("addresses")?.iter().rev();
        let mut asked = asked.filter_map(Value::as_str);
        let question = asked.find(|question| of.iter().all(|part| question.contains(part)));
        let question = question.with_context(|| format!("the page did not ask for {of:?}"))?;
        let answer = stage.client.get(question, Some(customer), &[])?;
        ensure!(answer.status == 200, "{question}: {answer}");
        answer.json()
    }
}
