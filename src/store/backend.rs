//! redb on the engine's disk handle, so that a simulated disk can sit under the store too.

use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, StorageBackend};

use super::blocks::Blocks;
use crate::disk::DiskFile;

/// The store's file. The data directory's lock keeps other processes away from it.
#[derive(Debug)]
pub(super) struct DiskBackend(Blocks);

impl DiskBackend {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self(Blocks::new(file))
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

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
