//! `logmill import`: hands the arguments to [`crate::import`] and its result to the shell.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;

use super::healthcheck::base_url;
use super::{Exit, server_url, signals};
use crate::config::{Config, formats};
use crate::ids::CustomerId;
use crate::import::{self, ImportOptions, Token};

const EXAMPLES: &str = "\
Examples:
  logmill import access.log --customer acme
  logmill import access.log.2.gz access.log.1 access.log --customer acme
  logmill import 'old/access.log*' --customer acme
  logmill import --follow /var/log/nginx/access.log --customer acme
  xzcat old/*.xz | logmill import - --customer acme --url http://logs.internal:8080

Importing the same file again, grown or rotated, counts its new lines only. Lines of formats other
than combined are JSON objects, or rows of CSV with or without a header line. --follow sends new
lines within about a second, waits for a server that is away, and finds rotated logs again after
a restart. Files of a pattern are imported in the order in which they were last written.
Exit code 1: a line was no entry; the first 20 are reported with their numbers.
Exit code 2: the import stopped early; the same command goes on where it stopped.";

/// `logmill import`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// Logs, plain, .gz or .zst; 'a.log*' too; - is stdin
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Customer that the lines count for
    #[arg(long, value_name = "ID", value_parser = CustomerId::new)]
    pub customer: CustomerId,

    /// Format of the lines, as nginx or caddy
    #[arg(long, value_name = "NAME", default_value = "combined")]
    pub format: String,

    /// Server to send to [default: the configured server.listen, on this machine]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    pub url: Option<String>,

    /// Where the same server was reached before, if that was not at --url
    #[arg(long, value_name = "URL", value_parser = server_url)]
    pub moved_from: Option<String>,

    /// Go on as the logs grow and are rotated, until SIGTERM or SIGINT
    #[arg(long)]
    pub follow: bool,

    /// Bearer token; the variable hides it from other users
    #[arg(long, env = "LOGMILL_TOKEN", hide_env_values = true, value_parser = Token::new)]
    pub token: Option<Token>,

    /// File that remembers how far each log was imported
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// Imports the logs. Exit code 1 if a line was no access log line, 2 if the import stopped early.
///
/// Without `--url` it sends to the server that the configuration means, on this machine.
pub fn run(args: &ImportArgs, config: &Config, out: &mut impl Write) -> Exit {
    let mut err = io::stderr().lock();
    let formats = formats(&config.formats);
    let Some(fields) = formats.get(&args.format) else {
        let known: Vec<_> = formats.names().collect();
        let name = &args.format;
        writeln!(err, "error: there is no format {name}; there are {}", known.join(", ")).ok();
        return Exit::Usage;
    };
    let options = ImportOptions {
        files: args.files.clone(),
        customer: args.customer.as_str().to_owned(),
        url: args.url.clone().unwrap_or_else(|| base_url(config.server.listen)),
        moved_from: args.moved_from.clone(),
        fields: fields.clone(),
        token: args.token.clone(),
        state: args.state.clone(),
        follow: args.follow,
        stop: Arc::default(),
    };
    let stop = Arc::clone(&options.stop);
    if args.follow
        && let Err(error) = signals::ask_at_first(move || stop.store(true, Ordering::Relaxed))
    {
        writeln!(err, "error: cannot listen for signals: {error}").ok();
        return Exit::Usage;
    }
    match import::run(&options, out, &mut err) {
        Ok(summary) if summary.exit_code() == 0 => Exit::Ok,
        Ok(_) => Exit::Findings,
        Err(error) => {
            writeln!(err, "error: {error}").ok();
            Exit::Usage
        }
    }
}
