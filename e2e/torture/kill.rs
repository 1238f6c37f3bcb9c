//! SIGKILL at random moments, at named failpoints, and while the process recovers from the kill
//! before.
//!
//! The figures tell how many kills hit where. A kill counts as one during recovery only where that
//! is certain: at a failpoint of recovery alone, or when `/readyz` was not 200 right before it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::backup::Audits;
use super::books::{Recipe, Size};
use super::dice::Dice;
use super::fleet::{Figures, Fleet};
use super::ground::{Pace, failpoints, with_server};
use super::{Ending, Setting};
use crate::client::Client;
use crate::scenario::Signal;
use crate::server::Server;

const KILLS: usize = 50;
const KILLS_FULL: usize = 2_000;
/// Another number of kills.
const KILLS_VARIABLE: &str = "LOGMILL_TORTURE_KILLS";
const KILLS_PER_ROUND: usize = 50;
const SHIPPERS: usize = 64;
/// Comparisons in the middle of a round.
const CHECKS_PER_ROUND: usize = 5;
/// The longest a server lives, once it is ready.
const LIFE: Duration = Duration::from_millis(250);
/// How long a server may take to get to its failpoint, once it is ready.
const PATIENCE: Duration = Duration::from_millis(800);
/// From its start until a server is ready or dead.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a life is looked at.
const POLL: Duration = Duration::from_millis(2);
/// Of all kills, at least one in this many must hit a recovery; a few more are aimed at.
const RECOVERY_ONE_IN: usize = 5;
/// Passes of a failpoint that a life may be given to die at.
const TIMES_MAX: u64 = 512;
/// The server forgets the oldest keys past this, so that sweeping is killed too. Far more than the
/// keys that are sent again.
const CONFIG: &str = "
limits.paths_per_window = 1000000
limits.free_bytes = '1MiB'
idempotency.max_keys = 6000
archive.retention = 'forever'
";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let kills = match std::env::var(KILLS_VARIABLE) {
        Ok(kills) => kills.parse().with_context(|| format!("{KILLS_VARIABLE}={kills}"))?,
        Err(_) if setting.full => KILLS_FULL,
        Err(_) => KILLS,
    };
    with_server(setting, CONFIG, |server| {
        let mut supervisor = Supervisor {
            dice: Dice::new(setting.seed, u64::MAX),
            points: failpoints(&setting.binary)?
                .into_iter()
                .map(|name| (name, Point { aimed: 0, hits: 0, reach: 2 }))
                .collect(),
            server,
            starting: Duration::from_millis(50),
            is_dead: false,
            kills: 0,
            in_recovery: 0,
        };
        let mut fleets = Vec::new();
        let mut figures = Figures::default();
        while supervisor.kills < kills {
            let round = fleets.len() as u64;
            let fleet = Fleet::new(Recipe::new(setting.seed, round), setting.seed, SHIPPERS);
            let until = kills.min(supervisor.kills + KILLS_PER_ROUND);
            supervisor.round(&fleet, until).with_context(|| supervisor.tell_kills())?;
            figures += fleet.figures();
            fleets.push(fleet);
        }
        // What was right once must have stayed so.
        let client = Client::new(supervisor.server.target().clone());
        supervisor.server.start()?;
        fleets.iter().try_for_each(|fleet| fleet.check_all(&client))?;
        supervisor.server.finish()?;
        let mut audits = Audits::default();
        audits.audit(setting, supervisor.server.data_dir())?;
        supervisor.ensure_thorough(setting.full)?;
        Ok(Ending::Passed(format!(
            "{}; {figures}; {audits}{}",
            supervisor.tell_kills(),
            supervisor.tell()
        )))
    })
}

/// What was tried with a failpoint.
#[derive(Debug)]
struct Point {
    aimed: usize,
    hits: usize,
    /// A life is let pass it at most so many times: as often as lives have come by, as far as is
    /// known.
    reach: u64,
}

