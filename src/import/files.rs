//! Which files an import reads: its arguments, patterns among them, and what a log became when it
//! was rotated.
//!
//! Owns the file system's names; what is in the files is for others to judge.

#![allow(clippy::disallowed_methods, reason = "the import client finds the user's files itself")]

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

/// As a shell matches: `*` stops at `/` and leaves hidden files alone.
const MATCH: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Which file it is, under whatever name. It is a hint only: a file system may give the number of
/// a deleted file to a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// An argument of the import.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// A file, there or not, or `-`.
    Path(PathBuf),
    /// A pattern that the shell has not expanded.
    Pattern(Pattern),
}

impl Wanted {
    /// A file that exists under exactly this name is that file, even if it looks like a pattern.
    pub(super) fn of(argument: &Path) -> Self {
        let pattern = argument.to_str().filter(|text| text.contains(['*', '?', '[']));
        match pattern.map(Pattern::new) {
            Some(Ok(pattern)) if fs::symlink_metadata(argument).is_err() => Self::Pattern(pattern),
            _ => Self::Path(argument.into()),
        }
    }

    /// Whether a file of this name is meant.
    pub(super) fn covers(&self, path: &Path) -> bool {
        match self {
            Self::Path(own) => own == path,
            Self::Pattern(pattern) => pattern.matches_path_with(path, MATCH),
        }
    }

    /// The files that there are now, those that were changed last at the end. A pattern means
    /// regular files only.
    pub(super) fn paths(&self) -> io::Result<Vec<PathBuf>> {
        match self {
            Self::Path(path) => Ok(vec![path.clone()]),
            Self::Pattern(pattern) => {
                let found = glob::glob_with(pattern.as_str(), MATCH).map_err(io::Error::other)?;
                let paths: Vec<PathBuf> = found.collect::<Result<_, _>>()?;
                Ok(in_order(paths).into_iter().map(|file| file.path).collect())
            }
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Pattern(pattern) => pattern.as_str().to_owned(),
        }
    }
}

/// A regular file as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) changed: SystemTime,
}

/// Files beside the log at `path` that it may have become: their names go on with `.` or `-`.
/// In the order of their last changes.
pub(super) fn siblings(path: &Path) -> io::Result<Vec<Seen>> {
    let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
        return Ok(Vec::new());
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let name = name.as_encoded_bytes();
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?.file_name();
        let rest = entry.as_encoded_bytes().strip_prefix(name);
        if rest.is_some_and(|rest| matches!(rest.first(), Some(b'.' | b'-'))) {
            paths.push(directory.join(entry));
        }
    }
    Ok(in_order(paths))
}

/// Whether a sibling has the name of a rotated log: a number or a date, perhaps compressed.
pub(super) fn is_rotated_name(path: &Path, sibling: &Path) -> bool {
    let (Some(name), Some(rotated)) = (path.file_name(), sibling.file_name()) else { return false };
    let rest = rotated.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
    let Some([_, rest @ ..]) = rest else { return false };
    let rest =
        [&b".gz"[..], b".zst"].iter().find_map(|end| rest.strip_suffix(*end)).unwrap_or(rest);
    !rest.is_empty() && rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'_' | b'.'))
}

/// Files that vanish meanwhile, and what is no file, are left out.
fn in_order(paths: Vec<PathBuf>) -> Vec<Seen> {
    let mut files: Vec<Seen> = paths
        .into_iter()
        .filter_map(|path| {
            let metadata = fs::metadata(&path).ok().filter(Metadata::is_file)?;
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Seen { path, id: FileId::of(&metadata), changed })
        })
        .collect();
    files.sort_by(|a, b| (a.changed, &a.path).cmp(&(b.changed, &b.path)));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_logs_are_told_by_their_names() {
        let rotated = |sibling: &str| is_rotated_name(Path::new("/l/a.log"), Path::new(sibling));
        for name in ["a.log.1", "a.log-20261126", "a.log.2.gz", "a.log-2026-11-26_10.zst"] {
            assert!(rotated(&format!("/l/{name}")), "{name}");
        }
        for name in ["a.log", "a.log.lock", "a.log-ssl", "a.log.gz", "a.log.1.bak", "b.log.1"] {
            assert!(!rotated(&format!("/l/{name}")), "{name}");
        }
    }

    #[test]
    fn what_exists_is_no_pattern() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a[1].log");
        assert!(matches!(Wanted::of(&path), Wanted::Pattern(_)));
        fs::write(&path, "").expect("written");
        assert!(matches!(Wanted::of(&path), Wanted::Path(_)));
        assert!(matches!(Wanted::of(Path::new("/a[.log")), Wanted::Path(_)), "not valid");
    }
}
