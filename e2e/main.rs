//! Runs the scenarios in `scenarios/`, then the torture cases, the real senders and readers and the
//! dashboard in a browser, against the real binary and sums up what passed.
//!
//! The runner talks HTTP, signals and files only and never links the crate under test, so what it
//! proves is what a client sees. Each run gets its own process and its own data directory, unless
//! `--url` names a server that is already up. The format of a scenario is in `scenario.rs`.

#![allow(
    clippy::disallowed_methods,
    reason = "the runner drives a real process: it owns its clock, its files and its threads"
)]
#![allow(clippy::print_stdout, reason = "the report of the runner is its output")]

mod browser;
mod client;
mod compare;
mod exchange;
mod load;
mod readers;
mod request;
mod scenario;
mod senders;
mod server;
mod steps;
mod torture;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::scenario::{Scenario, Variant};
use crate::server::{Launch, Server};
use crate::torture::{Case, Ending, Setting};

/// What a scenario runs on unless it, a variant or `--partitions` says otherwise.
const DEFAULT_PARTITIONS: u16 = 2;

/// Run logmill's end-to-end scenarios.
#[derive(Parser)]
#[command(name = "e2e")]
struct Args {
    /// Run only what has this in its name, for example `001` or `005_kill_and_restart`
    names: Vec<String>,
    /// Take a name as the whole name of one run
    #[arg(long)]
    exact: bool,
    /// List the runs and stop
    #[arg(long)]
    list: bool,
    /// Use a server that is already up. It must be fresh: customers and keys are the same in each
    /// run. What needs a restart, a configuration or a fresh directory of its own is skipped
    #[arg(long)]
    url: Option<String>,
    /// Partitions of the servers that a scenario does not give a number itself
    #[arg(long)]
    partitions: Option<u16>,
    /// The binary to test, instead of the one cargo has just built
    #[arg(long = "binary", visible_alias = "release-binary", value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Run torture cases, senders and readers in their full size, which takes long
    #[arg(long)]
    full: bool,
    /// Seed of the torture cases, senders and readers [default: of the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Where the browser cases put pictures of the dashboard
    #[arg(long, value_name = "DIR", env = "LOGMILL_SCREENSHOTS")]
    screenshots: Option<PathBuf>,
    /// Flags that cargo and nextest pass to every test; they change nothing here.
    #[command(flatten)]
    harness: HarnessFlags,
}

/// Flags of the standard test harness, accepted so that `cargo test -- --nocapture` works.
#[derive(clap::Args)]
struct HarnessFlags {
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    test_threads: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

/// One scenario, as written or in one of its variants.
struct Run<'a> {
    name: String,
    scenario: &'a Scenario,
    variant: Option<&'a Variant>,
}

/// How a run ended.
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the arguments select; `true` if nothing failed.
fn run(args: &Args) -> Result<bool> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let scenarios = Scenario::load_all(Path::new(folder))?;
    let runs: Vec<Run<'_>> =
        scenarios.iter().flat_map(runs_of).filter(|run| args.wants(&run.name)).collect();
    let torture = torture::CASES.iter().map(|case| (format!("torture/{}", case.name), case));
    let senders = senders::CASES.iter().map(|case| (format!("senders/{}", case.name), case));
    let readers = readers::CASES.iter().map(|case| (format!("readers/{}", case.name), case));
    let browser = browser::CASES.iter().map(|case| (format!("browser/{}", case.name), case));
    let cases = torture.chain(senders).chain(readers).chain(browser);
    let cases: Vec<(String, &Case)> = cases.filter(|(name, _)| args.wants(name)).collect();
    if args.list {
        // Nothing is ignored, so a harness that asks for the ignored ones gets none.
        if !args.harness.ignored {
            runs.iter().for_each(|run| println!("{}: test", run.name));
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return Ok(true);
    }
    if runs.is_empty() && cases.is_empty() {
        // Not a failure: `cargo test NAME` hands the name of a unit test to this binary too.
        println!("no scenario has {:?} in its name; `--list` shows them", args.names);
    }
    let [mut passed, mut failed, mut skipped] = [0, 0, 0];
    let outcomes = runs.iter().map(|run| report(args, run));
    for outcome in outcomes.chain(cases.iter().map(|(name, case)| try_case(args, name, case))) {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Failed => failed += 1,
            Outcome::Skipped => skipped += 1,
        }
    }
    let tail = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{passed} passed, {failed} failed{tail}");
    Ok(failed == 0)
}

/// The scenario as written, then each of its variants.
fn runs_of(scenario: &Scenario) -> impl Iterator<Item = Run<'_>> {
    let base = Run { name: scenario.name.clone(), scenario, variant: None };
    let variants = scenario.variants.iter().map(move |variant| Run {
        name: format!("{}/{}", scenario.name, variant.name),
        scenario,
        variant: Some(variant),
    });
    std::iter::once(base).chain(variants)
}

