//! What the user sees of an import: progress, bad lines, notes, and the summary at the end.
//!
//! Owns the wording and where it goes: data on stdout, all else on stderr. Nothing that was read is
//! left out of the numbers: every line is posted, already counted, blank or bad.

#![allow(clippy::disallowed_methods, reason = "the user sees how fast it is")]

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use crate::limits;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

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
    /// Followed logs that were rotated away while nobody looked, and are not found any more.
    pub lost_logs: u64,
    /// Batches that the server acknowledged.
    pub batches: u64,
    /// Time from start to end.
    pub elapsed: Duration,
}

impl Summary {
    /// 0 if every line was counted, 1 if there was a bad line or a log that was cut or lost.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.bad > 0 || self.cut_logs > 0 || self.lost_logs > 0)
    }

    fn lines_per_second(&self) -> u128 {
        u128::from(self.lines) * 1_000 / self.elapsed.as_millis().max(1)
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
            ("lines per second", self.lines_per_second().to_string()),
        ];
        for (name, number) in [
            ("imported before", self.lines_before),
            ("unfinished", self.unfinished),
            ("logs cut short", self.cut_logs),
            ("logs lost", self.lost_logs),
        ] {
            if number > 0 {
                rows.push((name, number.to_string()));
            }
        }
        for (name, value) in rows {
            writeln!(out, "{name:<17}{value:>11}")?;
        }
        out.flush()
    }
}

/// Messages and the progress bar, which share stderr.
pub(super) struct Reporter<'a> {
    err: &'a mut dyn Write,
    bar: ProgressBar,
    /// Bytes on the disk of all logs, if known.
    total: Option<u64>,
    /// Bytes on the disk of logs that were read before this one, and read or skipped of this one.
    before: u64,
    position: u64,
    started: Instant,
    bad_lines: u64,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(err: &'a mut dyn Write) -> Self {
        let (bar, started) = (ProgressBar::hidden(), Instant::now());
        Self { err, bar, total: None, before: 0, position: 0, started, bad_lines: 0 }
    }

    /// Tells how many bytes all logs have on the disk, if that is known.
    pub(super) fn expect(&mut self, total: Option<u64>) {
        self.total = total;
    }

    /// Shows the log that is being read, if stderr is a terminal.
    pub(super) fn begin(&mut self, name: &str) {
        let style = match self.total {
            Some(_) => "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} eta {eta}",
            None => "{spinner} {prefix} {bytes} {bytes_per_sec} {msg}",
        };
        if self.show(style) {
            self.bar.set_length(self.total.unwrap_or_default());
        }
        self.bar.set_prefix(name.to_owned());
    }

    /// Makes the bar, unless it is there or nobody would see it; true if it was made.
    fn show(&mut self, style: &str) -> bool {
        if !self.bar.is_hidden() || !io::stderr().is_terminal() {
            return false;
        }
        self.bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.bar.set_style(style);
        }
        true
    }

    /// So many bytes of the log were imported before; they say nothing about the speed.
    pub(super) fn skipped(&mut self, position: u64) {
        self.position = position;
        self.bar.set_position(self.before + position);
        self.bar.reset_eta();
    }

    /// Tells how many bytes of the log, and how many lines of all, were read.
    pub(super) fn progress(&mut self, position: u64, lines: u64) {
        self.position = position;
        let rate = u128::from(lines) * 1_000 / self.started.elapsed().as_millis().max(1);
        self.bar.set_position(self.before + position);
        self.bar.set_message(format!("{rate} lines/s"));
    }

    /// A status line of followed logs; `lag` are bytes that are not sent.
    pub(super) fn following(&mut self, logs: usize, summary: &Summary, lag: u64) {
        self.show("{spinner} {msg}");
        let sent = summary.posted + summary.already_counted;
        let lag = HumanBytes(lag);
        self.bar.set_message(format!("following {logs} logs, {sent} lines sent, {lag} behind"));
        self.bar.tick();
    }

    pub(super) fn end_log(&mut self) {
        self.before += std::mem::take(&mut self.position);
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
