//! The whole path over HTTP, beside what bounds it and what it replaces.
//!
//! Three servers take the same batches from the same senders, in turns, several times over: `null`
//! only reads the body, `plain` counts in memory as one would write it first, `logmill` keeps what
//! it says. Machines are noisy, so ratios within one run are what to quote. CPU is the server's own
//! and what the kernel does in its name; a checkpoint is in it if one falls into the run, which in
//! short runs of small batches it does not. Senders wait for each answer, so latencies are those
//! of a server that is always busy.
//!
//! `cargo bench --bench http -- --help` lists what can be chosen.

#![allow(
    clippy::disallowed_methods,
    reason = "it looks at processes from outside, where there is no clock to hand in"
)]
#![allow(clippy::print_stdout, reason = "the tables are its output")]

mod baseline;
#[allow(dead_code, reason = "some of it is for the figures")]
mod driver;
#[allow(dead_code, reason = "some of it is for the figures")]
mod process;
mod report;
#[allow(dead_code, reason = "some of it is for the figures")]
mod traffic;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use driver::Load;
use process::{Kind, Served};
use report::Report;
use traffic::Traffic;

const USAGE: &str = "\
cargo bench --bench http -- [OPTIONS] [CASE...]

Cases are ENTRIES/CONNECTIONS/CUSTOMERS, as in 1000/16/20; without any, some usual ones are run.

  --seconds N   length of each run [default: 3]
  --rounds N    runs of each server, in turns [default: 5]
  --only NAMES  of null,plain,logmill
  --config FILE of logmill
  --quick       one short round of few cases, to see that all of it works";

/// What is sent, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    entries: usize,
    connections: usize,
    customers: usize,
}

const CASES: [Case; 9] = [
    Case::new(1, 64, 20),
    Case::new(20, 1, 20),
    Case::new(20, 16, 20),
    Case::new(20, 64, 20),
    Case::new(20, 64, 10_000),
    Case::new(1_000, 1, 20),
    Case::new(1_000, 16, 20),
    Case::new(1_000, 16, 1),
    Case::new(9_500, 16, 20),
];

impl Case {
    const fn new(entries: usize, connections: usize, customers: usize) -> Self {
        Self { entries, connections, customers }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut numbers = text.split('/').map(str::parse);
        let mut next = || numbers.next().context("too few numbers")?.context("not a number");
        Ok(Self::new(next()?, next()?, next()?))
    }
}

struct Options {
    cases: Vec<Case>,
    kinds: Vec<Kind>,
    length: Duration,
    rounds: usize,
    config: Option<String>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut options = Options {
        cases: Vec::new(),
        kinds: Kind::ALL.to_vec(),
        length: Duration::from_secs(3),
        rounds: 5,
        config: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            // This program is the two baselines as well.
            "--serve" => return baseline::serve(&value()?),
            "--seconds" => options.length = Duration::from_secs_f64(value()?.parse()?),
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => {
                let names = value()?;
                options.kinds = names.split(',').map(Kind::parse).collect::<Result<_>>()?;
            }
            "--config" => options.config = Some(value()?),
            "--quick" => {
                options.cases = vec![Case::new(20, 16, 20), Case::new(1_000, 4, 20)];
                (options.length, options.rounds) = (Duration::from_millis(500), 1);
            }
            case if !case.starts_with('-') => options.cases.push(Case::parse(case)?),
            other => anyhow::bail!("{other}: no such option\n\n{USAGE}"),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    if options.cases.is_empty() {
        options.cases = CASES.to_vec();
    }
    for case in &options.cases {
        println!("{}", compare(*case, &options).with_context(|| format!("{case:?}"))?);
    }
    Ok(())
}

/// Runs of all servers in turns, each on a server of its own.
fn compare(case: Case, options: &Options) -> Result<Report> {
    let traffic = Traffic::new(case.entries, case.customers);
    let mut report = Report::new(case, &traffic);
    for _ in 0..options.rounds {
        for kind in &options.kinds {
            let served = Served::start(*kind, options.config.as_deref())?;
            let mut load = Load::new(&traffic, case.connections, served.address());
            // Caches, files and connections come to be.
            load.run(options.length / 4)?;
            let before = served.cpu()?;
            let sent = load.run(options.length)?;
            let cpu = served.cpu()? - before;
            report.add(*kind, &sent, cpu, served.peak_memory_bytes()?);
            served.stop()?;
        }
    }
    Ok(report)
}
