//! Ten times the load that the server sustains: it refuses what is too much, and nothing else
//! happens to it.
//!
//! Most bodies are compressed: they cost the senders little and the server much, which is how one
//! machine can be both and still offer ten times too much.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::bodies::{Body, DAY, Site};
use super::figures::{MEMORY_MAX_MIB, ms, peak_memory_mib, quantile};
use super::wire::Wire;
use super::{Ending, Setting};
use crate::server::{Server, Target};
use crate::traffic::Encoding;

/// How many times the sustainable rate is offered.
const TIMES: f64 = 10.0;
/// Connections while the sustainable rate is looked for.
const CALM_SENDERS: usize = 16;
/// Every second sender is of this customer, the others are of [`CUSTOMERS`] smaller ones.
const BIG: &str = "cus-big";
const CUSTOMERS: usize = 32;
/// Entries of the bodies, in turn; the last has some 2 MB.
const SIZES: [u64; 4] = [10, 1_000, 1_000, 9_000];
/// Different bodies, each of a minute of its own.
const BODIES: u64 = 16;
/// Every how manieth accepted batch is sent once more.
const REPEAT_EVERY: u64 = 16;
/// How long the server may take to be as before.
const CALM_AFTER: Duration = Duration::from_secs(30);
/// What a normal sender may have to wait longer than before the load.
const CALM_SLACK: Duration = Duration::from_millis(20);

/// What one sender, or all of them, saw.
#[derive(Default)]
struct Tally {
    attempts: u64,
    /// Accepted batches by customer and body.
    accepted: BTreeMap<(String, usize), u64>,
    duplicates: u64,
    customer_full: u64,
    server_full: u64,
    /// Of the accepted ones.
    latencies: Vec<Duration>,
    /// Keys that were accepted, with customer and body.
    keys: Vec<(String, String, usize)>,
}

/// When the senders may send: at a rate, or at once.
struct Schedule {
    began: Instant,
    ends: Instant,
    interval: Duration,
    next: AtomicU64,
}

