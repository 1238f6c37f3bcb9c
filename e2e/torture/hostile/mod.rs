//! Input that is made to hurt: while it comes in, memory is bounded, and others are served.

pub(super) mod bombs;
pub(super) mod collisions;
pub(super) mod connections;
pub(super) mod names;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::bodies::{Body, Site, counted};
use super::figures::{forget_peak, ms, peak_memory_mib, quantile};
use super::wire::Wire;
use crate::server::{Server, Target};

/// Who must be served meanwhile, and how often it sends.
const BYSTANDER: &str = "bystander";
const BYSTANDER_PAUSE: Duration = Duration::from_millis(20);
/// Entries of each of its batches.
const BYSTANDER_ENTRIES: u64 = 10;
/// How long it may go without being served.
const STARVED: Duration = Duration::from_secs(10);

/// Keys of the bystander differ over all attacks of this process.
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// What the bystander saw, and what the attack cost the server.
pub(super) struct Watched {
    served: u64,
    refused: u64,
    p99: Duration,
    longest: Duration,
    peak_mib: u64,
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { served, refused, p99, longest, peak_mib } = self;
        let (p99, longest) = (ms(*p99), ms(*longest));
        write!(f, "peak {peak_mib} MiB, a bystander {served} times served (p99 {p99}, longest ")?;
        write!(f, "{longest}) and {refused} times refused")
    }
}

impl Watched {
    /// What must hold of every attack that leaves room for others.
    fn check(&self, peak_max_mib: u64) -> Result<()> {
        ensure!(self.refused == 0, "the bystander was refused: {self}");
        self.check_memory(peak_max_mib)
    }

    fn check_memory(&self, peak_max_mib: u64) -> Result<()> {
        ensure!(self.peak_mib <= peak_max_mib, "more than {peak_max_mib} MiB: {self}");
        Ok(())
    }
}

/// Attacks the server while a bystander sends batch after batch, every second one over a new
/// connection.
fn attack<T>(
    server: &mut Server,
    attack: impl FnOnce(&Target) -> Result<T>,
) -> Result<(T, Watched)> {
    let (target, pid) = (server.target().clone(), server.pid()?);
    forget_peak(pid)?;
    let over = AtomicBool::new(false);
    let (outcome, seen) = thread::scope(|scope| {
        let bystander = scope.spawn(|| stand_by(&target, &over));
        let outcome = attack(&target);
        over.store(true, Ordering::Relaxed);
        (outcome, bystander.join().expect("returns its errors"))
    });
    server.ensure_running()?;
    let outcome = outcome?;
    let (mut latencies, refused) = seen.context("the bystander")?;
    let served = latencies.len() as u64;
    let p99 = quantile(&mut latencies, 0.99);
    let longest = latencies.last().copied().unwrap_or_default();
    Ok((outcome, Watched { served, refused, p99, longest, peak_mib: peak_memory_mib(pid)? }))
}

/// Sends until it is over; returns how long each accepted batch took, and how many were refused.
fn stand_by(target: &Target, over: &AtomicBool) -> Result<(Vec<Duration>, u64)> {
    let body: Body = Site::new(0, 10, 10).body(0, 60, BYSTANDER_ENTRIES);
    let mut kept = Wire::new(target);
    let before = counted(&mut kept, BYSTANDER)?;
    let (mut latencies, mut refused) = (Vec::new(), 0);
    let mut last_served = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let key = format!("b-{}", NEXT_KEY.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        let wire = if latencies.len() % 2 == 0 { &mut kept } else { &mut Wire::new(target) };
        let reply = wire.post(BYSTANDER, &key, &body)?;
        match reply.status {
            202 => {
                latencies.push(began.elapsed());
                last_served = Instant::now();
            }
            429 | 503 => refused += 1,
            _ => bail!("{reply}"),
        }
        ensure!(last_served.elapsed() < STARVED, "not served for {STARVED:?}: {reply}");
        thread::sleep(BYSTANDER_PAUSE);
    }
    let counted = counted(&mut kept, BYSTANDER)? - before;
    let accepted = latencies.len() as u64 * BYSTANDER_ENTRIES;
    ensure!(counted == accepted, "{accepted} entries accepted, {counted} counted");
    Ok((latencies, refused))
}
