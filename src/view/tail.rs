//! New and changed minutes as they come.
//!
//! The last minutes are asked for again and again, by their tag, so that an answer without news
//! costs nothing. A minute that grows stays in its line on a terminal; elsewhere each change is a
//! line of its own. A server that is away is waited for.

#![allow(clippy::disallowed_methods, reason = "a person looks at it in real time")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use console::truncate_str;

use super::answer::{Window, Windows};
use super::ask::{Question, Server, ViewError};
use super::export::escaped;
use super::text::{Screen, clean, minute, number, percent, right};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// How soon it ends when it is asked to.
const NAP: Duration = Duration::from_millis(100);
/// For numbers with four digits and a comma, so that most lines stand below each other.
const REQUESTS_COLUMNS: usize = 7;

/// Prints minutes until `stop` is true. The question is about `/analytics` and the last minutes.
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
    let mut minutes = Minutes::default();
    let (mut tag, mut is_away): (Option<String>, bool) = (None, false);
    while !stop.load(Ordering::Relaxed) {
        match server.changed(question, tag.as_deref()) {
            Ok(news) => {
                if std::mem::take(&mut is_away) {
                    writeln!(err, "{} answers again", server.url())?;
                    minutes.line_is_over();
                }
                if let Some(page) = news {
                    let lines = minutes.news(&page.body, is_json, screen);
                    for line in lines.map_err(|error| server.foreign(&error))? {
                        line.print(out)?;
                    }
                    out.flush()?;
                    tag = page.tag;
                }
            }
            Err(ViewError::Unreachable { url, reason }) => {
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
    /// The minute that the last line is of, if nothing else was printed since.
    last: Option<String>,
}

impl Minutes {
    /// Something else stands below the last line now.
    fn line_is_over(&mut self) {
        self.last = None;
    }

    /// The lines that an answer is worth.
    pub(super) fn news(
        &mut self,
        body: &[u8],
        is_json: bool,
        screen: Screen,
    ) -> Result<Vec<NewsLine>, serde_json::Error> {
        let answer: Windows<'_> = serde_json::from_slice(body)?;
        let (mut lines, mut seen) = (Vec::new(), BTreeMap::new());
        for raw in answer.windows {
            let window: Window = serde_json::from_str(raw.get())?;
            let now = (window.requests, window.late, window.revision);
            let before = self.printed.get(&window.window_start).copied();
            seen.insert(window.window_start.clone(), now);
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
        // What has left the range cannot come back.
        self.printed = seen;
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
