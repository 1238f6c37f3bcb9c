//! The command line: what can be asked of the binary, and nothing of how it is done.
//!
//! `logmill` without a command serves. Server flags may stand before `serve` or after it, and
//! before `config`, which then shows what `serve` would run with.

pub mod audit;
pub mod backup;
pub mod config;
pub mod dead_letters;
pub mod demo;
pub mod healthcheck;
pub mod import;
pub mod loadgen;
mod progress;
pub mod rebuild;
pub mod serve;
mod signals;
pub mod view;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::config::Overrides;
use crate::ids::CustomerId;

const EXAMPLES: &str = "\
Examples:
  logmill                                        serve on 127.0.0.1:8080, data in ./data
  logmill demo                                   a server with made-up traffic, to look at
  logmill --listen 0.0.0.0:8080 --data-dir /var/lib/logmill
  logmill import access.log --customer acme      count an access log
  logmill top --customer acme --from -24h        the most frequent paths of a day
  logmill backup /backups/today                  a copy, while the server runs
  logmill loadgen --verify                       try a server, and check what it counts
  logmill config show                            every setting and where it comes from

Settings come from flags, then LOGMILL_* variables, then logmill.toml, then the defaults.
Exit codes: 0 done, 1 done with findings or failed, 2 wrong usage or configuration,
or an import that stopped early.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  logmill backup /backups/2026-11-20
  logmill backup --data-dir /var/lib/logmill /backups/2026-11-20

The copy is consistent: everything acknowledged before the command was given is in it. A running
server makes it, as its own user, and goes on serving; without one the directory is recovered
first. Keys are hard links: move a copy with cp -a, rsync -aH or tar.";

const AUDIT_EXAMPLES: &str = "\
Examples:
  logmill audit
  logmill backup /tmp/copy && logmill audit --data-dir /tmp/copy

Exit code 1: something is not as it must be; each finding is printed.";

const REBUILD_EXAMPLES: &str = "\
Examples:
  logmill rebuild /var/lib/logmill-new --data-dir /var/lib/logmill

What is read is not changed. Needs archive.retention = \"forever\" from the first batch on, or
--partial.";

const DEAD_LETTERS_EXAMPLES: &str = "\
Examples:
  logmill dead-letters list --customer acme
  logmill dead-letters show acme/17.0.5
  logmill dead-letters replay --customer acme --format shop
  logmill dead-letters drop acme/17.0.5

An entry that is replayed counts once, however often it is. It is read by the formats of the running
server: mend them in logmill.toml and restart it before.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  logmill config check
  logmill --config /etc/logmill.toml config show
  LOGMILL_LOG_LEVEL=debug logmill config show --json";

const HEALTHCHECK_EXAMPLES: &str = "\
Examples:
  logmill healthcheck
  logmill healthcheck --url http://127.0.0.1:9000";

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: done with findings, or failed.
    Findings,
    /// 2: wrong usage or configuration.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::SUCCESS,
            Exit::Findings => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}

/// Exact per-minute analytics per customer from HTTP access logs.
#[derive(Debug, Parser)]
#[command(name = "logmill", version, after_help = EXAMPLES)]
struct Cli {
    /// Configuration file [default: logmill.toml here, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,

    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run the server (the default)
    Serve(ServerArgs),
    /// Run a server with made-up traffic, to look at
    Demo(demo::DemoArgs),
    /// Count access log files through a running server
    Import(import::ImportArgs),
    #[command(flatten)]
    View(view::ViewCommand),
    /// Check or show the configuration
    #[command(subcommand, after_help = CONFIG_EXAMPLES)]
    Config(ConfigCommand),
    /// Copy the data directory, of a running server too
    Backup(CopyArgs),
    /// List, show, replay or drop the invalid entries that a running server has put aside
    #[command(subcommand, after_help = DEAD_LETTERS_EXAMPLES)]
    DeadLetters(DeadLettersCommand),
    /// Count everything again from archive and journal, and compare it with the store
    Audit(AuditArgs),
    /// Make a new data directory from archive and journal
    Rebuild(RebuildArgs),
    /// Ask a running server whether it is alive: exit code 0 if GET /livez answers 200
    Healthcheck(HealthcheckArgs),
    /// Send made-up traffic to a running server, to try, measure and prove it
    Loadgen(loadgen::LoadgenArgs),
    /// List the places that LOGMILL_FAILPOINT can name
    #[cfg(feature = "failpoints")]
    #[command(hide = true)]
    Failpoints,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
struct ServerArgs {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// Address and port for operators, who read all [default: none]
    #[arg(long, value_name = "ADDR:PORT")]
    admin_listen: Option<SocketAddr>,

