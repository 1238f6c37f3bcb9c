//! `logmill config check` and `logmill config show`.

use std::io::{self, Write};

use super::Exit;
use crate::config::{ConfigError, Effective, Entry};
use crate::entropy::SystemEntropy;
use crate::tokens::Tokens;

/// Says whether a server would start with this configuration and its tokens file; an error is
/// [`Exit::Usage`].
pub fn check(loaded: &Result<Effective, ConfigError>, out: &mut impl Write) -> io::Result<Exit> {
    match loaded {
        Ok(effective) => {
            let tokens = match Tokens::configured(&effective.config, &SystemEntropy) {
                Ok(tokens) => tokens,
                Err(error) => {
                    writeln!(out, "error: {error}\nhint: {}", error.hint())?;
                    return Ok(Exit::Usage);
                }
            };
            let of_tokens = tokens.as_ref().and_then(Tokens::warning);
            for warning in effective.warnings.iter().chain(&of_tokens) {
                writeln!(out, "warning: {warning}")?;
            }
            if let Some(tokens) = &tokens {
                writeln!(out, "ok: {}, {} tokens", tokens.path().display(), tokens.count())?;
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
