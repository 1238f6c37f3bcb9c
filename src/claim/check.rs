//! Damage: what an audit looks at, and what a repair gives up.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::page::{Claim, PageHeader};
use super::store::ClaimStore;
use crate::disk::{DiskResult, Layout, PageId};
use crate::ids::{Group, Incarnation};

impl ClaimStore {
    /// Pages that cannot be read. Never by a crash alone: a page is synced before it has a name.
    #[must_use]
    pub fn damaged(&self) -> &[PathBuf] {
        &self.damaged
    }

    /// Puts the damaged pages aside; the keys that were claimed there are free again. Names lead
    /// to a page whatever it is called, so the page itself says that it is given up.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_damaged_aside(&mut self) -> DiskResult<()> {
        for path in std::mem::take(&mut self.damaged) {
            let file = self.disk.open(&path)?;
            PageHeader::give_up(file.as_ref())?;
            file.sync_data()?;
            self.disk.rename(&path, &Layout::aside(&path))?;
            self.disk.sync_dir(&self.layout.pages())?;
        }
        Ok(())
    }

    /// Removes the pages that no name leads to: their keys were claimed again by a later life, or
    /// were swept by one that was killed. A process that is killed again and again would fill the
    /// disk with them. A power cut may bring a name back to such a page: it was swept, or its group
    /// is in no checkpoint and is claimed again.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn remove_nameless_pages(&mut self) -> DiskResult<()> {
        for page in std::mem::take(&mut self.closed) {
            let path = self.layout.page(page.header.id);
            // One link is the page's own name.
            if self.disk.link_count(&path)? > 1 {
                self.closed.push_back(page);
                continue;
            }
            self.disk.remove(&path)?;
            self.unseal(&[page.header.id]);
        }
        Ok(())
    }

    /// The pages of earlier lives that have damage before their seals. Reads all of them, and
    /// tells how many are done of how many.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn broken_seals(&self, progress: &dyn Fn(u64, u64)) -> DiskResult<Vec<PageId>> {
        let mut broken = Vec::new();
        for (done, page) in (1..).zip(&self.closed) {
            if self.load(page.header.id)?.is_damaged {
                broken.push(page.header.id);
            }
            progress(done, self.closed.len() as u64);
        }
        Ok(broken)
    }

    /// Takes what can be read of these pages for all that was there: the other keys are free.
    pub fn unseal(&mut self, pages: &[PageId]) {
        for page in pages {
            self.seals.remove(page);
        }
        self.dirty.unsealed.extend(pages);
    }

    /// Frees the keys of groups whose batches are lost, so that they can be sent again.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn forget_groups(&mut self, lost: &[RangeInclusive<Group>]) -> DiskResult<()> {
        for page in self.closed.clone() {
            let id = page.header.id;
            for name in self.load(id)?.names_of(lost) {
                self.forget(name, id)?;
            }
        }
        Ok(())
    }

    /// Whether a key is held, for whatever content.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn holds(&mut self, claim: &Claim<'_>) -> DiskResult<bool> {
        Ok(self.judge(claim)?.is_some())
    }

    /// All keys of groups after this one are held. Sweeping goes page by page, oldest first, so
    /// what it has touched ends with the oldest page that still has a name.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn complete_after(&self) -> DiskResult<Group> {
        let mut after = None;
        for page in &self.closed {
            let id = page.header.id;
            let path = self.layout.page(id);
            let index = self.load(id)?;
            let Some((first, last)) = index.groups() else { continue };
            // One link is the page's own name.
            let names = self.disk.link_count(&path)?.saturating_sub(1);
            if names < index.names().count() as u64 {
                after = after.max(Some(last));
            } else if id != (PageId { incarnation: Incarnation(1), number: 0 }) {
                // The page before may have had some of its first group.
                after = after.max(Some(first));
            }
            if names > 0 {
                return Ok(after.unwrap_or_default());
            }
        }
        Ok(after.unwrap_or(Group(u64::MAX)))
    }
}
