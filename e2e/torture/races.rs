//! Many senders of one key at the same moment: one effect, whoever wins, and for ever.
//!
//! Every content counts under a path of its own, so the answer to one query tells for each key
//! which content was counted, and how often.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::bodies::{Body, DAY, line};
use super::wire::{Reply, Wire};
use super::{Ending, Setting};
use crate::scenario::Signal;
use crate::server::{Server, Target};
use crate::traffic::splitmix64;

const RACERS: usize = 64;
/// Senders of the repeats after a restart.
const REPEATERS: u64 = 8;
const CUSTOMER: &str = "cus-race";
const ALREADY_ACCEPTED: &str = "/problems/batch-already-accepted";
const KEY_REUSED: &str = "/problems/idempotency-key-reused";

/// One key, and whether half of its racers carry other content.
struct Race {
    number: u64,
    contested: bool,
}

/// The two contents that racers carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    One,
    Other,
}

/// Which content each key was accepted with.
type Winners = Vec<Content>;

impl Race {
    fn key(&self) -> String {
        format!("race-{:06}", self.number)
    }

    fn path(&self, content: Content) -> String {
        let content = if content == Content::One { "one" } else { "other" };
        format!("/race/{:06}/{content}", self.number)
    }

    /// How many entries the content has: more than one, and not the same for all keys.
    fn entries(&self) -> u64 {
        2 + self.number % 5
    }

    fn minutes(&self) -> u64 {
        1 + self.number % 2
    }

    fn body(&self, content: Content) -> Body {
        let lines = (0..self.entries())
            .map(|entry| line(60 * (entry % self.minutes()), &self.path(content), "curl/8.5.0"));
        Body::of(&lines.collect::<Vec<_>>())
    }

    /// What racer number `racer` carries.
    fn content_of(&self, racer: usize) -> Content {
        if self.contested && racer % 2 == 1 { Content::Other } else { Content::One }
    }

    /// Whether the receipt is the one for this key.
    fn check_receipt(&self, receipt: &Value) -> Result<()> {
        let expected = json!({
            "batchId": self.key(), "entries": self.entries(), "windows": self.minutes(),
        });
        ensure!(*receipt == expected, "the receipt is {receipt}, not {expected}");
        Ok(())
    }

    /// What an answer means for one who sent `content`; `None` if that was accepted now.
    fn judge(&self, content: Content, reply: &Reply) -> Result<Option<Content>> {
        let body = reply.json()?;
        match reply.status {
            202 => self.check_receipt(&body).map(|()| None),
            409 => {
                ensure!(body["type"] == ALREADY_ACCEPTED, "{reply}");
                self.check_receipt(&body["accepted"])?;
                Ok(Some(content))
            }
            422 => {
                ensure!(body["type"] == KEY_REUSED, "{reply}");
                Ok(Some(if content == Content::One { Content::Other } else { Content::One }))
            }
            _ => anyhow::bail!("{reply}"),
        }
    }
}

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server("", |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let mut random = setting.seed;
    let keys = if setting.full { 10_000 } else { 200 };
    let races: Vec<_> = (0..keys)
        .map(|number| Race { number, contested: splitmix64(&mut random).is_multiple_of(3) })
        .collect();
    let winners = race(&races, server.target())?;
    check_counts(&races, &winners, server.target()).context("after the races")?;
    for signal in [Signal::Term, Signal::Kill] {
        server.restart(signal)?;
        repeat(&races, &winners, server.target()).with_context(|| format!("after {signal:?}"))?;
        check_counts(&races, &winners, server.target())
            .with_context(|| format!("after {signal:?} and repeats"))?;
    }
    let other = winners.iter().filter(|content| **content == Content::Other).count();
    let contested = races.iter().filter(|race| race.contested).count();
    Ok(Ending::Passed(format!(
        "{keys} keys by {RACERS} senders each, {contested} with two contents ({other} won by the \
         other), then twice 2 repeats of each"
    )))
}