/// Executes one run and prints its line, and everything needed to understand a failure.
fn report(args: &Args, run: &Run<'_>) -> Outcome {
    if let Some(reason) = args.reason_to_skip(run) {
        println!("skipped {:<50} {reason}", run.name);
        return Outcome::Skipped;
    }
    let started = Instant::now();
    let result = execute(args, run);
    let seconds = started.elapsed().as_secs_f64();
    let Err((error, stderr)) = result else {
        println!("ok      {:<50} {seconds:>6.1} s", run.name);
        return Outcome::Passed;
    };
    println!("FAILED  {:<50} {seconds:>6.1} s", run.name);
    println!("  {}", run.scenario.title);
    for line in format!("{error:#}").lines() {
        println!("  {line}");
    }
    if !stderr.is_empty() {
        println!("  the last lines of the server's stderr:");
        stderr.iter().for_each(|line| println!("    {line}"));
    }
    println!("  run it again: {}", args.command_for(run));
    Outcome::Failed
}

/// Runs one case and prints its line, with the seed to run it by again.
fn try_case(args: &Args, name: &str, case: &Case) -> Outcome {
    if args.url.is_some() {
        println!("skipped {name:<50} it needs servers of its own");
        return Outcome::Skipped;
    }
    let setting = Setting {
        binary: args.binary(),
        partitions: args.partitions.unwrap_or(DEFAULT_PARTITIONS),
        seed: args.seed.unwrap_or_else(seed_of_the_clock),
        full: args.full,
        screenshots: args.screenshots.clone(),
    };
    println!("        {name:<50} seed {}", setting.seed);
    let started = Instant::now();
    let ended = (case.run)(&setting);
    let seconds = started.elapsed().as_secs_f64();
    match ended {
        Ok(Ending::Passed(figures)) => {
            println!("ok      {name:<50} {seconds:>6.1} s  {figures}");
            Outcome::Passed
        }
        Ok(Ending::Skipped(reason)) => {
            println!("skipped {name:<50} {reason}");
            Outcome::Skipped
        }
        Err(error) => {
            println!("FAILED  {name:<50} {seconds:>6.1} s");
            println!("  {}", case.title);
            format!("{error:#}").lines().for_each(|line| println!("  {line}"));
            let full = if args.full { " --full" } else { "" };
            let command = "cargo test --test e2e --";
            println!("  run it again: {command} --exact {name} --seed {}{full}", setting.seed);
            Outcome::Failed
        }
    }
}

/// A seed that nobody chose.
fn seed_of_the_clock() -> u64 {
    jiff::Timestamp::now().as_microsecond().unsigned_abs()
}

/// Starts the server, takes the steps and ends the server; an error comes with its last log lines.
fn execute(args: &Args, run: &Run<'_>) -> Result<(), (anyhow::Error, Vec<String>)> {
    let partitions = run.variant.and_then(|v| v.partitions).or(args.partitions);
    let launch = Launch {
        binary: args.binary(),
        partitions: partitions.unwrap_or(DEFAULT_PARTITIONS),
        config: run.scenario.server.config.clone(),
        url: args.url.clone(),
    };
    let mut server = Server::prepare(launch).map_err(|error| (error, Vec::new()))?;
    let mut files = run.scenario.server.files.iter();
    let result = files
        .try_for_each(|file| server.put(&run.scenario.folder.join(file), file))
        .and_then(|()| server.start().context("starting the server"))
        .and_then(|()| steps::take_all(run.scenario, run.variant, &mut server))
        .and_then(|()| server.finish());
    result.map_err(|error| (error, server.last_log_lines()))
}

impl Args {
    fn binary(&self) -> PathBuf {
        let given = self.binary.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_logmill")));
        // The server runs in a directory of its own.
        std::path::absolute(given).unwrap_or_else(|_| given.to_owned())
    }

    fn wants(&self, run: &str) -> bool {
        let fits = |name: &String| match self.exact {
            true => run == name,
            false => run.contains(name.as_str()),
        };
        self.names.is_empty() || self.names.iter().any(fits)
    }

    fn reason_to_skip(&self, run: &Run<'_>) -> Option<&'static str> {
        self.url.as_ref()?;
        match run.variant {
            Some(_) => Some("a variant needs a fresh data directory; --url has one server"),
            None => run.scenario.needs_own_server(),
        }
    }

    fn command_for(&self, run: &Run<'_>) -> String {
        let mut command = format!("cargo test --test e2e -- --exact {}", run.name);
        if let Some(url) = &self.url {
            command.push_str(&format!(" --url {url}"));
        }
        if let Some(partitions) = self.partitions {
            command.push_str(&format!(" --partitions {partitions}"));
        }
        if let Some(binary) = &self.binary {
            command.push_str(&format!(" --binary {}", binary.display()));
        }
        command
    }
}
