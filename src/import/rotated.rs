//! What became of a log that was rotated, and what came after it: the files beside it.
//!
//! Owns the search among siblings; what is done with what is found is for `follow` to decide. A
//! file is known by its beginning, never by its inode alone, and its place in time by its last
//! change: compressing a log gives it another inode and frees its own for a later log, but leaves
//! it its time. Rotations go on meanwhile: a file that is renamed or compressed while it is looked
//! for makes the search begin again.

#![allow(clippy::disallowed_methods, reason = "the import client finds the user's files itself")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::ImportError;
use super::cursor::Cursor;
use super::files::{self, FileId, Seen};
use super::source::Source;

/// A sibling of a log that was found.
pub(super) struct Rotated {
    pub(super) seen: Seen,
    pub(super) file: File,
}

/// The siblings that came after a log.
#[derive(Default)]
pub(super) struct Newer {
    /// In the order of their last changes.
    pub(super) logs: Vec<Rotated>,
    /// Those that could not be read, with the reason.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// The file that the log of `cursor` goes on in: the one it was last read from, else of those that
/// fit the one that was changed last. Files that are open already are left alone.
pub(super) fn rest(
    home: &Path,
    cursor: &Cursor,
    is_open: impl Fn(FileId) -> bool,
) -> Result<Option<Rotated>, ImportError> {
    'again: loop {
        let mut siblings = beside(home)?;
        siblings.sort_by_key(|seen| (Some(seen.id) == cursor.file, seen.changed));
        for seen in siblings.into_iter().rev().filter(|seen| !is_open(seen.id)) {
            let (file, source) = match open(&seen.path) {
                Ok(opened) => opened,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue 'again,
                Err(_) => continue,
            };
            let fits = source.size.is_none_or(|size| size >= cursor.needs());
            if fits && cursor.is_of(&source.prefix) {
                return Ok(Some(Rotated { seen, file }));
            }
        }
        return Ok(None);
    }
}

/// The rotated logs that were written to since then and that nothing is known of.
pub(super) fn after(
    home: &Path,
    since: SystemTime,
    is_known: impl Fn(&Source) -> bool,
) -> Result<Newer, ImportError> {
    'again: loop {
        let mut found = Newer::default();
        let newer = beside(home)?.into_iter().filter(|seen| seen.changed >= since);
        for seen in newer.filter(|seen| files::is_rotated_name(home, &seen.path)) {
            // It is being compressed, and stands for itself.
            let is_double = seen.path.extension().is_some_and(|end| end == "gz" || end == "zst")
                && seen.path.with_extension("").exists();
            if is_double {
                continue;
            }
            match open(&seen.path) {
                Ok((_, source)) if source.prefix.is_empty() || is_known(&source) => {}
                Ok((file, _)) => found.logs.push(Rotated { seen, file }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue 'again,
                Err(error) => found.unreadable.push((seen.path, error)),
            }
        }
        return Ok(found);
    }
}

/// Whether one of the files beside `path` is `id`.
pub(super) fn has_sibling(path: &Path, id: Option<FileId>) -> bool {
    let siblings = files::siblings(path).unwrap_or_default();
    id.is_some() && siblings.iter().any(|seen| Some(seen.id) == id)
}

/// What is listed while names change may lack a file that has both of its names in turn, so a list
/// counts once a second one says the same.
fn beside(home: &Path) -> Result<Vec<Seen>, ImportError> {
    let list = || match files::siblings(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| ImportError::Open {
            name: home.parent().unwrap_or(home).display().to_string(),
            source,
        }),
    };
    let mut last = list()?;
    loop {
        let next = list()?;
        let names = |list: &[Seen]| -> Vec<_> {
            let mut names: Vec<_> = list.iter().map(|seen| (seen.path.clone(), seen.id)).collect();
            names.sort();
            names
        };
        if names(&last) == names(&next) {
            return Ok(next);
        }
        last = next;
    }
}

fn open(path: &Path) -> io::Result<(File, Source)> {
    let file = File::open(path)?;
    let source = Source::from_file(path.display().to_string(), file.try_clone()?)?;
    Ok((file, source))
}
