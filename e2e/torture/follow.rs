//! `logmill import --follow` on a log that grows and is rotated by renaming, while the server and
//! the import are killed: each line counts once. (A log that is copied and truncated can lose what
//! came since the last look, see `docs/RELIABILITY.md`.)

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::dice::Dice;
use super::{Ending, Setting};
use crate::client::Client;
use crate::scenario::Signal;
use crate::senders::ledger::{self, CUSTOMER};
use crate::senders::{CONFIG, Daemon, unused_port};
use crate::traffic::Encoding;

const LINES: usize = 8_000;
const LINES_FULL: usize = 100_000;
const LINES_PER_SECOND: u64 = 1_200;
const LINES_PER_SECOND_FULL: u64 = 2_500;
/// The least between two rotations, and the most.
const LOG_LIFE: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1_200)];
/// The least between two kills, and the most.
const LIFE: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1_000)];
/// The longest that what was killed is away.
const ABSENCE: Duration = Duration::from_millis(1_500);
/// The longest that a writer goes on with a log that was renamed.
const LINGER: Duration = Duration::from_millis(300);
/// Between the halves of a piece that is cut in a line.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let lines = if setting.full { LINES_FULL } else { LINES };
    let rate = if setting.full { LINES_PER_SECOND_FULL } else { LINES_PER_SECOND };
    setting.on_server(CONFIG, |server| {
        let mut dice = Dice::new(setting.seed, 1);
        server.listen_on(unused_port(&mut dice)?);
        server.restart(Signal::Term)?;
        let home = server.scratch().to_owned();
        let log = home.join("access.log");
        File::create(&log)?;
        let mut import = Daemon::new(server.binary(), &home);
        import.command.arg("import").arg("--follow").arg(&log);
        import.command.args(["--customer", CUSTOMER, "--url", &server.target().url()]);
        import.command.arg("--state").arg(home.join("state.json"));
        import.start()?;

        let client = Client::new(server.target().clone());
        let mut kills = [0, 0];
        let (is_read, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
        let rotations = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let dice = Dice::new(setting.seed, 2);
                let mut writer = Writer::new(&log, dice, lines, rate, &is_read);
                let written = writer.write();
                is_done.store(true, Ordering::Relaxed);
                written.map(|()| writer.rotations)
            });
            // What is rotated before a follower has read a line of it, a later one takes for old.
            let first = ledger::await_first(&client);
            is_read.store(true, Ordering::Relaxed);
            first?;
            while !is_done.load(Ordering::Relaxed) {
                thread::sleep(dice.time(LIFE[0], LIFE[1]));
                // The import alone, the server alone, or both.
                let (of_import, of_server) = *dice.pick(&[(1, 0), (1, 0), (0, 1), (1, 1)]);
                if of_import == 1 {
                    import.kill()?;
                }
                if of_server == 1 {
                    server.stop(Signal::Kill)?;
                }
                thread::sleep(dice.time(Duration::ZERO, ABSENCE));
                if of_server == 1 {
                    server.start()?;
                }
                if of_import == 1 {
                    import.start()?;
                }
                kills = [kills[0] + of_import, kills[1] + of_server];
            }
            writer.join().expect("writing returns its errors")
        })?;
        let tally = ledger::settle(&client, lines, || import.ensure_running())?;
        import.terminate().context("the import")?;
        let said = tally.ensure_exact();
        said.with_context(|| format!("{rotations:?} rotations, {kills:?} kills"))?;
        let [renamed, packed] = rotations;
        Ok(Ending::Passed(format!(
            "{tally}; {} kills of the import and {} of the server; {renamed} times renamed, \
             {packed} times with the one before compressed",
            kills[0], kills[1]
        )))
    })
}

/// Writes the log and rotates it.
struct Writer<'a> {
    log: &'a Path,
    dice: Dice,
    lines: usize,
    per_second: u64,
    next: usize,
    /// A line of the first log was read, so it may be rotated.
    is_read: &'a AtomicBool,
    /// By [`Way`].
    rotations: [usize; 2],
}

/// How a log is rotated.
#[derive(Debug, Clone, Copy)]
enum Way {
    Renamed = 0,
    /// Renamed, and the one before it compressed.
    Packed = 1,
}

impl<'a> Writer<'a> {
    fn new(
        log: &'a Path,
        dice: Dice,
        lines: usize,
        per_second: u64,
        is_read: &'a AtomicBool,
    ) -> Self {
        Self { log, dice, lines, per_second, next: 0, is_read, rotations: [0; 2] }
    }

    fn write(&mut self) -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.log)?;
        let began = Instant::now();
        let mut rotate_at = began + self.dice.time(LOG_LIFE[0], LOG_LIFE[1]);
        while self.next < self.lines {
            let due = began.elapsed().as_millis() * u128::from(self.per_second) / 1_000;
            let due = self.lines.min(usize::try_from(due)? + 1);
            let text: String = (self.next..due).map(line).collect();
            self.next = due.max(self.next);
            // A reader may come between the halves of a line.
            let (half, rest) = text.split_at(text.len() / 2);
            file.write_all(half.as_bytes())?;
            thread::sleep(PAUSE);
            file.write_all(rest.as_bytes())?;
            let may_rotate = self.is_read.load(Ordering::Relaxed) && self.next < self.lines;
            if may_rotate && Instant::now() >= rotate_at {
                self.rotate(&mut file)?;
                rotate_at = Instant::now() + self.dice.time(LOG_LIFE[0], LOG_LIFE[1]);
            }
        }
        Ok(())
    }

    fn rotate(&mut self, file: &mut File) -> Result<()> {
        let way = *self.dice.pick(&[Way::Renamed, Way::Packed]);
        let rotated = self.rotations.iter().sum::<usize>();
        for number in (1..=rotated).rev() {
            for end in ["", ".gz"] {
                let old = self.named(number, end);
                if old.exists() {
                    fs::rename(old, self.named(number + 1, end))?;
                }
            }
        }
        let last = self.named(1, "");
        fs::rename(self.log, &last)?;
        let new = OpenOptions::new().create(true).append(true).open(self.log)?;
        if self.dice.percent(50) {
            thread::sleep(self.dice.time(Duration::ZERO, LINGER));
            file.write_all(line(self.next).as_bytes())?;
            self.next += 1;
        }
        *file = new;
        let before = self.named(2, "");
        if matches!(way, Way::Packed) && before.exists() {
            // With the time of the file that it was, as gzip and zstd leave it.
            let changed = fs::metadata(&before)?.modified()?;
            let mut packed = File::create(self.named(2, ".gz"))?;
            packed.write_all(&Encoding::Gzip.encode(&fs::read(&before)?)?)?;
            packed.set_modified(changed)?;
            fs::remove_file(before)?;
        }
        self.rotations[way as usize] += 1;
        Ok(())
    }

    fn named(&self, number: usize, end: &str) -> PathBuf {
        let mut name = self.log.as_os_str().to_owned();
        name.push(format!(".{number}{end}"));
        name.into()
    }
}

/// Line `number` in combined format.
fn line(number: usize) -> String {
    let time = Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000");
    let path = ledger::path(number);
    format!(
        "10.0.0.{} - - [{time}] \"GET {path} HTTP/1.1\" 200 12 \"-\" \"curl/8.5.0\"\n",
        number % 250
    )
}
