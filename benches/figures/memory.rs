//! The most memory that was resident after many entries, and what user agents cost that nobody has
//! seen before.

use anyhow::{Result, ensure};

use crate::driver::Load;
use crate::measure::{Options, Place, checkpoints, grouped, median, mib, ns_each, settle, spread};
use crate::traffic::{Names, Shape, Traffic};

const BATCH: usize = 1_000;
const CONNECTIONS: usize = 16;
const CUSTOMERS: usize = 20;

/// What one server took.
struct Run {
    memory_bytes: u64,
    ns_per_entry: f64,
    checkpoints: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    println!(
        "memory: {BATCH} entries a batch, {CONNECTIONS} connections, {CUSTOMERS} customers, 60 \
         minutes, checkpoints by default"
    );
    println!(
        "  {:34}{:>12}{:>10}{:>10}{:>8}{:>8}{:>13}",
        "", "entries", "RSS MiB", "ns/entry", "spread", "ratio", "checkpoints"
    );
    let many = options.pick(5_000_000, 100_000);
    let usual = Shape::usual(BATCH, CUSTOMERS);
    let run = send(&Traffic::of(&usual), many, true)?;
    ensure!(run.checkpoints > 0.0, "the peak is to hold a checkpoint");
    line("usual agents, with a checkpoint", many, &[run], None);

    let few = options.pick(1_000_000, 20_000);
    // Each body is sent once, so that both look alike to the processor's caches.
    let usual = Shape { bodies: Some(few / BATCH), ..usual };
    let new = Shape { agents: Names::InTurn(usize::MAX), ..usual };
    let shapes = [usual, new].map(|shape| Traffic::of(&shape));
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds() {
        for (traffic, runs) in shapes.iter().zip(&mut runs) {
            runs.push(send(traffic, few, false)?);
        }
    }
    let first = line("usual agents", few, &runs[0], None);
    line("every agent new", few, &runs[1], Some(first));
    Ok(())
}

/// With `settled`, the checkpoint that takes all of it is waited for: it may be the peak.
fn send(traffic: &Traffic, entries: usize, settled: bool) -> Result<Run> {
    let place = Place::new("")?;
    let served = place.start(&[])?;
    let before = served.cpu()?;
    let sent = Load::new(traffic, CONNECTIONS, served.address()).batches(entries / BATCH)?;
    let cpu = served.cpu()? - before;
    ensure!(sent.latencies.len() * BATCH == entries, "all are accepted, once");
    if settled {
        settle(&served)?;
    }
    let run = Run {
        memory_bytes: served.peak_memory_bytes()?,
        ns_per_entry: ns_each(cpu, entries),
        checkpoints: checkpoints(&served)?,
    };
    served.stop()?;
    Ok(run)
}

/// Prints medians; the CPU an entry.
fn line(name: &str, entries: usize, runs: &[Run], first: Option<f64>) -> f64 {
    let cpu = median(runs.iter().map(|run| run.ns_per_entry));
    println!(
        "  {name:34}{:>12}{:>10.0}{cpu:>10.0}{:>7.0}%{:>8.2}{:>13.0}",
        grouped(entries),
        median(runs.iter().map(|run| mib(run.memory_bytes))),
        spread(runs.iter().map(|run| run.ns_per_entry)),
        cpu / first.unwrap_or(cpu),
        median(runs.iter().map(|run| run.checkpoints)),
    );
    cpu
}
