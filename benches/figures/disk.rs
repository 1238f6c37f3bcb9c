//! What stays on disk of an entry once it is checkpointed and archived, beside its JSON.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use logmill::disk::Layout;

use crate::driver::Load;
use crate::measure::{Options, Place, grouped, mib};
use crate::traffic::{Shape, Traffic};

const BATCH: usize = 1_000;
/// Batches of which all bodies differ; those of one part are in memory at once.
const PART: usize = 500;
const CONFIG: &str = "[archive]\nretention = \"forever\"\n";

pub(crate) fn run(options: &Options) -> Result<()> {
    let entries = options.pick(5_000_000, 100_000);
    let place = Place::new(CONFIG)?;
    let served = place.start(&[])?;
    let (mut json_bytes, mut left) = (0, entries / BATCH);
    while left > 0 {
        // The same bodies again and again would be packed too well.
        let batches = left.min(PART);
        let shape = Shape { bodies: Some(batches), seed: left as u64, ..Shape::usual(BATCH, 20) };
        let traffic = Traffic::of(&shape);
        Load::new(&traffic, 16, served.address()).batches(batches)?;
        json_bytes += traffic.body_bytes() * batches;
        left -= batches;
    }
    served.terminate()?;

    // A start archives what the last life has left.
    let data = place.data();
    let journal = Layout::new(&data).journal();
    let old = segments(&journal)?;
    let served = place.start(&[])?;
    let began = Instant::now();
    while segments(&journal)?.intersection(&old).next().is_some() {
        ensure!(began.elapsed() < Duration::from_secs(120), "segments are not archived");
        thread::sleep(Duration::from_millis(50));
    }
    served.terminate()?;
    let (mut all, mut parts) = (0, Vec::new());
    for part in ["store.redb", "claims", "archive"] {
        let bytes = allocated(&data.join(part), &mut HashSet::new())?;
        parts.push((part, bytes));
        all += bytes;
    }
    let journal_bytes = allocated(&journal, &mut HashSet::new())?;
    let audited = audit(&data)?;

    let json_bytes = json_bytes as f64;
    println!(
        "disk: {} entries, {BATCH} a batch, no two batches the same, 20 customers, 60 minutes; \
         {:.0} bytes of JSON an entry",
        grouped(entries),
        json_bytes / entries as f64
    );
    println!("  {:26}{:>10}{:>14}{:>12}", "", "MiB", "bytes/entry", "÷ JSON");
    let line = |name: &str, bytes: u64| {
        let (each, share) = (bytes as f64 / entries as f64, bytes as f64 / json_bytes);
        println!("  {name:26}{:>10.1}{each:>14.2}{share:>12.4}", mib(bytes));
    };
    for (part, bytes) in parts {
        line(part, bytes);
    }
    line("together", all);
    line("beside: journal", journal_bytes);
    println!("  an audit counts all of it again out of the archive: {audited}");
    Ok(())
}

/// Has everything counted again and compared; what that says, if nothing is missing.
fn audit(data: &Path) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
    let output = command.args(["audit", "--data-dir"]).arg(data).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the audit fails: {text}");
    let said = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim().to_owned()).with_context(|| format!("no {name} in {text}"))
    };
    let missing = said("windows at least")?;
    ensure!(missing.starts_with("0 "), "the archive lacks the first groups: {missing}");
    let (groups, windows) = (said("groups recounted")?, said("windows equal")?);
    Ok(format!("groups {groups}, {windows} windows equal"))
}

/// The names of segments that are no spares.
fn segments(journal: &Path) -> Result<HashSet<u64>> {
    let mut found = HashSet::new();
    for entry in fs::read_dir(journal)? {
        found.extend(Layout::parse_segment(&entry?.file_name().to_string_lossy()));
    }
    Ok(found)
}

/// Bytes that the file system gives to a path and all below it; a file with many names, as claim
/// pages are, counts once.
fn allocated(path: &Path, seen: &mut HashSet<u64>) -> Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    let mut bytes = if seen.insert(metadata.ino()) { metadata.blocks() * 512 } else { 0 };
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += allocated(&entry?.path(), seen)?;
        }
    }
    Ok(bytes)
}