/// What a life is to die of.
#[derive(Debug)]
enum Aim {
    /// This long after it was ready.
    Moment(Duration),
    /// This long after its start, if it is not ready by then.
    Recovery(Duration),
    /// On passing this place so many times.
    Failpoint(String, u64),
}

struct Supervisor<'s> {
    server: &'s mut Server,
    dice: Dice,
    points: BTreeMap<String, Point>,
    /// What the latest start took.
    starting: Duration,
    /// The process has died by a failpoint.
    is_dead: bool,
    kills: usize,
    in_recovery: usize,
}

impl Supervisor<'_> {
    /// Kills the server again and again under load; then everything is delivered and compared.
    fn round(&mut self, fleet: &Fleet, kills: usize) -> Result<()> {
        let target = self.server.target().clone();
        let client = Client::new(target.clone());
        fleet.ship(&target, || {
            let check_each = KILLS_PER_ROUND / CHECKS_PER_ROUND;
            while self.kills < kills {
                let check = self.kills % check_each == check_each - 1;
                let aim = self.aim();
                if let Aim::Failpoint(name, _) = &aim
                    && name == "between-replays"
                {
                    // It needs more to replay than memory for counts.
                    fleet.surge(Size::Wide);
                    self.live(fleet, &Aim::Moment(2 * LIFE), Pace::Lazy, None)?;
                }
                let surge = [Size::Small, Size::Small, Size::Small, Size::Padded];
                fleet.surge(*self.dice.pick(&surge));
                // Many failpoints are in checkpoints.
                let lazy = if matches!(aim, Aim::Failpoint(..)) { 10 } else { 40 };
                let pace = if self.dice.percent(lazy) { Pace::Lazy } else { Pace::Busy };
                self.live(fleet, &aim, pace, check.then_some(&client))?;
            }
            self.server.start()
        })?;
        fleet.check_all(&client)?;
        self.server.restart(Signal::Term)?;
        fleet.check_all(&client).context("after a restart in good order")?;
        self.server.stop(Signal::Term)
    }

    /// Decides what the next life dies of.
    fn aim(&mut self) -> Aim {
        let behind = self.in_recovery * (RECOVERY_ONE_IN - 1) <= self.kills;
        if behind && self.dice.percent(70) {
            return Aim::Recovery(self.dice.time(Duration::ZERO, self.starting));
        }
        if self.points.is_empty() || self.dice.percent(20) {
            return Aim::Moment(self.dice.time(Duration::ZERO, LIFE));
        }
        let fewest = self.points.values().map(|point| point.aimed).min().unwrap_or_default();
        let fresh = self.points.iter().filter(|(_, point)| point.aimed == fewest);
        let fresh: Vec<_> = fresh.map(|(name, point)| (name.clone(), point.reach)).collect();
        let (name, reach) = self.dice.pick(&fresh).clone();
        // Small numbers more often than large ones.
        let most = 1 + self.dice.below(reach);
        Aim::Failpoint(name, 1 + self.dice.below(most))
    }

    /// One life of the server, from its start to the kill it is for. With `check`, what the kills
    /// until now have left is compared before anything is sent.
    fn live(&mut self, fleet: &Fleet, aim: &Aim, pace: Pace, check: Option<&Client>) -> Result<()> {
        let paused = check.map(|client| (fleet.pause(), client));
        let mut variables = pace.variables();
        if let Aim::Failpoint(name, times) = aim {
            variables.push(("LOGMILL_FAILPOINT", format!("{name}:{times}")));
        }
        self.server.use_partitions(*self.dice.pick(&[1, 2, 7]));
        self.server.spawn(&variables)?;
        self.is_dead = false;
        let started = Instant::now();
        let is_ready = self.wait_until_ready(aim)?;
        if is_ready {
            self.starting = started.elapsed();
            if let Some((paused, client)) = paused
                && let Err(error) = paused.check(client)
            {
                // It may have come to its failpoint meanwhile.
                thread::sleep(10 * POLL);
                ensure!(self.is_dead()?, error.context("after a restart"));
            }
            self.wait_for_death(fleet, aim)?;
        }
        let by_failpoint = self.is_dead()?;
        if !by_failpoint {
            self.server.stop(Signal::Kill)?;
        }
        self.book(aim, is_ready, by_failpoint)
    }

    /// Returns false if the server is dead, or due to be killed, before it is ready.
    fn wait_until_ready(&mut self, aim: &Aim) -> Result<bool> {
        let started = Instant::now();
        while !self.is_dead()? {
            if self.server.is_ready() {
                return Ok(true);
            }
            if matches!(aim, Aim::Recovery(moment) if started.elapsed() >= *moment) {
                return Ok(false);
            }
            ensure!(started.elapsed() < START_TIMEOUT, "not ready after {START_TIMEOUT:?}");
            thread::sleep(POLL);
        }
        Ok(false)
    }

    /// Lets the server serve until it is dead or due to be killed.
    fn wait_for_death(&mut self, fleet: &Fleet, aim: &Aim) -> Result<()> {
        let ready = Instant::now();
        let life = match aim {
            Aim::Moment(moment) => *moment,
            Aim::Recovery(_) => Duration::ZERO,
            Aim::Failpoint(..) => PATIENCE,
        };
        while !self.is_dead()? && ready.elapsed() < life {
            fleet.ensure_going()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Whether the server has died by itself; it may do so by a failpoint only.
    fn is_dead(&mut self) -> Result<bool> {
        if let Some(status) = self.server.ended()? {
            let is_kill = status.signal() == Some(rustix::process::Signal::KILL.as_raw());
            ensure!(is_kill, "the server ended by itself with {status}");
            self.is_dead = true;
        }
        Ok(self.is_dead)
    }

    /// Writes down what a life has died of.
    fn book(&mut self, aim: &Aim, was_ready: bool, by_failpoint: bool) -> Result<()> {
        self.kills += 1;
        let Aim::Failpoint(name, times) = aim else {
            ensure!(!by_failpoint, "the server was killed, and not from here");
            self.in_recovery += usize::from(!was_ready);
            return Ok(());
        };
        let point = self.points.get_mut(name).expect("aimed at");
        point.aimed += 1;
        if by_failpoint {
            point.hits += 1;
            point.reach = (times * 4).clamp(point.reach, TIMES_MAX);
            self.in_recovery += usize::from(name.contains("replay") || name.contains("recovery"));
        } else {
            point.reach = (times / 2).max(1);
        }
        Ok(())
    }

    fn ensure_thorough(&self, full: bool) -> Result<()> {
        ensure!(
            self.in_recovery * RECOVERY_ONE_IN >= self.kills,
            "only {} of {} kills hit a recovery",
            self.in_recovery,
            self.kills
        );
        let missed: Vec<_> = self.points.iter().filter(|(_, p)| p.hits == 0).collect();
        ensure!(!full || missed.is_empty(), "the kills never hit {missed:?}");
        let hit = self.points.len() - missed.len();
        ensure!(hit * 2 >= self.points.len(), "the kills hit {hit} failpoints only");
        Ok(())
    }

    fn tell_kills(&self) -> String {
        let at_points: usize = self.points.values().map(|point| point.hits).sum();
        let (kills, in_recovery) = (self.kills, self.in_recovery);
        let at = match self.points.is_empty() {
            true => "at random moments only: the binary has no failpoints".to_owned(),
            false => format!("{at_points} at failpoints"),
        };
        format!("{kills} kills, {at}, {in_recovery} during recovery")
    }

    /// How often each failpoint was hit.
    fn tell(&self) -> String {
        let hits = self.points.iter().map(|(name, point)| format!("{name} {}", point.hits));
        match hits.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => none,
            hits => format!("\n        {hits}"),
        }
    }
}
