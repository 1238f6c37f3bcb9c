//! Claim pages made ahead, by whoever has the time: making one takes several syncs, and no group
//! should wait for them.
//!
//! The store says when it will want a page, somebody makes it, and it is handed in. A group that
//! cannot wait for it has one made at once; then the one that comes too late goes again, because
//! pages are used in the order of their numbers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::page::{OpenPage, PageHeader};
use super::store::ClaimStore;
use crate::disk::{Disk, DiskResult, Layout};
use crate::limits;

/// A page that is to be made.
pub struct PageOrder {
    disk: Arc<dyn Disk>,
    layout: Layout,
    header: PageHeader,
}

/// A page that was made, durable and empty.
#[derive(Debug)]
pub struct MadePage(OpenPage);

impl PageOrder {
    /// Makes the page.
    ///
    /// # Errors
    /// If the disk is full or fails; nothing depends on the page yet.
    pub fn make(&self) -> DiskResult<MadePage> {
        OpenPage::create(self.disk.as_ref(), &self.layout, self.header).map(MadePage)
    }
}

impl fmt::Debug for PageOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageOrder").field("header", &self.header).finish_non_exhaustive()
    }
}

impl ClaimStore {
    /// The page that will be wanted soon, once: whoever takes the order hands in what became of it.
    pub fn page_order(&mut self, uptime: Duration) -> Option<PageOrder> {
        let is_filling = self.current.as_ref().is_some_and(|page| {
            let (names, bytes) = (page.names, page.index.end() as u64);
            names >= limits::CLAIM_PAGE_NAMES_MAX / 2 || bytes >= limits::CLAIM_PAGE_BYTES / 2
        });
        if !is_filling || self.reserved.is_some() || self.is_ordered {
            return None;
        }
        self.is_ordered = true;
        let header = self.next_header(uptime);
        Some(PageOrder { disk: Arc::clone(&self.disk), layout: self.layout.clone(), header })
    }

    /// Takes the page that was ordered. If there was no space for it, a group that needs one finds
    /// that out.
    ///
    /// # Errors
    /// If the disk fails; the process must end.
    pub fn page_made(&mut self, made: DiskResult<MadePage>) -> DiskResult<()> {
        self.is_ordered = false;
        let MadePage(page) = match made {
            Err(error) if error.is_only_full() => return Ok(()),
            made => made?,
        };
        let is_newest = page.header.id.number + 1 == self.next_page;
        if is_newest {
            self.reserved = Some(page);
            return Ok(());
        }
        self.disk.remove(&page.path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::claim::{Claim, Lives, Receipt, Seals, Verdict};
    use crate::disk::RealDisk;
    use crate::ids::{ContentDigest, Group, Incarnation};
    use crate::testing::{DataDir, Op};

    const START: Duration = Duration::ZERO;

    fn begin() -> (DataDir, ClaimStore) {
        let dir = DataDir::with_claims();
        let (disk, layout) = (dir.disk(), dir.layout.clone());
        let (lives, seals) = (Lives::new(), Seals::new());
        let claims = ClaimStore::open(disk, layout, Incarnation(1), lives, seals, START);
        (dir, claims.expect("readable"))
    }

    /// Claims so many new keys, each group as the sequencer does.
    fn fill(claims: &mut ClaimStore, from: u32, count: u32) {
        let keys: Vec<_> = (from..from + count).map(|n| format!("{n}")).collect();
        let receipt = Receipt { entries: 1, windows: 1 };
        for group in keys.chunks(512) {
            let group = group.iter().map(|key| Claim::new("c", key, ContentDigest(1), receipt));
            let group: Vec<_> = group.collect();
            claims.reserve(&group, START).expect("the disk works");
            let verdicts = claims.claim(&group, Group(1), START).expect("the disk works");
            assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Won));
        }
    }

    fn made(dir: &DataDir) -> usize {
        let log = dir.disk.take_log();
        log.iter().filter(|(op, _)| *op == Op::CreateNew).count()
    }

    fn pages(dir: &DataDir) -> usize {
        RealDisk.list(&dir.layout.pages()).expect("readable").len()
    }

    #[test]
    fn a_group_does_not_make_the_page_that_was_made_ahead() {
        let (dir, mut claims) = begin();
        fill(&mut claims, 0, 1_024);
        assert!(claims.page_order(START).is_none(), "there is no hurry");
        fill(&mut claims, 1_024, 1_536);
        let order = claims.page_order(START).expect("the page is filling");
        assert!(claims.page_order(START).is_none(), "one at a time");
        claims.page_made(order.make()).expect("taken");
        assert!(claims.page_order(START).is_none(), "one is enough");
        made(&dir);
        fill(&mut claims, 10_000, 2_048);
        assert_eq!(made(&dir), 0);
        assert_eq!((pages(&dir), claims.keys_held()), (2, 1_024 + 1_536 + 2_048));
    }

    /// A3: pages are swept in the order of their numbers, so one that comes late is not used.
    #[test]
    fn a_page_that_comes_too_late_goes_again() {
        let (dir, mut claims) = begin();
        fill(&mut claims, 0, 2_560);
        let order = claims.page_order(START).expect("the page is filling");
        made(&dir);
        fill(&mut claims, 10_000, 2_048);
        assert_eq!(made(&dir), 1, "nobody waits for it");
        claims.page_made(order.make()).expect("taken back");
        assert_eq!(pages(&dir), 2);
        fill(&mut claims, 20_000, 2_048);
        assert!(claims.page_order(START).is_some(), "the next one is ordered as ever");
    }

    /// A4: a full disk is for the group that needs the page; a broken one is not.
    #[test]
    fn no_space_for_a_page_that_nobody_needs_yet_is_no_failure() {
        for (kind, is_fine) in [(ErrorKind::StorageFull, true), (ErrorKind::Other, false)] {
            let (dir, mut claims) = begin();
            fill(&mut claims, 0, 2_560);
            let order = claims.page_order(START).expect("the page is filling");
            dir.disk.fail(Op::CreateNew, ".page", kind);
            assert_eq!(claims.page_made(order.make()).is_ok(), is_fine, "{kind:?}");
            fill(&mut claims, 10_000, 2_048);
        }
    }
}
