//! One log from where the last import of it stopped to its end.
//!
//! Owns the decisions: which lines count, where a batch begins and ends, and what a log that has
//! changed means. A batch covers a range of bytes without gaps, bad and blank lines included, so
//! reading the range again gives the same body.

use std::io;
use std::path::Path;

use super::batch::{self, Batch};
use super::cursor::{Cursor, Pending};
use super::post::Posted;
use super::source::{Line, Source};
use super::{Import, ImportError};
use crate::decode::combined::{Format, parse_line};

/// Imports the log at `path`.
pub(super) fn import(import: &mut Import<'_>, path: &Path) -> Result<(), ImportError> {
    let source = Source::open(path)
        .map_err(|source| ImportError::Open { name: path.display().to_string(), source })?;
    import.summary.files += 1;
    if source.prefix.is_empty() {
        return Ok(import.reporter.note(&source.name, "is empty")?);
    }
    import.reporter.begin(&source.name, source.size);
    let outcome = match Log::resume(import, source)? {
        Some(log) => log.run(),
        None => Ok(()),
    };
    import.reporter.end();
    outcome
}

/// A log being read.
struct Log<'r, 'a> {
    import: &'r mut Import<'a>,
    source: Source,
    /// Where the cursor stands in the state file, once it does.
    slot: Option<usize>,
    /// What the server has acknowledged.
    cursor: Cursor,
    /// What has been read; becomes the cursor when the batch is acknowledged.
    read: Reached,
    batch: Batch,
}

/// A position between lines, or inside one that was counted before it ended.
#[derive(Clone, Copy)]
struct Reached {
    end: u64,
    lines: u64,
    inside_line: bool,
    combined: bool,
}

/// What to do with a line.
enum Verdict {
    Entry(Vec<u8>, Format),
    Blank,
    Bad(String),
}

impl<'r, 'a> Log<'r, 'a> {
    /// Finds where to go on; none if the log is shorter than what was imported of it.
    fn resume(import: &'r mut Import<'a>, mut source: Source) -> Result<Option<Self>, ImportError> {
        let slot = import.state.find(import.url, import.customer, &source.prefix);
        let mut cursor = match slot {
            Some(at) => import.state.cursor(at).clone(),
            None => {
                note_other_beginning(import, &source)?;
                Cursor::new(import.url, import.customer, &source.name, &source.prefix)
            }
        };
        let has = match source.size {
            Some(size) => size,
            None => {
                read(&mut source, |source| source.skip_to(cursor.end))?;
                source.position
            }
        };
        let short = has < if source.size.is_some() { cursor.needs() } else { cursor.end };
        if short {
            note_cut(import, &source.name, has, cursor.needs())?;
            return Ok(None);
        }
        if source.size.is_some() {
            read(&mut source, |source| source.skip_to(cursor.end))?;
        }
        source.name.clone_into(&mut cursor.name);
        if source.prefix.len() > cursor.known_bytes() {
            cursor.know(&source.prefix);
        }
        import.summary.lines_before += cursor.lines;
        let read = Reached {
            end: cursor.end,
            lines: cursor.lines,
            inside_line: cursor.inside_line,
            combined: cursor.combined,
        };
        Ok(Some(Self { import, source, slot, cursor, read, batch: Batch::default() }))
    }

    fn run(mut self) -> Result<(), ImportError> {
        if let Some(pending) = self.cursor.pending.clone()
            && !self.resend(&pending)?
        {
            return Ok(());
        }
        let mut bytes = Vec::new();
        loop {
            match self.source.next_line(None, &mut bytes) {
                Ok(Some(line)) if self.step(&line, &bytes)? => {}
                Ok(_) => break,
                Err(source) => {
                    // What could be read is sent, so that the damage costs no more than it must.
                    self.flush()?;
                    let (name, offset) = (self.source.name.clone(), self.source.position);
                    return Err(ImportError::Read { name, offset, source });
                }
            }
        }
        self.flush()?;
        if self.read.end > 0 {
            self.slot = Some(self.import.state.save(self.slot, &self.cursor)?);
        }
        Ok(())
    }

    /// Sends the batch again whose answer was never seen: the same range under the same key. False
    /// if the log ends within it.
    fn resend(&mut self, pending: &Pending) -> Result<bool, ImportError> {
        let mut bytes = Vec::new();
        loop {
            let line =
                read(&mut self.source, |source| source.next_line(Some(pending.end), &mut bytes))?;
            let Some(line) = line else { break };
            if let Some(verdict) = self.judge(&line, &bytes) {
                self.take(&line, verdict, None)?;
            }
        }
        if self.source.position < pending.end {
            let name = self.source.name.clone();
            note_cut(self.import, &name, self.source.position, pending.end)?;
            return Ok(false);
        }
        self.send(&pending.key)?;
        Ok(true)
    }

    /// Takes one line; false if it is an unfinished last line, which is left.
    fn step(&mut self, line: &Line, bytes: &[u8]) -> Result<bool, ImportError> {
        let Some(verdict) = self.judge(line, bytes) else { return Ok(true) };
        if !line.ended {
            let complete = matches!(&verdict, Verdict::Entry(_, format)
                if *format == Format::Combined || !self.read.combined);
            if !complete {
                if !matches!(verdict, Verdict::Blank) {
                    self.import.summary.unfinished += 1;
                    let text = format!(
                        "line {} has no line end and is not complete; left for the next import",
                        self.read.lines + 1
                    );
                    self.import.reporter.note(&self.source.name, &text)?;
                }
                return Ok(false);
            }
        }
        self.take(line, verdict, Some(line.start))?;
        Ok(true)
    }

