//! A command on a terminal of its own, and what a person would see of it, byte by byte.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::server::wait_for_exit;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a command to its good end with stdout on a terminal; all that came out.
pub(super) fn shown(mut command: Command) -> Result<String> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let noctty = i32::try_from(OpenptFlags::NOCTTY.bits())?;
    let open = OpenOptions::new().read(true).write(true).custom_flags(noctty).to_owned();
    let side =
        open.open(OsStr::from_bytes(name.as_bytes())).context("the terminal's other side")?;
    let mut child = command.stdin(Stdio::null()).stdout(side).stderr(Stdio::piped()).spawn()?;
    // It holds this process' end of the terminal, which must be gone for the output to end.
    drop(command);
    let mut master = File::from(master);
    let reader = thread::spawn(move || {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        // The end of a terminal is an error: nobody writes to it any more.
        while let Ok(length @ 1..) = master.read(&mut part) {
            all.extend_from_slice(&part[..length]);
        }
        all
    });
    let status = wait_for_exit(&mut child, TIMEOUT)?;
    let all = reader.join().expect("reading does not panic");
    ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&all));
    String::from_utf8(all).context("it wrote what is no text")
}
