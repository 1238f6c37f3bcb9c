//! `logmill rebuild`: a new data directory out of archive and journal.

use std::io::Write;

use super::progress::{self, Progress};
use super::{Exit, RebuildArgs};
use crate::config::Effective;
use crate::disk::Layout;
use crate::error::EngineError;
use crate::journal::History;
use crate::rebuild::{Rebuilt, rebuild};
use crate::recovery::Recovery;

/// Rebuilds into the new directory; says what is in it when it is done.
pub fn run(args: &RebuildArgs, effective: &Effective, out: &mut impl Write) -> Exit {
    let progress = Progress::new();
    let rebuilt = count(args, effective, &progress);
    progress.end();
    match rebuilt {
        Ok(Rebuilt { first, last, .. }) => {
            let to = args.to.display();
            writeln!(out, "groups {} to {} counted into {to}", first.0, last.0).ok();
            Exit::Ok
        }
        Err(error) => progress::fail(&error),
    }
}

fn count(
    args: &RebuildArgs,
    effective: &Effective,
    progress: &Progress,
) -> anyhow::Result<Rebuilt> {
    let source = progress::recovery(&effective.config, args.partial, progress);
    let _lock = source.lock_existing()?;
    let history = History::read(source.disk.as_ref(), &source.layout, &|done, all| {
        progress.tell("archived segments", done, all);
    })
    .map_err(EngineError::from)?;
    let recovery = Recovery { layout: Layout::new(&args.to), ..source.clone() };
    Ok(rebuild(&recovery, &source.layout, &history, args.partial)?)
}
