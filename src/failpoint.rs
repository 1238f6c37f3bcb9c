//! Named places at which the process can be made to kill itself, for tests of a crash right there.
//!
//! With the cargo feature `failpoints`, `LOGMILL_FAILPOINT=<name>:<n>` sends the process a SIGKILL
//! when it reaches that place for the n-th time in its life. Without the feature there is nothing:
//! [`reach`] is empty, and the variable is as foreign as any other.

macro_rules! failpoints {
    ($($point:ident $name:literal $place:literal;)*) => {
        /// A place at which the process can be made to die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Failpoint {
            $(#[doc = $place] $point,)*
        }

        impl Failpoint {
            /// All of them, in the order in which a batch passes them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// What it is called in `LOGMILL_FAILPOINT`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

failpoints! {
    BeforePageWrite "before-page-write" "Entries are about to be written to a claim page.";
    AfterPageWrite "after-page-write" "They are written, no name leads to them yet.";
    BeforeLink "before-link" "A name is about to be linked to a claim page.";
    AfterLink "after-link" "It is linked; others of its group may not be.";
    BeforeRelink "before-relink" "A name is taken from a page and not yet linked to the next.";
    BeforeJournalWrite "before-journal-write" "A group is claimed; its frame is not written.";
    BeforeJournalSync "before-journal-sync" "A frame is written and not synced.";
    AfterJournalSync "after-journal-sync" "A frame is durable; nobody knows of it.";
    BeforeDispatch "before-dispatch" "A message of a group is about to go to its worker.";
    AfterDispatch "after-dispatch" "It is on its way; others of the group may not be.";
    BeforeReply "before-reply" "A batch of a dispatched group is about to be answered.";
    AfterReply "after-reply" "Its answer is on its way; others of the group may not be.";
    BeforeBarrier "before-barrier" "A worker is about to be sent a barrier.";
    AfterBarrier "after-barrier" "A barrier is in all queues; nobody has handed over for certain.";
    BeforeClaimSync "before-claim-sync" "All workers have handed over; claims are not durable.";
    BetweenClaimSyncs "between-claim-syncs" "Claim pages are durable, their names are not.";
    AfterClaimSync "after-claim-sync" "All claims of a checkpoint are durable.";
    BeforeCommit "before-commit" "A checkpoint's transaction is about to be committed.";
    AfterCommit "after-commit" "It is durable; no worker knows of it.";
    AfterArchive "after-archive" "A segment that the store holds is archived, and still in the journal.";
    BeforeReclaim "before-reclaim" "A segment that the store holds is about to be taken back.";
    AfterReclaim "after-reclaim" "It is taken back; others of the checkpoint may not be.";
    BeforeReuse "before-reuse" "A spare has the next segment's header, and still its old name.";
    AfterSweep "after-sweep" "A name past its retention is removed; its page is still there.";
    BeforeReplay "before-replay" "A frame is about to be replayed.";
    AfterReplay "after-replay" "It is claimed and counted again, in memory only.";
    BetweenReplays "between-replays" "A checkpoint amid a long replay is durable.";
    BeforeRecoveryCheckpoint "before-recovery-checkpoint" "All frames are replayed; nothing is committed.";
    AfterRecoveryCheckpoint "after-recovery-checkpoint" "Recovery's closing checkpoint is durable.";
}

/// Comes by a place. Kills the process if that is what it was started for.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_: Failpoint) {}

#[cfg(feature = "failpoints")]
pub use armed::reach;

/// Whether an environment variable is this module's.
#[must_use]
pub fn owns_variable(name: &str) -> bool {
    cfg!(feature = "failpoints") && name == VARIABLE
}

/// `<name>:<n>`
const VARIABLE: &str = "LOGMILL_FAILPOINT";

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Failpoint, VARIABLE};

    /// The place at which this process dies, and the times it still passes it.
    struct Armed {
        point: Failpoint,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    /// Comes by a place. Kills the process if that is what it was started for.
    ///
    /// # Panics
    /// If the variable is not `<name>:<n>`: a crash that is asked for must not be left out.
    pub fn reach(point: Failpoint) {
        let armed = ARMED.get_or_init(|| {
            let text = std::env::var(VARIABLE).ok()?;
            Some(parse(&text).unwrap_or_else(|| panic!("{VARIABLE}={text} is not <name>:<n>")))
        });
        let Some(armed) = armed.as_ref().filter(|armed| armed.point == point) else { return };
        if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        }
    }

    fn parse(text: &str) -> Option<Armed> {
        let (name, times) = text.split_once(':')?;
        let point = *Failpoint::ALL.iter().find(|point| point.name() == name)?;
        let left = times.parse().ok().filter(|times| *times > 0)?;
        Some(Armed { point, left: AtomicU64::new(left) })
    }
}
