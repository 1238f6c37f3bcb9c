//! Claiming: write the entries, link the names, judge what exists.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::page::{Claim, OpenPage, PageHeader, PageIndex, Receipt, Seal};
use super::sweep::Sweep;
use crate::disk::{Disk, DiskFile, DiskResult, Layout, LinkOutcome, PageId};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Group, Incarnation};
use crate::limits;

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key is new and now this batch's.
    Won,
    /// The key was taken by a batch of the same content, which got this answer.
    Duplicate(Receipt),
    /// The key was taken by a batch of other content (A3).
    Conflict,
    /// The key was taken, and what was written of it cannot be read.
    Unreadable,
}

/// The last group of every life that has ended; what tells a claim that counts from a void one.
pub type Lives = BTreeMap<Incarnation, Group>;

/// The seals of all pages that a checkpoint has made durable.
pub type Seals = BTreeMap<PageId, Seal>;

/// A page that is not appended to any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedPage {
    pub(super) header: PageHeader,
}

/// All claims. Owned by the sequencer, the only claimer.
pub struct ClaimStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) layout: Layout,
    incarnation: Incarnation,
    lives: Lives,
    /// Uptime of the server over its earlier lives.
    uptime_before: Duration,
    pub(super) current: Option<OpenPage>,
    /// Made ahead, for when the current page is full.
    pub(super) reserved: Option<OpenPage>,
    /// Somebody makes a page.
    pub(super) is_ordered: bool,
    pub(super) next_page: u64,
    /// Oldest first.
    pub(super) closed: VecDeque<ClosedPage>,
    /// Pages whose headers are damaged: what was claimed there cannot be judged.
    pub(super) damaged: Vec<PathBuf>,
    pub(super) seals: Seals,
    /// Pages read to judge duplicates, the most recent last.
    cache: VecDeque<PageIndex>,
    pub(super) keys_held: u64,
    /// Names made since the last step of sweeping.
    pub(super) made: usize,
    pub(super) dirty: ClaimSync,
    pub(super) sweep: Option<Sweep>,
}

impl fmt::Debug for ClaimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimStore")
            .field("incarnation", &self.incarnation)
            .field("keys_held", &self.keys_held)
            .finish_non_exhaustive()
    }
}

/// What has to be synced so that the claims made since the last checkpoint are durable.
#[derive(Debug, Default)]
pub struct ClaimSync {
    /// Each page that was appended to, and its end.
    pub(super) pages: BTreeMap<PageId, (Arc<dyn DiskFile>, Seal)>,
    pub(super) shards: BTreeSet<u8>,
    /// Pages whose names are all removed; the files go once that is durable.
    pub(super) condemned: Vec<PageId>,
    /// Pages that have a seal in the store and none here.
    pub(super) unsealed: Vec<PageId>,
}

impl ClaimSync {
    /// Syncs pages, then names, then removes the pages that are swept.
    ///
    /// # Errors
    /// If the disk fails. IMPORTANT: not to be retried; the process must end.
    pub fn run(&self, disk: &dyn Disk, layout: &Layout) -> DiskResult<()> {
        for (file, _) in self.pages.values() {
            file.sync_data()?;
        }
        failpoint::reach(Failpoint::BetweenClaimSyncs);
        for shard in &self.shards {
            disk.sync_dir(&layout.names(*shard))?;
        }
        for page in &self.condemned {
            disk.remove(&layout.page(*page))?;
        }
        Ok(())
    }

    /// What the store has to keep of pages from then on; `None` for those that are no more.
    pub fn seals(&self) -> impl Iterator<Item = (PageId, Option<Seal>)> {
        let sealed = self.pages.iter().map(|(id, (_, seal))| (*id, Some(*seal)));
        let unsealed = self.condemned.iter().chain(&self.unsealed);
        sealed.chain(unsealed.map(|id| (*id, None)))
    }
}

