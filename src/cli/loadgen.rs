//! `logmill loadgen`: what can be asked of it, and how it ends.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{ArgGroup, Args, ValueEnum};
use humantime_serde::re::humantime;

use super::healthcheck::base_url;
use super::{Exit, server_url, signals};
use crate::entropy::{Entropy, SystemEntropy};
use crate::ids::CustomerId;
use crate::import::Token;
use crate::loadgen::{self, Compression, LoadOptions, Stop};

const EXAMPLES: &str = "\
Examples:
  logmill loadgen                                    5,000 entries/s for 10 s
  logmill loadgen --rate max --connections 16 --duration 1m
  logmill loadgen --entries 100000 --duplicates 5 --late 5 --bad 2 --verify

--verify counts what was acknowledged, reads all of its minutes back and compares requests, paths
and families of user agents; it takes up to 272 MiB and ends a run whose counts are more. The same
--run-id, --seed, --start, --rate and sizes again send the same batches under the same keys: the
server must know all of them.

Ctrl-C ends a run with its report, a second one at once.
Exit code 1: an unexpected answer, or a count that differs; each is printed.
Exit code 2: the server was not reached to the end.";

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// `logmill loadgen`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("end").multiple(true))]
pub struct LoadgenArgs {
    /// Server to send to [default: the configured one, on this machine]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    url: Option<String>,

    /// Bearer token; the variable hides it from others
    #[arg(long, env = "LOGMILL_TOKEN", hide_env_values = true, value_parser = Token::new)]
    token: Option<Token>,

    /// Customers, load-RUN-01 and so on, the busiest first
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = RangedU64ValueParser::<u16>::new().range(1..=10_000))]
    customers: u16,

    /// A customer, instead of those; may be repeated
    #[arg(long, value_name = "ID", value_parser = CustomerId::new, conflicts_with = "customers")]
    customer: Vec<CustomerId>,

    /// Distinct paths of a site; the first come most often
    #[arg(long, value_name = "N", default_value_t = 2_000,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=100_000))]
    paths: u32,

    /// Entries in a batch
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000))]
    batch_entries: u32,

    /// Connections that send at once
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = RangedU64ValueParser::<u16>::new().range(1..=512))]
    connections: u16,

    /// Entries per second of all connections, or max
    #[arg(long, value_name = "N", default_value = "5000")]
    rate: Rate,

    /// End after this time [default: 10s without entries or batches]
    #[arg(long, value_name = "TIME", value_parser = duration, group = "end")]
    duration: Option<Duration>,

    /// End after so many entries
    #[arg(long, value_name = "N", group = "end")]
    entries: Option<u64>,

    /// End after so many batches
    #[arg(long, value_name = "N", group = "end")]
    batches: Option<u64>,

    /// Batches that are sent again after they were acknowledged
    #[arg(long, value_name = "PERCENT", default_value_t = 0,
          value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    duplicates: u8,

    /// Entries that are minutes to days old
    #[arg(long, value_name = "PERCENT", default_value_t = 0,
          value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    late: u8,

    /// Batches with an invalid entry, which must be refused
    #[arg(long, value_name = "PERCENT", default_value_t = 0,
          value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    bad: u8,

    /// The same seed makes the same content
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// When the first entry was received, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = start)]
    start: Option<jiff::Timestamp>,

    /// Part of all keys, so that runs do not meet [default: a random one]
    #[arg(long, value_name = "ID", value_parser = run_id)]
    run_id: Option<String>,

    /// Compress bodies
    #[arg(long, value_name = "CODING")]
    compress: Option<Coding>,

    /// Compare the server's counts with what it has acknowledged
    #[arg(long)]
    verify: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Entries in a second, if there is a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(Option<u64>);

impl std::str::FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "max" => Ok(Self(None)),
            _ => match text.parse() {
                Ok(1..=100_000_000) => Ok(Self(text.parse().ok())),
                _ => Err("a number from 1 to 100000000, or max"),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Coding {
    Gzip,
    Zstd,
}

pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let parsed = humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    parsed.ok_or("a duration such as 500ms, 30s or 2h")
}

/// Far enough from the ends of time for everything that is sent.
fn start(text: &str) -> Result<jiff::Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("{error}"))?;
    let first: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(96);
    let years = jiff::Timestamp::from_second(228 * 365 * 86_400).unwrap_or(first);
    if (first..years).contains(&time) {
        Ok(time)
    } else {
        Err("a time in the years 1970 to 2197".to_owned())
    }
}

fn run_id(text: &str) -> Result<String, &'static str> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    fits.then(|| text.to_owned()).ok_or("1 to 64 letters, digits, dots, dashes and underscores")
}

