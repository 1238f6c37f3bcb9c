//! Is the store right? Every row is looked at, everything that archive and journal still have is
//! counted again into a store of its own, and the two are compared window by window.
//!
//! Nothing of the data directory is changed but for `recount/`, which is made and removed. Where
//! the archive does not go back to the first group, windows that were begun before it are checked
//! for holding at least what was recounted; all later ones must be equal.

use std::sync::Arc;

use crate::claim::{Claim, ClaimStore, Receipt};
use crate::counts::WindowCounts;
use crate::disk::Layout;
use crate::error::EngineError;
use crate::ids::{CustomerId, Group, Incarnation};
use crate::journal::{ArchiveRetention, FrameReader, History};
use crate::limits;
use crate::rebuild::{RebuildError, Rebuilt, rebuild};
use crate::recovery::Recovery;
use crate::store::{LetterId, Retention, RowFault, Snapshot, Store};
use crate::window::{Minute, Span, WindowSize};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Rows of the store are looked at.
    Rows,
    /// Archived segments are read.
    Archive,
    /// Days of customers are compared.
    Compare,
    /// Claim pages are read.
    Pages,
    /// Groups' keys are looked up.
    Keys,
}

impl Stage {
    /// What its numbers count.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Archive => "archived segments",
            Self::Compare => "days compared",
            Self::Pages => "claim pages",
            Self::Keys => "groups' keys",
        }
    }
}

/// Is told what is being done, how much of it is done, and how much there is.
pub type Watch<'w> = &'w dyn Fn(Stage, u64, u64);

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A row of the store.
    #[error(transparent)]
    Row(#[from] RowFault),
    /// An archived segment does not hold what its name says.
    #[error("the archived segment {0} is damaged")]
    Archive(String),
    /// The journal.
    #[error("{0}")]
    Journal(String),
    /// The store knows more than can be counted again.
    #[error("groups {} to {} are in the store, and neither in archive nor journal", .0.0 + 1, .1.0)]
    Unfounded(Group, Group),
    /// A window of the store is not what archive and journal say (A2, S1).
    #[error("{customer} {start} ({size}): the store has {stored} requests, the journal {counted}")]
    Window {
        /// Whose window.
        customer: CustomerId,
        /// Where it starts.
        start: Minute,
        /// Its size.
        size: WindowSize,
        /// Requests by the store.
        stored: u64,
        /// Requests counted again.
        counted: u64,
    },
    /// A dead letter of the store is not what archive and journal say (A2, S1).
    #[error("the dead letter {0} is not what the journal says")]
    Letter(LetterId),
    /// A claim page is not what was written: keys that were claimed on it cannot be judged.
    #[error("the claim page {0} is damaged")]
    ClaimPage(String),
    /// A batch is counted, and its key is not claimed: a retry would be counted again.
    #[error("the key {key:?} of {customer} is not claimed, its batch is in group {}", group.0)]
    Key {
        /// Whose key.
        customer: String,
        /// The key.
        key: String,
        /// The group of its batch.
        group: Group,
    },
}

/// What an audit saw.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows looked at.
    pub rows: u64,
    /// The groups that were counted again; `None` if there are none.
    pub groups: Option<(Group, Group)>,
    /// Windows that were found equal to the recount.
    pub equal: u64,
    /// Windows begun before the archive, found to hold at least what was recounted.
    pub at_least: u64,
    /// Keys found claimed.
    pub keys: u64,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// All findings.
    pub found: u64,
}

impl Report {
    fn add(&mut self, finding: impl Into<Finding>) {
        self.found += 1;
        if self.findings.len() < limits::AUDIT_FINDINGS_LISTED_MAX {
            self.findings.push(finding.into());
        }
    }
}