impl ClaimStore {
    /// Opens the claims for one life of the process.
    ///
    /// # Errors
    /// If the directories cannot be read.
    pub fn open(
        disk: Arc<dyn Disk>,
        layout: Layout,
        incarnation: Incarnation,
        lives: Lives,
        mut seals: Seals,
        uptime_before: Duration,
    ) -> DiskResult<Self> {
        let (mut closed, mut damaged) = (Vec::new(), Vec::new());
        let mut keys_held = 0;
        for name in disk.list(&layout.pages())? {
            let Some(id) = Layout::parse_page(&name) else { continue };
            let path = layout.page(id);
            match PageHeader::read(disk.open(&path)?.as_ref())? {
                Some(header) if header.id == id => {
                    // One link is the page's own name.
                    keys_held += disk.link_count(&path)?.saturating_sub(1);
                    closed.push(ClosedPage { header });
                }
                _ => damaged.push(path),
            }
        }
        // As they were made, and so as their groups are: a crash sets uptime back a little.
        closed.sort_by_key(|page| page.header.id);
        // A crash may come between the end of a swept page and the checkpoint that says so.
        let is_there = |id: &PageId| closed.binary_search_by_key(id, |page| page.header.id).is_ok();
        let unsealed = seals.extract_if(.., |id, _| !is_there(id)).map(|(id, _)| id).collect();
        Ok(Self {
            disk,
            layout,
            incarnation,
            lives,
            uptime_before,
            current: None,
            reserved: None,
            is_ordered: false,
            next_page: 0,
            closed: closed.into(),
            damaged,
            seals,
            cache: VecDeque::new(),
            keys_held,
            made: 0,
            dirty: ClaimSync { unsealed, ..ClaimSync::default() },
            sweep: None,
        })
    }

