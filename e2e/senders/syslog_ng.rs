//! syslog-ng follows a file of nginx's JSON lines and sends it as `docs/senders/syslog-ng.md` says,
//! while the server and syslog-ng itself are killed.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use super::ledger::{self, Tally};
use super::{CONFIG, Daemon, find_program, lines, recipe, unused_port};
use crate::client::Client;
use crate::scenario::Signal;
use crate::server::Server;
use crate::torture::dice::Dice;
use crate::torture::{Ending, Setting};

const LINES: usize = 20_000;
const SERVER_KILLS: usize = 6;
const SENDER_KILLS: usize = 3;
/// The longest between two kills.
const LIFE: Duration = Duration::from_millis(900);
/// The longest that the server is away.
const ABSENCE: Duration = Duration::from_millis(1_500);
/// The most lines that are written at once.
const PIECE_MAX: u64 = 120;
/// The longest pause between two pieces. Most batches of a quiet log are not full.
const PAUSE: Duration = Duration::from_millis(60);

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let Some(program) = find_program("syslog-ng") else {
        return Ok(Ending::Skipped("syslog-ng is not installed".to_owned()));
    };
    let lines = lines(setting, LINES)?;
    let single = recipe::block("syslog-ng.md", "syslog-ng")?;
    let exact = ship(setting, &program, &single, lines)?;
    exact.ensure_exact().context("one line per request")?;
    let mut batched = single;
    let batches = recipe::block("syslog-ng.md", "syslog-ng-batches")?;
    recipe::replace(&mut batched, "batch-lines(1) workers(32)", batches.trim())?;
    let tally = ship(setting, &program, &batched, lines)?;
    // Batches may be counted again in part, as the page says; none may be lost.
    ensure!(tally.lost.is_empty(), "batches: {tally}");
    Ok(Ending::Passed(format!(
        "{SERVER_KILLS} kills of the server and {SENDER_KILLS} of syslog-ng each: one line per \
         request: {exact}; batches: {tally}"
    )))
}

/// Writes lines, has them sent by this configuration through all kills, and tells what became of
/// them.
fn ship(setting: &Setting, program: &Path, recipe: &str, lines: usize) -> Result<Tally> {
    setting.on_server(CONFIG, |server| {
        let mut dice = Dice::new(setting.seed, 1);
        move_to_a_port(server, &mut dice)?;
        let home = server.scratch().to_owned();
        let log = home.join("access.ndjson");
        std::fs::write(&log, "")?;
        let mut config = recipe.to_owned();
        recipe::replace(&mut config, "/var/log/nginx/logmill.log", &log.to_string_lossy())?;
        recipe::replace(&mut config, "http://127.0.0.1:8080", &server.target().url())?;
        let file = home.join("syslog-ng.conf");
        std::fs::write(&file, format!("@version: 3.38\n{config}"))?;
        let mut sender = Daemon::new(program, &home);
        sender.command.args(["--foreground", "--no-caps", "--cfgfile"]).arg(file);
        sender.command.arg("--persist-file").arg(home.join("syslog-ng.persist"));
        sender.command.arg("--pidfile").arg(home.join("syslog-ng.pid"));
        sender.command.arg("--control").arg(home.join("syslog-ng.ctl"));
        sender.start()?;
        let client = Client::new(server.target().clone());
        thread::scope(|scope| {
            let writer = scope.spawn(|| write_lines(&log, lines, Dice::new(setting.seed, 2)));
            for kill in 0..SERVER_KILLS {
                thread::sleep(dice.time(Duration::ZERO, LIFE));
                if kill % (SERVER_KILLS / SENDER_KILLS) == 1 {
                    sender.kill()?;
                    sender.start()?;
                    thread::sleep(dice.time(Duration::ZERO, LIFE));
                }
                server.stop(Signal::Kill)?;
                thread::sleep(dice.time(Duration::ZERO, ABSENCE));
                server.start()?;
                sender.ensure_running()?;
            }
            writer.join().expect("writing lines does not panic")
        })?;
        ledger::settle(&client, lines, || sender.ensure_running())
    })
}

/// Has the server listen where it can be found again after a kill.
fn move_to_a_port(server: &mut Server, dice: &mut Dice) -> Result<()> {
    server.listen_on(unused_port(dice)?);
    server.restart(Signal::Term)
}

/// Appends lines as nginx writes them, some at a time.
fn write_lines(log: &Path, lines: usize, mut dice: Dice) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(log)?;
    let mut next = 0;
    while next < lines {
        let piece = 1 + usize::try_from(dice.below(PIECE_MAX))?;
        let end = lines.min(next + piece);
        let mut text = String::new();
        for number in next..end {
            let (now, path) = (Timestamp::now(), ledger::path(number));
            write!(text, r#"{{"time_iso8601":"{now}","request_method":"GET","#)?;
            write!(text, r#""request_uri":"{path}","status":"200","body_bytes_sent":12,"#)?;
            write!(text, r#""http_user_agent":"curl/8.5.0","request_id":"{number:032x}"}}"#)?;
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        next = end;
        thread::sleep(dice.time(Duration::ZERO, PAUSE));
    }
    Ok(())
}