/// Checks a data directory on which no server runs. `recovery` says how it is counted.
///
/// # Errors
/// If the directory is not to be had or cannot be read; what is wrong in it is no error but a
/// finding.
pub fn audit(recovery: &Recovery, watch: Watch<'_>) -> Result<Report, EngineError> {
    let (disk, layout) = (&recovery.disk, &recovery.layout);
    let _lock = recovery.lock_existing()?;
    let mut report = Report::default();
    let mut store = Store::open(disk, layout, recovery.store_cache_bytes, recovery.rules.keys)?;
    if !store.is_whole()? {
        report.add(RowFault::Structure);
    }
    let store = Arc::new(store);
    let rows = |done, all| watch(Stage::Rows, done, all);
    report.rows = store.check_rows(&rows, &mut |fault| report.add(fault))?;
    let history = History::read(disk.as_ref(), layout, &|done, all| {
        watch(Stage::Archive, done, all);
    })?;
    for path in &history.damaged {
        report.add(Finding::Archive(path.display().to_string()));
    }
    for damage in &history.damage {
        report.add(Finding::Journal(damage.to_string()));
    }
    if !history.frames.is_empty() {
        compare(recovery, &store, &history, watch, &mut report)?;
    }
    check_claims(recovery, &store, &history, watch, &mut report)?;
    Ok(report)
}

/// Counts everything again and compares.
fn compare(
    recovery: &Recovery,
    store: &Arc<Store>,
    history: &History,
    watch: Watch<'_>,
    report: &mut Report,
) -> Result<(), EngineError> {
    // What is past the checkpoint is for the next start to count.
    let last = store.position()?.group;
    if last < history.first {
        return Ok(());
    }
    report.groups = Some((history.first, history.last.min(last)));
    if last > history.last {
        report.add(Finding::Unfounded(history.last, last));
    }
    let scratch = Layout::new(recovery.layout.recount());
    recovery.disk.remove_tree(scratch.root())?;
    let recount = Recovery {
        layout: scratch.clone(),
        archive: ArchiveRetention::Off,
        retention: Retention::FOREVER,
        until: last,
        repair: true,
        ..recovery.clone()
    };
    let rebuilt = rebuild(&recount, &recovery.layout, history, true);
    let Rebuilt { recovered, first, .. } = rebuilt.map_err(|error| match error {
        RebuildError::Engine(error) => error,
        other => EngineError::Thread { thread: "audit".into(), reason: other.to_string() },
    })?;
    let mut comparison = Comparison {
        stored: store.snapshot()?,
        counted: recovered.store.snapshot()?,
        first,
        report,
    };
    let mut days = store.days()?;
    days.extend(recovered.store.days()?);
    for (done, (day, customer)) in (1..).zip(&days) {
        comparison.day(customer, *day)?;
        watch(Stage::Compare, done, days.len() as u64);
    }
    drop(comparison);
    compare_letters(store, &recovered.store, first, report)?;
    drop(recovered);
    Ok(recovery.disk.remove_tree(scratch.root())?)
}

/// Every dead letter that the store has must be counted again. That it lacks one proves nothing: it
/// may have been counted after all, or dropped, or be past retention.
fn compare_letters(
    stored: &Arc<Store>,
    counted: &Arc<Store>,
    first: Group,
    report: &mut Report,
) -> Result<(), EngineError> {
    let (stored, counted) = (Store::freeze(stored)?, Store::freeze(counted)?);
    let mut after = None;
    loop {
        let letters = match stored.letters(None, after.as_ref(), limits::LETTERS_PER_READ) {
            // The look at the rows has found it.
            Err(error) if error.is_corrupt() => return Ok(()),
            letters => letters?,
        };
        let Some(last) = letters.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for letter in letters.iter().filter(|letter| letter.id.group >= first) {
            if counted.letter(&letter.id)?.as_ref() != Some(letter) {
                report.add(Finding::Letter(letter.id.clone()));
            }
        }
    }
}

struct Comparison<'c> {
    stored: Snapshot<'c>,
    counted: Snapshot<'c>,
    /// The first group that was counted again.
    first: Group,
    report: &'c mut Report,
}

