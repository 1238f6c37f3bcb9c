//! A copy of the claims, made while the sequencer goes on claiming and sweeping.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::Seals;
use super::page::{PageHeader, PageIndex, Seal};
use crate::disk::{Disk, DiskError, DiskResult, Layout, PageId, read_all};

/// Copies pages and makes the names that lead to them; tells how many pages are done of how many.
///
/// `seals` are those of the checkpoint that the copy goes with. What is claimed or swept meanwhile
/// may be in the copy or not. A claim of a group after the checkpoint is void there, as it is after
/// a crash.
///
/// # Errors
/// If either disk fails, or a page has damage before its seal: which names lead to the damaged
/// entries cannot be known, and in the copy their keys would be free.
pub fn copy(
    disk: &dyn Disk,
    from: &Layout,
    to: &Layout,
    seals: &Seals,
    progress: &dyn Fn(u64, u64),
) -> DiskResult<()> {
    disk.create_dir(&to.pages())?;
    for shard in to.shards() {
        disk.create_dir(&shard)?;
    }
    let names = disk.list(&from.pages())?;
    let pages: Vec<_> = names.iter().filter_map(|name| Layout::parse_page(name)).collect();
    let mut shards = BTreeSet::new();
    for (done, id) in (1..).zip(&pages) {
        let seal = seals.get(id).copied().unwrap_or_default();
        copy_page(disk, from, to, *id, seal, &mut shards)?;
        progress(done, pages.len() as u64);
    }
    for shard in shards {
        disk.sync_dir(&to.names(shard))?;
    }
    Ok(())
}

fn copy_page(
    disk: &dyn Disk,
    from: &Layout,
    to: &Layout,
    id: PageId,
    seal: Seal,
    shards: &mut BTreeSet<u8>,
) -> DiskResult<()> {
    let Some(bytes) = unless_gone(read_all(disk, &from.page(id)))? else { return Ok(()) };
    let page = to.page(id);
    let file = disk.create_new(&page, &bytes, 0)?;
    let index = PageIndex::load(file.as_ref(), id, seal)?;
    if index.is_damaged {
        let what = "entries are damaged; a start with --repair gives them up";
        let source = std::io::Error::new(ErrorKind::InvalidData, what);
        return Err(DiskError::new("copy", &from.page(id), source));
    }
    for name in index.names() {
        // Only what still leads here: a void claim's name may have moved on, a swept one is gone.
        let Some(named) = unless_gone(disk.open(&from.name(name)))? else { continue };
        if PageHeader::read(named.as_ref())?.is_some_and(|header| header.id == id) {
            disk.link(&page, &to.name(name))?;
            shards.insert(Layout::shard(name));
        }
    }
    Ok(())
}

/// What was swept since it was listed is not missing.
fn unless_gone<T>(result: DiskResult<T>) -> DiskResult<Option<T>> {
    match result {
        Err(DiskError { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
