//! How long a 202 takes at half of the speed that the server reaches, beside the disk's own time
//! for an overwrite and a sync, and beside a server that keeps nothing and is sent as much: what
//! that takes is the machine's and the senders'. And the same while checkpoints come often.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::driver::{Load, Sent};
use crate::measure::{Options, Place, checkpoints, median, quantile_ms};
use crate::process::{DISK, Kind, Served};
use crate::traffic::Traffic;

const ENTRIES: usize = 20;
const CONNECTIONS: usize = 64;
/// A checkpoint when the journal is long enough, and none because of the time. Connections wait for
/// their turns.
const SELDOM: &str = "[http]\nheader_timeout = \"1h\"\n[checkpoint]\ninterval = \"1h\"\n";
const OFTEN: &str = "[http]\nheader_timeout = \"1h\"\n[checkpoint]\ninterval = \"1s\"\n";
/// In thousandths.
const QUANTILES: [usize; 3] = [500, 990, 999];
/// Runs until one is left undisturbed.
const TRIES_MAX: usize = 5;
const BLOCK: usize = 4_096;
const BLOCKS: u64 = 8_192;

/// Quantiles of one run, in milliseconds.
type Run = [f64; QUANTILES.len()];

pub(crate) fn run(options: &Options) -> Result<()> {
    let length = options.pick(Duration::from_secs(10), Duration::from_millis(1_200));
    let rounds = options.pick(5, 1);
    let traffic = Traffic::new(ENTRIES, 20);
    let (seldom, often) = (Place::new(SELDOM)?, Place::new(OFTEN)?);
    let (seldom, often) = (seldom.start(&[])?, often.start(&[])?);
    let null = Served::start(Kind::Null, None)?;
    let first = checkpoints(&seldom)?;
    let mut to_seldom = Load::new(&traffic, CONNECTIONS, seldom.address());
    let mut to_often = Load::new(&traffic, CONNECTIONS, often.address());
    // Caches, files and connections come to be; the journal's segments with the first checkpoint.
    to_often.run(length / 4)?;
    while checkpoints(&seldom)? == first {
        to_seldom.run(length / 4)?;
    }
    let fastest = to_seldom.run(length / 2)?;
    let full = fastest.latencies.len() as f64 / fastest.length.as_secs_f64();
    let interval = Duration::from_secs_f64(CONNECTIONS as f64 * 2.0 / full);

    let (mut disk, mut bare) = (Vec::new(), Vec::new());
    let (mut calm, mut busy) = (Vec::new(), Vec::new());
    let (mut sent, mut made) = (0.0, 0.0);
    for _ in 0..rounds {
        disk.push(quantiles(&syncs(length / 4)?));
        // Its connections would not last until its next turn; they come to be before it counts.
        let mut to_null = Load::new(&traffic, CONNECTIONS, null.address());
        to_null.run(length / 10)?;
        bare.push(quantiles(&to_null.paced(length, interval)?.latencies));
        let run = undisturbed(&seldom, || to_seldom.paced(length, interval))?;
        sent += run.latencies.len() as f64 / run.length.as_secs_f64() / rounds as f64;
        calm.push(quantiles(&run.latencies));
        let before = checkpoints(&often)?;
        busy.push(quantiles(&to_often.paced(length, interval)?.latencies));
        made += checkpoints(&often)? - before;
    }

    println!(
        "latency: {ENTRIES} entries a batch, {CONNECTIONS} connections, {sent:.0} batches/s \
         ({full:.0} in a closed loop), {rounds} rounds of {length:.0?}"
    );
    println!("  {:34}{:>10}{:>10}{:>10}", "ms", "p50", "p99", "p99.9");
    let line = |name: &str, values: Run| {
        println!("  {name:34}{:>10.2}{:>10.2}{:>10.2}", values[0], values[1], values[2]);
    };
    let [disk, bare, calm, busy] = [disk, bare, calm, busy].map(|runs| medians(&runs));
    line("disk, 4 KiB overwrite + fdatasync", disk);
    line("202 of a server that only reads", bare);
    line("202, no checkpoint", calm);
    line("  ÷ disk", ratios(calm, disk));
    line("  ÷ the server that only reads", ratios(calm, bare));
    line("202, a checkpoint every second", busy);
    line("  ÷ no checkpoint", ratios(busy, calm));
    println!("  checkpoints in those runs: {made:.0}");
    null.stop()?;
    seldom.stop()?;
    often.stop()
}

/// A run in which no checkpoint came; those in which one did are left out.
fn undisturbed(server: &Served, mut run: impl FnMut() -> Result<Sent>) -> Result<Sent> {
    for _ in 0..TRIES_MAX {
        let before = checkpoints(server)?;
        let sent = run()?;
        if checkpoints(server)? == before {
            return Ok(sent);
        }
    }
    anyhow::bail!("a checkpoint came in each of {TRIES_MAX} runs; the machine is too fast for them")
}

/// Overwrites one block after the other of a file that is there, each with a sync.
fn syncs(length: Duration) -> Result<Vec<Duration>> {
    let file: File = tempfile::tempfile_in(DISK)?;
    let mut block = vec![0; BLOCK];
    for number in 0..BLOCKS {
        file.write_all_at(&block, number * BLOCK as u64)?;
    }
    file.sync_all()?;
    let (mut times, began) = (Vec::new(), Instant::now());
    for number in (0..BLOCKS).cycle() {
        block.fill(u8::try_from(number % 251)? + 1);
        let start = Instant::now();
        file.write_all_at(&block, number * BLOCK as u64)?;
        file.sync_data()?;
        times.push(start.elapsed());
        if began.elapsed() > length {
            break;
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn quantiles(sorted: &[Duration]) -> Run {
    QUANTILES.map(|of_thousand| quantile_ms(sorted, of_thousand))
}

fn medians(runs: &[Run]) -> Run {
    std::array::from_fn(|at| median(runs.iter().map(|run| run[at])))
}

fn ratios(values: Run, to: Run) -> Run {
    std::array::from_fn(|at| values[at] / to[at])
}
