//! The data directory: all paths are built here, so that everybody agrees on the names.
//!
//! ```text
//! LOCK                                  held by the running process
//! VERSION                               number of this layout
//! control                               socket of the running process
//! store.redb                            windows, roll-ups, checkpoint position
//! journal/0000000000000001.segment      group commits since the last checkpoint
//! journal/spare-0000000000000001        reclaimed segments, kept for reuse
//! archive/<first>-<last>-<ms>.segment.zst   segments behind the checkpoint, compressed
//! claims/pages/<incarnation>-<n>.page   what was claimed, 4,096 keys to a page
//! claims/names/<1 hex>/<32 hex>         one link per idempotency key, onto its page
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::ids::{AcceptTime, Group, Incarnation};
use crate::limits;

/// Builds every path below one data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// Names a claim page: the process life that made it, and a number within that life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    /// The life that made the page; no other ever appends to it.
    pub incarnation: Incarnation,
    /// Counts from 0 within the life.
    pub number: u64,
}

const ARCHIVED: &str = ".segment.zst";

/// Files that are being made carry this prefix until they get their name.
pub(super) const UNFINISHED_PREFIX: &str = ".new-";

impl Layout {
    /// The layout below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directories above it, from the nearest on.
    pub fn above(&self) -> impl Iterator<Item = &Path> {
        let is_here = |dir: &Path| dir.as_os_str().is_empty();
        let above = self.root.ancestors().skip(1);
        above.map(move |dir| if is_here(dir) { Path::new(".") } else { dir })
    }

    /// The file whose lock says that a process runs on this directory.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// The file that holds the layout's number.
    #[must_use]
    pub fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Where a store is made, before it is given its name.
    #[must_use]
    pub fn new_store(&self) -> PathBuf {
        self.root.join(format!("{UNFINISHED_PREFIX}store.redb"))
    }

    /// Where the journal's segments are.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// A journal segment by its place in the sequence.
    #[must_use]
    pub fn segment(&self, sequence: u64) -> PathBuf {
        self.journal().join(format!("{sequence:016x}.segment"))
    }

    /// A reclaimed segment, by the place in the sequence it had.
    #[must_use]
    pub fn spare(&self, sequence: u64) -> PathBuf {
        self.journal().join(format!("spare-{sequence:016x}"))
    }

    /// Where archived segments are.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }

    /// An archived segment: its groups, and when the last of them was accepted.
    #[must_use]
    pub fn archived(&self, first: Group, last: Group, accepted: AcceptTime) -> PathBuf {
        let (first, last, accepted) = (first.0, last.0, accepted.0);
        self.archive().join(format!("{first:016x}-{last:016x}-{accepted:016x}{ARCHIVED}"))
    }

    /// The socket on which the running server is asked for a backup.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.root.join("control")
    }

    /// Where an audit counts everything again, to compare.
    #[must_use]
    pub fn recount(&self) -> PathBuf {
        self.root.join("recount")
    }

    /// Where the claim pages are.
    #[must_use]
    pub fn pages(&self) -> PathBuf {
        self.root.join("claims/pages")
    }

    /// A claim page.
    #[must_use]
    pub fn page(&self, id: PageId) -> PathBuf {
        self.pages().join(format!("{:016x}-{:08x}.page", id.incarnation.0, id.number))
    }

    /// The directories in which other directories, or files that are not named anew in every
    /// life, are.
    #[must_use]
    pub fn parents(&self) -> [PathBuf; 5] {
        let claims = self.root.join("claims");
        let names = claims.join("names");
        [self.root.clone(), self.journal(), claims, self.pages(), names]
    }

    /// One of the directories that hold the claims' names.
    #[must_use]
    pub fn names(&self, shard: u8) -> PathBuf {
        self.root.join(format!("claims/names/{shard:x}"))
    }

    /// The name of a claim: the hash alone, so that no client byte reaches a path.
    #[must_use]
    pub fn name(&self, claim: u128) -> PathBuf {
        // Put together in room for all of it: every batch has one.
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + 64);
        path.push(&self.root);
        path.push("claims/names");
        let name = write!(path.as_mut_os_string(), "/{:x}/{claim:032x}", Self::shard(claim));
        name.expect("a string takes everything");
        path
    }

    /// Which of the directories holds a claim's name: its first digit says it.
    #[must_use]
    pub fn shard(claim: u128) -> u8 {
        claim.to_be_bytes()[0] >> 4
    }

    /// All directories that hold claims' names.
    pub fn shards(&self) -> impl Iterator<Item = PathBuf> {
        (0..limits::CLAIM_SHARDS).map(|shard| self.names(shard))
    }

    /// Two names that no start has used before, to probe the file system with. They count as
    /// unfinished files if a crash leaves them behind.
    #[must_use]
    pub fn probe(&self, random: u64) -> (PathBuf, PathBuf) {
        let name = |what| self.pages().join(format!("{UNFINISHED_PREFIX}{what}-{random:016x}"));
        (name("probe"), name("link"))
    }

    /// The place in the sequence that a segment's file name stands for.
    #[must_use]
    pub fn parse_segment(name: &str) -> Option<u64> {
        parse_hex(name.strip_suffix(".segment")?)
    }

    /// The number in a spare segment's file name.
    #[must_use]
    pub fn parse_spare(name: &str) -> Option<u64> {
        parse_hex(name.strip_prefix("spare-")?)
    }

    /// What an archived segment's file name says.
    #[must_use]
    pub fn parse_archived(name: &str) -> Option<(Group, Group, AcceptTime)> {
        let mut fields = name.strip_suffix(ARCHIVED)?.split('-').map(parse_hex);
        let (first, last, accepted) = (fields.next()??, fields.next()??, fields.next()??);
        let is_whole = fields.next().is_none() && first <= last;
        is_whole.then_some((Group(first), Group(last), AcceptTime(accepted)))
    }

    /// The page that a file name stands for.
    #[must_use]
    pub fn parse_page(name: &str) -> Option<PageId> {
        let (incarnation, number) = name.strip_suffix(".page")?.split_once('-')?;
        let number = u64::from_str_radix(number, 16).ok()?;
        Some(PageId { incarnation: Incarnation(parse_hex(incarnation)?), number })
    }

    /// Where a damaged file is put aside, for a person to look at.
    #[must_use]
    pub fn aside(path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!("damaged-{name}"))
    }

    /// Whether a file was left behind half made by a process that died.
    #[must_use]
    pub fn is_unfinished(name: &str) -> bool {
        name.starts_with(UNFINISHED_PREFIX)
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        let layout = Layout::new("d");
        let file_name = |path: PathBuf| {
            path.file_name().and_then(|n| n.to_str()).map(str::to_owned).expect("name")
        };
        assert_eq!(Layout::parse_segment(&file_name(layout.segment(77))), Some(77));
        assert_eq!(Layout::parse_spare(&file_name(layout.spare(77))), Some(77));
        let archived = (Group(1), Group(9), AcceptTime(77));
        let name = file_name(layout.archived(archived.0, archived.1, archived.2));
        assert_eq!(Layout::parse_archived(&name), Some(archived));
        let id = PageId { incarnation: Incarnation(3), number: 9 };
        assert_eq!(Layout::parse_page(&file_name(layout.page(id))), Some(id));
        assert_eq!(Layout::parse_segment("x.segment"), None);
        let claim = 0xabcd_u128 << 112;
        assert!(layout.name(claim).starts_with("d/claims/names/a/"));
    }
}
