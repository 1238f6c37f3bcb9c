//! Shippers that never give up: each sends its own batches, one after the other, until each is
//! acknowledged, whatever happens to the server. In between it sends acknowledged ones again, and
//! other content under their keys.
//!
//! What was sent and what was acknowledged is kept here, out of the server's reach; a case can
//! pause all shippers and compare.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::books::{BatchId, Content, Recipe, Size};
use super::dice::Dice;
use crate::client::{Answer, Client, Verdict};
use crate::server::Target;
use crate::traffic::{Batch, Encoding};

/// One batch with all its retries; what happens to the server falls into it.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(90);
/// The pause before a retry.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(60));
/// The pause between two batches of a shipper.
const THINKING: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(30));
/// So many of a hundred requests send an acknowledged batch again.
const REPEATS_PERCENT: u64 = 10;
/// So many of a hundred send other content under the key of one.
const CONTRADICTIONS_PERCENT: u64 = 5;
/// A shipper sends its latest batches again only: a case may have the server forget older keys.
const RECENT: usize = 16;
/// The problem type of a key that was used for other content.
const KEY_REUSED: &str = "/problems/idempotency-key-reused";

/// All shippers of one round.
#[derive(Debug)]
pub(super) struct Fleet {
    recipe: Recipe,
    seed: u64,
    shippers: Vec<Mutex<Sent>>,
    /// Held for reading during each request, for writing during a pause.
    gate: RwLock<()>,
    /// Shippers begin no further batch.
    drain: AtomicBool,
    /// One shipper has failed, or the case has.
    failed: AtomicBool,
    /// The size of every second batch that is begun.
    surge: AtomicU8,
    tally: Tally,
}

/// What one shipper has sent.
#[derive(Debug, Default)]
struct Sent {
    /// The size of each batch.
    sizes: Vec<Size>,
    /// How many of them, from the first on, were acknowledged: all, or all but the last.
    acknowledged: usize,
    /// How many of them the case has sent itself: they are answered 409 though no answer was lost.
    resent: usize,
}

/// What the shippers did, for the report.
#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    retries: AtomicU64,
    repeats: AtomicU64,
    contradictions: AtomicU64,
}

/// The figures of some rounds.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Figures {
    pub(super) batches: u64,
    pub(super) requests: u64,
    pub(super) retries: u64,
    pub(super) repeats: u64,
    pub(super) contradictions: u64,
}

/// While this is held no request is under way.
#[derive(Debug)]
pub(super) struct Paused<'f> {
    _gate: RwLockWriteGuard<'f, ()>,
    fleet: &'f Fleet,
}

impl Fleet {
    pub(super) fn new(recipe: Recipe, seed: u64, shippers: usize) -> Self {
        Self {
            recipe,
            seed,
            shippers: (0..shippers).map(|_| Mutex::default()).collect(),
            gate: RwLock::default(),
            drain: AtomicBool::default(),
            failed: AtomicBool::default(),
            surge: AtomicU8::default(),
            tally: Tally::default(),
        }
    }

    /// Sends for as long as `supervise` runs, then until every batch that was begun is
    /// acknowledged; so the server must be up when `supervise` returns.
    pub(super) fn ship(
        &self,
        target: &Target,
        supervise: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (supervised, shipped) = thread::scope(|scope| {
            let shippers: Vec<_> = (0..self.shippers.len())
                .map(|shipper| {
                    scope.spawn(move || {
                        let result = self.ship_until_drained(shipper, target);
                        self.failed.fetch_or(result.is_err(), Ordering::Relaxed);
                        result
                    })
                })
                .collect();
            let supervised = supervise();
            self.failed.fetch_or(supervised.is_err(), Ordering::Relaxed);
            self.drain.store(true, Ordering::Relaxed);
            let join = |s: thread::ScopedJoinHandle<'_, _>| s.join().expect("returns its errors");
            (supervised, shippers.into_iter().map(join).collect::<Vec<Result<()>>>())
        });
        let mut errors: Vec<_> = shipped.into_iter().filter_map(Result::err).collect();
        errors.extend(supervised.err());
        // The first failure made the others stop.
        errors.sort_by_key(anyhow::Error::is::<Stopped>);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Fails as soon as a shipper has: a case need not go on then.
    pub(super) fn ensure_going(&self) -> Result<()> {
        ensure!(!self.failed.load(Ordering::Relaxed), Stopped);
        Ok(())
    }

    /// Waits for the requests under way and holds back all others.
    pub(super) fn pause(&self) -> Paused<'_> {
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        Paused { _gate: gate, fleet: self }
    }

