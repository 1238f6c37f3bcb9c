//! Requests over time as a line of blocks that fits the terminal.

use std::collections::HashMap;
use std::io::Write;

use jiff::Timestamp;

use super::answer::Series;
use super::error::ViewError;
use super::export::{Form, export};
use super::text::{Screen, cell, clean, left, number, right, width};
use crate::client::{JSON, Question, Server};
use crate::limits;
use crate::window::seconds_of;

/// A key may take so much of a line, in percent.
const KEY_SHARE: usize = 30;
/// Windows of a range that is not given, as the server has it.
const WINDOWS_DEFAULT: i64 = 60;
const OTHERS: &str = "(others)";

/// Prints the answer to a question about `/analytics/series`: as the server said it, or drawn.
/// `now` is for ranges that are relative to it.
///
/// # Errors
/// [`ViewError`].
pub fn series(
    server: &Server,
    question: &Question,
    is_json: bool,
    (screen, now): (Screen, Timestamp),
    out: &mut impl Write,
) -> Result<(), ViewError> {
    if is_json {
        return export(server, question, (Form::Json, true), screen, out);
    }
    let mut drawing = Drawing::default();
    server.pages(question, JSON, |page| -> Result<bool, ViewError> {
        let page: Series =
            serde_json::from_slice(&page.body).map_err(|error| server.foreign(&error))?;
        drawing.add(page).map_err(|time| server.foreign(&format!("{time:?} is no time")))?;
        if drawing.numbers > limits::VIEW_NUMBERS_MAX { Err(ViewError::TooLong) } else { Ok(true) }
    })?;
    let (from, to) = (question.get("from"), question.get("to"));
    write!(out, "{}", drawing.draw((from, to), now, screen))?;
    out.flush()?;
    Ok(())
}

/// What is to be drawn, from all pages.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    customer: String,
    window_size: String,
    all: Line,
    late: u64,
    /// By key, in the server's order; the rest last.
    lines: Vec<(String, Line)>,
    /// How many numbers are held.
    numbers: usize,
}

/// The windows of one line that have requests, by when they start in seconds.
#[derive(Debug, Default)]
struct Line(Vec<(i64, u64)>);

impl Line {
    fn total(&self) -> u64 {
        self.0.iter().map(|(_, requests)| requests).sum()
    }

    fn most(&self) -> u64 {
        self.0.iter().map(|(_, requests)| *requests).max().unwrap_or_default()
    }
}

impl Drawing {
    /// Adds a page; what is no time in it comes back.
    pub(super) fn add(&mut self, page: Series) -> Result<(), String> {
        (self.customer, self.window_size) = (page.customer_id, page.window_size);
        if self.lines.is_empty() && !page.keys.is_empty() {
            let keys = page.keys.into_iter().chain([OTHERS.to_owned()]);
            self.lines = keys.map(|key| (key, Line::default())).collect();
        }
        let places = self.lines.iter().enumerate();
        let places: HashMap<String, usize> = places.map(|(at, (k, _))| (k.clone(), at)).collect();
        for point in page.points {
            let Ok(start) = point.window_start.parse::<Timestamp>() else {
                return Err(point.window_start);
            };
            let start = start.as_second();
            self.all.0.push((start, point.requests));
            self.late += point.late;
            let mut others = point.others;
            for (key, requests) in point.top {
                match places.get(&key) {
                    Some(at) => {
                        self.lines[*at].1.0.push((start, requests));
                        self.numbers += 1;
                    }
                    // Since the first page, others have become more frequent.
                    None => others += requests,
                }
            }
            if let (Some(at), 1..) = (places.get(OTHERS), others) {
                self.lines[*at].1.0.push((start, others));
                self.numbers += 1;
            }
            self.numbers += 1;
        }
        Ok(())
    }

    pub(super) fn draw(
        &self,
        range: (Option<&str>, Option<&str>),
        now: Timestamp,
        screen: Screen,
    ) -> String {
        let size = clean(&self.window_size);
        let Some(axis) = Axis::new(self, range, now) else {
            return format!("{}  no requests\n", screen.bold(&clean(&self.customer)));
        };
        let windows = axis.windows;
        let head = format!(
            "{}  requests per {size}, {} to {}\n",
            screen.bold(&clean(&self.customer)),
            shown(axis.from),
            shown(axis.from + windows * axis.step),
        );
        let body = if self.lines.is_empty() {
            let line = blocks(&axis.columns(&self.all, screen.columns));
            format!("{}\n", screen.drawn(&line))
        } else {
            self.rows(&axis, screen)
        };
        let is_full = i64::try_from(self.all.0.len()).is_ok_and(|points| points >= windows);
        let least = self.all.0.iter().map(|(_, requests)| *requests).min().filter(|_| is_full);
        let late = (self.late > 0)
            .then(|| format!("  {}", screen.striking(&format!("late {}", number(self.late)))));
        format!(
            "{head}{body}min {}  max {}  total {}{}\n",
            number(least.unwrap_or_default()),
            number(self.all.most()),
            number(self.all.total()),
            late.unwrap_or_default(),
        )
    }

