//! New and changed minutes as they come.
//!
//! The numbers of the last minutes are asked for again and again, by their tag, so that an answer
//! without news costs nothing; then those minutes that have other numbers than before, whole. Names
//! can fill any number of pages, the oldest minute first: all of them are read, and of minutes with
//! news alone. A minute that grows stays in its line on a terminal; elsewhere each change is a line
//! of its own. A server that is away is waited for.

#![allow(clippy::disallowed_methods, reason = "a person looks at it in real time")]

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use console::truncate_str;
use jiff::{SignedDuration, Timestamp};

use super::answer::{Point, Series, Window, Windows};
use super::error::ViewError;
use super::export::escaped;
use super::text::{Screen, clean, minute, number, percent, right};
use crate::client::{AskError, JSON, Page, Question, Server};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// How soon it ends when it is asked to.
const NAP: Duration = Duration::from_millis(100);
/// For numbers with four digits and a comma, so that most lines stand below each other.
const REQUESTS_COLUMNS: usize = 7;

/// Prints minutes until `stop` is true. The question is about `/analytics/series` and the last
/// minutes.
///
/// # Errors
/// [`ViewError`], but not that the server is away.
pub fn tail(
    server: &Server,
    question: &Question,
    is_json: bool,
    screen: Screen,
    stop: &AtomicBool,
    (out, err): (&mut impl Write, &mut impl Write),
) -> Result<(), ViewError> {
    let (server, mut minutes, mut is_away) = (server.once(), Minutes::default(), false);
    while !stop.load(Ordering::Relaxed) {
        let news = minutes.look(&server, question);
        if news.is_ok() && std::mem::take(&mut is_away) {
            writeln!(err, "{} answers again", server.url())?;
            minutes.line_is_over();
        }
        let printed = news
            .and_then(|news| minutes.print(news, &server, question, is_json, (screen, &mut *out)));
        match printed {
            Ok(()) => {}
            Err(ViewError::Ask(AskError::Unreachable { url, reason })) => {
                if !std::mem::replace(&mut is_away, true) {
                    writeln!(err, "waiting for {url}: {}", clean(&reason))?;
                    minutes.line_is_over();
                }
            }
            Err(error) => return Err(error),
        }
        let mut slept = Duration::ZERO;
        while slept < INTERVAL && !stop.load(Ordering::Relaxed) {
            thread::sleep(NAP);
            slept += NAP;
        }
    }
    Ok(())
}

/// A line to print.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewsLine {
    pub(super) text: String,
    /// It says more of what the line above says.
    pub(super) replaces: bool,
}

impl NewsLine {
    fn print(&self, out: &mut impl Write) -> Result<(), ViewError> {
        // Up one line, and that one cleared.
        let before = if self.replaces { "\u{1b}[1A\u{1b}[2K" } else { "" };
        Ok(writeln!(out, "{before}{}", self.text)?)
    }
}

/// What was printed of each minute.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    /// Requests, late ones and revision by window start.
    printed: BTreeMap<String, (u64, u64, u64)>,
    /// What the numbers are known by of which everything was printed.
    tag: Option<String>,
    /// The minute that the last line is of, if nothing else was printed since.
    last: Option<String>,
}

/// What has changed.
#[derive(Debug)]
pub(super) struct News {
    /// From and to, of minutes that follow each other.
    runs: Vec<(Timestamp, Timestamp)>,
    /// What the numbers are known by that say so.
    tag: Option<String>,
}

impl Minutes {
    /// Something else stands below the last line now.
    fn line_is_over(&mut self) {
        self.last = None;
    }

