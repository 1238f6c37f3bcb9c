//! One world: a disk, a clock, what senders know, and the lives of processes on that disk.

use std::sync::Arc;
use std::time::Duration;

use super::disk::{Cut, SimDisk};
use super::machine::Machine;
use super::oracle::{Moment, Oracle, RETENTION};
use super::script::{Step, mended};
use crate::audit::audit;
use crate::claim::KeyRetention;
use crate::clock::Clock;
use crate::counts::KeyLimits;
use crate::disk::Layout;
use crate::entropy::Entropy;
use crate::error::EngineError;
use crate::ids::{AcceptTime, Group};
use crate::journal::{ArchiveRetention, Rules};
use crate::recovery::Recovery;
use crate::status::{Ceilings, Status};
use crate::store::{Retention, StoredLetter};
use crate::testing::{ManualClock, SeededEntropy};

/// 2025-12-28T18:03:00Z
pub(super) const START_MS: u64 = 1_766_944_980_000;
const DAY: Duration = Duration::from_secs(86_400);
pub(super) const KEYS: KeyLimits = KeyLimits { paths: 1_000, agents: 100 };
/// Frames of three small groups.
const SEGMENT_BYTES: u64 = 16 * 1_024;

pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) clock: Arc<ManualClock>,
    pub(super) oracle: Oracle,
    pub(super) partitions: u16,
    pub(super) rules: Rules,
    pub(super) repair: bool,
    pub(super) archive: ArchiveRetention,
    seed: u64,
    /// Uptime of all lives that have ended.
    before: Duration,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::default(),
            clock: Arc::new(ManualClock::at(AcceptTime(START_MS))),
            oracle: Oracle::default(),
            partitions: 2,
            rules: Rules { grace: Duration::from_secs(60), keys: KEYS, paths: 0 },
            repair: false,
            archive: ArchiveRetention::Off,
            seed,
            before: Duration::ZERO,
        }
    }

    /// One in which a process has been, so that its first start is not looked at again.
    pub(super) fn started(seed: u64) -> Self {
        let mut world = Self::new(seed);
        drop(world.boot().expect("an empty disk"));
        world
    }

    pub(super) fn fork(&self) -> Self {
        let clock = ManualClock::at(self.clock.wall());
        clock.set_uptime(self.clock.uptime());
        Self {
            disk: self.disk.fork(),
            clock: Arc::new(clock),
            oracle: self.oracle.clone(),
            ..*self
        }
    }

    /// This world after its process, or its power, is gone. The seed is for what comes.
    pub(super) fn after(mut self, cut: Cut, seed: u64) -> Self {
        self.disk = self.disk.after(cut, &SeededEntropy::seeded(seed));
        self.seed = seed;
        self
    }

    pub(super) fn recovery(&self) -> Recovery {
        let ceilings = Ceilings { free_bytes: 0, journal_bytes: u64::MAX, memory_bytes: u64::MAX };
        Recovery {
            disk: Arc::new(self.disk.clone()),
            layout: Layout::new("data"),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::seeded(self.seed)),
            status: Arc::new(Status::new(self.partitions, ceilings)),
            partitions: self.partitions,
            rules: self.rules,
            retention: Retention { minutes: 90 * DAY, hours: 730 * DAY, ..Retention::FOREVER },
            checkpoint_memory_bytes: 3_000,
            segment_bytes: SEGMENT_BYTES,
            archive: self.archive,
            store_cache_bytes: 1 << 20,
            until: Group(u64::MAX),
            repair: self.repair,
        }
    }

    /// Begins a life.
    pub(super) fn boot(&mut self) -> Result<Machine, EngineError> {
        self.before = self.now();
        self.clock.set_uptime(Duration::ZERO);
        // No two lives draw the same numbers.
        self.seed = SeededEntropy::seeded(self.seed).bits();
        let keys = KeyRetention { age: RETENTION, keys_max: 1_000 };
        Machine::boot(&self.recovery(), keys, self.seed)
    }

    /// Uptime of all lives so far.
    pub(super) fn now(&self) -> Duration {
        self.before + self.clock.uptime()
    }

    /// Takes the steps, each to its end, until the machine goes down or there are no more.
    pub(super) fn run(&mut self, machine: &Machine, steps: &[Step]) -> Result<(), EngineError> {
        let run = steps.iter().try_for_each(|step| {
            self.begin(machine, step)?;
            machine.settle()?;
            self.listen(machine);
            Ok(())
        });
        self.listen(machine);
        run
    }

    /// The same, but the next step does not wait for the one before.
    pub(super) fn run_on(
        &mut self,
        machine: &Machine,
        steps: &[Step],
        chance: &SeededEntropy,
    ) -> Result<(), EngineError> {
        let run = steps.iter().try_for_each(|step| {
            self.begin(machine, step)?;
            for _ in 0..chance.below(24) {
                machine.turn()?;
            }
            self.listen(machine);
            Ok(())
        });
        self.listen(machine);
        run
    }

    fn begin(&mut self, machine: &Machine, step: &Step) -> Result<(), EngineError> {
        match step {
            Step::Group(batches) => {
                for batch in batches {
                    self.oracle.sends(batch, self.now());
                    machine.send(batch);
                }
            }
            Step::Checkpoint => machine.ask_for_checkpoint(),
            Step::Sweep => machine.sweep()?,
            Step::Replay(most) => self.replay(machine, *most)?,
            Step::Drop(most) => {
                let mut letters = machine.letters()?;
                letters.truncate(*most);
                self.remove(machine, &letters)?;
            }
            Step::Query => self.oracle.judge(machine, Moment::Busy)?,
            Step::Pass(time) => self.clock.advance(*time),
            Step::Clock(wall) => self.clock.set_wall(*wall),
        }
        Ok(())
    }

    /// Counts dead letters, then removes them: what the control socket does.
    fn replay(&mut self, machine: &Machine, most: usize) -> Result<(), EngineError> {
        for letter in machine.letters()?.into_iter().take(most) {
            let batch = mended(&letter);
            self.oracle.sends(&batch, self.now());
            machine.send(&batch);
            machine.settle()?;
            self.listen(machine);
            // Else there was no room for it.
            if self.oracle.knows(&[batch]) {
                self.remove(machine, std::slice::from_ref(&letter))?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, machine: &Machine, letters: &[StoredLetter]) -> Result<(), EngineError> {
        letters.iter().for_each(|letter| self.oracle.removes(letter));
        let ids: Vec<_> = letters.iter().map(|letter| letter.id.clone()).collect();
        machine.store.remove_letters(&ids)?;
        letters.iter().for_each(|letter| self.oracle.removed(letter));
        Ok(())
    }

    /// Takes what was answered.
    pub(super) fn listen(&mut self, machine: &Machine) {
        for (batch, outcome) in machine.answers() {
            self.oracle.hears(&batch, outcome);
        }
    }

    /// One life of a process: recovery, and as many of the steps as the machine lives to take.
    pub(super) fn live(&mut self, steps: &[Step]) -> Result<(), EngineError> {
        let machine = self.boot()?;
        self.run(&machine, steps)
    }

    /// Recovers, judges, has everything sent again, judges again, and once more after a clean
    /// stop: from then on everything counts exactly once, and nothing is put aside any more.
    pub(super) fn must_recover(&mut self, context: &str) {
        super::in_case(context, || {
            self.recovers().unwrap_or_else(|error| panic!("no recovery: {error}"));
        });
    }

    /// A2, S1: everything counted again out of archive and journal is what the store has, and no
    /// key that a retry would need is free.
    pub(super) fn must_pass_audit(&self) {
        let report = audit(&self.recovery(), &|_, _, _| {}).expect("the disk works");
        assert_eq!(report.findings, []);
        assert_eq!(report.at_least, 0, "all of the history is there");
    }

    fn recovers(&mut self) -> Result<(), EngineError> {
        let machine = self.boot()?;
        self.oracle.judge(&machine, Moment::Quiet)?;
        self.oracle.judge_letters(&machine.letters()?);
        let again = self.oracle.remembered(self.now());
        for some in again.chunks(7) {
            self.run(&machine, &[Step::Group(some.to_vec())])?;
        }
        assert!(self.oracle.knows(&again), "A4: something is neither new nor known");
        self.oracle.judge(&machine, Moment::Quiet)?;
        machine.checkpoint()?;
        self.oracle.judge(&machine, Moment::Quiet)?;
        self.oracle.judge_letters(&machine.letters()?);
        self.replay(&machine, usize::MAX)?;
        machine.checkpoint()?;
        drop(machine);
        let machine = self.boot()?;
        self.oracle.judge_letters(&machine.letters()?);
        assert_eq!(machine.letters()?, [], "all were counted and removed");
        self.oracle.judge(&machine, Moment::Quiet)
    }
}
