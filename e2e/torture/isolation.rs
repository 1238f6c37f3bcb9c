//! One customer sends a hundred times as much as each of twenty others, who must not notice: in
//! many batches of the same size, and in few that are as large as batches may be. Then it sends as
//! much as it can, and the others must still not be refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::bodies::{Body, Site, counted};
use super::figures::{median, ms, quantile};
use super::wire::Wire;
use super::{Ending, Setting};
use crate::server::{Server, Target};
use crate::traffic::splitmix64;

const OTHERS: u64 = 20;
const NOISY: &str = "cus-noisy";
/// Entries of a batch of the others, and of a large one, which has almost 2 MiB.
const ENTRIES: u64 = 20;
const LARGE_ENTRIES: u64 = 8_000;
/// Runs of each noise, in turn.
const RUNS: usize = 5;
/// How much later the others may be answered beside batches of their own size: so many times, and
/// so much. Beside large ones only the latter holds: a batch of 2 MiB takes the one journal longer
/// than theirs take in all.
const SLOWER_TIMES: u32 = 2;
const SLOWER_BY: Duration = Duration::from_millis(20);

/// What the noisy customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noise {
    Silence,
    /// Batches as those of the others, a hundred times as often.
    Many,
    /// As many entries, in batches of the largest size.
    Large,
    /// Batches as those of the others, from many connections, without a pause.
    Flood,
}

const NOISES: [Noise; 4] = [Noise::Silence, Noise::Many, Noise::Large, Noise::Flood];

/// One run: what the others waited, and what the noisy customer got.
struct Run {
    noise: Noise,
    p50: Duration,
    p99: Duration,
    heard: Heard,
}

/// The answers that the noisy customer got.
#[derive(Default)]
struct Heard {
    accepted: u64,
    refused: u64,
}

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server("", |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let (rounds, length, interval) = match setting.full {
        true => (RUNS, Duration::from_secs(10), Duration::from_millis(50)),
        false => (1, Duration::from_secs(2), Duration::from_millis(100)),
    };
    let mut site = Site::new(setting.seed, 200, 50);
    let load = Load {
        target: server.target().clone(),
        small: site.body(0, 60, ENTRIES),
        large: site.body(0, 60, LARGE_ENTRIES),
        interval,
        length,
        seed: setting.seed,
    };
    let mut runs = Vec::new();
    for _ in 0..rounds {
        for noise in NOISES {
            let run = load.run(runs.len(), noise).with_context(|| format!("beside {noise:?}"))?;
            runs.push(run);
            server.ensure_running()?;
        }
    }
    load.check_counts(&runs)?;
    report(setting, &load, &runs)
}

fn report(setting: &Setting, load: &Load, runs: &[Run]) -> Result<Ending> {
    let of = |noise, which: fn(&Run) -> Duration| {
        let runs = runs.iter().filter(|run| run.noise == noise);
        median(&runs.map(which).collect::<Vec<_>>())
    };
    let each = 1.0 / load.interval.as_secs_f64();
    let mut figures = format!("{OTHERS} customers, {each:.0} batches/s each");
    for noise in NOISES {
        let runs = runs.iter().filter(|run| run.noise == noise);
        let (count, accepted, refused) =
            runs.fold((0_u32, 0, 0), |(count, accepted, refused), run| {
                (count + 1, accepted + run.heard.accepted, refused + run.heard.refused)
            });
        let per_second =
            |batches: u64| batches as f64 / load.length.as_secs_f64() / f64::from(count);
        figures.push_str(&format!(
            "\n    {noise:?}: p50 {} p99 {}, beside {:.0}/s accepted and {:.0}/s refused",
            ms(of(noise, |run| run.p50)),
            ms(of(noise, |run| run.p99)),
            per_second(accepted),
            per_second(refused),
        ));
    }
    if setting.full {
        let alone = of(Noise::Silence, |run| run.p99);
        let later = alone + SLOWER_BY;
        for (noise, bound) in
            [(Noise::Many, later.min(alone * SLOWER_TIMES)), (Noise::Large, later)]
        {
            let p99 = of(noise, |run| run.p99);
            ensure!(p99 <= bound, "{noise:?} takes them more than {}: {figures}", ms(bound));
        }
    }
    Ok(Ending::Passed(figures))
}

/// What is sent in each run.
struct Load {
    target: Target,
    small: Body,
    large: Body,
    /// Between two batches of one of the others.
    interval: Duration,
    length: Duration,
    seed: u64,
}

impl Load {
    /// Batches that each of the others sends in a run.
    fn batches(&self) -> u64 {
        u64::try_from(self.length.as_nanos() / self.interval.as_nanos()).expect("a short run")
    }

