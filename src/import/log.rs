//! One log from where the last import of it stopped to its end, once or again and again.
//!
//! Owns the decisions: which lines count, where a batch begins and ends, and what a log that has
//! changed means. A batch covers a range of bytes without gaps, bad and blank lines included, so
//! reading the range again gives the same body.

use std::io;
use std::path::Path;

use super::batch::{self, Batch, Reached};
use super::cursor::{Cursor, Pending, Way};
use super::notes;
use super::post::Posted;
use super::source::{Line, Source};
use super::{Import, ImportError};
use crate::decode::{End, LineReader};

/// Imports the log at `path`.
pub(super) fn import(import: &mut Import<'_>, path: &Path) -> Result<(), ImportError> {
    let source = Source::open(path)
        .map_err(|source| ImportError::Open { name: path.display().to_string(), source })?;
    import.summary.files += 1;
    if source.prefix.is_empty() {
        return Ok(import.reporter.note(&source.name, "is empty")?);
    }
    import.reporter.begin(&source.name);
    let known = import.cursor_of(&source)?;
    if known.is_none() {
        notes::other_beginning(import, &source)?;
    }
    let name = source.name.clone();
    let outcome = match Log::resume(import, source, known, Use { name: &name, way: Way::Imported })?
    {
        Some(mut log) => log.read_to_end(import),
        None => Ok(()),
    };
    import.reporter.end_log();
    outcome
}

/// A log being read.
pub(super) struct Log {
    source: Source,
    lines: LineReader,
    /// Where the cursor stands in the state file, once it does.
    slot: Option<usize>,
    /// What the server has acknowledged.
    cursor: Cursor,
    /// What has been read; becomes the cursor when the batch is acknowledged.
    read: Reached,
    batch: Batch,
    /// Blank and bad lines since the cursor.
    unsent: Uncounted,
    /// Whether the cursor is ahead of the state file.
    ahead: bool,
}

/// What an open log is read for.
#[derive(Clone, Copy)]
pub(super) struct Use<'a> {
    /// The name to remember it under.
    pub(super) name: &'a str,
    pub(super) way: Way,
}

/// Whether a file was still what it had been when it was read on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Yes; whether anything new was in it.
    Same { grown: bool },
    /// It was cut or rewritten in place; nothing of what it has now was taken.
    Other,
}

/// Lines that make no entries.
#[derive(Clone, Copy, Default)]
struct Uncounted {
    blank: u64,
    bad: u64,
}

/// What became of a line.
enum Step {
    Taken,
    Left,
    /// The file turned out to be another one; see [`Found::Other`].
    Other,
}

/// What to do with a line.
enum Verdict {
    Entry(Vec<u8>, End),
    Blank,
    Bad(String),
}

