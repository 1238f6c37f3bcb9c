//! redb on the engine's disk handle, so that a simulated disk can sit under the store too.

use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, StorageBackend};

use crate::disk::{DiskFile, DiskResult};

/// The store's file. The data directory's lock keeps other processes away from it.
#[derive(Debug)]
pub(super) struct DiskBackend {
    file: Arc<dyn DiskFile>,
}

impl DiskBackend {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file }
    }
}

/// The database, whose closing panics after it has panicked in use.
pub(super) struct Contained(Option<Database>);

impl Contained {
    pub(super) fn new(database: Database) -> Self {
        Self(Some(database))
    }
}

impl Deref for Contained {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Contained {
    fn deref_mut(&mut self) -> &mut Database {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // The first panic was told as an error; this one says nothing new.
        catch_unwind(AssertUnwindSafe(|| drop(self.0.take()))).ok();
    }
}

/// redb speaks `io::Error` and shows no cause: path, action and reason stay in its text.
fn io<T>(result: DiskResult<T>) -> io::Result<T> {
    result
        .map_err(|error| io::Error::new(error.source.kind(), format!("{error}: {}", error.source)))
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        io(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        io(self.file.read_at(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        io(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        io(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        io(self.file.write_at(offset, data))
    }
}