/// Sends the load to `--url`, or to the server that `listen` means on this machine.
pub fn run(args: &LoadgenArgs, listen: SocketAddr, out: &mut impl Write) -> Exit {
    let stop = Arc::new(Stop::default());
    let ask = Arc::clone(&stop);
    let sent = signals::ask_at_first(move || ask.ask())
        .and_then(|()| loadgen::run(&args.options(listen), &stop));
    let printed = sent.and_then(|report| {
        if args.json { report.print_json(out) } else { report.print(out) }?;
        Ok(report.exit_code())
    });
    match printed {
        Ok(0) => Exit::Ok,
        Ok(1) => Exit::Findings,
        Ok(_) => Exit::Usage,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}").ok();
            Exit::Usage
        }
    }
}

impl LoadgenArgs {
    fn options(&self, listen: SocketAddr) -> LoadOptions {
        let run_id = self.run_id.clone().unwrap_or_else(|| {
            // 32 bits are enough not to meet another run, and short enough to be read.
            format!("{:08x}", SystemEntropy.bits() >> 32)
        });
        let customers = match &self.customer[..] {
            [] => names(&run_id, self.customers),
            named => {
                // Who is named twice is one customer, and has one book.
                let (mut seen, named) = (HashSet::new(), named.iter().map(CustomerId::as_str));
                named.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
            }
        };
        let is_endless = [self.entries, self.batches] == [None, None];
        LoadOptions {
            url: self.url.clone().unwrap_or_else(|| base_url(listen)),
            token: self.token.clone(),
            customers,
            paths: self.paths as usize,
            batch_entries: self.batch_entries as usize,
            connections: usize::from(self.connections),
            rate: self.rate.0,
            duration: self.duration.or(is_endless.then_some(TEN_SECONDS)),
            entries: self.entries,
            batches: self.batches,
            duplicates: self.duplicates,
            late: self.late,
            bad: self.bad,
            seed: self.seed,
            start: self.start.unwrap_or_else(jiff::Timestamp::now),
            days: None,
            run_id,
            compression: self.compress.map(|coding| match coding {
                Coding::Gzip => Compression::Gzip,
                Coding::Zstd => Compression::Zstd,
            }),
            verify: self.verify,
        }
    }
}

/// Names that no other run has, all of one length.
fn names(run_id: &str, count: u16) -> Vec<String> {
    let width = count.to_string().len().max(2);
    (1..=count).map(|number| format!("load-{run_id}-{number:0width$}")).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    fn options(text: &str) -> Result<LoadOptions, clap::Error> {
        let words = ["logmill", "loadgen"].into_iter().chain(text.split_whitespace());
        match parse(words.map(OsString::from))?.command {
            Command::Loadgen(args) => Ok(args.options(SocketAddr::from(([0, 0, 0, 0], 9000)))),
            other => panic!("not loadgen: {other:?}"),
        }
    }

    #[test]
    fn a_load_always_ends() {
        let given = |text: &str| options(text).expect("a valid command line");
        assert_eq!(given("").duration, Some(TEN_SECONDS));
        assert_eq!(given("--batches 5").duration, None);
        let both = given("--entries 5 --duration 2m --rate max");
        assert_eq!((both.entries, both.duration), (Some(5), Some(Duration::from_secs(120))));
        assert_eq!((both.rate, given("").rate), (None, Some(5_000)));
        assert_eq!(given("").url, "http://127.0.0.1:9000");
    }

    /// So that `--verify` has customers of its own, and a repeated run the same ones.
    #[test]
    fn customers_are_of_the_run() {
        let given = |text: &str| options(text).expect("a valid command line").customers;
        assert_eq!(given("--run-id a --customers 2"), ["load-a-01", "load-a-02"]);
        assert_eq!(
            given("--run-id a --customers 100").last().map(|name| &**name),
            Some("load-a-100")
        );
        assert_eq!(given("--customer b --customer a --customer b"), ["b", "a"]);
        assert_ne!(given(""), given(""));
        for customer in given(&format!("--run-id {}", "x".repeat(64))) {
            assert!(CustomerId::new(&customer).is_ok(), "{customer}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for text in [
            "--duration 0s",
            "--duration soon",
            "--rate 0",
            "--rate fast",
            "--late 101",
            "--customers 0",
            "--customers 2 --customer acme",
            "--batch-entries 0",
            "--compress br",
            "--run-id a/b",
            "--token a\u{e9}",
            "--start 1970-01-01T00:00:00Z",
            "--start 2199-01-01T00:00:00Z",
        ] {
            assert_eq!(options(text).expect_err(text).exit_code(), 2, "{text}");
        }
        let help = options("--help").expect_err("help").to_string();
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
