//! How long answers take over a day of one busy customer: the most frequent paths, and the totals
//! of each minute; on a server at rest, and while others send to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::driver::Load;
use crate::measure::{Options, Place, grouped, quantile_ms, settle};
use crate::process::Served;
use crate::traffic::{Names, Shape, Times, Traffic};

const DAY: usize = 1_440;
const CONNECTIONS: usize = 16;
/// Between two batches of a connection: some thousand batches of 20 entries a second in all.
const PACE: Duration = Duration::from_millis(10);
/// A day, and minutes at both ends that fill no hour.
const RANGE: &str = "from=2026-02-28T12:17:00Z&to=2026-03-01T12:17:00Z";

pub(crate) fn run(options: &Options) -> Result<()> {
    let (minutes, paths) = options.pick((DAY, 1_000), (120, 50));
    let asked = options.pick(300, 20);
    let day = Shape {
        entries: paths,
        customers: 1,
        paths: Names::InTurn(paths),
        times: Times::Before(minutes),
        bodies: Some(minutes),
        ..Shape::usual(paths, 1)
    };
    let place = Place::new("[checkpoint]\ninterval = \"2s\"\n")?;
    let served = place.start(&[])?;
    Load::new(&Traffic::of(&day), 4, served.address()).batches(minutes)?;
    settle(&served)?;
    println!(
        "queries: {} minutes of {} paths each, one customer; ingest is {CONNECTIONS} connections \
         with 20 entries every {PACE:.0?}",
        grouped(minutes),
        grouped(paths)
    );
    println!("  {:34}{:>10}{:>10}", "ms", "p50", "p99");
    let now = Traffic::new(20, 20);
    // Hours that are over are put together one checkpoint after they were last added to.
    Load::new(&now, 1, served.address()).paced(Duration::from_secs(5), PACE)?;
    let ask = |when: &str| {
        line(&format!("top 10 paths, {when}"), &times(&served, "top", "&limit=10", asked)?);
        line(&format!("series of totals, {when}"), &times(&served, "series", "", asked)?);
        anyhow::Ok(())
    };
    ask("at rest")?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ingest = scope.spawn(|| ingest(&now, served.address(), &stop));
        let began = Instant::now();
        let asked = ask("under ingest");
        stop.store(true, Ordering::Relaxed);
        let batches = ingest.join().expect("it returns its errors")?;
        let rate = batches as f64 / began.elapsed().as_secs_f64();
        println!("  batches/s meanwhile: {rate:.0}");
        asked
    })?;
    served.stop()
}

/// Sends until it is told to stop; how many batches were accepted.
fn ingest(traffic: &Traffic, address: SocketAddr, stop: &AtomicBool) -> Result<usize> {
    let mut load = Load::new(traffic, CONNECTIONS, address);
    let mut batches = 0;
    while !stop.load(Ordering::Relaxed) {
        batches += load.paced(Duration::from_millis(500), PACE)?.latencies.len();
    }
    Ok(batches)
}

/// Asks one time after the other, over one connection.
fn times(served: &Served, what: &str, more: &str, count: usize) -> Result<Vec<Duration>> {
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("http://{}/analytics/{what}?{RANGE}{more}", served.address());
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let mut answer = agent.get(&url).header("x-customer-id", "cus-00000").call()?;
        let body = answer.body_mut().read_to_vec().context("an answer")?;
        times.push(start.elapsed());
        ensure!(body.len() > 100, "an answer that says nothing");
    }
    times.sort_unstable();
    Ok(times)
}

fn line(name: &str, times: &[Duration]) {
    println!("  {name:34}{:>10.2}{:>10.2}", quantile_ms(times, 500), quantile_ms(times, 990));
}
