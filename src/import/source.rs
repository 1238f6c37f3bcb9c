//! One log as a stream of decompressed bytes with offsets, whatever it comes from.
//!
//! Owns opening and reading: plain files, gzip (told by its first bytes, not by the name) and
//! standard input. Offsets count decompressed bytes from the start, so a log and its `.gz` have the
//! same ones. It must never read past the size that a plain file had when it was opened: what is
//! appended meanwhile is for the next import, else a busy log would keep this one for ever.

#![allow(clippy::disallowed_methods, reason = "the import client reads the user's files itself")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use crate::limits;
use flate2::read::MultiGzDecoder;

/// Bytes from the start of a log by which it is known again.
pub(super) const PREFIX_BYTES: usize = 4_096;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open log.
pub(super) struct Source {
    /// What messages call it.
    pub(super) name: String,
    /// The first bytes: [`PREFIX_BYTES`], or all there are.
    pub(super) prefix: Vec<u8>,
    /// Size of a plain file when it was opened.
    pub(super) size: Option<u64>,
    /// Offset of the next byte.
    pub(super) position: u64,
    reader: BufReader<Input>,
}

enum Input {
    File(File),
    Stream(Chain<Cursor<Vec<u8>>, Box<dyn Read>>),
}

/// A line that was read; its bytes are in the caller's buffer, without the line end.
pub(super) struct Line {
    /// Offset of its first byte.
    pub(super) start: u64,
    /// Whether a newline ended it, and not the end of what there is.
    pub(super) ended: bool,
    /// Whether it has more bytes than are kept.
    pub(super) too_long: bool,
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::from_stream("standard input".into(), Box::new(io::stdin().lock()));
        }
        let name = path.display().to_string();
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Self::from_stream(name, Box::new(file));
        }
        let prefix = first_bytes(&mut file, PREFIX_BYTES)?;
        file.seek(SeekFrom::Start(0))?;
        if prefix.starts_with(&GZIP_MAGIC) {
            return Self::from_stream(name, Box::new(file));
        }
        let size = Some(metadata.len().max(prefix.len() as u64));
        let reader = BufReader::with_capacity(256 * 1024, Input::File(file));
        Ok(Self { name, prefix, size, position: 0, reader })
    }

    fn from_stream(name: String, mut raw: Box<dyn Read>) -> io::Result<Self> {
        let magic = first_bytes(&mut raw, GZIP_MAGIC.len())?;
        let is_gzip = magic == GZIP_MAGIC;
        let raw = Cursor::new(magic).chain(raw);
        let mut plain: Box<dyn Read> =
            if is_gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        let prefix = first_bytes(&mut plain, PREFIX_BYTES)?;
        let input = Input::Stream(Cursor::new(prefix.clone()).chain(plain));
        let reader = BufReader::with_capacity(256 * 1024, input);
        Ok(Self { name, prefix, size: None, position: 0, reader })
    }

    /// Goes forward from the start to `offset`, or to the end if there are fewer bytes; once, and
    /// before the first line is read.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        self.position = match (self.reader.get_mut(), self.size) {
            (Input::File(file), Some(size)) => file.seek(SeekFrom::Start(offset.min(size)))?,
            _ => io::copy(&mut self.reader.by_ref().take(offset), &mut io::sink())?,
        };
        Ok(())
    }

    /// Reads the next line into `line`, never past `limit`; none if there is nothing before it.
    pub(super) fn next_line(
        &mut self,
        limit: Option<u64>,
        line: &mut Vec<u8>,
    ) -> io::Result<Option<Line>> {
        line.clear();
        let limit = limit.unwrap_or(u64::MAX).min(self.size.unwrap_or(u64::MAX));
        let start = self.position;
        let (mut ended, mut too_long) = (false, false);
        while !ended && self.position < limit {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let most = usize::try_from(limit - self.position).unwrap_or(usize::MAX);
            let available = &available[..available.len().min(most)];
            if available.is_empty() {
                break;
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let text = &available[..newline.unwrap_or(available.len())];
            let room = limits::IMPORT_LINE_BYTES_MAX - line.len();
            too_long |= text.len() > room;
            line.extend_from_slice(&text[..text.len().min(room)]);
            let used = text.len() + usize::from(newline.is_some());
            ended = newline.is_some();
            self.reader.consume(used);
            self.position += used as u64;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok((self.position > start).then_some(Line { start, ended, too_long }))
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

/// Up to `count` bytes; fewer only at the end.
fn first_bytes(reader: &mut dyn Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
