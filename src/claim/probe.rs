//! A question to the file system, at start: can you decide a race for a name?

use std::io::ErrorKind;
use std::sync::Barrier;

use crate::disk::{Disk, DiskError, Layout, LinkOutcome};
use crate::limits;

/// Why the data directory cannot be used for claims.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The disk failed, which says nothing of links.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Hard links do not work here.
    #[error("the file system of the data directory cannot make hard links")]
    Links(#[source] DiskError),
    /// Links are not exclusive.
    #[error(
        "the file system of the data directory let {winners} of {racers} racing links win one name"
    )]
    NotExclusive {
        /// Links that were told they made the name.
        winners: usize,
        /// Links that were raced.
        racers: usize,
    },
}

/// Races links for one name and expects exactly one winner.
///
/// # Errors
/// [`ProbeError`]: the data directory must be put on another file system.
pub fn probe(disk: &dyn Disk, layout: &Layout, random: u64) -> Result<(), ProbeError> {
    let (page, name) = layout.probe(random);
    disk.create_new(&page, &[], 0)?;
    let racers = limits::CLAIM_PROBE_RACERS;
    let start = Barrier::new(racers);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let race = || {
            start.wait();
            disk.link(&page, &name)
        };
        let threads: Vec<_> = (0..racers).map(|_| scope.spawn(race)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a link does not panic")).collect()
    });
    let mut winners = 0;
    for outcome in outcomes {
        let outcome = outcome.map_err(|error| match error.source.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
            | ErrorKind::TooManyLinks
            | ErrorKind::CrossesDevices => ProbeError::Links(error),
            _ => ProbeError::Disk(error),
        })?;
        winners += usize::from(outcome == LinkOutcome::Created);
    }
    disk.remove(&name)?;
    disk.remove(&page)?;
    if winners == 1 { Ok(()) } else { Err(ProbeError::NotExclusive { winners, racers }) }
}