/// Runs all races, one after the other; each racer has a connection of its own.
fn race(races: &[Race], target: &Target) -> Result<Winners> {
    let line_up = Barrier::new(RACERS);
    let racer = |racer: usize| -> Vec<Result<Reply>> {
        let mut wire = Wire::new(target);
        let run = |race: &Race| {
            let (key, body) = (race.key(), race.body(race.content_of(racer)));
            // A racer that failed goes on lining up: the others wait for all.
            let connected = wire.connect().map(drop);
            line_up.wait();
            connected?;
            Ok(wire.post(CUSTOMER, &key, &body)?)
        };
        races.iter().map(run).collect()
    };
    let replies: Vec<Vec<Result<Reply>>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|n| scope.spawn(move || racer(n))).collect();
        racers.into_iter().map(|racer| racer.join().expect("returns its errors")).collect()
    });
    let mut by_racer: Vec<_> = replies.into_iter().map(Vec::into_iter).collect();
    let of = |race: &Race| {
        let replies: Result<Vec<_>> =
            by_racer.iter_mut().map(|replies| replies.next().expect("one a race")).collect();
        winner(race, &replies?).with_context(|| format!("key {}", race.key()))
    };
    races.iter().map(of).collect()
}

/// The content that won: exactly one racer is accepted, and all others hear of the same content.
fn winner(race: &Race, replies: &[Reply]) -> Result<Content> {
    let mut winner = None;
    for (racer, reply) in replies.iter().enumerate() {
        let content = race.content_of(racer);
        if race.judge(content, reply)?.is_none() {
            ensure!(winner.is_none(), "accepted from more than one sender");
            winner = Some(content);
        }
    }
    let winner = winner.context("accepted from nobody")?;
    for (racer, reply) in replies.iter().enumerate() {
        if let Some(told) = race.judge(race.content_of(racer), reply)? {
            ensure!(told == winner, "racer {racer} heard of another content: {reply}");
        }
    }
    Ok(winner)
}

/// Sends each key again with both contents.
fn repeat(races: &[Race], winners: &Winners, target: &Target) -> Result<()> {
    let next = AtomicU64::new(0);
    let repeater = || -> Result<()> {
        let mut wire = Wire::new(target);
        loop {
            let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
            let Some(race) = races.get(at) else { return Ok(()) };
            for content in [Content::Other, Content::One] {
                let reply = wire.post(CUSTOMER, &race.key(), &race.body(content))?;
                let told = race.judge(content, &reply).with_context(|| race.key())?;
                ensure!(told == Some(winners[at]), "{}, sent again: {reply}", race.key());
            }
        }
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..REPEATERS).map(|_| scope.spawn(repeater)).collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("returns its errors"))
    })
}

/// Every key is counted once, with the content that won, and nothing else is.
fn check_counts(races: &[Race], winners: &Winners, target: &Target) -> Result<()> {
    let expected: BTreeMap<String, u64> = races
        .iter()
        .zip(winners)
        .map(|(race, winner)| (format!("GET {}", race.path(*winner)), race.entries()))
        .collect();
    let query = format!("/analytics?windowSize=hour&from={DAY}T00:00:00Z&to={DAY}T01:00:00Z");
    let reply = Wire::new(target).get(&query, CUSTOMER)?;
    let window = &reply.json()?["windows"][0];
    let counted: BTreeMap<String, u64> =
        serde_json::from_value(window["requestsByPath"].clone()).context("requestsByPath")?;
    let names = counted.keys().chain(expected.keys());
    if let Some(name) = names.into_iter().find(|name| counted.get(*name) != expected.get(*name)) {
        let (counted, expected) = (counted.get(name), expected.get(name));
        anyhow::bail!("{name} is counted {counted:?} times, not {expected:?}");
    }
    let requests: u64 = expected.values().sum();
    ensure!(window["requests"] == requests, "{} in all, not {requests}", window["requests"]);
    Ok(())
}
