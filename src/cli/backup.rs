//! `logmill backup`: asks the running server for a copy, or makes one where none runs.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::progress::{self, Progress};
use super::{CopyArgs, Exit};
use crate::backup::Backup;
use crate::config::Effective;
use crate::control::{self, AskError, Reply, Request};
use crate::disk::Layout;
use crate::error::EngineError;
use crate::store::Store;

/// Copies the data directory; says where to when it is done.
pub fn run(args: &CopyArgs, effective: &Effective, out: &mut impl Write) -> Exit {
    let progress = Progress::new();
    let copied = copy(args, effective, &progress);
    progress.end();
    match copied {
        Ok(()) => {
            writeln!(out, "copied to {}", args.to.display()).ok();
            Exit::Ok
        }
        Err(error) => progress::fail(&error),
    }
}

fn copy(args: &CopyArgs, effective: &Effective, progress: &Progress) -> anyhow::Result<()> {
    let to = std::path::absolute(&args.to).context("cannot tell where the copy goes")?;
    let layout = Layout::new(&effective.config.server.data_dir);
    let told = |reply| {
        if let Reply::Progress { stage, done, all } = reply {
            progress.tell(&stage, done, all);
        }
        Ok(())
    };
    match control::ask(&layout, &Request::Backup(to.clone()), told) {
        Err(AskError::NotRunning { .. }) => copy_stopped(effective, &to, progress),
        asked => Ok(asked?),
    }
}

/// Recovers the directory as a start would, then copies it.
fn copy_stopped(effective: &Effective, to: &Path, progress: &Progress) -> anyhow::Result<()> {
    let recovery = progress::recovery(&effective.config, false, progress);
    if !recovery.disk.list(recovery.layout.root()).is_ok_and(|names| !names.is_empty()) {
        return Err(EngineError::NotOurs { path: recovery.layout.root().to_path_buf() }.into());
    }
    let backup = Backup::begin(Arc::clone(&recovery.disk), recovery.layout.clone(), to)?;
    let mut recovered = recovery.run()?;
    recovered.keeper.reclaim([]).map_err(EngineError::from)?;
    let frozen = Store::freeze(&recovered.store).map_err(EngineError::from)?;
    backup.write(&frozen, &|stage, done, all| progress.tell(stage.name(), done, all))?;
    Ok(())
}
