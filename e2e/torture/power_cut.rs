//! Power cuts: the file system under the data directory stops writing at once and forgets what was
//! not synced; then it is mounted again, and the server recovers.
//!
//! After each cut everything sent since the one before is sent again. What the server had counted
//! must be answered 409, what it had not must be accepted, and then all of it is counted once.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::books::{Recipe, Size};
use super::dice::Dice;
use super::fleet::{Figures, Fleet, Mark};
use super::ground::{Pace, failpoints, with_server};
use super::volume::Volume;
use super::{Ending, Setting};
use crate::client::Client;
use crate::scenario::Signal;
use crate::server::Server;

const CUTS: usize = 5;
const CUTS_FULL: usize = 200;
const CUTS_PER_ROUND: usize = 20;
const SHIPPERS: usize = 24;
/// Room for all segments that the server keeps for reuse.
const VOLUME_MIB: u64 = 1_024;
/// The longest a server lives before something happens to it.
const LIFE: Duration = Duration::from_millis(400);
/// How long a checkpoint is waited for.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to get to its failpoint.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);
/// Options to mount with: what nobody syncs may reach the disk soon, late, or in another order.
const MOUNTS: &[&str] = &["", ",commit=300", ",commit=300,data=writeback"];
const CONFIG: &str = "
limits.paths_per_window = 1000000
limits.free_bytes = '16MiB'
";

/// What happens right before the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// The process was killed and has recovered: what it relies on now must be durable, although
    /// all that the killed one wrote was still there to be read.
    Kill,
    /// The process was killed and is recovering.
    Recovery,
    /// A checkpoint was made.
    Checkpoint,
    /// Nothing but load.
    Load,
}

const STORIES: &[Story] = &[Story::Kill, Story::Recovery, Story::Checkpoint, Story::Load];
/// Where a process is killed that leaves behind what it has not synced.
const UNSYNCED: &[&str] =
    &["before-journal-sync", "before-journal-sync", "after-link", "between-claim-syncs"];

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let cuts = if setting.full { CUTS_FULL } else { CUTS };
    let mut volume = match Volume::make(VOLUME_MIB)? {
        Ok(volume) => volume,
        Err(reason) => return Ok(Ending::Skipped(reason)),
    };
    let ended = with_server(setting, CONFIG, |server| {
        server.keep_data_in(&volume.path().join("data"));
        let dice = Dice::new(setting.seed, u64::MAX);
        let starting = Duration::from_millis(100);
        let mut test = Test {
            server,
            volume: &volume,
            dice,
            starting,
            has_failpoints: !failpoints(&setting.binary)?.is_empty(),
            stories: [0; 4],
            resent: 0,
        };
        let mut figures = Figures::default();
        for first in (0..cuts).step_by(CUTS_PER_ROUND) {
            let round = (first / CUTS_PER_ROUND) as u64;
            let fleet = Fleet::new(Recipe::new(setting.seed, round), setting.seed, SHIPPERS);
            test.round(&fleet, first..cuts.min(first + CUTS_PER_ROUND))?;
            figures += fleet.figures();
        }
        let [kill, recovery, checkpoint, load] = test.stories;
        let kills = if test.has_failpoints { "between write and sync" } else { "at any moment" };
        Ok(Ending::Passed(format!(
            "{cuts} cuts: {kill} after a kill {kills} and a restart, {recovery} during recovery, \
             {checkpoint} after a checkpoint, {load} under load; {} batches resent; {figures}",
            test.resent
        )))
    });
    if ended.is_err() {
        println!("  the file system is kept in {}", volume.keep().display());
    }
    ended
}

struct Test<'t> {
    server: &'t mut Server,
    volume: &'t Volume,
    dice: Dice,
    /// What the latest start took.
    starting: Duration,
    /// The server can be told where to die.
    has_failpoints: bool,
    /// Cuts of each story.
    stories: [usize; 4],
    resent: u64,
}

