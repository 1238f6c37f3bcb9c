//! Forgetting keys: page by page, oldest first, a few names between groups.

use std::time::Duration;

use super::page::PageHeader;
use super::store::{ClaimStore, is_old};
use crate::disk::{DiskResult, Layout, PageId};
use crate::failpoint::{self, Failpoint};
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
        let made = std::mem::take(&mut self.made);
        if self.sweep.is_none() {
            let total = self.total_uptime(uptime);
            let too_many = self.keys_held > retention.keys_max;
            // A page of few keys is closed by age here, or its keys would be kept for ever.
            if self.current.as_ref().is_some_and(|page| is_old(page, total)) {
                self.close_page();
            }
            let Some(oldest) = self.closed.front() else { return Ok(Swept::Nothing) };
            let created = Duration::from_millis(oldest.header.created_uptime_ms);
            let expires = created.saturating_add(limits::CLAIM_PAGE_AGE_MAX + retention.age);
            early = total < expires;
            if early && !too_many {
                return Ok(Swept::Nothing);
            }
            let page = oldest.header.id;
            let mut names: Vec<_> = self.load(page)?.names().collect();
            // One directory after the other, and the same each time.
            names.sort_unstable();
            self.sweep = Some(Sweep { page, names });
        }
        self.sweep_some(made)?;
        Ok(Swept::Some { early })
    }

    fn sweep_some(&mut self, made: usize) -> DiskResult<()> {
        let Some(mut sweep) = self.sweep.take() else { return Ok(()) };
        // Faster than names are made, or the bounds of age and number would not hold under load.
        let names = limits::CLAIM_SWEEP_NAMES_PER_STEP + 2 * made;
        for _ in 0..names {
            match sweep.names.pop() {
                Some(name) => self.forget(name, sweep.page)?,
                None => {
                    self.closed.pop_front();
                    self.seals.remove(&sweep.page);
                    self.dirty.condemned.push(sweep.page);
                    return Ok(());
                }
            }
        }
        self.sweep = Some(sweep);
        Ok(())
    }

    /// Removes a name if it still leads to the page. It may have been taken over by another, whose
    /// keys must not go if its header is damaged.
    pub(super) fn forget(&mut self, name: u128, page: PageId) -> DiskResult<()> {
        let path = self.layout.name(name);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let leads_here = match PageHeader::read(file.as_ref())? {
            Some(header) => header.id == page,
            // Either page can be the damaged one.
            None => PageHeader::read(self.disk.open(&self.layout.page(page))?.as_ref())?.is_none(),
        };
        if leads_here {
            self.disk.remove(&path)?;
            failpoint::reach(Failpoint::AfterSweep);
            self.keys_held = self.keys_held.saturating_sub(1);
            self.dirty.shards.insert(Layout::shard(name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::claim::{Claim, Lives, Receipt, Seals, Verdict};
    use crate::disk::{Disk, RealDisk};
    use crate::ids::{ContentDigest, Group, Incarnation};

    const HOUR: Duration = Duration::from_secs(3600);

    fn store(layout: &Layout) -> ClaimStore {
        RealDisk.create_dir(&layout.pages()).expect("made");
        for shard in layout.shards() {
            RealDisk.create_dir(&shard).expect("made");
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (lives, seals) = (Lives::new(), Seals::new());
        ClaimStore::open(disk, layout.clone(), Incarnation(1), lives, seals, Duration::ZERO)
            .expect("opened")
    }

    fn claim_all(
        claims: &mut ClaimStore,
        keys: std::ops::Range<u32>,
        group: u64,
        uptime: Duration,
    ) -> Vec<Verdict> {
        let keys: Vec<_> = keys.map(|key| format!("k{key}")).collect();
        let receipt = Receipt { entries: 1, windows: 1 };
        let made: Vec<_> =
            keys.iter().map(|key| Claim::new("c", key, ContentDigest(7), receipt)).collect();
        claims.claim(&made, Group(group), uptime).expect("claimed")
    }

    /// L1: repeating old batches, however often, takes no room.
    #[test]
    fn a_duplicate_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let mut claims = store(&layout);
        let first = claim_all(&mut claims, 0..1_000, 1, Duration::ZERO);
        assert!(first.iter().all(|verdict| *verdict == Verdict::Won));
        // A page of its own for what comes, as after a restart.
        claims.close_page();
        let page = |claims: &ClaimStore| claims.current.as_ref().map(|page| page.index.end());
        let verdicts = claim_all(&mut claims, 0..1_001, 2, Duration::ZERO);
        assert!(verdicts[..1_000].iter().all(|v| matches!(v, Verdict::Duplicate(_))));
        assert_eq!(verdicts[1_000], Verdict::Won);
        assert!(page(&claims).is_some_and(|end| end < 256), "one entry only: {:?}", page(&claims));
    }

    /// A4: what a group needs is made before anything of it is claimed, so that a full disk can
    /// still be answered with 503.
    #[test]
    fn claiming_makes_no_page_that_was_not_reserved() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let mut claims = store(&layout);
        let pages = || RealDisk.list(&layout.pages()).expect("listed").len();
        for group in 0..10_u32 {
            let keys: Vec<_> = (0..1_000).map(|key| format!("{group}-{key}")).collect();
            let receipt = Receipt { entries: 1, windows: 1 };
            let made: Vec<_> =
                keys.iter().map(|key| Claim::new("c", key, ContentDigest(7), receipt)).collect();
            let uptime = HOUR * group;
            claims.reserve(&made, uptime).expect("reserved");
            let before = pages();
            claims.claim(&made, Group(u64::from(group) + 1), uptime).expect("claimed");
            assert_eq!(pages(), before);
        }
    }

    /// L1: one step of sweeping after each group keeps up with groups of any size.
    #[test]
    fn sweeping_keeps_up_with_claiming() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let mut claims = store(&layout);
        let retention = KeyRetention { age: HOUR, keys_max: 2_000 };
        for group in 0..40_u32 {
            // Pages are closed between groups, so that the oldest can be swept.
            let uptime = 2 * HOUR * group;
            claim_all(&mut claims, group * 500..(group + 1) * 500, 1 + u64::from(group), uptime);
            claims.sweep(retention, uptime).expect("swept");
        }
        assert!(claims.keys_held() <= 3_000, "{} keys are held", claims.keys_held());
    }
}
