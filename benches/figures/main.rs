//! Figures that a run of full speed does not show: how long an answer takes, what grows with what,
//! how much memory and disk it takes, what safety costs, how long a start after a crash takes.
//!
//! Each figure starts real servers and sends to them over loopback, and sets what it sees beside
//! something of the same run: machines are noisy, so ratios are what to quote. CPU is the server's
//! own and what the kernel does in its name.
//!
//! `cargo bench --bench figures -- --help` lists what can be chosen.

#![allow(
    clippy::disallowed_methods,
    reason = "it looks at processes and files from outside, where there are no handles"
)]
#![allow(clippy::print_stdout, reason = "the tables are its output")]

#[allow(dead_code, reason = "some of it is for the other benchmark")]
#[path = "../http/baseline/mod.rs"]
mod baseline;
#[allow(dead_code, reason = "some of it is for the other benchmark")]
#[path = "../http/driver.rs"]
mod driver;
#[allow(dead_code, reason = "some of it is for the other benchmark")]
#[path = "../http/process.rs"]
mod process;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
#[path = "../http/traffic.rs"]
mod traffic;

mod disk;
mod growth;
mod latency;
mod measure;
mod memory;
mod queries;
mod readers;
mod recovery;
mod safety;
mod unsynced;

use anyhow::{Context as _, Result, bail};

use measure::{Options, Ticks};

const USAGE: &str = "\
cargo bench --bench figures -- [OPTIONS] [FIGURE...]

Without names, all of them are run.

  latency    a 202 at half of full speed, beside a sync of the disk and a server that only reads
  growth     CPU an entry as customers, paths, partitions, keys and history grow
  memory     the most that was resident; user agents that are all new
  disk       bytes that are kept of an entry, beside its JSON
  safety     what each step that makes a batch durable costs
  recovery   a start after a crash, beside one with nothing to do
  queries    most frequent paths and totals over a day, while others send
  readers    200 connections that ask 100 times a second, beside those who send

  --quick    all of it tiny, to see that it works
  --full     growth to 10,000,000 keys, too; takes long";

/// Measures and prints.
type Figure = fn(&Options) -> Result<()>;

const FIGURES: [(&str, Figure); 8] = [
    ("latency", latency::run),
    ("growth", growth::run),
    ("memory", memory::run),
    ("disk", disk::run),
    ("safety", safety::run),
    ("recovery", recovery::run),
    ("queries", queries::run),
    ("readers", readers::run),
];

fn main() -> Result<()> {
    let mut options = Options::default();
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            // This program is the server that only reads, too.
            "--serve" => return baseline::serve(&arguments.next().context("serve what?")?),
            "--quick" => options.quick = true,
            "--full" => options.full = true,
            name => match FIGURES.iter().find(|(known, _)| *known == name) {
                Some(figure) => chosen.push(*figure),
                None => bail!("{name}: no such figure or option\n\n{USAGE}"),
            },
        }
    }
    if chosen.is_empty() {
        chosen = FIGURES.to_vec();
    }
    for (name, figure) in chosen {
        let began = Ticks::now()?;
        figure(&options).context(name)?;
        // Where that is much, times say more of the others than of the server.
        println!("  (other processes took {:.0} % of the machine meanwhile)\n", began.of_others()?);
    }
    Ok(())
}
