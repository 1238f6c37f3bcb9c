//! A disk that fills up or turns read-only under load: no 202 without durable data, a red
//! `/readyz` with a reason, and everything goes on without help when the disk is mended.
//!
//! A process that ends is started again, as a supervisor does; it must have said why, with a hint.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::books::{Recipe, Size};
use super::dice::Dice;
use super::fleet::{Figures, Fleet};
use super::ground::{Pace, with_server};
use super::volume::Volume;
use super::{Ending, Setting};
use crate::client::{Answer, Client};
use crate::scenario::Signal;
use crate::server::Server;
use crate::traffic::Batch;

/// Rounds, each of every [`Fault`] once.
const ROUNDS: u64 = 1;
const ROUNDS_FULL: u64 = 20;
const SHIPPERS: usize = 16;
/// What all rounds together store fits, with room for the segments of the journal.
const VOLUME_MIB: u64 = 256;
const VOLUME_MIB_FULL: u64 = 2_048;
/// What `limits.free_bytes` says.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;
const CONFIG: &str = "
limits.paths_per_window = 1000000
limits.free_bytes = '8MiB'
";
/// The longest a server works before its disk fails, and goes on with a full one.
const LIFE: Duration = Duration::from_millis(500);
const FULL: Duration = Duration::from_secs(2);
/// Until a server has noticed that its disk is full, or that it has space again.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Until a server has ended that cannot write.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that ends on a full disk waits for space when it is started again.
const RESTARTS_MAX: usize = 2;
const FILL_TRIES_MAX: usize = 100;
const READ_ONLY: &str = "Read-only file system";
const POLL: Duration = Duration::from_millis(10);

/// What becomes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Less space is left than the server keeps free.
    BelowReserve,
    /// All space is taken at once, while batches that need much of it come in.
    AllAtOnce,
    /// The same, and the process is killed: it starts on a full disk.
    AllAtOnceAndKill,
    /// Nothing can be written any more.
    ReadOnly,
}

