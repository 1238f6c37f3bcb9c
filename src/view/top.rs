//! The most frequent keys as a table with bars.

use std::io::Write;

use super::answer::{Top, TopRow};
use super::error::ViewError;
use super::export::print_json;
use super::text::{self, Screen, cell, clean, left, minute, number, percent, right};
use crate::client::{Question, Server};

/// A key may take so much of a line, in percent.
const KEY_SHARE: usize = 45;
const BAR_COLUMNS_MAX: usize = 30;
const GAP: &str = "  ";

/// Prints the answer to a question about `/analytics/top`: as the server said it, or as a table.
///
/// # Errors
/// [`ViewError`].
pub fn top(
    server: &Server,
    question: &Question,
    is_json: bool,
    screen: Screen,
    out: &mut impl Write,
) -> Result<(), ViewError> {
    let page = server.first_page(question)?;
    if is_json {
        return print_json(&page, server, out);
    }
    let top: Top = serde_json::from_slice(&page.body).map_err(|error| server.foreign(&error))?;
    write!(out, "{}", table(&top, screen))?;
    out.flush()?;
    Ok(())
}

/// The whole table, with its head.
pub(super) fn table(top: &Top, screen: Screen) -> String {
    let mut lines = vec![head(top, screen)];
    if top.top.is_empty() {
        lines.push("no requests".to_owned());
        return joined(&lines);
    }
    let others = (top.others > 0).then(|| TopRow {
        key: format!("({} more)", number(top.keys.saturating_sub(top.top.len() as u64))),
        requests: top.others,
        kind: None,
        before: None,
    });
    let rows: Vec<&TopRow> = top.top.iter().chain(&others).collect();
    let has_kind = top.top.iter().any(|row| row.kind.is_some());
    let is_compared = top.before.is_some();

    let mut columns: Vec<Column> = vec![Column::left(
        &top.by,
        rows.iter().map(|row| cell(&row.key, screen.columns * KEY_SHARE / 100)),
    )];
    if has_kind {
        let kind = |row: &&TopRow| clean(row.kind.as_deref().unwrap_or_default());
        columns.push(Column::left("kind", rows.iter().map(kind)));
    }
    columns.push(Column::right("requests", rows.iter().map(|row| number(row.requests))));
    columns.push(Column::right("share", rows.iter().map(|r| percent(r.requests, top.requests))));
    if is_compared {
        let change = |row: &&TopRow| match row.before {
            Some(before) => text::change(before, row.requests).into_owned(),
            None => String::new(),
        };
        columns.push(Column::right("change", rows.iter().map(change)));
    }
    let taken: usize = columns.iter().map(|column| column.width + GAP.len()).sum();
    let room = screen.columns.saturating_sub(taken).min(BAR_COLUMNS_MAX);
    // The rest is no key: it has no bar, or it would make all others small.
    let most = top.top.iter().map(|row| row.requests).max().unwrap_or_default();

    let titles: Vec<String> = columns.iter().map(Column::title).collect();
    lines.push(screen.dim(titles.join(GAP).trim_end()));
    for (place, row) in rows.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|column| column.cell(place)).collect();
        let bar = if place < top.top.len() { bar(row.requests, most, room) } else { String::new() };
        let line = format!("{}{GAP}{}", cells.join(GAP), screen.drawn(&bar));
        lines.push(line.trim_end().to_owned());
    }
    joined(&lines)
}

fn head(top: &Top, screen: Screen) -> String {
    let change = top.before.as_ref().map(|before| {
        let change = text::change(before.requests, top.requests);
        format!(" ({change} against the period before)")
    });
    let customer = screen.bold(&clean(&top.customer_id));
    let (from, to, requests) = (minute(&top.from), minute(&top.to), number(top.requests));
    format!("{customer}  {from} to {to}  {requests} requests{}", change.unwrap_or_default())
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Eighths of columns, so that small differences are seen; something is never drawn as nothing.
fn bar(requests: u64, most: u64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(requests) * (columns as u128 * 8) / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or_default().min(columns * 8);
    let eighths = if requests > 0 && columns > 0 { eighths.max(1) } else { eighths };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A column with its title.
struct Column {
    title: String,
    cells: Vec<String>,
    width: usize,
    align: fn(&str, usize) -> String,
}

impl Column {
    fn left(title: &str, cells: impl Iterator<Item = String>) -> Self {
        Self::new(title, cells, left)
    }

    fn right(title: &str, cells: impl Iterator<Item = String>) -> Self {
        Self::new(title, cells, right)
    }

    fn new(
        title: &str,
        cells: impl Iterator<Item = String>,
        align: fn(&str, usize) -> String,
    ) -> Self {
        let (title, cells) = (clean(title), cells.collect::<Vec<_>>());
        let widths = cells.iter().map(|cell| text::width(cell));
        let width = widths.max().unwrap_or_default().max(text::width(&title));
        Self { title, cells, width, align }
    }

    fn title(&self) -> String {
        (self.align)(&self.title, self.width)
    }

    fn cell(&self, place: usize) -> String {
        (self.align)(&self.cells[place], self.width)
    }
}