    /// Which minutes have other numbers than those printed.
    pub(super) fn look(&mut self, server: &Server, question: &Question) -> Result<News, ViewError> {
        let (mut points, mut is_known) = (Vec::new(), true);
        let take = |page: Page| -> Result<bool, ViewError> {
            let page: Series =
                serde_json::from_slice(&page.body).map_err(|error| server.foreign(&error))?;
            points.extend(page.points);
            is_known = false;
            Ok(true)
        };
        let tag = server.changed_pages(self.tag.as_deref(), question, take)?;
        if !is_known {
            // What has left the range cannot come back.
            let starts: HashSet<&str> = points.iter().map(|point| &*point.window_start).collect();
            self.printed.retain(|start, _| starts.contains(&**start));
        }
        let is_news = |point: &Point| {
            let now = (point.requests, point.late, point.revision);
            self.printed.get(&point.window_start) != Some(&now)
        };
        let time = |point: &Point, after: SignedDuration| {
            let start = point.window_start.parse::<Timestamp>();
            start.and_then(|start| start.checked_add(after)).map_err(|error| server.foreign(&error))
        };
        let runs = points.chunk_by(|a, b| is_news(a) == is_news(b)).filter(|run| is_news(&run[0]));
        let runs = runs.map(|run| {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            Ok((time(first, SignedDuration::ZERO)?, time(last, MINUTE)?))
        });
        Ok(News { runs: runs.collect::<Result<_, ViewError>>()?, tag })
    }

    /// Asks for what has changed, and prints it as it comes.
    pub(super) fn print(
        &mut self,
        news: News,
        server: &Server,
        question: &Question,
        is_json: bool,
        (screen, out): (Screen, &mut impl Write),
    ) -> Result<(), ViewError> {
        for (from, to) in news.runs {
            let question = question.about("/analytics", from, to);
            server.pages(&question, JSON, |page| -> Result<bool, ViewError> {
                let lines = self.news(&page.body, is_json, screen);
                for line in lines.map_err(|error| server.foreign(&error))? {
                    line.print(out)?;
                }
                out.flush()?;
                Ok(true)
            })?;
        }
        // Not before: what could not be asked for is still news.
        self.tag = news.tag;
        Ok(())
    }

    /// The lines that a page of windows is worth.
    pub(super) fn news(
        &mut self,
        body: &[u8],
        is_json: bool,
        screen: Screen,
    ) -> Result<Vec<NewsLine>, serde_json::Error> {
        let answer: Windows<'_> = serde_json::from_slice(body)?;
        let mut lines = Vec::new();
        for raw in answer.windows {
            let window: Window = serde_json::from_str(raw.get())?;
            let now = (window.requests, window.late, window.revision);
            let before = self.printed.insert(window.window_start.clone(), now);
            if before == Some(now) {
                continue;
            }
            let replaces = screen.is_coloured && self.last.as_deref() == Some(&window.window_start);
            let text = if is_json {
                escaped(raw.get())
            } else {
                let line = line(&window, before, screen);
                // One that took two lines could not be written anew.
                let room = if screen.is_terminal { screen.columns } else { usize::MAX };
                truncate_str(&line, room, "…").into_owned()
            };
            lines.push(NewsLine { text, replaces: replaces && !is_json });
            self.last = Some(window.window_start);
        }
        Ok(lines)
    }
}

/// One minute; what it had before is compared with, to see what came late.
fn line(window: &Window, before: Option<(u64, u64, u64)>, screen: Screen) -> String {
    let mark = if before.is_some() { "~" } else { "+" };
    let mut line = format!(
        "{} {}  {}",
        screen.dim(mark),
        minute(&window.window_start),
        screen.bold(&right(&number(window.requests), REQUESTS_COLUMNS)),
    );
    if window.late > 0 || window.revision > 0 {
        let (late, revision) = (number(window.late), number(window.revision));
        line += &format!("  {}", screen.striking(&format!("late {late}, revision {revision}")));
    }
    for names in [&window.requests_by_path, &window.requests_by_user_agent] {
        // Of equal ones the first in the order of bytes, as everywhere.
        let top = names.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)));
        if let Some((name, requests)) = top {
            line +=
                &format!("  {} {}", clean(name), screen.dim(&percent(*requests, window.requests)));
        }
    }
    line
}