const FAULTS: &[Fault] =
    &[Fault::BelowReserve, Fault::AllAtOnce, Fault::AllAtOnceAndKill, Fault::ReadOnly];

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let (rounds, volume_mib) =
        if setting.full { (ROUNDS_FULL, VOLUME_MIB_FULL) } else { (ROUNDS, VOLUME_MIB) };
    let mut volume = match Volume::make(volume_mib)? {
        Ok(volume) => volume,
        Err(reason) => return Ok(Ending::Skipped(reason)),
    };
    let ended = with_server(setting, CONFIG, |server| {
        server.keep_data_in(&volume.path().join("data"));
        let dice = Dice::new(setting.seed, u64::MAX);
        let mut test = Test { server, volume: &volume, dice, exits: 0 };
        let mut figures = Figures::default();
        for round in 0..rounds {
            let fleet = Fleet::new(Recipe::new(setting.seed, round), setting.seed, SHIPPERS);
            test.round(&fleet)?;
            figures += fleet.figures();
        }
        let faults = rounds * FAULTS.len() as u64;
        let exits = test.exits;
        Ok(Ending::Passed(format!(
            "{faults} faults, {exits} exits with a hint while the disk was full; {figures}"
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
    /// How often the server ended because its disk was full.
    exits: usize,
}

impl Test<'_> {
    fn round(&mut self, fleet: &Fleet) -> Result<()> {
        let target = self.server.target().clone();
        let client = Client::new(target.clone());
        fleet.ship(&target, || {
            self.server.start_with(&Pace::Busy.variables())?;
            for &fault in FAULTS {
                self.fault(fleet, &client, fault).with_context(|| format!("{fault:?}"))?;
            }
            Ok(())
        })?;
        fleet.check_all(&client)?;
        let paused = fleet.pause();
        let counted = paused.check(&client)?;
        let nothing = paused.mark().iter().map(|_| 0).collect();
        paused.resend(&target, &nothing, &counted)?;
        paused.check(&client)?;
        self.server.stop(Signal::Kill)
    }

    fn fault(&mut self, fleet: &Fleet, client: &Client, fault: Fault) -> Result<()> {
        thread::sleep(self.dice.time(Duration::ZERO, LIFE));
        match fault {
            Fault::BelowReserve => {
                // Some is left for what the server writes until it notices.
                let left = RESERVE_BYTES / 4 + self.dice.below(RESERVE_BYTES / 4);
                self.fill(left)?;
                self.ensure_red(client, left)?;
                ensure!(self.server.ended()?.is_none(), "the server ended; it had space to wait");
                // What is counted can be asked for all the same.
                fleet.pause().check(client).context("while the disk is full")?;
            }
            Fault::AllAtOnce | Fault::AllAtOnceAndKill => {
                let sizes = [Size::Small, Size::Padded, Size::Wide];
                fleet.surge(*self.dice.pick(&sizes));
                thread::sleep(self.dice.time(Duration::ZERO, LIFE));
                self.fill(0)?;
                thread::sleep(self.dice.time(Duration::ZERO, LIFE));
                if fault == Fault::AllAtOnceAndKill {
                    self.server.kill()?;
                    self.server.spawn(&Pace::Busy.variables())?;
                }
                self.endure(client)?;
                fleet.surge(Size::Small);
            }
            Fault::ReadOnly => return self.read_only(fleet, client),
        }
        fs::remove_file(self.foreign_file())?;
        // Else the file is back when the file system turns read-only soon after, and is repaired.
        File::open(self.volume.path())?.sync_all()?;
        self.wait_until_ready(client)?;
        fleet.pause().check(client).map(|_| ())
    }

    fn foreign_file(&self) -> std::path::PathBuf {
        self.volume.path().join("foreign")
    }

    /// Takes all space but so many bytes, beside what it has taken before.
    fn fill(&self, but: u64) -> Result<()> {
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(self.foreign_file())?;
        let (mut offset, mut tries) = (file.metadata()?.len(), 0);
        loop {
            let stat = statvfs(self.volume.path())?;
            let free = stat.f_bavail * stat.f_frsize;
            // The file system keeps a little to itself, and the server takes and gives meanwhile.
            if free <= but.max(stat.f_frsize) || tries == FILL_TRIES_MAX {
                return Ok(());
            }
            tries += 1;
            // A little goes into the file's own blocks, and to the server meanwhile.
            let mut more = free - but;
            while more >= stat.f_frsize {
                match fallocate(&file, FallocateFlags::empty(), offset, more) {
                    Ok(()) => {
                        offset += more;
                        break;
                    }
                    Err(_) => more /= 2,
                }
            }
        }
    }

    /// Waits until `/readyz` is red for lack of space and batches are refused for it. What the
    /// server gives back meanwhile, of a segment that it could not finish, is taken, too.
    fn ensure_red(&self, client: &Client, left: u64) -> Result<()> {
        let since = Instant::now();
        while let Err(answers) = red(client) {
            ensure!(since.elapsed() < NOTICE_TIMEOUT, "the disk is full, and yet: {answers}");
            thread::sleep(POLL);
            self.fill(left)?;
        }
        Ok(())
    }

    /// Lives with a disk that is full, until the server says so: it may end, with a hint, and is
    /// started again.
    fn endure(&mut self, client: &Client) -> Result<()> {
        let (since, mut restarts) = (Instant::now(), 0);
        loop {
            if let Some(status) = self.server.ended()? {
                ensure!(status.code() == Some(1), "on a full disk the server ended with {status}");
                self.ensure_last_words(&["free some space and start again"])?;
                restarts += 1;
                ensure!(restarts <= RESTARTS_MAX, "the server ends again and again");
                self.server.spawn(&Pace::Busy.variables())?;
            }
            // An address, if it has none yet.
            self.server.is_ready();
            if since.elapsed() >= FULL {
                match red(client) {
                    Ok(()) => break,
                    Err(answers) => {
                        let in_time = since.elapsed() < FULL + NOTICE_TIMEOUT;
                        ensure!(in_time, "the disk is full, and yet: {answers}");
                        self.fill(0)?;
                    }
                }
            }
            thread::sleep(POLL);
        }
        self.exits += restarts;
        Ok(())
    }

    fn wait_until_ready(&mut self, client: &Client) -> Result<()> {
        let since = Instant::now();
        while !self.server.is_ready() {
            if let Some(status) = self.server.ended()? {
                // It may have found the disk full at the same moment.
                self.ensure_last_words(&["free some space and start again"])
                    .with_context(|| format!("the server ended with {status}"))?;
                self.exits += 1;
                self.server.spawn(&Pace::Busy.variables())?;
            }
            if since.elapsed() >= NOTICE_TIMEOUT {
                let ready = client.get("/readyz", None, &[("verbose", "true")])?;
                anyhow::bail!("there is space again, and /readyz {ready}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The file system turns read-only: the process ends and says why, a start fails and says why,
    /// and when the disk is mended everything acknowledged is there.
    fn read_only(&mut self, fleet: &Fleet, client: &Client) -> Result<()> {
        self.volume.turn_read_only()?;
        // What is under way at that moment fails in its own way.
        self.ensure_ends(&[READ_ONLY, "Input/output error"])?;
        self.server.spawn(&[])?;
        self.ensure_ends(&[READ_ONLY]).context("at a start")?;
        let paused = fleet.pause();
        self.volume.repair()?;
        self.server.start_with(&Pace::Busy.variables())?;
        paused.check(client).map(|_| ())
    }

    fn ensure_ends(&mut self, reasons: &[&str]) -> Result<()> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.server.ended()? {
                ensure!(status.code() == Some(1), "it ended with {status}, not with 1");
                self.ensure_last_words(reasons)?;
                return self.ensure_last_words(&["hint: look at the disk, then start again"]);
            }
            ensure!(since.elapsed() < END_TIMEOUT, "the server has not ended");
            thread::sleep(POLL);
        }
    }

    /// One of these must be said.
    fn ensure_last_words(&self, words: &[&str]) -> Result<()> {
        let lines = self.server.last_log_lines();
        let is_said = lines.iter().any(|line| words.iter().any(|words| line.contains(words)));
        ensure!(is_said, "it ended without saying any of {words:?}");
        Ok(())
    }
}

/// Whether `/readyz` is red for lack of space and a batch is refused for it; else the answers.
fn red(client: &Client) -> Result<(), String> {
    let probe = Batch {
        customer: "probe".to_owned(),
        key: "probe".to_owned(),
        body: b"[]".to_vec(),
        encoding: None,
        entries: 0,
        minutes: BTreeSet::new(),
    };
    let answers = [client.get("/readyz", None, &[]), client.post(&probe).map_err(Into::into)];
    if answers.iter().all(|answer| answer.as_ref().is_ok_and(is_for_space)) {
        return Ok(());
    }
    let said = answers.map(|answer| answer.map_or_else(|e| format!("{e:#}"), |a| a.to_string()));
    Err(said.join(", "))
}

/// Whether it is a refusal for lack of space, with a reason and a time to try again.
fn is_for_space(answer: &Answer) -> bool {
    let has_reason =
        ["limits.free_bytes", "waits for space"].iter().any(|text| answer.body.contains(text));
    let has_type = answer.body.contains("/problems/disk-full");
    answer.status == 503 && answer.retry_after && has_type && has_reason
}