impl Schedule {
    fn new(length: Duration, per_second: Option<f64>) -> Self {
        let began = Instant::now();
        let interval =
            per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate));
        Self { began, ends: began + length, interval, next: AtomicU64::new(0) }
    }

    /// Waits for the next turn; `false` if there is none.
    fn wait(&self) -> bool {
        let turn = u32::try_from(self.next.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
        let due = self.began + self.interval.saturating_mul(turn);
        if due >= self.ends || Instant::now() >= self.ends {
            return false;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        true
    }
}

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server("", |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let bodies = bodies(setting.seed)?;
    let (calm, load, senders) = match setting.full {
        true => (Duration::from_secs(10), Duration::from_secs(180), 2_048),
        false => (Duration::from_secs(1), Duration::from_secs(4), 96),
    };
    let before = normal_latency(server.target(), &bodies[0], 0, 100)?;
    let sustained =
        offer(server.target(), &bodies, "calm", CALM_SENDERS, &Schedule::new(calm, None))?;
    let per_second = sustained.accepted_count() as f64 / calm.as_secs_f64();
    let schedule = Schedule::new(load, Some(per_second * TIMES));
    let mut total = offer(server.target(), &bodies, "load", senders, &schedule)?;
    let ended = Instant::now();
    let offered = total.attempts as f64 / load.as_secs_f64();
    let calm_after = calm_again(server, &bodies[0], before, ended)?;
    let memory = peak_memory_mib(server.pid()?)?;
    total.add(sustained);
    check(&total, &bodies, server.target())?;
    ensure!(total.customer_full + total.server_full > 0, "the load was no overload");
    let (p50, p99) = (quantile(&mut total.latencies, 0.5), quantile(&mut total.latencies, 0.99));
    let figures = format!(
        "{per_second:.0}/s sustained, {offered:.0}/s offered ({:.1} times) for {load:?}: {} \
         accepted in p50 {} p99 {}, {} times 429, {} times 503; peak memory {memory} MiB; a normal \
         sender as before after {calm_after:.1?}",
        offered / per_second,
        total.accepted_count(),
        ms(p50),
        ms(p99),
        total.customer_full,
        total.server_full,
    );
    if setting.full {
        ensure!(offered >= per_second * TIMES * 0.9, "the senders were too slow: {figures}");
    }
    ensure!(memory <= MEMORY_MAX_MIB, "more than {MEMORY_MAX_MIB} MiB: {figures}");
    Ok(Ending::Passed(figures))
}

fn bodies(seed: u64) -> Result<Vec<Body>> {
    let body = |number: u64| {
        let mut site = Site::new(seed ^ number, 2_000, 600);
        let entries = SIZES[usize::try_from(number)? % SIZES.len()];
        // Another number of entries each, so that none can stand in for another.
        let body = site.body(60 * number, 60, entries - number % 8);
        if entries > 100 { body.compressed(Encoding::Gzip) } else { Ok(body) }
    };
    (0..BODIES).map(body).collect()
}

/// Has that many senders send until the schedule ends.
fn offer(
    target: &Target,
    bodies: &[Body],
    name: &str,
    senders: usize,
    schedule: &Schedule,
) -> Result<Tally> {
    thread::scope(|scope| {
        let senders: Vec<_> = (0..senders)
            .map(|number| scope.spawn(move || send(target, bodies, name, number, schedule)))
            .collect();
        let mut total = Tally::default();
        for sender in senders {
            total.add(sender.join().expect("returns its errors")?);
        }
        Ok(total)
    })
}

/// One sender: a batch that is refused is sent again as soon as it is the sender's turn.
fn send(
    target: &Target,
    bodies: &[Body],
    name: &str,
    number: usize,
    schedule: &Schedule,
) -> Result<Tally> {
    let mut wire = Wire::new(target);
    let mut tally = Tally::default();
    let customer = match number % 2 {
        0 => BIG.to_owned(),
        _ => format!("cus-{:02}", number / 2 % CUSTOMERS),
    };
    let mut batch = 0;
    let mut again = false;
    while schedule.wait() {
        let at = (number + batch) % bodies.len();
        let key = format!("{name}-{number}-{batch}");
        let began = Instant::now();
        let reply = wire
            .post(&customer, &key, &bodies[at])
            .with_context(|| format!("{key} of {customer} after {} answers", tally.attempts))?;
        tally.attempts += 1;
        match (reply.status, again) {
            (202, false) => {
                tally.latencies.push(began.elapsed());
                *tally.accepted.entry((customer.clone(), at)).or_default() += 1;
                tally.keys.push((customer.clone(), key, at));
                again = (batch as u64).is_multiple_of(REPEAT_EVERY);
                batch += usize::from(!again);
            }
            (409, true) => {
                tally.duplicates += 1;
                again = false;
                batch += 1;
            }
            (429 | 503, _) => {
                ensure!(reply.retry_after.is_some(), "no Retry-After: {reply}");
                let full = if reply.status == 429 {
                    &mut tally.customer_full
                } else {
                    &mut tally.server_full
                };
                *full += 1;
            }
            _ => anyhow::bail!("{key} of {customer}, sent again: {again}: {reply}"),
        }
    }
    Ok(tally)
}

/// The time within which 99 of 100 batches of a sender alone are accepted.
fn normal_latency(target: &Target, body: &Body, round: u64, batches: u64) -> Result<Duration> {
    let mut wire = Wire::new(target);
    let mut latencies = Vec::new();
    for batch in 0..batches {
        let began = Instant::now();
        let reply = wire.post("cus-normal", &format!("normal-{round}-{batch}"), body)?;
        ensure!(reply.status == 202, "a normal sender: {reply}");
        latencies.push(began.elapsed());
    }
    Ok(quantile(&mut latencies, 0.99))
}

/// Waits until a normal sender is served as before; returns how long that took.
fn calm_again(
    server: &mut Server,
    body: &Body,
    before: Duration,
    ended: Instant,
) -> Result<Duration> {
    let mut last = String::new();
    for round in 1.. {
        ensure!(
            ended.elapsed() < CALM_AFTER,
            "not as before {CALM_AFTER:?} after the load: {last}"
        );
        let ready = Wire::new(server.target()).get("/readyz", "")?;
        last = match normal_latency(server.target(), body, round, 100) {
            Ok(p99) if ready.status == 200 && p99 <= before * 2 + CALM_SLACK => break,
            Ok(p99) => format!("p99 {} (before {}), /readyz {ready}", ms(p99), ms(before)),
            Err(error) => error.to_string(),
        };
        server.ensure_running()?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(ended.elapsed())
}

/// What was acknowledged, and nothing else, is counted, and its keys are taken.
fn check(total: &Tally, bodies: &[Body], target: &Target) -> Result<()> {
    let mut wire = Wire::new(target);
    let customers = (0..CUSTOMERS).map(|number| format!("cus-{number:02}"));
    for customer in customers.chain([BIG.to_owned()]) {
        let query = format!("/analytics?from={DAY}T00:00:00Z&to={DAY}T01:00:00Z");
        let answer = wire.get(&query, &customer)?.json()?;
        let windows = answer["windows"].as_array().context("windows is a list")?;
        for (at, body) in bodies.iter().enumerate() {
            let start = format!("{DAY}T00:{at:02}:00Z");
            let window = windows.iter().find(|window| window["windowStart"] == *start);
            let counted = window.and_then(|window| window["requests"].as_u64()).unwrap_or(0);
            let accepted = total.accepted.get(&(customer.clone(), at)).copied().unwrap_or(0);
            ensure!(
                counted == accepted * body.entries,
                "{customer}, {start}: {accepted} batches of {} accepted, {counted} counted",
                body.entries
            );
        }
    }
    // Some of them, for time's sake.
    for (customer, key, at) in total.keys.iter().step_by(1 + total.keys.len() / 1_000) {
        let reply = wire.post(customer, key, &bodies[*at])?;
        ensure!(reply.status == 409, "{key} of {customer}, accepted before: {reply}");
    }
    Ok(())
}

impl Tally {
    fn accepted_count(&self) -> u64 {
        self.accepted.values().sum()
    }

    fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        for (what, count) in other.accepted {
            *self.accepted.entry(what).or_default() += count;
        }
        self.duplicates += other.duplicates;
        self.customer_full += other.customer_full;
        self.server_full += other.server_full;
        self.latencies.extend(other.latencies);
        self.keys.extend(other.keys);
    }
}
