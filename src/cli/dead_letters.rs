//! `logmill dead-letters`: asks the running server for the entries it has put aside.

use std::io::{self, Write};

use super::{DeadLettersCommand, Exit, LetterSelection, progress};
use crate::config::Effective;
use crate::control::{self, Letter, Reply, Request, Which};
use crate::disk::Layout;

/// Does what the command says. Exit code 1 if a letter that was to be replayed is still invalid.
pub fn run(command: &DeadLettersCommand, effective: &Effective, out: &mut impl Write) -> Exit {
    match ask(command, effective, out) {
        Ok(exit) => exit,
        Err(error) => progress::fail(&error),
    }
}

fn ask(
    command: &DeadLettersCommand,
    effective: &Effective,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
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
    let (mut told, mut invalid) = (0_u64, 0_u64);
    control::ask(&layout, &request, |reply| {
        let Reply::Letter(letter) = reply else { return Ok(()) };
        told += 1;
        invalid += u64::from(letter.result.as_ref().is_some_and(|r| r.starts_with("still")));
        match command {
            _ if is_json => writeln!(out, "{}", serde_json::to_string(&letter)?),
            DeadLettersCommand::Show { .. } => show(&letter, out),
            _ => line(&letter, out),
        }
    })?;
    if !is_json && !matches!(command, DeadLettersCommand::Show { .. }) {
        let done = match command {
            DeadLettersCommand::Replay { .. } => {
                format!("{} counted, {invalid} still invalid", told - invalid)
            }
            DeadLettersCommand::Drop { .. } => format!("{told} dropped"),
            _ => format!("{told} dead letters"),
        };
        writeln!(io::stderr(), "{done}").ok();
    }
    Ok(if invalid > 0 { Exit::Findings } else { Exit::Ok })
}

fn which(selection: &LetterSelection) -> Which {
    let customer = selection.customer.as_ref().map(ToString::to_string);
    Which { customer, ids: selection.ids.clone() }
}

fn line(letter: &Letter, out: &mut impl Write) -> io::Result<()> {
    let what = letter.result.as_ref().unwrap_or(&letter.reason);
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
    writeln!(out, "\n{}", letter.body)
}
