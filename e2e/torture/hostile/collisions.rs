//! Keys and windows that hashes send to one and the same place.
//!
//! Two hashes of the server have no secret seed, because what they decide is on the disk or must
//! not change: blake3 spreads claims over directories, xxh3 spreads windows over partitions. Input
//! for them is made here. All maps in memory are seeded anew by each process, which unit tests see
//! to; against those, names are sent that differ in little.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::bodies::{Body, counted, line};
use super::super::figures::{MEMORY_MAX_MIB, median, ms};
use super::super::wire::Wire;
use super::super::{Ending, Setting};
use super::attack;
use crate::server::{Server, Target};

/// Rounds of ordinary and of crafted input, in turn.
const ROUNDS: u64 = 5;
/// How many times as long crafted input may take.
const SLOWER_TIMES: u32 = 3;
/// From the format of the data directory: what claims are hashed under.
const CLAIM_DOMAIN: &str = "logmill 2026 idempotency claim";
/// Minutes since 1970 of the day that all lines are of.
const DAY_MINUTES: u64 = 20_513 * 1_440;
const BATCH: usize = 1_000;
/// Minutes that lines are of; so many belong to one of eight partitions.
const WINDOWS: usize = 150;

/// What is sent in one round: batches with their keys, for one customer.
struct Round {
    customer: String,
    batches: Vec<(String, Body)>,
}

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server("", |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let size = if setting.full { 20_000 } else { 1_000 };
    let partitions = u64::from(setting.partitions);
    type Make<'a> = &'a dyn Fn(u64, bool) -> Round;
    let makes: [(&str, Make<'_>); 3] = [
        ("claims in one directory", &|round, crafted| keys(round, size, crafted)),
        ("windows in one partition", &|round, crafted| windows(round, size, partitions, crafted)),
        ("names that differ in one bit", &|round, crafted| names(round, size, crafted)),
    ];
    let mut figures = format!("{size} of each, {ROUNDS} rounds");
    for (what, make) in makes {
        let ((ordinary, crafted), watched) = attack(server, |target| compare(target, make))?;
        figures.push_str(&format!(
            "\n    {what}: {}, otherwise {}; {watched}",
            ms(crafted),
            ms(ordinary)
        ));
        watched.check(MEMORY_MAX_MIB)?;
        if setting.full {
            ensure!(crafted <= ordinary * SLOWER_TIMES, "{what} slow the server down: {figures}");
        }
    }
    Ok(Ending::Passed(figures))
}

/// The median times of rounds of ordinary and of crafted input.
fn compare(target: &Target, make: &dyn Fn(u64, bool) -> Round) -> Result<(Duration, Duration)> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for crafted in [false, true] {
            let round = make(round, crafted);
            times[usize::from(crafted)].push(send(target, &round)?);
        }
    }
    Ok((median(&times[0]), median(&times[1])))
}

/// How long a round takes, until the workers have counted all of it.
fn send(target: &Target, round: &Round) -> Result<Duration> {
    let mut wire = Wire::new(target);
    let began = Instant::now();
    for (key, body) in &round.batches {
        let reply = wire.post(&round.customer, key, body)?;
        ensure!(reply.status == 202, "{key} of {}: {reply}", round.customer);
    }
    let requests = counted(&mut wire, &round.customer)?;
    let sent: u64 = round.batches.iter().map(|(_, body)| body.entries).sum();
    ensure!(requests == sent, "{}: {requests} of {sent} counted", round.customer);
    Ok(began.elapsed())
}

/// Batches of one line each, whose keys lead to one of 256 directories of names if crafted.
fn keys(round: u64, size: usize, crafted: bool) -> Round {
    let customer = format!("keys-{round}-{crafted}");
    let body = Body::of(&[line(0, "/", "curl/8.5.0")]);
    let keys = (0_u64..).map(|n| format!("k{n}"));
    let fitting = keys.filter(|key| !crafted || directory(&customer, key) == 0);
    let batches = fitting.take(size / 10).map(|key| (key, body.clone())).collect();
    Round { customer, batches }
}

/// The first byte of a claim's name.
fn directory(customer: &str, key: &str) -> u8 {
    let mut hasher = blake3::Hasher::new_derive_key(CLAIM_DOMAIN);
    for part in [customer, key] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().as_bytes()[0]
}

/// Lines of minutes that belong to one partition if crafted.
fn windows(round: u64, size: usize, partitions: u64, crafted: bool) -> Round {
    let customer = format!("windows-{round}-{crafted}");
    let owner =
        |minute: &u64| xxh3_64_with_seed(customer.as_bytes(), DAY_MINUTES + minute) % partitions;
    let minutes: Vec<_> =
        (0..1_440).filter(|minute| !crafted || owner(minute) == 0).take(WINDOWS).collect();
    let lines: Vec<_> = (0..size)
        .map(|n| {
            line(60 * minutes[n % minutes.len()], &format!("/{}", n / minutes.len()), "curl/8")
        })
        .collect();
    Round { batches: in_batches(&lines), customer }
}

/// Paths of the same length that differ in one bit here and there at their end, or everywhere.
fn names(round: u64, size: usize, crafted: bool) -> Round {
    let path = |n: u64| match crafted {
        true => {
            let bits = (0..20).map(|bit| if n >> bit & 1 == 0 { '@' } else { 'A' });
            format!("/{}{}", "@".repeat(43), bits.collect::<String>())
        }
        false => {
            let part = |seed| format!("{:016x}", xxh3_64_with_seed(&n.to_le_bytes(), round + seed));
            let parts: String = (0..4).map(part).collect();
            format!("/{}", &parts[..63])
        }
    };
    let lines: Vec<_> = (0..size as u64).map(|n| line(0, &path(n), &path(n))).collect();
    Round { customer: format!("names-{round}-{crafted}"), batches: in_batches(&lines) }
}

fn in_batches(lines: &[String]) -> Vec<(String, Body)> {
    let batches = lines.chunks(BATCH).enumerate();
    batches.map(|(number, lines)| (format!("b{number}"), Body::of(lines))).collect()
}