    fn run(&self, number: usize, noise: Noise) -> Result<Run> {
        let over = &AtomicBool::new(false);
        let (noisy, interval) = match noise {
            Noise::Silence => (0, Duration::ZERO),
            Noise::Many => (50, self.interval * 50 / 100),
            Noise::Large => (4, self.interval * 4 * 4), // 8,000 entries are 400 batches of 20.
            Noise::Flood => (400, Duration::ZERO),
        };
        thread::scope(|scope| {
            let noisy: Vec<_> = (0..noisy)
                .map(|sender| {
                    scope.spawn(move || self.make_noise(noise, interval, (number, sender), over))
                })
                .collect();
            let others: Vec<_> = (0..OTHERS)
                .map(|customer| scope.spawn(move || self.send(number, customer)))
                .collect();
            let latencies: Vec<_> =
                others.into_iter().map(|other| other.join().expect("returns its errors")).collect();
            over.store(true, Ordering::Relaxed);
            let mut heard = Heard::default();
            for sender in noisy {
                let more = sender.join().expect("returns its errors")?;
                heard.accepted += more.accepted;
                heard.refused += more.refused;
            }
            let latencies: Result<Vec<_>> = latencies.into_iter().collect();
            let mut latencies: Vec<_> = latencies?.into_iter().flatten().collect();
            let p50 = quantile(&mut latencies, 0.5);
            Ok(Run { noise, p50, p99: quantile(&mut latencies, 0.99), heard })
        })
    }

    /// One of the others: a batch now and then, none of which may be refused.
    fn send(&self, run: usize, customer: u64) -> Result<Vec<Duration>> {
        let mut wire = Wire::new(&self.target);
        let name = name(customer);
        let mut latencies = Vec::new();
        let mut pace = Pace::new(self.interval, self.seed ^ customer);
        for batch in 0..self.batches() {
            let due = pace.wait();
            let reply = wire.post(&name, &format!("{run}-{batch}"), &self.small)?;
            ensure!(reply.status == 202, "{name} is refused: {reply}");
            // From when it was due: a batch that waited for the one before it has waited.
            latencies.push(due.elapsed());
        }
        Ok(latencies)
    }

    /// A share of the noisy customer's batches. Refusals are its own affair.
    fn make_noise(
        &self,
        noise: Noise,
        interval: Duration,
        (run, sender): (usize, u64),
        over: &AtomicBool,
    ) -> Result<Heard> {
        let mut wire = Wire::new(&self.target);
        let mut heard = Heard::default();
        let mut pace = Pace::new(interval, self.seed ^ sender);
        let body = if noise == Noise::Large { &self.large } else { &self.small };
        for batch in 0_u64.. {
            pace.wait();
            if over.load(Ordering::Relaxed) {
                break;
            }
            let reply =
                wire.post(NOISY, &format!("{run}-{sender}-{batch}"), body).context(NOISY)?;
            match reply.status {
                202 => heard.accepted += 1,
                429 | 503 => heard.refused += 1,
                _ => anyhow::bail!("{NOISY}: {reply}"),
            }
        }
        Ok(heard)
    }

    /// Everything accepted is counted, of everybody.
    fn check_counts(&self, runs: &[Run]) -> Result<()> {
        let mut wire = Wire::new(&self.target);
        let sent = runs.len() as u64 * self.batches() * ENTRIES;
        for customer in 0..OTHERS {
            let requests = counted(&mut wire, &name(customer))?;
            ensure!(requests == sent, "{}: {requests} counted of {sent}", name(customer));
        }
        let entries = |run: &Run| {
            run.heard.accepted * if run.noise == Noise::Large { LARGE_ENTRIES } else { ENTRIES }
        };
        let accepted: u64 = runs.iter().map(entries).sum();
        let requests = counted(&mut wire, NOISY)?;
        ensure!(requests == accepted, "{NOISY}: {requests} counted of {accepted}");
        Ok(())
    }
}

/// Evenly spaced moments, the first of them somewhere within the first interval.
struct Pace {
    due: Instant,
    interval: Duration,
}

impl Pace {
    fn new(interval: Duration, mut seed: u64) -> Self {
        let share = f64::from(u32::try_from(splitmix64(&mut seed) >> 32).expect("32 bits"));
        let first = interval.mul_f64(share / f64::from(u32::MAX));
        Self { due: Instant::now() + first, interval }
    }

    /// Waits for the next moment and returns it. Who is late does not skip any.
    fn wait(&mut self) -> Instant {
        let due = self.due;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        self.due += self.interval;
        due
    }
}

fn name(customer: u64) -> String {
    format!("cus-{customer:02}")
}
