//! What the user sees of an import: progress, bad lines, notes, and the summary at the end.
//!
//! Owns the wording and where it goes: data on stdout, all else on stderr. Nothing that was read is
//! left out of the numbers: every line is posted, already counted, blank or bad.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use crate::limits;
use indicatif::{ProgressBar, ProgressStyle};

/// The numbers of one import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Logs that were read.
    pub files: u64,
    /// Lines read now.
    pub lines: u64,
    /// Lines passed over because an earlier import ended behind them.
    pub lines_before: u64,
    /// Entries that the server accepted now.
    pub posted: u64,
    /// Entries that the server had accepted before under the same key.
    pub already_counted: u64,
    /// Lines that are no lines of an access log, or that the server would not take.
    pub bad: u64,
    /// Lines with nothing in them.
    pub blank: u64,
    /// Last lines without a line end that do not parse yet, left for the next import.
    pub unfinished: u64,
    /// Logs shorter than what was imported of them, left alone.
    pub cut_logs: u64,
    /// Batches that the server acknowledged.
    pub batches: u64,
    /// Time from start to end.
    pub elapsed: Duration,
}

impl Summary {
    /// 0 if every line was counted, 1 if there was a bad line or a log that could not be read on.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.bad > 0 || self.cut_logs > 0)
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let seconds = format!("{:.1}", self.elapsed.as_secs_f64());
        let mut rows = vec![
            ("lines", self.lines.to_string()),
            ("posted", self.posted.to_string()),
            ("already counted", self.already_counted.to_string()),
            ("bad", self.bad.to_string()),
            ("blank", self.blank.to_string()),
            ("batches", self.batches.to_string()),
            ("seconds", seconds),
        ];
        for (name, number) in [
            ("imported before", self.lines_before),
            ("unfinished", self.unfinished),
            ("logs cut short", self.cut_logs),
        ] {
            if number > 0 {
                rows.push((name, number.to_string()));
            }
        }
        for (name, value) in rows {
            writeln!(out, "{name:<16}{value:>12}")?;
        }
        out.flush()
    }
}

/// Messages and the progress bar, which share stderr.
pub(super) struct Reporter<'a> {
    err: &'a mut dyn Write,
    bar: ProgressBar,
    bad_lines: u64,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(err: &'a mut dyn Write) -> Self {
        Self { err, bar: ProgressBar::hidden(), bad_lines: 0 }
    }

    /// Shows progress through a log, if stderr is a terminal: of `size` bytes if that is known.
    pub(super) fn begin(&mut self, name: &str, size: Option<u64>) {
        if !io::stderr().is_terminal() {
            return;
        }
        let (bar, style) = match size {
            Some(size) => (
                ProgressBar::new(size),
                "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {prefix} {bytes} {bytes_per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        self.bar = bar;
    }

    pub(super) fn progress(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(super) fn end(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }

    /// Says something about one log.
    pub(super) fn note(&mut self, name: &str, text: &str) -> io::Result<()> {
        let Self { err, bar, .. } = self;
        bar.suspend(|| writeln!(err, "{name}: {text}"))
    }

    /// Reports a line that was not counted.
    pub(super) fn bad_line(&mut self, name: &str, number: u64, reason: &str) -> io::Result<()> {
        self.bad_lines += 1;
        if self.bad_lines > limits::IMPORT_BAD_LINES_SHOWN_MAX {
            return Ok(());
        }
        self.note(&format!("{name}:{number}"), &format!("not counted: {reason}"))?;
        if self.bad_lines == limits::IMPORT_BAD_LINES_SHOWN_MAX {
            self.note("logmill import", "further bad lines are counted, but not shown")?;
        }
        Ok(())
    }
}