impl Comparison<'_> {
    /// Compares a day of a customer, at the finest size that its windows are kept at.
    fn day(&mut self, customer: &CustomerId, day: Minute) -> Result<(), EngineError> {
        if self.stored.finest(customer, day)? == WindowSize::Day {
            return self.window(customer, WindowSize::Day, day);
        }
        for hour in (0..24).map(|hour| day.plus(60 * hour)) {
            let span = Span::of(WindowSize::Hour, hour);
            if self.stored.finest(customer, hour)? == WindowSize::Hour {
                self.window(customer, WindowSize::Hour, hour)?;
                continue;
            }
            let starts = |snapshot: &Snapshot<'_>| {
                snapshot.starts(customer, WindowSize::Minute, span, 60).map(|page| page.starts)
            };
            let mut minutes = starts(&self.stored)?;
            minutes.extend(starts(&self.counted)?);
            minutes.sort_unstable();
            minutes.dedup();
            for minute in minutes {
                self.window(customer, WindowSize::Minute, minute)?;
            }
        }
        Ok(())
    }

    fn window(
        &mut self,
        customer: &CustomerId,
        size: WindowSize,
        start: Minute,
    ) -> Result<(), EngineError> {
        let stored: WindowCounts = match self.stored.window(customer, size, start) {
            Ok(window) => window.unwrap_or_default(),
            // The look at the rows has found it.
            Err(error) if error.is_corrupt() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let counted = self.counted.window(customer, size, start)?.unwrap_or_default();
        let begun_before = stored.totals.first.is_some_and(|group| group < self.first);
        let is_right =
            if begun_before { stored.covers(&counted) } else { stored.is_same(&counted) };
        match (is_right, begun_before) {
            (true, true) => self.report.at_least += 1,
            (true, false) => self.report.equal += 1,
            (false, _) => {
                let (stored, counted) = (stored.totals.requests, counted.totals.requests);
                let customer = customer.clone();
                self.report.add(Finding::Window { customer, start, size, stored, counted });
            }
        }
        Ok(())
    }
}

/// Reads every claim page, and looks up the key of every batch that cannot have been swept.
fn check_claims(
    recovery: &Recovery,
    store: &Store,
    history: &History,
    watch: Watch<'_>,
    report: &mut Report,
) -> Result<(), EngineError> {
    let position = store.position()?;
    let disk = Arc::clone(&recovery.disk);
    // The life that ran last is entered by the next start; up to the checkpoint it is known.
    let mut lives = store.lives()?;
    lives.insert(position.incarnation, position.group);
    let mut claims = ClaimStore::open(
        Arc::clone(&disk),
        recovery.layout.clone(),
        Incarnation(position.incarnation.0 + 1),
        lives,
        store.seals()?,
        position.uptime,
    )?;
    let broken = claims.broken_seals(&|done, all| watch(Stage::Pages, done, all))?;
    let broken = broken.iter().map(|page| recovery.layout.page(*page));
    for path in claims.damaged().iter().cloned().chain(broken) {
        report.add(Finding::ClaimPage(path.display().to_string()));
    }
    let after = claims.complete_after()?;
    let mut reader = FrameReader::new(disk.as_ref());
    let all = history.frames.len() as u64;
    for (done, frame) in (1..).zip(&history.frames) {
        // What is past the checkpoint is claimed by the next start.
        if frame.group > after && frame.group <= position.group {
            let contents = reader.read(frame)?;
            for record in contents.records().unwrap_or_default() {
                let receipt = Receipt { entries: 0, windows: 0 };
                let claim = Claim::new(record.customer, record.key, record.digest, receipt);
                if claims.holds(&claim)? {
                    report.keys += 1;
                } else {
                    let (customer, key) = (record.customer.into(), record.key.into());
                    report.add(Finding::Key { customer, key, group: frame.group });
                }
            }
        }
        watch(Stage::Keys, done, all);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