    /// A row for each key. Each has its own scale, which its maximum tells: small ones would have
    /// no shape beside large ones.
    fn rows(&self, axis: &Axis, screen: Screen) -> String {
        let lines = self.lines.iter().filter(|(_, line)| !line.0.is_empty());
        let rows: Vec<[String; 3]> = lines
            .clone()
            .map(|(key, line)| {
                let key = cell(key, screen.columns * KEY_SHARE / 100);
                [key, format!("max {}", number(line.most())), number(line.total())]
            })
            .collect();
        let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max();
        let widths = [0, 1, 2].map(|column| widest(column).unwrap_or_default());
        let room = screen.columns.saturating_sub(widths.iter().sum::<usize>() + 3 * 2);
        let drawn = lines.zip(&rows).map(|((_, line), [key, most, total])| {
            let blocks = blocks(&axis.columns(line, room));
            let (key, most) = (left(key, widths[0]), right(most, widths[1]));
            format!("{key}  {}  {most}  {}\n", screen.drawn(&blocks), right(total, widths[2]))
        });
        drawn.collect()
    }
}

/// The windows that are drawn, whether they have requests or not.
struct Axis {
    /// When the first starts, in seconds.
    from: i64,
    step: i64,
    windows: i64,
}

impl Axis {
    /// From what was asked for to what was answered; none if that is nothing. Windows are counted
    /// from the first that has requests, because days may begin anywhere.
    fn new(drawing: &Drawing, range: (Option<&str>, Option<&str>), now: Timestamp) -> Option<Self> {
        let step = match &*drawing.window_size {
            "day" => 86_400,
            "hour" => 3_600,
            _ => 60,
        };
        let (first, last) = (drawing.all.0.first()?.0, drawing.all.0.last()?.0);
        let to = moment(range.1, now).unwrap_or_else(|| now.as_second());
        let from = moment(range.0, now).unwrap_or(to - WINDOWS_DEFAULT * step);
        let before = (first - from).max(0) / step;
        // The last window ends at `to`, or later if that is within it.
        let after = ((to - last + step - 1) / step - 1).max(0);
        let between = (last - first + step / 2) / step;
        Some(Self { from: first - before * step, step, windows: before + between + 1 + after })
    }

    /// The busiest window of each column, of which there are no more than windows: a sum would be
    /// higher where a column holds a window more than others do.
    fn columns(&self, line: &Line, room: usize) -> Vec<u64> {
        let room = i64::try_from(room).unwrap_or(i64::MAX).clamp(1, self.windows);
        let mut columns = vec![0; usize::try_from(room).unwrap_or_default()];
        for (start, requests) in &line.0 {
            // Days are an hour longer or shorter when clocks change.
            let window = (start - self.from + self.step / 2) / self.step;
            let column = i128::from(window) * i128::from(room) / i128::from(self.windows);
            let column = usize::try_from(column).ok().and_then(|at| columns.get_mut(at));
            if let Some(column) = column {
                *column = (*column).max(*requests);
            }
        }
        columns
    }
}

/// One block a column. The lowest is for no requests alone.
pub(super) fn blocks(columns: &[u64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = u128::from(columns.iter().copied().max().unwrap_or_default().max(1));
    let block = |requests: &u64| {
        let level = (u128::from(*requests) * 7).div_ceil(most);
        BLOCKS[usize::try_from(level).unwrap_or_default().min(7)]
    };
    columns.iter().map(block).collect()
}

/// A time as the server reads it, in seconds: RFC 3339, `now`, or so long before now.
fn moment(text: Option<&str>, now: Timestamp) -> Option<i64> {
    let text = text?;
    match text.strip_prefix('-') {
        Some(ago) => now.as_second().checked_sub(seconds_of(ago)?),
        None if text == "now" => Some(now.as_second()),
        None => Some(text.parse::<Timestamp>().ok()?.as_second()),
    }
}

fn shown(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds);
    time.map_or_else(|_| "?".to_owned(), |time| super::text::minute(&time.to_string()))
}
