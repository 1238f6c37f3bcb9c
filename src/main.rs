//! The binary: arguments and configuration in, exit code out.

use std::io::Write as _;
use std::process::ExitCode;
use std::{env, io};

use logmill::cli::{self, Command, ConfigCommand, Exit, healthcheck};
use logmill::config;

/// What one thread takes another gives back, for each batch on its way: the usual allocator locks
/// for that. Its huge pages stay off: with them a small server takes twice the memory, and is as
/// fast.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match cli::parse(env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Nothing is left to do when the terminal is gone.
            error.print().ok();
            return if error.exit_code() == 0 { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    let loaded = config::load(&invocation.overrides, env::vars_os(), config::read_file);
    let mut out = io::stdout().lock();
    let exit = match (invocation.command, loaded) {
        (Command::Config(ConfigCommand::Check), loaded) => cli::config::check(&loaded, &mut out),
        (Command::Demo(args), _) => Ok(cli::demo::run(&args, &mut out)),
        (_, Err(error)) => {
            writeln!(io::stderr(), "error: {error}").ok();
            Ok(Exit::Usage)
        }
        (Command::Config(ConfigCommand::Show { json }), Ok(effective)) => {
            cli::config::show(&effective, json, &mut out)
        }
        (Command::Healthcheck(args), Ok(effective)) => {
            healthcheck::run(&args, effective.config.server.listen, &mut out)
        }
        (Command::Serve { repair }, Ok(effective)) => {
            Ok(cli::serve::run(&effective, repair, &mut out))
        }
        (Command::Backup(args), Ok(effective)) => Ok(cli::backup::run(&args, &effective, &mut out)),
        (Command::DeadLetters(command), Ok(effective)) => {
            Ok(cli::dead_letters::run(&command, &effective, &mut out))
        }
        (Command::Audit(args), Ok(effective)) => Ok(cli::audit::run(&args, &effective, &mut out)),
        (Command::Rebuild(args), Ok(effective)) => {
            Ok(cli::rebuild::run(&args, &effective, &mut out))
        }
        (Command::Import(args), Ok(effective)) => {
            Ok(cli::import::run(&args, &effective.config, &mut out))
        }
        (Command::Loadgen(args), Ok(effective)) => {
            Ok(cli::loadgen::run(&args, effective.config.server.listen, &mut out))
        }
        (Command::View(command), Ok(effective)) => {
            Ok(cli::view::run(&command, effective.config.server.listen, &mut out))
        }
        #[cfg(feature = "failpoints")]
        (Command::Failpoints, Ok(_)) => {
            let mut points = logmill::failpoint::Failpoint::ALL.iter();
            points.try_for_each(|point| writeln!(out, "{}", point.name())).map(|()| Exit::Ok)
        }
    };
    exit.unwrap_or(Exit::Findings).into()
}
