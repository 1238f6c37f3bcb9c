//! SIGINT and SIGTERM for commands that go on until they are asked to end.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// From now on the first of these signals asks for an end in good order, and a second one ends the
/// process at once, with the exit code that shells give to who dies of it.
pub(super) fn ask_at_first(ask: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    let wait = move || {
        let mut next = || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                }
            })
        };
        next();
        ask();
        std::process::exit(128 + next().as_raw_value());
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}
