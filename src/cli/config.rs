//! `logmill config check` and `logmill config show`.

use std::io::{self, Write};

use super::Exit;
use crate::config::{ConfigError, Effective, Entry};

/// Says whether a server would start with this configuration; an error is [`Exit::Usage`].
pub fn check(loaded: &Result<Effective, ConfigError>, out: &mut impl Write) -> io::Result<Exit> {
    match loaded {
        Ok(effective) => {
            for warning in &effective.warnings {
                writeln!(out, "warning: {warning}")?;
            }
            match &effective.file {
                Some(path) => writeln!(out, "ok: {}", path.display())?,
                None => writeln!(out, "ok: no configuration file")?,
            }
            Ok(Exit::Ok)
        }
        Err(error) => {
            writeln!(out, "error: {error}")?;
            Ok(Exit::Usage)
        }
    }
}

/// Prints each effective value and where it comes from, in columns or as a JSON array.
pub fn show(effective: &Effective, json: bool, out: &mut impl Write) -> io::Result<Exit> {
    let entries = effective.entries().map_err(io::Error::other)?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &entries)?;
        writeln!(out)?;
    } else {
        show_columns(&entries, out)?;
    }
    Ok(Exit::Ok)
}

fn show_columns(entries: &[Entry], out: &mut impl Write) -> io::Result<()> {
    let rows = || entries.iter().map(|entry| (entry.key.as_str(), entry.value.to_string()));
    let keys = rows().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    let values = rows().map(|(_, value)| value.chars().count()).max().unwrap_or(0);
    for ((key, value), entry) in rows().zip(entries) {
        writeln!(out, "{key:keys$}  {value:values$}  {}", entry.source)?;
    }
    Ok(())
}