impl Log {
    /// Goes on where the cursor `known` says, or begins a log that no cursor is of. None if it is
    /// shorter than what was imported of it and so left alone; one that is followed goes on at its
    /// end.
    pub(super) fn resume(
        import: &mut Import<'_>,
        mut source: Source,
        known: Option<usize>,
        usage: Use<'_>,
    ) -> Result<Option<Self>, ImportError> {
        let mut cursor = match known {
            Some(at) => import.state.cursor(at).clone(),
            None => {
                let (url, customer) = (import.url, import.customer);
                let mut cursor = Cursor::new(url, customer, usage.name, &source.prefix);
                import.state.tell_apart(&mut cursor);
                cursor
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
            notes::cut(import, &source.name, has, cursor.needs(), usage.way)?;
            if usage.way == Way::Imported {
                return Ok(None);
            }
            let whole = read(&mut source, |source| source.line_ends_at(has))?;
            cursor.cut_to(has, !whole);
            import.state.tell_apart(&mut cursor);
        }
        if source.size.is_some() {
            read(&mut source, |source| source.skip_to(cursor.end))?;
        }
        let told = (usage.way, source.id) != (cursor.way, cursor.file) || usage.name != cursor.name;
        usage.name.clone_into(&mut cursor.name);
        (cursor.way, cursor.file) = (usage.way, source.id);
        if source.prefix.len() > cursor.known_bytes() {
            cursor.know(&source.prefix);
        }
        import.summary.lines_before += cursor.lines;
        import.reporter.skipped(source.raw_position());
        let read = Reached {
            end: cursor.end,
            lines: cursor.lines,
            inside_line: cursor.inside_line,
            combined: cursor.combined,
        };
        // A log of which nothing was imported need not be remembered.
        let ahead = known.is_some() && (told || short);
        let (batch, unsent) = (Batch::default(), Uncounted::default());
        let lines = LineReader::new(import.fields.clone(), &source.prefix);
        Ok(Some(Self { source, lines, slot: known, cursor, read, batch, unsent, ahead }))
    }

    /// Takes all there is, an unfinished last line too if it is whole, and remembers that durably.
    pub(super) fn read_to_end(&mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        if self.read_on(import, true)? == Found::Other {
            let (has, needs) = (self.source.position, self.cursor.needs());
            notes::cut(import, &self.source.name, has, needs, self.cursor.way)?;
            return Ok(());
        }
        if self.cursor.end == 0 && self.unsent.bad > 0 {
            let text = format!(
                "none of its lines is of the format {}; nothing of it is remembered\n\
                 hint: --format says what the lines are",
                import.fields.name()
            );
            import.reporter.note(&self.source.name, &text)?;
        }
        self.ahead = self.cursor.end > 0;
        self.save(import)
    }

    /// Takes the lines that there are now, and sends them.
    pub(super) fn read_on(
        &mut self,
        import: &mut Import<'_>,
        is_end: bool,
    ) -> Result<Found, ImportError> {
        let Some(size) = self.look_again()? else { return Ok(Found::Other) };
        if self.cursor.way == Way::Followed {
            self.source.grow(size);
        }
        let (before, batches) = (self.read.end, import.summary.batches);
        if let Some(pending) = self.cursor.pending.clone()
            && !self.resend(import, &pending)?
        {
            return Ok(Found::Other);
        }
        let mut bytes = Vec::new();
        loop {
            match self.source.next_line(None, &mut bytes) {
                Ok(Some(line)) if !line.ended && !line.too_long && !is_end => {
                    read(&mut self.source, |source| source.go_back(line.start))?;
                    break;
                }
                Ok(Some(line)) => match self.step(import, &line, &bytes)? {
                    // Who wants to stop does not wait for a long way to the end.
                    Step::Taken
                        if import.watch.is_stopped() && import.summary.batches > batches =>
                    {
                        break;
                    }
                    Step::Taken => {}
                    Step::Left => break,
                    Step::Other => return Ok(Found::Other),
                },
                Ok(None) => break,
                Err(source) => {
                    // What could be read is sent, so that the damage costs no more than it must.
                    self.flush(import)?;
                    let (name, offset) = (self.source.name.clone(), self.source.position);
                    return Err(ImportError::Read { name, offset, source });
                }
            }
        }
        if !self.flush(import)? {
            return Ok(Found::Other);
        }
        Ok(Found::Same { grown: self.read.end > before })
    }

    /// The size of a plain file, if it is still the log that it was; learns more of its beginning.
    fn look_again(&mut self) -> Result<Option<u64>, ImportError> {
        let reached = self.read.end;
        let size = read(&mut self.source, |source| source.look_again(reached))?;
        if size.is_some() && self.source.prefix.len() > self.cursor.known_bytes() {
            self.cursor.know(&self.source.prefix);
        }
        Ok(size)
    }

    /// Writes down what was acknowledged since the last time, if anything: the server forgets keys,
    /// so a batch must not stay pending for as long as a log is quiet.
    pub(super) fn save(&mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        if self.ahead {
            self.slot = Some(import.state.save(self.slot, &self.cursor)?);
            self.ahead = false;
        }
        Ok(())
    }

    /// Remembers that nothing is left of a followed log.
    pub(super) fn finish(&mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        self.cursor.way = Way::Finished;
        self.ahead = true;
        self.save(import)
    }

    pub(super) fn slot(&self) -> Option<usize> {
        self.slot
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn into_source(self) -> Source {
        self.source
    }

    /// Sends the batch again whose answer was never seen: the same range under the same key. False
    /// if the log ends within it.
    fn resend(&mut self, import: &mut Import<'_>, pending: &Pending) -> Result<bool, ImportError> {
        let mut bytes = Vec::new();
        loop {
            let line =
                read(&mut self.source, |source| source.next_line(Some(pending.end), &mut bytes))?;
            let Some(line) = line else { break };
            if let Some(verdict) = self.judge(&line, &bytes) {
                self.take(import, &line, verdict)?;
            }
        }
        if self.source.position < pending.end {
            self.discard(import);
            return Ok(false);
        }
        let batch = std::mem::take(&mut self.batch);
        // Never in parts: those would have other keys, and it may be counted under this one.
        self.send(import, &pending.key, &batch, self.read)?;
        Ok(true)
    }

    /// Takes one line, or leaves an unfinished last one.
    fn step(
        &mut self,
        import: &mut Import<'_>,
        line: &Line,
        bytes: &[u8],
    ) -> Result<Step, ImportError> {
        let Some(verdict) = self.judge(line, bytes) else { return Ok(Step::Taken) };
        if !line.ended {
            let complete = match &verdict {
                Verdict::Entry(_, end) => {
                    *end == End::Shows || !self.read.combined && !self.lines.is_csv()
                }
                Verdict::Blank | Verdict::Bad(_) => false,
            };
            // A line that is too long will not become better by its end.
            let hopeless = line.too_long && self.cursor.way == Way::Followed;
            if !complete && !hopeless {
                if !matches!(verdict, Verdict::Blank) {
                    import.summary.unfinished += 1;
                    let text = format!(
                        "line {} has no line end and is not complete; left for the next import",
                        self.read.lines + 1
                    );
                    import.reporter.note(&self.source.name, &text)?;
                }
                return Ok(Step::Left);
            }
        }
        if let Verdict::Entry(json, _) = &verdict
            && self.batch.is_full_for(json, import.body_max)
        {
            debug_assert_eq!(self.read.end, line.start, "a batch ends where the next line begins");
            if !self.flush(import)? {
                return Ok(Step::Other);
            }
        }
        self.take(import, line, verdict)?;
        Ok(Step::Taken)
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
        if line.start == 0 && self.lines.is_header(bytes) {
            return Some(Verdict::Blank);
        }
        let mut json = Vec::new();
        Some(match self.lines.read(bytes, |entry| json = batch::entry(entry)) {
            Err(reason) => Verdict::Bad(reason),
            Ok(end) => Verdict::Entry(json, end),
        })
    }

    /// Counts a line and adds its entry to the batch.
    fn take(
        &mut self,
        import: &mut Import<'_>,
        line: &Line,
        verdict: Verdict,
    ) -> Result<(), ImportError> {
        let summary = &mut import.summary;
        summary.lines += 1;
        let before = Reached { end: line.start, inside_line: false, ..self.read };
        self.read.lines += 1;
        self.read.end = self.source.position;
        self.read.inside_line = !line.ended;
        match verdict {
            Verdict::Entry(json, end) => {
                self.batch.push(&json, before);
                self.read.combined = end == End::Shows;
            }
            Verdict::Blank => {
                summary.blank += 1;
                self.unsent.blank += 1;
            }
            Verdict::Bad(reason) => {
                summary.bad += 1;
                self.unsent.bad += 1;
                import.reporter.bad_line(&self.source.name, self.read.lines, &reason)?;
            }
        }
        Ok(())
    }

    /// Sends what was gathered, if anything, and moves the cursor behind it. False if the file was
    /// cut or rewritten while it was read: what was gathered may be torn, and is given up.
    fn flush(&mut self, import: &mut Import<'_>) -> Result<bool, ImportError> {
        if self.look_again()?.is_none() {
            self.discard(import);
            return Ok(false);
        }
        if self.batch.entries() == 0 {
            // A log of which nothing was an entry may have been read by the wrong format: it is not
            // remembered, so that the next import reads it anew.
            if self.cursor.end > 0 {
                self.acknowledged(self.read);
            }
            return Ok(true);
        }
        // The next part is the last of these.
        let mut parts = vec![(std::mem::take(&mut self.batch), self.read)];
        while let Some((mut batch, to)) = parts.pop() {
            if batch.bytes() > import.body_max
                && let Some((middle, second)) = batch.split_off()
            {
                parts.extend([(second, to), (batch, middle)]);
                continue;
            }
            let key = self.cursor.key(to.end);
            self.cursor.pending =
                Some(Pending { start: self.cursor.end, end: to.end, key: key.clone() });
            // IMPORTANT: durable before the batch is sent, see `cursor`.
            self.slot = Some(import.state.save(self.slot, &self.cursor)?);
            match self.send(import, &key, &batch, to) {
                Err(too_large @ ImportError::TooLarge { .. }) => {
                    let (middle, second) = batch.split_off().ok_or(too_large)?;
                    import.body_max = batch.bytes().max(second.bytes());
                    parts.extend([(second, to), (batch, middle)]);
                }
                sent => sent?,
            }
        }
        Ok(true)
    }

    fn discard(&mut self, import: &mut Import<'_>) {
        let summary = &mut import.summary;
        summary.lines -= self.read.lines - self.cursor.lines;
        summary.blank -= self.unsent.blank;
        summary.bad -= self.unsent.bad;
        self.batch = Batch::default();
    }

    /// Sends a batch that goes up to there in the log.
    fn send(
        &mut self,
        import: &mut Import<'_>,
        key: &str,
        batch: &Batch,
        to: Reached,
    ) -> Result<(), ImportError> {
        let entries = batch.entries() as u64;
        let posted = import.post(&self.source.name, key, batch)?;
        let summary = &mut import.summary;
        match posted {
            Posted::Accepted => summary.posted += entries,
            Posted::Already => summary.already_counted += entries,
        }
        summary.batches += 1;
        import.reporter.progress(self.source.raw_position(), import.summary.lines);
        self.acknowledged(to);
        Ok(())
    }

    fn acknowledged(&mut self, to: Reached) {
        let Reached { end, lines, inside_line, combined } = to;
        let cursor = &mut self.cursor;
        self.ahead |= end > cursor.end;
        (cursor.end, cursor.lines) = (end, lines);
        (cursor.inside_line, cursor.combined) = (inside_line, combined);
        cursor.pending = None;
        self.unsent = Uncounted::default();
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
