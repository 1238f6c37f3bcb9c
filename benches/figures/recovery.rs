//! A start after a `kill -9` with a full journal, beside starts that have nothing to replay.
//!
//! The killed server made no checkpoint; the one that starts is configured as usual.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::driver::Load;
use crate::measure::{Options, Place, checkpoints, grouped, median};
use crate::traffic::Traffic;

/// No checkpoint while it is filled.
const FILLING: &str = "[limits]\njournal_bytes = \"16GiB\"\n\
                       [checkpoint]\ninterval = \"1h\"\njournal_bytes = \"16GiB\"\n\
                       memory_bytes = \"512MiB\"\n";

/// How long a start took, and its CPU, in seconds.
#[derive(Clone, Copy)]
struct Start {
    time: f64,
    cpu: f64,
    /// That were replayed.
    groups: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    println!(
        "recovery: from the start of the process until /readyz is 200; medians of {} rounds",
        options.rounds()
    );
    println!(
        "  {:32}{:>11}{:>9}{:>9}{:>9}{:>13}{:>16}{:>9}{:>9}",
        "", "entries", "groups", "s", "CPU s", "entries/s", "entries/CPU s", "÷ empty", "÷ clean"
    );
    let (mut empty, mut clean) = (Vec::new(), Vec::new());
    let cases = [(1_000, options.pick(1_000_000, 50_000)), (20, options.pick(200_000, 10_000))];
    let mut crashed = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds() {
        empty.push(start(&Place::new("")?)?);
        for ((batch, entries), starts) in cases.into_iter().zip(&mut crashed) {
            let place = Place::new(FILLING)?;
            fill(&place, batch, entries)?;
            place.configure("")?;
            let crash = start(&place)?;
            ensure!(crash.groups > 0.0, "nothing was replayed");
            starts.push(crash);
            // What was replayed is checkpointed now.
            let next = start(&place)?;
            ensure!(next.groups < 1.0, "something was left to replay");
            clean.push(next);
        }
    }
    let [empty, clean] = [empty, clean].map(|starts| middle(&starts));
    println!("  {:32}{:>11}{:>9}{:>9.3}{:>9.2}", "empty directory", 0, 0, empty.time, empty.cpu);
    println!(
        "  {:32}{:>11}{:>9}{:>9.3}{:>9.2}",
        "clean: nothing to replay", 0, 0, clean.time, clean.cpu
    );
    for ((batch, entries), starts) in cases.into_iter().zip(&crashed) {
        let Start { time, cpu, groups } = middle(starts);
        println!(
            "  {:32}{:>11}{groups:>9.0}{time:>9.3}{cpu:>9.2}{:>13.0}{:>16.0}{:>9.1}{:>9.1}",
            format!("killed, {batch} entries a batch"),
            grouped(entries),
            entries as f64 / time,
            entries as f64 / cpu,
            time / empty.time,
            time / clean.time
        );
    }
    Ok(())
}

/// Has the directory hold so many entries in the journal alone.
fn fill(place: &Place, batch: usize, entries: usize) -> Result<()> {
    let traffic = Traffic::new(batch, 20);
    let served = place.start(&[])?;
    let before = checkpoints(&served)?;
    Load::new(&traffic, 16, served.address()).batches(entries / batch)?;
    ensure!(checkpoints(&served)? <= before, "a checkpoint has taken what was to be replayed");
    served.stop()
}

fn start(place: &Place) -> Result<Start> {
    let began = Instant::now();
    let served = place.start(&[])?;
    let (time, cpu): (Duration, Duration) = (began.elapsed(), served.cpu()?);
    let groups = served.metric("logmill_replayed_groups_total")?.unwrap_or(0.0);
    served.terminate()?;
    Ok(Start { time: time.as_secs_f64(), cpu: cpu.as_secs_f64(), groups })
}

fn middle(starts: &[Start]) -> Start {
    let of = |value: fn(&Start) -> f64| median(starts.iter().map(value));
    Start {
        time: of(|start| start.time),
        cpu: of(|start| start.cpu),
        groups: of(|start| start.groups),
    }
}
