//! Which system calls the real disk makes, in which order: what no simulated disk can tell.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::RealDisk;
use crate::disk::Disk;

const ROOT: &str = "LOGMILL_TRACED_ROOT";
const CALLS: &str = "trace=mkdir,write,pwrite64,fsync,fdatasync,rename,renameat2,link,linkat";

/// A1: contents are synced before they get their name, and every name before it is relied on.
#[test]
fn contents_then_names_are_synced() {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !works.is_ok_and(|traced| traced.status.success()) {
        // Past the harness, which would keep it to itself.
        let told = writeln!(io::stderr(), "skipped: system calls of the disk (no strace here)");
        return told.expect("stderr is open");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (root, log) = (dir.path().join("root"), dir.path().join("log"));
    std::fs::DirBuilder::new().create(&root).expect("made");
    let test = "disk::real::syscalls::one_of_each";
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", CALLS, "-o"])
        .arg(&log)
        .arg(std::env::current_exe().expect("this test has a path"))
        .args(["--exact", test])
        .env(ROOT, &root)
        .output()
        .expect("strace was there just now");
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stdout));
    let log = std::fs::read_to_string(log).expect("strace wrote it");
    let mut calls: Vec<_> = log.lines().filter_map(|line| call(line, &root)).collect();
    calls.dedup();
    let expected = [
        "mkdir a",
        "fsync .",
        "mkdir a/b",
        "fsync a",
        // Part by part, so that nobody who syncs meanwhile waits for all of it.
        "write a/b/.new-",
        "fdatasync a/b/.new-",
        "write a/b/.new-",
        "fdatasync a/b/.new-",
        "write a/b/.new-",
        "fsync a/b/.new-",
        "renameat2 a/b/.new- a/b/new",
        "fsync a/b",
        "pwrite64 a/b/new",
        "fdatasync a/b/new",
        "fsync a",
    ];
    assert_eq!(calls, expected);
}

/// A call below the root as `name path…`, without what is random in the name of a new file.
fn call(line: &str, root: &Path) -> Option<String> {
    let (name, arguments) = line.split_once('(')?;
    let name = name.split_whitespace().last()?;
    let root = root.to_str()?;
    let mut call = name.to_owned();
    // Paths stand in quotes, or in angle brackets after a file descriptor.
    for path in arguments.split(['"', '<', '>']).filter_map(|part| part.strip_prefix(root)) {
        let path = path.trim_start_matches('/');
        let path = path.find(".new-").map_or(path, |at| &path[..at + ".new-".len()]);
        call.push(' ');
        call.push_str(if path.is_empty() { "." } else { path });
    }
    (call != name).then_some(call)
}

/// Each operation that makes something durable, once.
#[test]
fn one_of_each() {
    let dir = tempfile::tempdir().expect("a directory");
    // The test above says where to, and looks on.
    let root = std::env::var_os(ROOT).map_or(dir.path().to_path_buf(), PathBuf::from);
    RealDisk.create_dir(&root.join("a/b")).expect("made");
    let file = RealDisk.create_new(&root.join("a/b/new"), b"head", 3 << 18).expect("made");
    file.write_at(1, b"data").expect("written");
    file.sync_data().expect("synced");
    RealDisk.sync_dir(&root.join("a")).expect("synced");
}