    /// Directory of the data, made if missing [default: data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Partition workers, at most 64; 0 is one per CPU core [default: 0]
    #[arg(long, value_name = "N")]
    partitions: Option<u16>,

    /// Start with a damaged journal: lose and report what cannot be read
    #[arg(long)]
    repair: bool,
}

/// `logmill backup`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct CopyArgs {
    /// Directory of the copy, new or empty
    #[arg(value_name = "DIR")]
    pub to: PathBuf,

    /// Data directory to copy [default: the configured one]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `logmill dead-letters`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DeadLettersCommand {
    /// One line each: name, when it was accepted, format, what is wrong
    List {
        /// One customer's only
        #[arg(long, value_name = "ID", value_parser = CustomerId::new)]
        customer: Option<CustomerId>,

        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,

        /// Data directory of the server [default: the configured one]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// All that is known of one, its original bytes included
    Show {
        /// Its name, from the list
        id: String,

        /// Print JSON
        #[arg(long)]
        json: bool,

        /// Data directory of the server [default: the configured one]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Count those that are valid now; exit code 1 if one is still invalid
    Replay {
        #[command(flatten)]
        #[allow(missing_docs, reason = "its own fields say it")]
        selection: LetterSelection,

        /// Read them by this format [default: each by its own]
        #[arg(long, value_name = "NAME")]
        format: Option<String>,

        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Remove them
    Drop {
        #[command(flatten)]
        #[allow(missing_docs, reason = "its own fields say it")]
        selection: LetterSelection,

        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
}

/// Which dead letters a command is about.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LetterSelection {
    /// Their names, from the list
    #[arg(value_name = "NAME", required_unless_present_any = ["customer", "all"])]
    pub ids: Vec<String>,

    /// All of one customer
    #[arg(long, value_name = "ID", value_parser = CustomerId::new, conflicts_with = "ids")]
    pub customer: Option<CustomerId>,

    /// All there are
    #[arg(long, conflicts_with_all = ["ids", "customer"])]
    pub all: bool,

    /// Data directory of the server [default: the configured one]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DeadLettersCommand {
    fn data_dir(&self) -> &Option<PathBuf> {
        match self {
            Self::List { data_dir, .. } | Self::Show { data_dir, .. } => data_dir,
            Self::Replay { selection, .. } | Self::Drop { selection, .. } => &selection.data_dir,
        }
    }
}

/// `logmill audit`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AUDIT_EXAMPLES)]
pub struct AuditArgs {
    /// Data directory to check; no server may run on it [default: the configured one]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `logmill rebuild`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = REBUILD_EXAMPLES)]
pub struct RebuildArgs {
    /// The new data directory, new or empty
    #[arg(value_name = "DIR")]
    pub to: PathBuf,

    /// Data directory to read; no server may run on it [default: the configured one]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Leave out batches that are no longer in archive and journal
    #[arg(long)]
    pub partial: bool,
}

/// `logmill config`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Validate the configuration: exit code 2 if a server would not start with it
    Check,
    /// Show each effective value and where it comes from
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `logmill healthcheck`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = HEALTHCHECK_EXAMPLES)]
pub struct HealthcheckArgs {
    /// Server to ask [default: the configured server.listen, on this machine]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    pub url: Option<String>,
}

/// What one invocation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The topmost layer of the configuration.
    pub overrides: Overrides,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the server.
    Serve {
        /// Start although the journal is damaged.
        repair: bool,
    },
    /// Run a server with made-up traffic.
    Demo(demo::DemoArgs),
    /// Send access logs to a running server.
    Import(import::ImportArgs),
    /// Show or copy what a running server has counted.
    View(view::ViewCommand),
    /// Check or show the configuration.
    Config(ConfigCommand),
    /// Copy a data directory.
    Backup(CopyArgs),
    /// Look after the entries that were put aside.
    DeadLetters(DeadLettersCommand),
    /// Check a data directory.
    Audit(AuditArgs),
    /// Make a new data directory.
    Rebuild(RebuildArgs),
    /// Ask a running server whether it is alive.
    Healthcheck(HealthcheckArgs),
    /// Send made-up traffic to a running server.
    Loadgen(loadgen::LoadgenArgs),
    /// List the failpoints.
    #[cfg(feature = "failpoints")]
    Failpoints,
}

/// Reads the command line; the first argument is the name of the program.
///
/// `--help` and `--version` come back as errors too: print them with [`clap::Error::print`] and end
/// with [`clap::Error::exit_code`], which is 0 for those and 2 for wrong usage.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let Cli { config, server, command } = Cli::try_parse_from(args)?;
    let before = server != ServerArgs::default();
    let (server, command) = match command {
        None => {
            let repair = server.repair;
            (server, Command::Serve { repair })
        }
        Some(Subcommands::Serve(_)) if before => return Err(misplaced("after", "serve")),
        Some(Subcommands::Serve(server)) => {
            let repair = server.repair;
            (server, Command::Serve { repair })
        }
        Some(Subcommands::Config(command)) => (server, Command::Config(command)),
        Some(other) if before => return Err(misplaced("without", other.name())),
        Some(Subcommands::Demo(args)) => (server, Command::Demo(args)),
        Some(Subcommands::Import(args)) => (server, Command::Import(args)),
        Some(Subcommands::View(command)) => (server, Command::View(command)),
        Some(Subcommands::Backup(args)) => (on(&args.data_dir), Command::Backup(args)),
        Some(Subcommands::DeadLetters(command)) => {
            (on(command.data_dir()), Command::DeadLetters(command))
        }
        Some(Subcommands::Audit(args)) => (on(&args.data_dir), Command::Audit(args)),
        Some(Subcommands::Rebuild(args)) => (on(&args.data_dir), Command::Rebuild(args)),
        Some(Subcommands::Healthcheck(args)) => (server, Command::Healthcheck(args)),
        Some(Subcommands::Loadgen(args)) => (server, Command::Loadgen(args)),
        #[cfg(feature = "failpoints")]
        Some(Subcommands::Failpoints) => (server, Command::Failpoints),
    };
    let ServerArgs { listen, admin_listen, data_dir, partitions, repair: _ } = server;
    let overrides = Overrides { config, listen, admin_listen, data_dir, partitions };
    Ok(Invocation { overrides, command })
}

/// The flags of a server on this data directory.
fn on(data_dir: &Option<PathBuf>) -> ServerArgs {
    ServerArgs { data_dir: data_dir.clone(), ..ServerArgs::default() }
}

impl Subcommands {
    fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Demo(_) => "demo",
            Self::Import(_) => "import",
            Self::View(command) => command.name(),
            Self::Config(_) => "config",
            Self::Backup(_) => "backup",
            Self::DeadLetters(_) => "dead-letters",
            Self::Audit(_) => "audit",
            Self::Rebuild(_) => "rebuild",
            Self::Healthcheck(_) => "healthcheck",
            Self::Loadgen(_) => "loadgen",
            #[cfg(feature = "failpoints")]
            Self::Failpoints => "failpoints",
        }
    }
}

fn misplaced(place: &str, command: &str) -> clap::Error {
    let message = format!(
        "--listen, --admin-listen, --data-dir, --partitions and --repair go {place} the command '{command}'"
    );
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

/// A server's base address without a trailing slash.
fn server_url(text: &str) -> Result<String, String> {
    let uri: ureq::http::Uri = text.parse().map_err(|error| format!("{error}"))?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err("write it as http://HOST:PORT".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
