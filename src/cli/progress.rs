//! A progress bar on stderr, and how the commands that work on a data directory end.

use std::io::{self, Write};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::Exit;
use crate::config::Config;
use crate::disk::RealDisk;
use crate::error::{EngineError, Kind};
use crate::recovery::Recovery;
use crate::service;
use crate::status::Status;

/// One bar for all stages of a command; nothing where stderr is no terminal.
#[derive(Debug, Clone)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} eta {eta}");
        let bar = ProgressBar::new(0);
        Self(match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    pub(super) fn tell(&self, stage: &str, done: u64, all: u64) {
        if self.0.message() != stage {
            self.0.set_message(stage.to_owned());
            self.0.reset();
        }
        self.0.set_length(all);
        self.0.set_position(done);
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Recovery of the configured data directory, by one worker, that tells its progress.
pub(super) fn recovery(config: &Config, repair: bool, progress: &Progress) -> Recovery {
    const PARTITIONS: u16 = 1;
    let status = Arc::new(Status::new(PARTITIONS, service::ceilings(config)));
    let bar = progress.clone();
    status.watch_replay(move |done, all| bar.tell("groups counted", done, all));
    service::recovery(config, PARTITIONS, repair, &status, Arc::new(RealDisk))
}

/// Says what went wrong, and what to do where that is known.
pub(super) fn fail(error: &anyhow::Error) -> Exit {
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "error: {error:#}").ok();
    let engine = error.chain().find_map(|cause| cause.downcast_ref::<EngineError>());
    match engine {
        Some(engine) => {
            writeln!(stderr, "hint: {}", engine.hint()).ok();
            if engine.kind() == Kind::Invalid { Exit::Usage } else { Exit::Findings }
        }
        None => Exit::Findings,
    }
}
