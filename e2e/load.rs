//! Puts a list of batches through parallel senders, while the server may be killed, and judges
//! every answer: each key is accepted once, and a duplicate is told so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::client::{Client, Delivery, Verdict};
use crate::scenario::{Interrupt, Send};
use crate::server::{Server, Target};
use crate::traffic::{Batch, shuffle_in_place};

/// Until the load has come as far as the next interruption.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the load is looked at.
const POLL: Duration = Duration::from_millis(1);
/// Acknowledged batches that a sender holds back before it sends their duplicates.
const DUPLICATE_LAG: usize = 8;
/// Which batches are sent again must not depend on chance.
const DUPLICATE_SEED: u64 = 2;

/// Sends `batches` as the step says; `Ok` means every batch was counted as accepted exactly once.
pub(crate) fn run(
    step: &Send,
    interrupt: Option<Interrupt>,
    batches: &[Batch],
    server: &mut Server,
) -> Result<BTreeMap<String, u64>> {
    let load = Load {
        batches,
        racing: step.racing,
        repeats: plan_repeats(batches.len(), step.duplicates),
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    let target = server.target().clone();
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let senders: Vec<_> = (0..step.senders)
            .map(|_| {
                scope.spawn(|| {
                    let result = load.send_until_done(&target);
                    load.stop.fetch_or(result.is_err(), Ordering::Relaxed);
                    result
                })
            })
            .collect();
        let all_done = || senders.iter().all(ScopedJoinHandle::is_finished);
        let interrupted =
            load.interrupt_server(interrupt, server).and_then(|()| watch_server(server, all_done));
        load.stop.fetch_or(interrupted.is_err(), Ordering::Relaxed);
        let joined = senders.into_iter().map(|s| s.join().expect("a sender returns its errors"));
        // The server's own failure comes first: the senders' errors follow from it.
        std::iter::once(interrupted.map(|()| Tally::default())).chain(joined).collect()
    });
    let mut total = Tally::default();
    let (failed, done): (Vec<_>, Vec<_>) = tallies.into_iter().partition(Result::is_err);
    if let Some(error) = most_telling(failed) {
        return Err(error);
    }
    done.into_iter().flatten().for_each(|tally| total.add(tally));
    total.check(batches, step.racing)?;
    Ok(total.statuses)
}

/// Looks after the server until the senders are done: one that ends by itself is a failure at once,
/// not when the senders have run out of patience.
fn watch_server(server: &mut Server, all_done: impl Fn() -> bool) -> Result<()> {
    while !all_done() {
        server.ensure_running()?;
        thread::sleep(POLL);
    }
    Ok(())
}

/// The error that made the others stop.
fn most_telling(failed: Vec<Result<Tally>>) -> Option<anyhow::Error> {
    let mut errors: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
    let stopped = |error: &anyhow::Error| error.to_string().contains("another sender failed");
    errors.sort_by_key(stopped);
    errors.into_iter().next()
}

/// How often each batch is sent again: `count` spread over all batches in a fixed random order.
fn plan_repeats(batches: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..batches).collect();
    shuffle_in_place(&mut order, DUPLICATE_SEED);
    let mut repeats = vec![0; batches];
    for index in order.into_iter().cycle().take(count) {
        repeats[index] += 1;
    }
    repeats
}

/// What the senders share.
struct Load<'a> {
    batches: &'a [Batch],
    /// Senders that take each batch: neighbours in the queue, so at the same moment.
    racing: usize,
    repeats: Vec<usize>,
    /// The next place in the queue, which holds every batch `racing` times.
    next: AtomicUsize,
    stop: AtomicBool,
}

/// What became of the batches one sender sent.
#[derive(Debug, Default)]
struct Tally {
    statuses: BTreeMap<String, u64>,
    /// How often each batch was answered 202.
    accepted: BTreeMap<usize, usize>,
    /// Answers that never came, by batch: the batch may have been accepted all the same.
    lost: BTreeMap<usize, usize>,
}

impl Load<'_> {
    fn send_until_done(&self, target: &Target) -> Result<Tally> {
        let client = Client::new(target.clone());
        let mut tally = Tally::default();
        let mut owed = VecDeque::new();
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let index = place / self.racing;
            let Some(batch) = self.batches.get(index) else { break };
            ensure!(!self.stop.load(Ordering::Relaxed), "another sender failed first");
            tally.record(index, client.deliver(batch, &self.stop)?);
            if place.is_multiple_of(self.racing) {
                owed.extend(std::iter::repeat_n(index, self.repeats[index]));
            }
            if owed.len() > DUPLICATE_LAG {
                self.send_duplicate(owed.pop_front(), &client, &mut tally)?;
            }
        }
        while !owed.is_empty() {
            self.send_duplicate(owed.pop_front(), &client, &mut tally)?;
        }
        Ok(tally)
    }

    /// Sends a batch again that this sender knows to be acknowledged.
    fn send_duplicate(
        &self,
        index: Option<usize>,
        client: &Client,
        tally: &mut Tally,
    ) -> Result<()> {
        let Some(index) = index else { return Ok(()) };
        let batch = &self.batches[index];
        let delivery = client.deliver(batch, &self.stop)?;
        ensure!(
            delivery.verdict == Verdict::Duplicate,
            "batch {} of {} was acknowledged, then accepted a second time",
            batch.key,
            batch.customer
        );
        tally.count_status(delivery.verdict);
        Ok(())
    }

    /// Stops and starts the server at evenly spread moments of the load.
    fn interrupt_server(&self, interrupt: Option<Interrupt>, server: &mut Server) -> Result<()> {
        let Some(interrupt) = interrupt else { return Ok(()) };
        let places = self.batches.len() * self.racing;
        for time in 1..=interrupt.times {
            let due = places * time / (interrupt.times + 1);
            let deadline = Instant::now() + PROGRESS_TIMEOUT;
            while self.next.load(Ordering::Relaxed) < due {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                ensure!(Instant::now() < deadline, "the load did not get to batch {due}");
                thread::sleep(POLL);
            }
            server
                .restart(interrupt.signal)
                .with_context(|| format!("interruption {time} of {}", interrupt.times))?;
        }
        Ok(())
    }
}

impl Tally {
    fn record(&mut self, index: usize, delivery: Delivery) {
        self.count_status(delivery.verdict);
        if delivery.verdict == Verdict::Accepted {
            *self.accepted.entry(index).or_default() += 1;
        }
        if delivery.answer_lost {
            *self.lost.entry(index).or_default() += 1;
        }
    }

    fn count_status(&mut self, verdict: Verdict) {
        let status = match verdict {
            Verdict::Accepted => "202",
            Verdict::Duplicate => "409",
        };
        *self.statuses.entry(status.to_owned()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (index, count) in other.accepted {
            *self.accepted.entry(index).or_default() += count;
        }
        for (index, count) in other.lost {
            *self.lost.entry(index).or_default() += count;
        }
    }

    /// One 202 for each key; none only where an answer was lost on the way.
    fn check(&self, batches: &[Batch], racing: usize) -> Result<()> {
        for (index, Batch { key, customer, .. }) in batches.iter().enumerate() {
            match self.accepted.get(&index).copied().unwrap_or(0) {
                1 => {}
                0 if self.lost.contains_key(&index) => {}
                0 => bail!("batch {key} of {customer} was never accepted, yet answered 409"),
                n => bail!("batch {key} of {customer} was accepted {n} times ({racing} senders)"),
            }
        }
        Ok(())
    }
}
