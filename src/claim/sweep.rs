//! Forgetting keys: page by page, oldest first, a few names between groups.

use std::time::Duration;

use super::page::{PageHeader, PageIndex};
use super::store::{ClaimStore, is_old};
use crate::disk::{DiskResult, Layout, PageId};
use crate::limits;

/// How long, and how many, keys are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRetention {
    /// Counted in uptime of the server, never in wall time.
    pub age: Duration,
    /// Past this many, the oldest page is swept before its time.
    pub keys_max: u64,
}

/// The page being swept.
#[derive(Debug)]
pub(super) struct Sweep {
    page: PageId,
    names: Vec<u128>,
}

/// What one step of sweeping did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// No page is due.
    Nothing,
    /// Some names were looked at; there may be more.
    Some {
        /// Keys that were forgotten before their retention, because there are too many.
        early: bool,
    },
}

impl ClaimStore {
    /// Looks at a few names of the oldest page, if that is due.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sweep(&mut self, retention: KeyRetention, uptime: Duration) -> DiskResult<Swept> {
        let mut early = false;
        if self.sweep.is_none() {
            let total = self.total_uptime(uptime);
            let too_many = self.keys_held > retention.keys_max;
            // A page of few keys is closed by age here, or its keys would be kept for ever.
            if self.current.as_ref().is_some_and(|page| is_old(page, total)) {
                self.close_page();
            }
            let Some(oldest) = self.closed.front() else { return Ok(Swept::Nothing) };
            let made = Duration::from_millis(oldest.header.created_uptime_ms);
            let expires = made.saturating_add(limits::CLAIM_PAGE_AGE_MAX + retention.age);
            early = total < expires;
            if early && !too_many {
                return Ok(Swept::Nothing);
            }
            let page = oldest.header.id;
            let file = self.disk.open(&self.layout.page(page))?;
            let names = PageIndex::load(file.as_ref(), page)?.names().collect();
            self.sweep = Some(Sweep { page, names });
        }
        self.sweep_some()?;
        Ok(Swept::Some { early })
    }

    fn sweep_some(&mut self) -> DiskResult<()> {
        let Some(mut sweep) = self.sweep.take() else { return Ok(()) };
        for _ in 0..limits::CLAIM_SWEEP_NAMES_PER_STEP {
            match sweep.names.pop() {
                Some(name) => self.forget(name, sweep.page)?,
                None => {
                    self.closed.pop_front();
                    self.dirty.condemned.push(sweep.page);
                    return Ok(());
                }
            }
        }
        self.sweep = Some(sweep);
        Ok(())
    }

    /// Removes a name if it still leads to the page, or to one that cannot say what it is: that
    /// proves nothing.
    fn forget(&mut self, name: u128, page: PageId) -> DiskResult<()> {
        let path = self.layout.name(name);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if PageHeader::read(file.as_ref())?.is_none_or(|header| header.id == page) {
            self.disk.remove(&path)?;
            self.keys_held = self.keys_held.saturating_sub(1);
            self.dirty.shards.insert(Layout::shard(name));
        }
        Ok(())
    }
}
