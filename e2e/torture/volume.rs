//! A file system of the case's own, that can lose power, be full or turn read-only: ext4 in a file
//! on a loop device. Needs root.
//!
//! The package forbids unsafe code, so the one ioctl goes through `python3`. A janitor process
//! waits until this one is done, or dead, and unmounts; the loop device goes with the mount.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// `ioctl(EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH)`: from here on nothing reaches the disk,
/// the file system's own journal included. Does so when it is told.
const CUT: &str = "
import fcntl, os, struct, sys
dir = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
print('armed', flush=True)
sys.stdin.readline()
fcntl.ioctl(dir, 0x8004587D, struct.pack('I', 2))
";
const JANITOR: &str = "trap '' INT TERM HUP; read -r _; umount -l \"$1\" 2>/dev/null";

/// The file system, mounted or not.
#[derive(Debug)]
pub(super) struct Volume {
    home: TempDir,
    janitor: Child,
    /// The janitor begins when it is closed.
    done: Option<ChildStdin>,
}

/// Stands by to cut the power at once.
#[derive(Debug)]
pub(super) struct Cutter(Child);

impl Volume {
    /// Makes and mounts a file system of this size; `Err` within says why this machine cannot.
    pub(super) fn make(mib: u64) -> Result<Result<Self, String>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Err("it needs root to mount a file system of its own".to_owned()));
        }
        if let Err(error) = execute(Command::new("python3").args(["-c", "import fcntl"])) {
            return Ok(Err(format!("it needs python3: {error:#}")));
        }
        let home = tempfile::Builder::new().prefix("logmill-e2e-volume-").tempdir()?;
        std::fs::create_dir(home.path().join("mount"))?;
        let image = std::fs::File::create(home.path().join("image"))?;
        image.set_len(mib * 1024 * 1024)?;
        let mut janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(home.path().join("mount"))
            .stdin(Stdio::piped())
            .spawn()
            .context("starting the janitor")?;
        let done = janitor.stdin.take();
        let volume = Self { home, janitor, done };
        let mut make = Command::new("mkfs.ext4");
        let made = execute(make.args(["-q", "-F", "-m", "0"]).arg(volume.image()));
        if let Err(error) = made.and_then(|()| volume.mount("")) {
            return Ok(Err(format!("it needs ext4 on a loop device: {error:#}")));
        }
        Ok(Ok(volume))
    }

    /// Where its files are.
    pub(super) fn path(&self) -> PathBuf {
        self.home.path().join("mount")
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    /// Mounts it, with some options beside the usual ones.
    pub(super) fn mount(&self, options: &str) -> Result<()> {
        let options = format!("loop,errors=remount-ro{options}");
        execute(Command::new("mount").args(["-o", &options]).arg(self.image()).arg(self.path()))
    }

    pub(super) fn unmount(&self) -> Result<()> {
        execute(Command::new("umount").arg(self.path()))
    }

    /// Makes sure that the power can be cut without delay.
    pub(super) fn cutter(&self) -> Result<Cutter> {
        let mut child = Command::new("python3")
            .args(["-c", CUT])
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting python3")?;
        let stdout = child.stdout.take().context("python3 has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let cutter = Cutter(child);
        ensure!(line == "armed\n", "python3 cannot open {}", self.path().display());
        Ok(cutter)
    }

    /// Turns it read-only under whoever writes, as the kernel does with a disk it does not trust.
    pub(super) fn turn_read_only(&self) -> Result<()> {
        let source = output(Command::new("findmnt").args(["-no", "SOURCE"]).arg(self.path()))?;
        let device = Path::new(source.trim()).file_name().context("it has no device")?;
        let switch = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(&switch, "torture\n").with_context(|| format!("{}", switch.display()))
    }

    /// Unmounts it, checks it and mounts it writable again.
    pub(super) fn repair(&self) -> Result<()> {
        self.unmount()?;
        let mut check = Command::new("e2fsck");
        let status = check
            .args(["-fy"])
            .arg(self.image())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        // 1: what it found is mended.
        ensure!(matches!(status.code(), Some(0 | 1)), "e2fsck ended with {status}");
        self.mount("")
    }

    /// Leaves the image where it is, for a person to look at.
    pub(super) fn keep(&mut self) -> &Path {
        self.home.disable_cleanup(true);
        self.home.path()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.done.take());
        // It fails only if the janitor is gone, and nothing more can be done then.
        self.janitor.wait().ok();
    }
}

impl Cutter {
    /// Cuts the power; returns when it is off.
    pub(super) fn cut(mut self) -> Result<()> {
        let mut stdin = self.0.stdin.take().context("python3 has no stdin")?;
        stdin.write_all(b"now\n")?;
        drop(stdin);
        let status = self.0.wait()?;
        ensure!(status.success(), "EXT4_IOC_SHUTDOWN failed: python3 ended with {status}");
        Ok(())
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        // Both fail only if it has ended, as it has after a cut.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn execute(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

/// Runs a command to its end; what it complains about is in the error.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}