    /// From now on every second batch is of this size.
    pub(super) fn surge(&self, size: Size) {
        self.surge.store(size as u8, Ordering::Relaxed);
    }

    /// After the end: exactly what was sent is counted, each batch once.
    pub(super) fn check_all(&self, client: &Client) -> Result<()> {
        for (shipper, sent) in self.shippers.iter().enumerate() {
            let sent = lock(sent);
            ensure!(
                sent.acknowledged == sent.sizes.len(),
                "shipper {shipper} has not delivered its last batch"
            );
        }
        self.pause().check(client).map(|_| ())
    }

    pub(super) fn figures(&self) -> Figures {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            batches: self.shippers.iter().map(|sent| lock(sent).acknowledged as u64).sum(),
            requests: get(&self.tally.requests),
            retries: get(&self.tally.retries),
            repeats: get(&self.tally.repeats),
            contradictions: get(&self.tally.contradictions),
        }
    }

    fn ship_until_drained(&self, shipper: usize, target: &Target) -> Result<()> {
        let client = Client::new(target.clone());
        let mut dice = Dice::new(self.seed, shipper as u64);
        while !self.drain.load(Ordering::Relaxed) {
            let known = lock(&self.shippers[shipper]).acknowledged;
            let recent = known.saturating_sub(RECENT)..known;
            let dealt = dice.below(100);
            if recent.is_empty() || dealt >= REPEATS_PERCENT + CONTRADICTIONS_PERCENT {
                self.ship_next(shipper, &client, &mut dice)?;
            } else {
                let number = recent.start + dice.index(recent.len());
                let id = BatchId { shipper, number };
                if dealt < REPEATS_PERCENT {
                    self.repeat(id, &client, &mut dice)?;
                } else {
                    self.contradict(id, &client, &mut dice)?;
                }
            }
            thread::sleep(dice.time(THINKING.0, THINKING.1));
        }
        Ok(())
    }

    /// Sends the shipper's next batch until it is acknowledged.
    fn ship_next(&self, shipper: usize, client: &Client, dice: &mut Dice) -> Result<()> {
        let surge = match self.surge.load(Ordering::Relaxed) {
            surge if surge == Size::Wide as u8 => Size::Wide,
            surge if surge == Size::Padded as u8 => Size::Padded,
            _ => Size::Small,
        };
        let size = if dice.percent(50) { surge } else { Size::Small };
        let number = {
            let mut sent = lock(&self.shippers[shipper]);
            sent.sizes.push(size);
            sent.sizes.len() - 1
        };
        let id = BatchId { shipper, number };
        let batch = self.recipe.batch(id, size, Content::Original, None)?;
        let (answer, lost) = self.send(&batch, client, dice)?;
        ensure!(matches!(answer.status, 202 | 409), "batch {}: {answer}", batch.key);
        let verdict = answer.judge(&batch)?;
        ensure!(
            verdict == Verdict::Accepted || lost || number < lock(&self.shippers[shipper]).resent,
            "batch {} was never accepted, yet answered 409",
            batch.key
        );
        lock(&self.shippers[shipper]).acknowledged = number + 1;
        Ok(())
    }

    /// Sends an acknowledged batch again, encoded in any way: 409 with the same receipt.
    pub(super) fn repeat(&self, id: BatchId, client: &Client, dice: &mut Dice) -> Result<()> {
        let encoding = *dice.pick(&[None, Some(Encoding::Gzip), Some(Encoding::Zstd)]);
        let batch = self.recipe.batch(id, self.size(id), Content::Original, encoding)?;
        let (answer, _) = self.send(&batch, client, dice)?;
        ensure!(
            answer.status == 409,
            "batch {} was acknowledged, then sent again: {answer}",
            batch.key
        );
        answer.judge(&batch)?;
        self.tally.repeats.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends other content under the key of an acknowledged batch: 422.
    fn contradict(&self, id: BatchId, client: &Client, dice: &mut Dice) -> Result<()> {
        let batch = self.recipe.batch(id, self.size(id), Content::Other, None)?;
        let (answer, _) = self.send(&batch, client, dice)?;
        ensure!(
            answer.status == 422 && answer.json()?["type"] == KEY_REUSED,
            "batch {} was acknowledged, then sent with other content: {answer}",
            batch.key
        );
        self.tally.contradictions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends until there is an answer other than "try again". Also tells whether the answer to an
    /// attempt was lost, so that it may have been the accepted one.
    fn send(&self, batch: &Batch, client: &Client, dice: &mut Dice) -> Result<(Answer, bool)> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        let mut lost = false;
        loop {
            let answer = {
                let _pass = self.gate.read().unwrap_or_else(PoisonError::into_inner);
                self.ensure_going()?;
                client.post(batch)
            };
            self.tally.requests.fetch_add(1, Ordering::Relaxed);
            let last = match answer {
                Ok(answer) if matches!(answer.status, 429 | 503) => {
                    ensure!(answer.retry_after, "without Retry-After: {answer}");
                    lost |= answer.may_hide_an_accepted_batch();
                    answer.to_string()
                }
                Ok(answer) => return Ok((answer, lost)),
                Err(error) => {
                    lost = true;
                    error.to_string()
                }
            };
            if Instant::now() >= deadline {
                bail!("batch {} was not taken within {DELIVERY_TIMEOUT:?}: {last}", batch.key);
            }
            self.tally.retries.fetch_add(1, Ordering::Relaxed);
            thread::sleep(dice.time(BACKOFF.0, BACKOFF.1));
        }
    }

    fn size(&self, id: BatchId) -> Size {
        lock(&self.shippers[id.shipper]).sizes[id.number]
    }
}

