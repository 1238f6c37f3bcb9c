//! What a disk can be asked to do, and how that can fail.

use std::io;

use rustix::io::Errno;

/// A call to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    MakeDir,
    MakeFile,
    Write,
    SetLen,
    SyncData,
    Link,
    Rename,
    Remove,
    SyncDir,
    Open,
    Read,
    List,
    /// Asks for a length, a number of links or free space.
    Measure,
    Lock,
}

impl Op {
    /// Whether it changes the disk or makes a change durable: only then does it matter whether a
    /// crash comes before it or after.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::List | Self::Measure | Self::Lock)
    }

    pub(super) fn action(self) -> &'static str {
        match self {
            Self::MakeDir => "make the directory",
            Self::MakeFile => "make a file in",
            Self::Write => "write",
            Self::SetLen => "resize",
            Self::SyncData => "sync",
            Self::Link => "make the link",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncDir => "sync the directory",
            Self::Open => "open",
            Self::Read => "read",
            Self::List => "list",
            Self::Measure => "measure",
            Self::Lock => "lock",
        }
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The disk is full.
    NoSpace,
    /// The device fails.
    Io,
    /// The file system has turned read-only.
    ReadOnly,
    /// The process has too many files open.
    TooManyFiles,
    /// Part of the data is written, and then the device fails.
    ShortWrite,
}

impl Failure {
    pub(crate) const ALL: [Self; 5] =
        [Self::NoSpace, Self::Io, Self::ReadOnly, Self::TooManyFiles, Self::ShortWrite];

    /// Whether a file system answers a call with it.
    pub(crate) fn can_befall(self, op: Op) -> bool {
        use Op::{Link, List, Lock, MakeDir, MakeFile, Open, Rename, SetLen, SyncData, SyncDir};
        match self {
            Self::Io => true,
            Self::NoSpace => matches!(
                op,
                MakeDir | MakeFile | Op::Write | SetLen | Link | Rename | SyncData | SyncDir | Lock
            ),
            Self::ReadOnly => op.changes() || matches!(op, Open | Lock),
            Self::TooManyFiles => matches!(op, MakeFile | Open | List | SyncDir | Lock),
            Self::ShortWrite => op == Op::Write,
        }
    }

    pub(super) fn error(self) -> io::Error {
        let errno = match self {
            Self::NoSpace => Errno::NOSPC,
            Self::Io | Self::ShortWrite => Errno::IO,
            Self::ReadOnly => Errno::ROFS,
            Self::TooManyFiles => Errno::MFILE,
        };
        errno.into()
    }
}

/// A failure to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The call that fails, counted from the start of the disk.
    pub(crate) at: u64,
    pub(crate) failure: Failure,
    /// Whether all later calls fail too that it can befall and that are of the same kind.
    pub(crate) lasts: bool,
}

/// Waits for a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trap {
    pub(super) op: Op,
    /// What the path contains.
    pub(super) part: &'static str,
    /// How many such calls are let pass.
    pub(super) skip: u32,
    pub(super) spring: Spring,
}

/// What happens then.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spring {
    GoDown,
    Fail,
    /// It is done, and reported as failed.
    FailWhenDone,
}

impl Trap {
    pub(super) fn at(op: Op, part: &'static str, spring: Spring) -> Self {
        Self { op, part, skip: 0, spring }
    }
}
