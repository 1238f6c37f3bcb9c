//! Recovery times: a journal that was never checkpointed, and a directory with nothing to replay.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::bodies::{Site, counted};
use super::figures::{median, ms};
use super::wire::Wire;
use super::{Ending, Setting};
use crate::scenario::Signal;
use crate::server::{Server, Target};

const CUSTOMERS: u64 = 20;
const SENDERS: u64 = 8;
/// The span that each customer's lines are spread over: 60 minutes.
const SPAN_SECONDS: u64 = 3600;
const PATHS: u64 = 2_000;
const AGENTS: u64 = 600;
/// What is promised for a million entries, and for none.
const REPLAY_MAX: Duration = Duration::from_secs(2);
const EMPTY_MAX: Duration = Duration::from_millis(500);
/// How often a server that starts is asked.
const POLL: Duration = Duration::from_millis(2);
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// No checkpoint while the journal is written.
const CONFIG: &str = r#"
    [checkpoint]
    interval = "1h"
    journal_bytes = "1GiB"
    memory_bytes = "512MiB"
"#;

/// What a start looked like from outside.
struct Start {
    took: Duration,
    /// Answers of `/readyz?verbose` that said how far the replay had come, short of its end.
    progress: u64,
    replayed: u64,
}

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server(CONFIG, |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let (batches, entries, rounds) = if setting.full { (1_000, 1_000, 5) } else { (200, 100, 1) };
    let mut replays = Vec::new();
    let mut progress = 0;
    for round in 0..rounds {
        send(setting, server.target(), round, batches, entries)?;
        server.stop(Signal::Kill)?;
        let start = start(server)?;
        check(server, (round + 1) * batches * entries)?;
        ensure!(start.replayed > 0, "there was nothing to replay");
        replays.push(start.took);
        progress += start.progress;
    }
    let mut empty = Vec::new();
    for _ in 0..rounds {
        server.stop(Signal::Term)?;
        let start = start(server)?;
        ensure!(start.replayed == 0, "{} groups replayed after a clean end", start.replayed);
        empty.push(start.took);
    }
    check(server, rounds * batches * entries)?;
    let (replay, clean) = (median(&replays), median(&empty));
    let figures = format!(
        "{} entries replayed in {} ({progress} answers with progress), nothing in {}",
        batches * entries,
        ms(replay),
        ms(clean)
    );
    if setting.full {
        ensure!(replay < REPLAY_MAX && clean < EMPTY_MAX, "too slow: {figures}");
        ensure!(progress > 0, "no answer told of progress: {figures}");
    }
    Ok(Ending::Passed(figures))
}

/// Sends the batches of one round, each once, from several senders.
fn send(setting: &Setting, target: &Target, round: u64, batches: u64, entries: u64) -> Result<()> {
    let next = AtomicU64::new(0);
    let send = || -> Result<()> {
        let mut wire = Wire::new(target);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches {
                return Ok(());
            }
            let mut site = Site::new(setting.seed ^ (round << 32) ^ number, PATHS, AGENTS);
            let (customer, turn) = (number % CUSTOMERS, number / CUSTOMERS);
            let seconds = SPAN_SECONDS * CUSTOMERS / batches;
            let body = site.body(turn * seconds, seconds, entries);
            let reply = wire.post(&name(customer), &format!("r{round}-{number}"), &body)?;
            ensure!(reply.status == 202, "batch {number}: {reply}");
        }
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("returns its errors"))
    })
}

/// Starts the server and asks until it is ready.
fn start(server: &mut Server) -> Result<Start> {
    let began = Instant::now();
    server.launch()?;
    let mut wire = Wire::new(server.target());
    let mut progress = 0;
    loop {
        let reply = wire.get("/readyz?verbose", "").context("/readyz while starting")?;
        let took = began.elapsed();
        let answer = reply.json()?;
        let details = if reply.status == 200 { &answer } else { &answer["details"] };
        let count = |name: &str| details[name].as_u64().with_context(|| format!("{name}: {reply}"));
        let (replayed, total) = (count("replayedGroups")?, count("groupsToReplay")?);
        if reply.status == 200 {
            ensure!(replayed == total, "ready with {replayed} of {total} groups replayed");
            return Ok(Start { took, progress, replayed });
        }
        progress += u64::from(0 < replayed && replayed < total);
        server.ensure_running()?;
        ensure!(took < START_TIMEOUT, "not ready after {took:?}: {reply}");
        thread::sleep(POLL);
    }
}

fn check(server: &Server, entries: u64) -> Result<()> {
    let mut wire = Wire::new(server.target());
    for customer in 0..CUSTOMERS {
        let (customer, expected) = (name(customer), entries / CUSTOMERS);
        let counted = counted(&mut wire, &customer)?;
        ensure!(counted == expected, "{customer}: {counted} counted, {expected} accepted");
    }
    Ok(())
}

fn name(customer: u64) -> String {
    format!("cus-{customer:02}")
}