impl Paused<'_> {
    /// Acknowledged ⊆ counted ⊆ sent, and each counted batch once in all its windows. Returns
    /// what is counted.
    pub(super) fn check(&self, client: &Client) -> Result<BTreeSet<BatchId>> {
        let recipe = &self.fleet.recipe;
        let counted = recipe.counted(client).context("reading what is counted")?;
        let sizes: Vec<_> = self.fleet.shippers.iter().map(|s| lock(s).sizes.clone()).collect();
        for id in &counted {
            let sent = sizes.get(id.shipper).map_or(0, Vec::len);
            ensure!(id.number < sent, "{id:?} is counted and was never sent");
        }
        for (shipper, sent) in self.fleet.shippers.iter().enumerate() {
            let acknowledged = lock(sent).acknowledged;
            let is_lost = |number: &usize| !counted.contains(&BatchId { shipper, number: *number });
            let lost: Vec<_> = (0..acknowledged).filter(is_lost).collect();
            ensure!(
                lost.is_empty(),
                "LOST: acknowledged, not counted: shipper {shipper}, {lost:?}"
            );
        }
        let sized = counted.iter().map(|id| (*id, sizes[id.shipper][id.number]));
        recipe.compare(client, &sized).context("some are not counted exactly once")?;
        Ok(counted)
    }
}

