//! `logmill import`: hands the arguments to [`crate::import`] and its result to the shell.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::healthcheck::base_url;
use super::{Exit, ImportArgs};
use crate::config::{Config, formats};
use crate::import::{self, ImportOptions};

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
        fields: fields.clone(),
        token: args.token.clone(),
        state: args.state.clone(),
        follow: args.follow,
        stop: Arc::default(),
    };
    if args.follow
        && let Err(error) = end_at_signals(&options.stop)
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

/// The first signal lets the import end in good order, a second one ends it at once.
fn end_at_signals(stop: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}
