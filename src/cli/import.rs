//! `logmill import`: hands the arguments to [`crate::import`] and its result to the shell.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::healthcheck::base_url;
use super::{Exit, ImportArgs};
use crate::import::{self, ImportOptions};

/// Imports the logs. Exit code 1 if a line was no access log line, 2 if the import stopped early.
///
/// Without `--url` it sends to the server that `listen` means on this machine.
pub fn run(args: &ImportArgs, listen: SocketAddr, out: &mut impl Write) -> Exit {
    let options = ImportOptions {
        files: args.files.clone(),
        customer: args.customer.as_str().to_owned(),
        url: args.url.clone().unwrap_or_else(|| base_url(listen)),
        state: args.state.clone(),
    };
    let mut err = io::stderr().lock();
    match import::run(&options, out, &mut err) {
        Ok(summary) if summary.exit_code() == 0 => Exit::Ok,
        Ok(_) => Exit::Findings,
        Err(error) => {
            writeln!(err, "error: {error}").ok();
            Exit::Usage
        }
    }
}
