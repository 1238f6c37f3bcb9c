//! The engine's threads: named, and watched: one that ends wrongly poisons the engine.

use std::sync::Arc;
use std::thread::Builder;

use crate::disk::LockGuard;
use crate::error::EngineError;
use crate::status::Status;

/// Poisons the engine if its thread unwinds.
struct Watch {
    status: Arc<Status>,
    thread: String,
    /// The directory is ours until the last thread has ended.
    _lock: Arc<dyn LockGuard>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "it panicked; its message is on stderr".into();
            self.status.fail(EngineError::Thread { thread: self.thread.clone(), reason });
        }
    }
}

/// Starts a thread. An error or a panic in it poisons the engine; nothing limps on.
///
/// # Errors
/// If the operating system gives no thread.
pub(super) fn spawn(
    name: String,
    status: &Arc<Status>,
    lock: &Arc<dyn LockGuard>,
    body: impl FnOnce() -> Result<(), EngineError> + Send + 'static,
) -> Result<(), EngineError> {
    let watch = Watch { status: Arc::clone(status), thread: name.clone(), _lock: Arc::clone(lock) };
    Builder::new()
        .name(name.clone())
        .spawn(move || {
            let watch = watch;
            if let Err(error) = body() {
                watch.status.fail(error);
            }
        })
        .map(|_detached| ())
        .map_err(|error| EngineError::Thread { thread: name, reason: error.to_string() })
}