impl Test<'_> {
    fn round(&mut self, fleet: &Fleet, cuts: std::ops::Range<usize>) -> Result<()> {
        let target = self.server.target().clone();
        let client = Client::new(target.clone());
        let beginning = fleet.pause().mark();
        let mut mark = beginning.clone();
        fleet.ship(&target, || {
            self.start()?;
            for cut in cuts {
                let story = cut % STORIES.len();
                self.stories[story] += 1;
                self.cut(fleet, &client, STORIES[story], &mut mark)
                    .with_context(|| format!("cut {cut}, {:?}", STORIES[story]))?;
            }
            Ok(())
        })?;
        fleet.check_all(&client)?;
        // All of the round once more: not one key was forgotten.
        let paused = fleet.pause();
        let counted = paused.check(&client)?;
        self.resent += paused.resend(&target, &beginning, &counted)?;
        paused.check(&client)?;
        self.server.stop(Signal::Kill)
    }

    fn start(&mut self) -> Result<()> {
        let started = Instant::now();
        let pace = *self.dice.pick(&[Pace::Busy, Pace::Busy, Pace::Lazy]);
        self.server.start_with(&pace.variables())?;
        self.starting = started.elapsed();
        Ok(())
    }

    fn cut(&mut self, fleet: &Fleet, client: &Client, story: Story, mark: &mut Mark) -> Result<()> {
        fleet.surge(*self.dice.pick(&[Size::Small, Size::Small, Size::Padded]));
        let cutter = self.volume.cutter()?;
        thread::sleep(self.dice.time(Duration::ZERO, LIFE));
        match story {
            Story::Load => {}
            Story::Checkpoint => {
                self.server.stop(Signal::Kill)?;
                self.server.start_with(&Pace::Busy.variables())?;
                self.wait_for_checkpoint(client)?;
            }
            Story::Kill => {
                self.kill()?;
                self.start()?;
                // Shippers try again what was under way, and are told that it is there.
                thread::sleep(self.dice.time(Duration::ZERO, LIFE / 4));
            }
            Story::Recovery => {
                self.kill()?;
                self.server.spawn(&[])?;
                thread::sleep(self.dice.time(Duration::ZERO, self.starting));
            }
        }
        cutter.cut()?;
        self.server.kill()?;
        let paused = fleet.pause();
        self.volume.unmount()?;
        let options = self.dice.pick(MOUNTS);
        self.volume.mount(options)?;
        self.start().context("after the cut")?;
        let counted = paused.check(client).context("after the cut")?;
        let target = self.server.target().clone();
        self.resent += paused.resend(&target, mark, &counted)?;
        *mark = paused.mark();
        let all = paused.check(client).context("after everything was sent again")?;
        let sent: usize = mark.iter().sum();
        ensure!(all.len() == sent, "{} of {sent} resent batches are counted", all.len());
        Ok(())
    }

    /// Kills the server when it has written what it has not synced, if it can be told to.
    fn kill(&mut self) -> Result<()> {
        self.server.stop(Signal::Kill)?;
        if !self.has_failpoints {
            return Ok(());
        }
        let mut variables = Pace::Busy.variables();
        let times = 1 + self.dice.below(8);
        variables.push(("LOGMILL_FAILPOINT", format!("{}:{times}", self.dice.pick(UNSYNCED))));
        self.server.spawn(&variables)?;
        let started = Instant::now();
        while self.server.ended()?.is_none() {
            ensure!(started.elapsed() < KILL_TIMEOUT, "{variables:?} was not reached under load");
            self.server.is_ready();
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn wait_for_checkpoint(&self, client: &Client) -> Result<()> {
        let made = || -> Result<String> {
            let metrics = client.get("/metrics", None, &[])?.body;
            let metric = "logmill_checkpoint_duration_seconds_count ";
            let count = metrics.lines().find_map(|line| line.strip_prefix(metric));
            Ok(count.unwrap_or("0").to_owned())
        };
        let (before, started) = (made()?, Instant::now());
        while made()? == before {
            ensure!(started.elapsed() < CHECKPOINT_TIMEOUT, "no checkpoint was made under load");
            thread::sleep(POLL);
        }
        Ok(())
    }
}
