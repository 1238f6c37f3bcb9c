//! Numbers that a case reports: quantiles, medians, and the memory of a process.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// The most that a server with its default configuration may have resident, whatever comes in.
///
/// It may hold 64 MiB of batches under way, 144 MiB of counts, 64 MiB of the store's pages and
/// 128 MiB of unread answers; beside that it makes up to four answers at once, has 4,160
/// connections, and writes a checkpoint.
pub(crate) const MEMORY_MAX_MIB: u64 = 768;

/// The value that this share of the values does not exceed.
pub(crate) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "far fewer values than 2^53")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

pub(crate) fn median(values: &[Duration]) -> Duration {
    quantile(&mut values.to_vec(), 0.5)
}

/// Milliseconds, to read.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// The most memory that a process has had resident so far, or since [`forget_peak`].
pub(crate) fn peak_memory_mib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .context("VmHWM is not in /proc/PID/status")?;
    Ok(kib / 1024)
}

/// Begins a new peak for [`peak_memory_mib`].
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("clearing VmHWM")
}