    /// What a line is; none if it is the rest of a line that was counted before.
    fn judge(&mut self, line: &Line, bytes: &[u8]) -> Option<Verdict> {
        if self.read.inside_line {
            self.read.inside_line = !line.ended;
            self.read.end = self.source.position;
            return None;
        }
        if line.too_long {
            return Some(Verdict::Bad("the line is too long for an access log".into()));
        }
        if bytes.trim_ascii().is_empty() {
            return Some(Verdict::Blank);
        }
        Some(match parse_line(bytes) {
            Err(error) => Verdict::Bad(error.to_string()),
            Ok(parsed) => match batch::entry(&parsed) {
                Err(reason) => Verdict::Bad(reason),
                Ok(json) => Verdict::Entry(json, parsed.format),
            },
        })
    }

    /// Counts a line and adds its entry to the batch, which is sent before if it is full, up to
    /// `split`; without one the batch is what it was before and takes all.
    fn take(
        &mut self,
        line: &Line,
        verdict: Verdict,
        split: Option<u64>,
    ) -> Result<(), ImportError> {
        if let (Verdict::Entry(json, _), Some(start)) = (&verdict, split)
            && self.batch.is_full_for(json)
        {
            debug_assert_eq!(self.read.end, start, "a batch ends where the next line begins");
            self.flush()?;
        }
        let summary = &mut self.import.summary;
        summary.lines += 1;
        self.read.lines += 1;
        self.read.end = self.source.position;
        self.read.inside_line = !line.ended;
        match verdict {
            Verdict::Entry(json, format) => {
                self.batch.push(&json);
                self.read.combined = format == Format::Combined;
            }
            Verdict::Blank => summary.blank += 1,
            Verdict::Bad(reason) => {
                summary.bad += 1;
                self.import.reporter.bad_line(&self.source.name, self.read.lines, &reason)?;
            }
        }
        Ok(())
    }

    /// Sends what was gathered, if anything, and moves the cursor behind it.
    fn flush(&mut self) -> Result<(), ImportError> {
        if self.batch.entries() == 0 {
            self.acknowledged();
            return Ok(());
        }
        let key = self.cursor.key(self.read.end);
        let (start, end) = (self.cursor.end, self.read.end);
        self.cursor.pending = Some(Pending { start, end, key: key.clone() });
        // IMPORTANT: durable before the batch is sent, see `cursor`.
        self.slot = Some(self.import.state.save(self.slot, &self.cursor)?);
        self.send(&key)
    }

    fn send(&mut self, key: &str) -> Result<(), ImportError> {
        let entries = self.batch.entries() as u64;
        let body = self.batch.take();
        let Import { poster, reporter, summary, .. } = &mut *self.import;
        let mut said = Ok(());
        let mut first = true;
        let posted = poster.post(key, &body, &mut |reason| {
            if std::mem::take(&mut first) {
                said = reporter.note(&self.source.name, &format!("trying again: {reason}"));
            }
        })?;
        said?;
        match posted {
            Posted::Accepted => summary.posted += entries,
            Posted::Already => summary.already_counted += entries,
        }
        summary.batches += 1;
        reporter.progress(self.read.end);
        self.acknowledged();
        Ok(())
    }

    fn acknowledged(&mut self) {
        let Reached { end, lines, inside_line, combined } = self.read;
        let cursor = &mut self.cursor;
        (cursor.end, cursor.lines) = (end, lines);
        (cursor.inside_line, cursor.combined) = (inside_line, combined);
        cursor.pending = None;
    }
}

fn read<T>(
    source: &mut Source,
    work: impl FnOnce(&mut Source) -> io::Result<T>,
) -> Result<T, ImportError> {
    work(source).map_err(|error| ImportError::Read {
        name: source.name.clone(),
        offset: source.position,
        source: error,
    })
}

fn note_cut(import: &mut Import<'_>, name: &str, has: u64, needs: u64) -> io::Result<()> {
    import.summary.cut_logs += 1;
    let text = format!(
        "has {has} bytes, but {needs} were imported of a log that begins the same: it is an older \
         copy or was cut; nothing of it is imported now"
    );
    import.reporter.note(name, &text)
}

/// Says that the name stood for another log before: rotated, truncated or rewritten.
fn note_other_beginning(import: &mut Import<'_>, source: &Source) -> io::Result<()> {
    let Some(before) = import.state.last_named(import.url, import.customer, &source.name) else {
        return Ok(());
    };
    let mut text = "begins with other content than at the last import (rotated, truncated or \
                    rewritten); imported from its start"
        .to_owned();
    if let Some(pending) = &before.pending {
        text.push_str(&format!(
            "\nhint: the last import stopped within bytes {} to {} of the earlier content; import \
             the file that has it now to complete it",
            pending.start, pending.end
        ));
    }
    import.reporter.note(&source.name, &text)
}