/// Judging a copy of the server, while the load on the server goes on.
impl Fleet {
    /// What a copy counts: everything of `before`, nothing that was not sent, each batch once.
    pub(super) fn counted_elsewhere(
        &self,
        client: &Client,
        before: &BTreeSet<BatchId>,
    ) -> Result<BTreeSet<BatchId>> {
        let counted = self.recipe.counted(client)?;
        let lost: Vec<_> = before.difference(&counted).collect();
        ensure!(lost.is_empty(), "LOST: acknowledged before the copy, not in it: {lost:?}");
        let sizes: Vec<_> = self.shippers.iter().map(|s| lock(s).sizes.clone()).collect();
        let sized = counted.iter().map(|id| {
            let size = sizes.get(id.shipper).and_then(|sizes| sizes.get(id.number));
            size.map(|size| (*id, *size)).with_context(|| format!("{id:?} was never sent"))
        });
        let sized = sized.collect::<Result<Vec<_>>>()?;
        self.recipe.compare(client, &sized.into_iter()).context("not counted exactly once")?;
        Ok(counted)
    }

    /// Sends the latest batches of `before` again; a copy must know their keys.
    pub(super) fn repeat_some(&self, client: &Client, before: &BTreeSet<BatchId>) -> Result<()> {
        let mut dice = Dice::new(self.seed, u64::MAX - 1);
        before.iter().rev().take(RECENT).try_for_each(|id| self.repeat(*id, client, &mut dice))
    }
}

impl Paused<'_> {
    /// Every batch that is acknowledged at this moment.
    pub(super) fn acknowledged(&self) -> BTreeSet<BatchId> {
        let of = |(shipper, sent): (usize, &Mutex<Sent>)| {
            (0..lock(sent).acknowledged).map(move |number| BatchId { shipper, number })
        };
        self.fleet.shippers.iter().enumerate().flat_map(of).collect()
    }
}

/// How far each shipper had come at some moment.
pub(super) type Mark = Vec<usize>;

impl Paused<'_> {
    /// How far each shipper has come.
    pub(super) fn mark(&self) -> Mark {
        self.fleet.shippers.iter().map(|sent| lock(sent).sizes.len()).collect()
    }

    /// Sends everything again that was sent since the mark: what is counted is answered 409, and
    /// what is not is accepted now. Returns how many batches that were.
    pub(super) fn resend(
        &self,
        target: &Target,
        since: &Mark,
        counted: &BTreeSet<BatchId>,
    ) -> Result<u64> {
        let resend = |shipper: usize, from: usize| -> Result<u64> {
            let client = Client::new(target.clone());
            let to = lock(&self.fleet.shippers[shipper]).sizes.len();
            for number in from..to {
                let id = BatchId { shipper, number };
                let expected = if counted.contains(&id) { 409 } else { 202 };
                let size = self.fleet.size(id);
                let batch = self.fleet.recipe.batch(id, size, Content::Original, None)?;
                let answer = client.post(&batch)?;
                ensure!(
                    answer.status == expected,
                    "batch {} is resent and must be answered {expected}: {answer}",
                    batch.key
                );
                answer.judge(&batch)?;
            }
            lock(&self.fleet.shippers[shipper]).resent = to;
            Ok(to.saturating_sub(from) as u64)
        };
        thread::scope(|scope| {
            let each = since.iter().enumerate();
            let resend = &resend;
            let resent: Vec<_> =
                each.map(|(shipper, from)| scope.spawn(move || resend(shipper, *from))).collect();
            let join = |s: thread::ScopedJoinHandle<'_, _>| s.join().expect("returns its errors");
            resent.into_iter().map(join).sum()
        })
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.batches += more.batches;
        self.requests += more.requests;
        self.retries += more.retries;
        self.repeats += more.repeats;
        self.contradictions += more.contradictions;
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { batches, requests, retries, repeats, contradictions } = self;
        write!(
            f,
            "{batches} batches acknowledged and counted once, {requests} requests, {retries} of \
             them tried again, {repeats} repeats (409), {contradictions} contradictions (422)"
        )
    }
}

/// Why a shipper stops that has not failed itself.
#[derive(Debug, thiserror::Error)]
#[error("another shipper or the case failed first")]
struct Stopped;

/// A shipper that panicked is reported by its join; what it had written down is still true.
fn lock(sent: &Mutex<Sent>) -> MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}
