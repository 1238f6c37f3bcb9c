//! What many readers cost those who send: 200 connections that ask 100 times a second in all, as
//! dashboards of the last hour and day do, while batches of 1,000 entries come at half speed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::driver::Load;
use crate::measure::{Options, Place, grouped, median, ns_each, quantile_ms, settle};
use crate::process::Served;
use crate::traffic::{Names, Shape, Times, Traffic};

const ENTRIES: usize = 1_000;
const SENDERS: usize = 4;
const READERS: usize = 200;
const CUSTOMERS: usize = 20;
/// Between two questions of a reader: a hundred a second in all.
const PAUSE: Duration = Duration::from_secs(2);
/// Of minutes before now that have been counted.
const DAY: usize = 1_440;
/// What was counted before, and what comes in now.
const HOUR: &str = "from=2026-03-01T11:30:00Z&to=2026-03-01T12:30:00Z";
const HOURS: &str = "from=2026-02-28T13:00:00Z&to=2026-03-01T13:00:00Z&windowSize=hour";
const QUESTIONS: [(&str, &str); 5] = [
    ("summary?", HOUR),
    ("series?split=userAgent&limit=8&", HOUR),
    ("top?by=path&compare=previous&", HOUR),
    ("top?by=userAgent&compare=previous&", HOUR),
    ("series?", HOURS),
];

/// One run.
struct Run {
    cpu_ns_per_entry: f64,
    asked: Vec<Duration>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let length = options.pick(Duration::from_secs(15), Duration::from_secs(3));
    let (minutes, paths) = options.pick((DAY, 500), (60, 50));
    let past = Shape {
        entries: paths,
        customers: CUSTOMERS,
        paths: Names::InTurn(paths),
        times: Times::Before(minutes),
        bodies: Some(minutes),
        ..Shape::usual(paths, CUSTOMERS)
    };
    let place = Place::new("")?;
    let served = place.start(&[])?;
    let past = Traffic::of(&past);
    Load::new(&past, SENDERS, served.address()).batches(minutes * CUSTOMERS)?;
    settle(&served)?;

    let traffic = Traffic::new(ENTRIES, CUSTOMERS);
    let mut load = Load::new(&traffic, SENDERS, served.address());
    let fastest = load.run(length / 3)?;
    let full = fastest.latencies.len() as f64 / fastest.length.as_secs_f64();
    let interval = Duration::from_secs_f64(SENDERS as f64 * 2.0 / full);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        alone.push(measured(&served, &mut load, length, interval, 0)?);
        beside.push(measured(&served, &mut load, length, interval, READERS)?);
    }
    let mut asked: Vec<_> = beside.iter().flat_map(|run| run.asked.iter().copied()).collect();
    asked.sort_unstable();
    let cpu = |runs: &[Run]| median(runs.iter().map(|run| run.cpu_ns_per_entry));
    let (alone, beside) = (cpu(&alone), cpu(&beside));
    println!(
        "readers: {READERS} connections, {} questions in {} rounds of {length:.0?}; ingest is \
         {:.0} entries/s",
        grouped(asked.len()),
        options.rounds(),
        full / 2.0 * ENTRIES as f64,
    );
    println!("  {:46}{alone:>8.0}", "server CPU ns/entry, nobody asks");
    println!("  {:46}{beside:>8.0}", "server CPU ns/entry with queries, theirs counted");
    println!("  {:46}{:>8.3}", "  ÷ nobody asks", beside / alone);
    println!("  {:46}{:>8.2}", "answer p50, ms", quantile_ms(&asked, 500));
    println!("  {:46}{:>8.2}", "answer p99, ms", quantile_ms(&asked, 990));
    served.stop()
}

fn measured(
    served: &Served,
    load: &mut Load<'_>,
    length: Duration,
    interval: Duration,
    readers: usize,
) -> Result<Run> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = (0..readers).map(|number| {
            let (address, stop) = (served.address(), &stop);
            scope.spawn(move || read(address, number, stop))
        });
        let readers: Vec<_> = readers.collect();
        let before = served.cpu()?;
        let sent = load.paced(length, interval);
        let cpu = served.cpu()? - before;
        stop.store(true, Ordering::Relaxed);
        let mut asked = Vec::new();
        for reader in readers {
            asked.extend(reader.join().expect("it returns its errors")?);
        }
        let entries = sent?.latencies.len() * ENTRIES;
        Ok(Run { cpu_ns_per_entry: ns_each(cpu, entries), asked })
    })
}

/// Asks one question after the other, over one connection, until it is told to stop. One that is
/// late because of the one before it has waited since it was due.
fn read(address: SocketAddr, number: usize, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let agent = ureq::Agent::new_with_defaults();
    let customer = format!("cus-{:05}", number % CUSTOMERS);
    let mut due = Instant::now() + PAUSE.mul_f64(number as f64 / READERS as f64);
    let mut times = Vec::new();
    for (question, range) in QUESTIONS.iter().cycle().skip(number) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let url = format!("http://{address}/analytics/{question}{range}");
        let mut answer = agent.get(&url).header("x-customer-id", &customer).call()?;
        let body = answer.body_mut().read_to_vec().context("an answer")?;
        times.push(due.elapsed());
        ensure!(body.len() > 50, "an answer that says nothing: {url}");
        due += PAUSE;
    }
    Ok(times)
}
