//! One log as a stream of decompressed bytes with offsets, whatever it comes from.
//!
//! Owns opening and reading: plain files, gzip and zstd (told by their first bytes, not by the
//! name) and standard input. Offsets count decompressed bytes from the start, so a log and its
//! `.gz` have the same ones. It must never read past the size that a plain file had when it was
//! last looked at: what is appended meanwhile is for the next look, else a busy log would keep this
//! one for ever.

#![allow(clippy::disallowed_methods, reason = "the import client reads the user's files itself")]

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use super::files::FileId;
use crate::limits;
use flate2::read::MultiGzDecoder;

/// Bytes from the start of a log by which it is known again.
pub(super) const PREFIX_BYTES: usize = 4_096;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of the magic of a skippable frame; the first is 0x50 to 0x5f.
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
const BUFFER_BYTES: usize = 64 * 1024;

/// An open log.
pub(super) struct Source {
    /// What messages call it.
    pub(super) name: String,
    /// Which file it is; standard input and pipes are none.
    pub(super) id: Option<FileId>,
    /// The first bytes: [`PREFIX_BYTES`], or all there are.
    pub(super) prefix: Vec<u8>,
    /// Size of a plain file when it was last looked at.
    pub(super) size: Option<u64>,
    /// When a file was changed last, as far as that was seen.
    pub(super) changed: Option<SystemTime>,
    /// Offset of the next byte.
    pub(super) position: u64,
    reader: BufReader<Input>,
}

enum Input {
    File(File),
    Stream {
        bytes: Chain<Cursor<Vec<u8>>, Box<dyn Read>>,
        /// Bytes taken from what is decompressed, for the progress.
        taken: Rc<Cell<u64>>,
    },
}

/// Counts the bytes that go through it.
struct Counted<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
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
            let stdin = Box::new(io::stdin().lock());
            return Self::from_stream("standard input".into(), None, stdin);
        }
        Self::from_file(path.display().to_string(), File::open(path)?)
    }

    /// Reads an open file from its start, wherever the handle stands.
    pub(super) fn from_file(name: String, mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Self::from_stream(name, None, Box::new(file));
        }
        let (id, changed) = (Some(FileId::of(&metadata)), metadata.modified().ok());
        file.seek(SeekFrom::Start(0))?;
        let prefix = beginning(&file)?;
        if Packing::of(&prefix) != Packing::None {
            return Ok(Self { changed, ..Self::from_stream(name, id, Box::new(file))? });
        }
        let size = Some(metadata.len().max(prefix.len() as u64));
        let reader = BufReader::with_capacity(BUFFER_BYTES, Input::File(file));
        Ok(Self { name, id, prefix, size, changed, position: 0, reader })
    }

    fn from_stream(name: String, id: Option<FileId>, mut raw: Box<dyn Read>) -> io::Result<Self> {
        let magic = first_bytes(&mut raw, ZSTD_MAGIC.len())?;
        let packing = Packing::of(&magic);
        let taken = Rc::new(Cell::new(0));
        let raw = Counted { inner: Cursor::new(magic).chain(raw), taken: Rc::clone(&taken) };
        let mut plain: Box<dyn Read> = match packing {
            Packing::None => Box::new(raw),
            Packing::Gzip => Box::new(MultiGzDecoder::new(raw)),
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::new(raw)?;
                decoder.window_log_max(limits::UNPACK_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        let prefix = first_bytes(&mut plain, PREFIX_BYTES)?;
        let bytes = Cursor::new(prefix.clone()).chain(plain);
        let reader = BufReader::with_capacity(BUFFER_BYTES, Input::Stream { bytes, taken });
        Ok(Self { name, id, prefix, size: None, changed: None, position: 0, reader })
    }

    /// Bytes read of the file as it lies on the disk, compressed or not.
    pub(super) fn raw_position(&self) -> u64 {
        match self.reader.get_ref() {
            Input::File(_) => self.position,
            Input::Stream { taken, .. } => taken.get(),
        }
    }

    /// Looks at a plain file again. None if it is no longer what it was: it begins with other
    /// bytes, or has fewer than `reached`; else its size now, which counts from the next
    /// [`Self::grow`] on.
    pub(super) fn look_again(&mut self, reached: u64) -> io::Result<Option<u64>> {
        let Input::File(file) = self.reader.get_ref() else { return Ok(Some(u64::MAX)) };
        // The size first: what is written after a cut is then seen with the new beginning.
        let metadata = file.metadata()?;
        let size = metadata.len();
        let prefix = beginning(file)?;
        if size < reached || !prefix.starts_with(&self.prefix) {
            return Ok(None);
        }
        self.prefix = prefix;
        self.changed = metadata.modified().ok();
        Ok(Some(size))
    }

    /// Allows to read a plain file up to `size`.
    pub(super) fn grow(&mut self, size: u64) {
        self.size = self.size.map(|_| size);
    }

    /// The handle, if it is a plain file.
    pub(super) fn into_file(self) -> Option<File> {
        match self.reader.into_inner() {
            Input::File(file) => Some(file),
            Input::Stream { .. } => None,
        }
    }

    /// Whether any name still leads to the file.
    pub(super) fn has_name(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        match self.reader.get_ref() {
            Input::File(file) => Ok(file.metadata()?.nlink() > 0),
            Input::Stream { .. } => Ok(true),
        }
    }

    /// Whether the byte before `offset` of a plain file ends a line.
    pub(super) fn line_ends_at(&self, offset: u64) -> io::Result<bool> {
        let Input::File(file) = self.reader.get_ref() else { return Ok(true) };
        let mut byte = [b'\n'];
        if let Some(before) = offset.checked_sub(1) {
            file.read_exact_at(&mut byte, before)?;
        }
        Ok(byte == [b'\n'])
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

    /// Goes back to the start of a line of a plain file whose end was not there yet.
    pub(super) fn go_back(&mut self, offset: u64) -> io::Result<()> {
        if let Input::File(_) = self.reader.get_ref() {
            self.position = self.reader.seek(SeekFrom::Start(offset))?;
        }
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
            let newline = memchr::memchr(b'\n', available);
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

/// How a log is compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(magic: &[u8]) -> Self {
        match magic {
            _ if magic.starts_with(&GZIP_MAGIC) => Self::Gzip,
            _ if magic.starts_with(&ZSTD_MAGIC) => Self::Zstd,
            [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE_MAGIC) => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream { bytes, .. } => bytes.read(buffer),
        }
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Stream { .. } => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.taken.set(self.taken.get() + bytes as u64);
        Ok(bytes)
    }
}

/// The first bytes of a file, up to [`PREFIX_BYTES`]; the handle stays where it is.
fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PREFIX_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Up to `count` bytes; fewer only at the end.
fn first_bytes(reader: &mut dyn Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