    /// Makes sure that the keys of a group can be claimed without making a page, the one thing in
    /// it that takes space worth speaking of. Nothing has been claimed when this fails.
    ///
    /// # Errors
    /// If a new page is needed and cannot be made; the call may be repeated.
    pub fn reserve(&mut self, claims: &[Claim<'_>], uptime: Duration) -> DiskResult<()> {
        let total = self.total_uptime(uptime);
        let fits = |page: &OpenPage| !is_old(page, total) && page.fitting(claims) == claims.len();
        // A page dates its keys: one that waited would have them expire before their time.
        if let Some(old) = self.reserved.take_if(|page| is_old(page, total)) {
            // It is younger than the current page, which must be closed before it.
            self.close_page();
            self.closed.push_back(ClosedPage { header: old.header });
        }
        if self.reserved.is_none() && !self.current.as_ref().is_some_and(fits) {
            self.reserved = Some(self.make_page(uptime)?);
        }
        Ok(())
    }

    /// Claims the keys of a group, in order; what is won counts once the group is synced.
    ///
    /// # Errors
    /// If the disk fails. IMPORTANT: the caller must end the process: some keys may be claimed.
    pub fn claim(
        &mut self,
        claims: &[Claim<'_>],
        group: Group,
        uptime: Duration,
    ) -> DiskResult<Vec<Verdict>> {
        let mut verdicts = Vec::with_capacity(claims.len());
        while let Some(first) = claims.get(verdicts.len()) {
            // A key whose entry is on the page takes no other there.
            if self.current.as_ref().is_some_and(|page| page.index.contains(first.name))
                && let Some(verdict) = self.judge(first)?
            {
                verdicts.push(verdict);
                continue;
            }
            let before = verdicts.len();
            let written = self.write_entries(&claims[before..], group, uptime)?;
            for claim in written {
                verdicts.push(self.link_or_judge(claim)?);
            }
            self.take_back_lost(written, &verdicts[before..], group)?;
        }
        Ok(verdicts)
    }

    /// Takes the entries off the page that are of keys which were taken before. They must not fill
    /// pages: those are kept as long as keys are, and a sender can repeat itself without end.
    fn take_back_lost(
        &mut self,
        written: &[Claim<'_>],
        verdicts: &[Verdict],
        group: Group,
    ) -> DiskResult<()> {
        if verdicts.iter().all(|verdict| *verdict == Verdict::Won) {
            return Ok(());
        }
        let won = written.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Won);
        let won: Vec<_> = won.map(|(claim, _)| *claim).collect();
        let page = self.current.as_mut().expect("it was written to just now");
        page.replace(written, &won, group)?;
        self.dirty.pages.insert(page.header.id, (Arc::clone(&page.file), page.index.seal()));
        Ok(())
    }

    /// Claims the keys of a group that is in the journal, whoever holds their names: a restarted
    /// process relies on no byte that it has not itself made durable.
    ///
    /// # Errors
    /// As for [`ClaimStore::claim`].
    pub fn claim_again(
        &mut self,
        claims: &[Claim<'_>],
        group: Group,
        uptime: Duration,
    ) -> DiskResult<()> {
        let mut rest = claims;
        while !rest.is_empty() {
            let written = self.write_entries(rest, group, uptime)?;
            for claim in written {
                if self.link(claim.name)? == LinkOutcome::Exists {
                    self.replace(claim.name)?;
                }
            }
            rest = &rest[written.len()..];
        }
        Ok(())
    }

    /// The oldest life that a page is of.
    #[must_use]
    pub fn oldest_incarnation(&self) -> Option<Incarnation> {
        self.closed.iter().map(|page| page.header.id.incarnation).min()
    }

    /// Says with which group each earlier life ended; known once replay has ended.
    pub fn set_lives(&mut self, lives: Lives) {
        self.lives = lives;
    }

    /// How many keys are held.
    #[must_use]
    pub fn keys_held(&self) -> u64 {
        self.keys_held
    }

    /// Uptime of the server over all its lives.
    #[must_use]
    pub fn total_uptime(&self, uptime: Duration) -> Duration {
        self.uptime_before + uptime
    }

    /// Hands over what a checkpoint has to sync for all groups claimed so far.
    pub fn take_dirty(&mut self) -> ClaimSync {
        let dirty = std::mem::take(&mut self.dirty);
        for (id, seal) in dirty.seals() {
            match seal {
                Some(seal) => self.seals.insert(id, seal),
                None => self.seals.remove(&id),
            };
        }
        dirty
    }

    /// Reads a page that is not appended to any more.
    pub(super) fn load(&self, page: PageId) -> DiskResult<PageIndex> {
        let file = self.disk.open(&self.layout.page(page))?;
        PageIndex::load(file.as_ref(), page, self.seal_of(page))
    }

    fn seal_of(&self, page: PageId) -> Seal {
        self.seals.get(&page).copied().unwrap_or_default()
    }

    /// Writes the entries of as many of the claims, from the first on, as one page takes.
    fn write_entries<'c, 'a>(
        &mut self,
        claims: &'c [Claim<'a>],
        group: Group,
        uptime: Duration,
    ) -> DiskResult<&'c [Claim<'a>]> {
        let page = self.page_for(&claims[0], uptime)?;
        let fitting = &claims[..page.fitting(claims)];
        failpoint::reach(Failpoint::BeforePageWrite);
        page.append(fitting, group)?;
        failpoint::reach(Failpoint::AfterPageWrite);
        let (id, end) = (page.header.id, (Arc::clone(&page.file), page.index.seal()));
        self.dirty.pages.insert(id, end);
        Ok(fitting)
    }

    fn page_for(&mut self, claim: &Claim<'_>, uptime: Duration) -> DiskResult<&mut OpenPage> {
        let full = |page: &OpenPage| page.fitting(std::slice::from_ref(claim)) == 0;
        let total = self.total_uptime(uptime);
        if self.current.as_ref().is_some_and(|page| full(page) || is_old(page, total)) {
            self.close_page();
        }
        if self.current.is_none() {
            self.current = Some(match self.reserved.take() {
                Some(page) => page,
                None => self.make_page(uptime)?,
            });
        }
        Ok(self.current.as_mut().expect("made just now"))
    }

    fn make_page(&mut self, uptime: Duration) -> DiskResult<OpenPage> {
        let header = self.next_header(uptime);
        OpenPage::create(self.disk.as_ref(), &self.layout, header)
    }

    /// What the next page says of itself; its number is used from here on.
    pub(super) fn next_header(&mut self, uptime: Duration) -> PageHeader {
        let id = PageId { incarnation: self.incarnation, number: self.next_page };
        self.next_page += 1;
        PageHeader { id, created_uptime_ms: millis(self.total_uptime(uptime)) }
    }

    pub(super) fn close_page(&mut self) {
        if let Some(page) = self.current.take() {
            self.closed.push_back(ClosedPage { header: page.header });
            self.remember(page.index);
        }
    }

    fn link_or_judge(&mut self, claim: &Claim<'_>) -> DiskResult<Verdict> {
        if self.link(claim.name)? == LinkOutcome::Created {
            return Ok(Verdict::Won);
        }
        if let Some(verdict) = self.judge(claim)? {
            return Ok(verdict);
        }
        self.replace(claim.name)?;
        Ok(Verdict::Won)
    }

    fn link(&mut self, name: u128) -> DiskResult<LinkOutcome> {
        let page = self.current.as_ref().expect("entries are written before names are linked");
        failpoint::reach(Failpoint::BeforeLink);
        let outcome = self.disk.link(&page.path, &self.layout.name(name))?;
        if outcome == LinkOutcome::Created {
            self.keys_held += 1;
            self.made += 1;
            self.dirty.shards.insert(Layout::shard(name));
            failpoint::reach(Failpoint::AfterLink);
        }
        Ok(outcome)
    }

    /// Takes a name over to the current page.
    fn replace(&mut self, name: u128) -> DiskResult<()> {
        self.disk.remove(&self.layout.name(name))?;
        failpoint::reach(Failpoint::BeforeRelink);
        self.keys_held = self.keys_held.saturating_sub(1);
        let outcome = self.link(name)?;
        assert_eq!(outcome, LinkOutcome::Created, "the sequencer is the only claimer");
        Ok(())
    }

    /// What the page behind the claim's name says of its key; `None` if there is no such name,
    /// or the claim behind it is void.
    pub(super) fn judge(&mut self, claim: &Claim<'_>) -> DiskResult<Option<Verdict>> {
        let file = match self.disk.open(&self.layout.name(claim.name)) {
            Ok(file) => file,
            Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(header) = PageHeader::read(file.as_ref())? else {
            let is_free = PageHeader::is_given_up(file.as_ref())?;
            return Ok((!is_free).then(|| self.unreadable(claim)));
        };
        let last_group = self.last_group_of(header.id.incarnation);
        let page = self.page_index(header.id, file.as_ref())?;
        Ok(match page.find(claim) {
            Some(entry) if entry.group > last_group => None,
            Some(entry) if entry.digest == claim.digest => Some(Verdict::Duplicate(entry.receipt)),
            Some(_) => Some(Verdict::Conflict),
            None => page.is_damaged.then(|| self.unreadable(claim)),
        })
    }

    fn unreadable(&self, claim: &Claim<'_>) -> Verdict {
        let name = self.layout.name(claim.name);
        tracing::error!(
            name = %name.display(),
            "a key was sent whose claim page is damaged; nothing is stored under it until a start \
             with --repair gives up the keys that cannot be read"
        );
        Verdict::Unreadable
    }

    fn last_group_of(&self, incarnation: Incarnation) -> Group {
        if incarnation == self.incarnation {
            // What is claimed in this life is answered only after its group's sync.
            return Group(u64::MAX);
        }
        // A life that recovery knows nothing of accepted nothing.
        self.lives.get(&incarnation).copied().unwrap_or_default()
    }

    fn page_index(&mut self, id: PageId, file: &dyn DiskFile) -> DiskResult<&PageIndex> {
        if self.current.as_ref().is_some_and(|page| page.header.id == id) {
            return Ok(&self.current.as_ref().expect("looked at just now").index);
        }
        let index = match self.cache.iter().position(|page| page.id == id) {
            Some(at) => self.cache.remove(at).expect("found just now"),
            None => PageIndex::load(file, id, self.seal_of(id))?,
        };
        self.remember(index);
        Ok(self.cache.back().expect("remembered just now"))
    }

    fn remember(&mut self, index: PageIndex) {
        if self.cache.len() == limits::CLAIM_PAGE_CACHE_MAX {
            self.cache.pop_front();
        }
        self.cache.push_back(index);
    }
}

/// Whether a page must be closed, so that its first key can expire.
pub(super) fn is_old(page: &OpenPage, total_uptime: Duration) -> bool {
    let created = Duration::from_millis(page.header.created_uptime_ms);
    total_uptime >= created.saturating_add(limits::CLAIM_PAGE_AGE_MAX)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
