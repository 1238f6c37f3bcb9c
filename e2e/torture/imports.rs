//! `logmill import` of one log, thrice at once, while it grows and everything is killed.
//!
//! With state files of their own nothing but the keys tells the imports that others send the same;
//! with one state file its lock does. Either way each line counts once.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use super::dice::Dice;
use super::tool::{Said, Tool};
use super::{Ending, Setting};
use crate::client::Client;
use crate::scenario::Signal;
use crate::senders::ledger::{self, CUSTOMER};
use crate::senders::{CONFIG, unused_port};
use crate::server::Server;

const LINES: usize = 30_500;
const LINES_FULL: usize = 1_000_000;
const IMPORTS: usize = 3;
/// The longest that an import or the server runs before it is killed.
const LIFE: Duration = Duration::from_millis(250);
/// Kills of the server, and of all imports, in each part of the log.
const KILLS: usize = 2;
const KILLS_FULL: usize = 10;
/// For all imports to get through.
const PATIENCE: Duration = Duration::from_secs(60);
/// The import stopped early; the same command goes on.
const STOPPED_EARLY: i32 = 2;

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let lines = if setting.full { LINES_FULL } else { LINES };
    let kills = if setting.full { KILLS_FULL } else { KILLS };
    let mut figures = Vec::new();
    for (what, is_shared) in [("state files of their own", false), ("one state file", true)] {
        let mut dice = Dice::new(setting.seed, u64::from(is_shared));
        let told = setting.on_server(CONFIG, |server| {
            server.listen_on(unused_port(&mut dice)?);
            server.restart(Signal::Term)?;
            import(server, [lines, kills], is_shared, &mut dice)
        });
        figures.push(format!("{what}: {}", told.context(what)?));
    }
    Ok(Ending::Passed(figures.join("; ")))
}

/// Imports a log in two parts, and then once more.
fn import(
    server: &mut Server,
    [lines, kills]: [usize; 2],
    is_shared: bool,
    dice: &mut Dice,
) -> Result<String> {
    let log = server.scratch().join("access.log");
    let client = Client::new(server.target().clone());
    let mut trouble = Trouble::default();
    for (first, last) in [(0, lines * 2 / 3), (lines * 2 / 3, lines)] {
        grow(&log, first, last)?;
        for _ in 0..kills {
            trouble.strike(server, is_shared, dice)?;
        }
        trouble.finish(server, is_shared)?;
        ledger::tally(&client, last)?.ensure_exact()?;
    }
    for import in 0..IMPORTS {
        let said = start(server, import, is_shared)?.wait()?;
        said.ensure_code(0)?;
        let posted = said.out.lines().find(|line| line.starts_with("posted"));
        let posted = posted.with_context(|| said.to_string())?;
        ensure!(posted.ends_with(" 0"), "there is nothing new: {said}");
    }
    let tally = ledger::tally(&client, lines)?;
    tally.ensure_exact()?;
    let Trouble { imports, servers, locked } = trouble;
    ensure!(is_shared == (locked > 0), "{locked} imports found the state file locked");
    Ok(format!("{tally}, {imports} kills of imports, {servers} of the server, {locked} locked out"))
}

/// What was done to the imports.
#[derive(Default)]
struct Trouble {
    imports: usize,
    servers: usize,
    /// Imports that ended because another held the state file.
    locked: usize,
}

impl Trouble {
    /// Starts all imports, and kills the server, and then them.
    fn strike(&mut self, server: &mut Server, is_shared: bool, dice: &mut Dice) -> Result<()> {
        let all = start_all(server, is_shared)?;
        thread::sleep(dice.time(Duration::ZERO, LIFE));
        server.restart(Signal::Kill)?;
        self.servers += 1;
        thread::sleep(dice.time(Duration::ZERO, LIFE));
        for import in all {
            let said = import.kill()?;
            self.imports += usize::from(said.code.is_none());
            self.judge(&said)?;
        }
        Ok(())
    }

    /// Runs the imports until each has come to the end.
    fn finish(&mut self, server: &Server, is_shared: bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ended = 0;
            for import in start_all(server, is_shared)? {
                let said = import.wait()?;
                self.judge(&said)?;
                ended += usize::from(said.code == Some(0));
            }
            if ended == IMPORTS || is_shared && ended > 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the imports do not come to an end");
        }
    }

    /// An import comes to the end, is killed, or says why it does not go on.
    fn judge(&mut self, said: &Said) -> Result<()> {
        if said.code == Some(STOPPED_EARLY) {
            self.locked += usize::from(said.err.contains("another import"));
        }
        ensure!(matches!(said.code, None | Some(0 | STOPPED_EARLY)), "{said}");
        Ok(())
    }
}

fn start_all(server: &Server, is_shared: bool) -> Result<Vec<Tool>> {
    (0..IMPORTS).map(|import| start(server, import, is_shared)).collect()
}

fn start(server: &Server, import: usize, is_shared: bool) -> Result<Tool> {
    let state = if is_shared { "state.json".to_owned() } else { format!("state-{import}.json") };
    let url = server.target().url();
    let customer = ["--customer", CUSTOMER, "--url", &url, "--state", &state];
    Tool::start(server, &[&["import", "access.log"][..], &customer].concat())
}

/// Appends lines in combined format.
fn grow(log: &Path, first: usize, last: usize) -> Result<()> {
    let time = Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    let line = |number| {
        let path = ledger::path(number);
        format!("192.0.2.7 - - [{time}] \"GET {path} HTTP/1.1\" 200 12 \"-\" \"curl/8.5.0\"\n")
    };
    let text: String = (first..last).map(line).collect();
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    Ok(file.write_all(text.as_bytes())?)
}
