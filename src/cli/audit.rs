//! `logmill audit`: prints what [`crate::audit`] finds.

use std::io::{self, Write};

use serde_json::json;

use super::progress::{self, Progress};
use super::{AuditArgs, Exit};
use crate::audit::{Report, audit};
use crate::config::Effective;

/// Checks the data directory. Exit code 1 if something is not as it must be.
pub fn run(args: &AuditArgs, effective: &Effective, out: &mut impl Write) -> Exit {
    let progress = Progress::new();
    let recovery = progress::recovery(&effective.config, true, &progress);
    let report = audit(&recovery, &|stage, done, all| progress.tell(stage.name(), done, all));
    progress.end();
    match report {
        Ok(report) => {
            let printed = if args.json { print_json(&report, out) } else { print(&report, out) };
            match (printed, report.found) {
                (Ok(()), 0) => Exit::Ok,
                _ => Exit::Findings,
            }
        }
        Err(error) => progress::fail(&error.into()),
    }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "wrong: {finding}")?;
    }
    let more = report.found - report.findings.len() as u64;
    if more > 0 {
        writeln!(out, "wrong: {more} more")?;
    }
    writeln!(out, "rows             {}", report.rows)?;
    match report.groups {
        Some((first, last)) => {
            writeln!(out, "groups recounted {} to {}", first.0, last.0)?;
            writeln!(out, "windows equal    {}", report.equal)?;
            writeln!(out, "windows at least {} (begun before the archive)", report.at_least)?;
            writeln!(out, "keys claimed     {}", report.keys)?;
        }
        None => writeln!(out, "groups recounted none: there is no archive, see archive.retention")?,
    }
    writeln!(out, "wrong            {}", report.found)
}

fn print_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    let report = json!({
        "rows": report.rows,
        "firstGroup": report.groups.map(|(first, _)| first.0),
        "lastGroup": report.groups.map(|(_, last)| last.0),
        "windowsEqual": report.equal,
        "windowsAtLeast": report.at_least,
        "keysClaimed": report.keys,
        "wrong": report.found,
        "findings": findings,
    });
    writeln!(out, "{report:#}")
}
