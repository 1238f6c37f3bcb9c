//! `logmill dead-letters`: asks the running server for the entries it has put aside.

use std::io::{self, IsTerminal as _, Write};

use super::{DeadLettersCommand, Exit, LetterSelection, progress};
use crate::config::Effective;
use crate::control::{self, AskError, Fate, Letter, Reply, Request, Which};
use crate::disk::Layout;

/// Does what the command says. Exit code 1 if a letter that was to be replayed is still invalid.
pub fn run(command: &DeadLettersCommand, effective: &Effective, out: &mut impl Write) -> Exit {
    match ask(command, effective, out) {
        Ok(exit) => exit,
        // Whoever reads has seen enough.
        Err(AskError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => progress::fail(&error.into()),
    }
}

fn ask(
    command: &DeadLettersCommand,
    effective: &Effective,
    out: &mut impl Write,
) -> Result<Exit, AskError> {
    let (request, is_json) = match command {
        DeadLettersCommand::List { customer, json, .. } => {
            let customer = customer.as_ref().map(ToString::to_string);
            (Request::List(Which { customer, ids: Vec::new() }), *json)
        }
        DeadLettersCommand::Show { id, json, .. } => {
            (Request::List(Which { customer: None, ids: vec![id.clone()] }), *json)
        }
        DeadLettersCommand::Replay { selection, format, json } => {
            (Request::Replay { which: which(selection), format: format.clone() }, *json)
        }
        DeadLettersCommand::Drop { selection, json } => (Request::Drop(which(selection)), *json),
    };
    let layout = Layout::new(&effective.config.server.data_dir);
    let (mut told, mut before, mut left) = (0_u64, 0_u64, 0_u64);
    control::ask(&layout, &request, |reply| {
        let Reply::Letter(letter) = reply else { return Ok(()) };
        told += 1;
        before += u64::from(letter.result == Some(Fate::CountedBefore));
        left += u64::from(matches!(letter.result, Some(Fate::Left(_))));
        match command {
            _ if is_json => writeln!(out, "{}", serde_json::to_string(&letter)?),
            DeadLettersCommand::Show { .. } => show(&letter, out),
            _ => line(&letter, out),
        }
    })?;
    if !is_json && !matches!(command, DeadLettersCommand::Show { .. }) {
        let done = match command {
            DeadLettersCommand::Replay { .. } => {
                let now = told - before - left;
                format!("{now} counted, {before} counted before, {left} left")
            }
            DeadLettersCommand::Drop { .. } => format!("{told} dropped"),
            _ => format!("{told} dead letters"),
        };
        writeln!(io::stderr(), "{done}").ok();
    }
    Ok(if left > 0 { Exit::Findings } else { Exit::Ok })
}

fn which(selection: &LetterSelection) -> Which {
    let customer = selection.customer.as_ref().map(ToString::to_string);
    Which { customer, ids: selection.ids.clone() }
}

fn line(letter: &Letter, out: &mut impl Write) -> io::Result<()> {
    let fate = letter.result.as_ref().map(ToString::to_string);
    let what = fate.as_ref().unwrap_or(&letter.reason);
    writeln!(out, "{}\t{}\t{}\t{what}", letter.id, letter.accepted_at, letter.format)
}

fn show(letter: &Letter, out: &mut impl Write) -> io::Result<()> {
    for (name, value) in [
        ("id", &letter.id),
        ("accepted", &letter.accepted_at),
        ("batch", &letter.batch_id),
        ("request", &letter.request_id),
        ("type", &letter.content_type),
        ("format", &letter.format),
        ("reason", &letter.reason),
    ] {
        writeln!(out, "{name:<10}{value}")?;
    }
    // What clients sent must not steer the terminal of whoever looks at it.
    let is_terminal = io::stdout().is_terminal();
    let body = letter.body.chars().flat_map(|c| match c {
        '\n' | '\t' => vec![c],
        c if is_terminal && c.is_control() => c.escape_default().collect(),
        c => vec![c],
    });
    writeln!(out, "\n{}", body.collect::<String>())
}
