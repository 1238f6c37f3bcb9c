//! What an entry costs as one thing grows and the rest stays.
//!
//! Each row has a directory for each of its values, filled once. Then servers take the same load in
//! turns; the cost of the checkpoint that follows a run is told apart, since how often one comes is
//! a matter of time.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::driver::Load;
use crate::measure::{Options, Place, grouped, median, ns_each, settle, spread};
use crate::traffic::{Names, Shape, Times, Traffic};

/// One value of what grows.
struct Case {
    value: usize,
    shape: Shape,
    connections: usize,
    flags: Vec<String>,
    /// What is there before: so many batches of a shape.
    before: Option<(Shape, usize)>,
}

/// Nanoseconds of CPU an entry, and entries a second.
struct Run {
    alone: f64,
    with_checkpoint: f64,
    speed: f64,
}

impl Case {
    fn new(value: usize, shape: Shape) -> Self {
        let connections = if shape.entries < 100 { 64 } else { 16 };
        Self { value, shape, connections, flags: Vec::new(), before: None }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let length = options.pick(Duration::from_secs(3), Duration::from_millis(200));
    println!(
        "growth: the server's CPU an entry, {} runs of {length:.0?} in turns, medians; then with \
         the checkpoint after the run, too",
        options.rounds()
    );
    println!(
        "  {:32}{:>12}{:>12}{:>10}{:>8}{:>8}{:>14}{:>8}",
        "", "", "entries/s", "ns/entry", "spread", "ratio", "+ checkpoint", "ratio"
    );
    row("customers (20 a batch)", &customers(options), length, options)?;
    row("paths a minute (1,000 a batch)", &paths(options), length, options)?;
    row("partitions (1,000 a batch)", &partitions(), length, options)?;
    row("keys held (20 a batch)", &keys(options), length, options)?;
    row("days before (1,000 a batch)", &history(options), length, options)
}

fn customers(options: &Options) -> Vec<Case> {
    let counts = [1, 100, options.pick(10_000, 1_000)];
    counts.map(|count| Case::new(count, Shape::usual(20, count))).into()
}

/// All of one customer's minute, so that each path of it comes again and again.
fn paths(options: &Options) -> Vec<Case> {
    let counts = [10, 1_000, options.pick(100_000, 10_000)];
    let shape = |count| Shape {
        paths: Names::InTurn(count),
        times: Times::Before(1),
        bodies: Some(options.pick(100, 10)),
        ..Shape::usual(1_000, 1)
    };
    counts.map(|count| Case::new(count, shape(count))).into()
}

fn partitions() -> Vec<Case> {
    let case = |count| Case {
        flags: vec![format!("--partitions={count}")],
        ..Case::new(count, Shape::usual(1_000, 20))
    };
    [1, 2].map(case).into()
}

fn keys(options: &Options) -> Vec<Case> {
    let mut counts = vec![0, options.pick(100_000, 5_000)];
    counts.extend(options.full.then_some(10_000_000));
    let case = |count| Case {
        before: Some((Shape::usual(1, 20), count)),
        ..Case::new(count, Shape::usual(20, 20))
    };
    counts.into_iter().map(case).collect()
}

/// Every minute of those days has entries of a few customers, most of all of them.
fn history(options: &Options) -> Vec<Case> {
    let counts = options.pick(vec![1, 30, 90], vec![1, 3]);
    let case = |days: usize| {
        let minutes = days * 24 * 60;
        let bodies = minutes * 2 / 1_000 + 1;
        let shape =
            Shape { times: Times::Before(minutes), bodies: Some(bodies), ..Shape::usual(1_000, 4) };
        Case { before: Some((shape, bodies * 16)), ..Case::new(days, Shape::usual(1_000, 4)) }
    };
    counts.into_iter().map(case).collect()
}

fn row(name: &str, cases: &[Case], length: Duration, options: &Options) -> Result<()> {
    let warm_up = length / 4;
    // One checkpoint, soon after the run, unless what is counted takes much memory.
    let interval = (warm_up + length + length / 3).as_millis();
    let config = format!(
        "[checkpoint]\ninterval = \"{interval}ms\"\njournal_bytes = \"1GiB\"\n\
         [idempotency]\nmax_keys = 100000000\n"
    );
    let mut ready = Vec::new();
    for case in cases {
        let place = Place::new(&config)?;
        let filled = fill(&place, case)?;
        ready.push((case, place, Traffic::of(&case.shape), filled, Vec::new()));
    }
    for _ in 0..options.rounds() {
        for (case, place, traffic, _, runs) in &mut ready {
            let served = place.start(&case.flags)?;
            let mut load = Load::new(traffic, case.connections, served.address());
            load.run(warm_up)?;
            let before = served.cpu()?;
            let sent = load.run(length)?;
            let alone = served.cpu()? - before;
            settle(&served)?;
            let with_checkpoint = served.cpu()? - before;
            served.terminate()?;
            let entries = sent.latencies.len() * case.shape.entries;
            runs.push(Run {
                alone: ns_each(alone, entries),
                with_checkpoint: ns_each(with_checkpoint, entries),
                speed: entries as f64 / sent.length.as_secs_f64(),
            });
        }
    }
    let mut first = None;
    for (case, _, _, filled, runs) in &ready {
        let of = |value: fn(&Run) -> f64| median(runs.iter().map(value));
        let (alone, both) = (of(|run| run.alone), of(|run| run.with_checkpoint));
        let (first_alone, first_both) = *first.get_or_insert((alone, both));
        let note = match filled {
            Some(took) => format!("  (filled in {:.1} s)", took.as_secs_f64()),
            None => String::new(),
        };
        println!(
            "  {name:32}{:>12}{:>12.0}{alone:>10.0}{:>7.0}%{:>8.2}{both:>14.0}{:>8.2}{note}",
            grouped(case.value),
            of(|run| run.speed),
            spread(runs.iter().map(|run| run.alone)),
            alone / first_alone,
            both / first_both,
        );
    }
    Ok(())
}

/// Sends what is to be there before; how long that took.
fn fill(place: &Place, case: &Case) -> Result<Option<Duration>> {
    let Some((shape, batches)) = case.before.as_ref().filter(|(_, batches)| *batches > 0) else {
        return Ok(None);
    };
    let traffic = Traffic::of(shape);
    let served = place.start(&[])?;
    let began = Instant::now();
    Load::new(&traffic, 64, served.address()).batches(*batches)?;
    let took = began.elapsed();
    settle(&served)?;
    served.terminate()?;
    Ok(Some(took))
}
