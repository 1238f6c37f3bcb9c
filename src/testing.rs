//! Fixtures for tests: a data directory, a disk that fails on demand, a clock that stands still.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::clock::{Clock, Now};
use crate::counts::KeyLimits;
use crate::decode::{self, Decoded, Format, OnInvalid};
use crate::disk::{
    Disk, DiskError, DiskFile, DiskResult, Layout, LinkOutcome, LockGuard, RealDisk,
};
use crate::entropy::Entropy;
use crate::ids::{AcceptTime, ContentDigest, CustomerId, IdempotencyKey, RequestId};
use crate::insight::Summary;
use crate::journal::Rules;
use crate::paths::PathRules;
use crate::sequencer::Submission;
use crate::user_agent::AgentCache;
use crate::window::Minute;

/// Grace of a minute, and more names than any test counts.
pub(crate) const RULES: Rules = Rules { grace: Duration::from_secs(60), keys: KEYS, paths: 0 };
const KEYS: KeyLimits = KeyLimits { paths: 1_000, agents: 1_000 };

/// A data directory of its own for one test; removed with it.
pub(crate) struct DataDir {
    _root: TempDir,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<FaultyDisk>,
}

impl DataDir {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(root.path().join("data"));
        RealDisk.create_dir(layout.root()).expect("the root");
        Self { _root: root, layout, disk: Arc::default() }
    }

    /// One with a place for the journal.
    pub(crate) fn with_journal() -> Self {
        let dir = Self::new();
        RealDisk.create_dir(&dir.layout.journal()).expect("the journal's directory");
        dir
    }

    /// One with a place for claims.
    pub(crate) fn with_claims() -> Self {
        let dir = Self::with_journal();
        RealDisk.create_dir(&dir.layout.pages()).expect("the pages' directory");
        dir
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// Changes what a file says behind everybody's back.
    pub(crate) fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let file = RealDisk.open(path).expect("the file is there");
        file.write_at(offset, bytes).expect("written");
    }

    /// Turns one bit around.
    pub(crate) fn flip(&self, path: &Path, offset: u64) {
        let mut byte = [0];
        RealDisk.open(path).expect("there").read_at(offset, &mut byte).expect("in the file");
        self.overwrite(path, offset, &[byte[0] ^ 0x10]);
    }
}

/// What can fail, and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    CreateNew,
    Link,
    Rename,
    Remove,
    SyncDir,
    Write,
    SyncData,
}

#[derive(Debug)]
struct Failure {
    op: Op,
    part: &'static str,
    after: u32,
    kind: io::ErrorKind,
}

#[derive(Debug, Default)]
struct Script {
    log: Vec<(Op, PathBuf)>,
    failures: Vec<Failure>,
}

impl Script {
    fn note(&mut self, op: Op, path: &Path) -> DiskResult<()> {
        self.log.push((op, path.to_path_buf()));
        let text = path.to_string_lossy();
        let hit = self.failures.iter().position(|f| f.op == op && text.contains(f.part));
        let Some(at) = hit else { return Ok(()) };
        if self.failures[at].after > 0 {
            self.failures[at].after -= 1;
            return Ok(());
        }
        let failure = self.failures.swap_remove(at);
        Err(DiskError::new("do what the test forbids to", path, failure.kind.into()))
    }
}

/// The real disk, with a log of what changes it and failures where a test wants them.
#[derive(Debug, Default)]
pub(crate) struct FaultyDisk {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    script: Arc<Mutex<Script>>,
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultyDisk {
    /// Fails the next operation of a kind on a path that contains `part`.
    pub(crate) fn fail(&self, op: Op, part: &'static str, kind: io::ErrorKind) {
        self.fail_nth(op, part, 0, kind);
    }

    /// As [`FaultyDisk::fail`], after so many that succeed.
    pub(crate) fn fail_nth(&self, op: Op, part: &'static str, after: u32, kind: io::ErrorKind) {
        lock(&self.script).failures.push(Failure { op, part, after, kind });
    }

    /// Fails nothing any more.
    pub(crate) fn succeed(&self) {
        lock(&self.script).failures.clear();
    }

    /// Everything that was tried so far, and forgets it.
    pub(crate) fn take_log(&self) -> Vec<(Op, PathBuf)> {
        std::mem::take(&mut lock(&self.script).log)
    }

    fn note(&self, op: Op, path: &Path) -> DiskResult<()> {
        lock(&self.script).note(op, path)
    }

    fn wrap(&self, file: Arc<dyn DiskFile>, path: &Path) -> Arc<dyn DiskFile> {
        let script = Arc::clone(&self.script);
        Arc::new(FaultyFile { file, path: path.to_path_buf(), script })
    }
}

impl Disk for FaultyDisk {
    /// Directories of names are made with the first name: all of them a test would be slow.
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        match dir.parent() {
            Some(above) if above.ends_with("names") => RealDisk.create_dir(above),
            _ => RealDisk.create_dir(dir),
        }
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<String>> {
        RealDisk.list(dir)
    }

    /// Sparse, because a test that zeroes 32 MiB a segment is a slow one.
    fn create_new(&self, path: &Path, head: &[u8], len: u64) -> DiskResult<Arc<dyn DiskFile>> {
        self.note(Op::CreateNew, path)?;
        let file = RealDisk.create_new(path, head, 0)?;
        file.set_len(len.max(head.len() as u64))?;
        Ok(self.wrap(file, path))
    }

    fn open(&self, path: &Path) -> DiskResult<Arc<dyn DiskFile>> {
        Ok(self.wrap(RealDisk.open(path)?, path))
    }

    fn link(&self, original: &Path, name: &Path) -> DiskResult<LinkOutcome> {
        self.note(Op::Link, name)?;
        RealDisk.create_dir(name.parent().expect("a name is in a directory"))?;
        RealDisk.link(original, name)
    }

    fn link_count(&self, path: &Path) -> DiskResult<u64> {
        RealDisk.link_count(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.note(Op::Rename, from)?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        self.note(Op::Remove, path)?;
        RealDisk.remove(path)
    }

    fn remove_tree(&self, dir: &Path) -> DiskResult<()> {
        RealDisk.remove_tree(dir)
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        self.note(Op::SyncDir, dir)?;
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> DiskResult<u64> {
        RealDisk.free_bytes(dir)
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn LockGuard>>> {
        RealDisk.lock(path)
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> DiskResult<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> DiskResult<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> DiskResult<()> {
        lock(&self.script).note(Op::Write, &self.path)?;
        self.file.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> DiskResult<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> DiskResult<()> {
        lock(&self.script).note(Op::SyncData, &self.path)?;
        self.file.sync_data()
    }
}

/// Both clocks, moved by hand.
#[derive(Debug, Default)]
pub(crate) struct ManualClock {
    wall_ms: AtomicU64,
    uptime_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at this time.
    pub(crate) fn at(wall: AcceptTime) -> Self {
        let clock = Self::default();
        clock.set_wall(wall);
        clock
    }

    /// Both clocks go on.
    pub(crate) fn advance(&self, by: Duration) {
        self.wall_ms.fetch_add(millis(by), Ordering::Relaxed);
        self.uptime_ms.fetch_add(millis(by), Ordering::Relaxed);
    }

    pub(crate) fn set_wall(&self, wall: AcceptTime) {
        self.wall_ms.store(wall.0, Ordering::Relaxed);
    }

    pub(crate) fn set_uptime(&self, uptime: Duration) {
        self.uptime_ms.store(millis(uptime), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> AcceptTime {
        AcceptTime(self.wall_ms.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.uptime_ms.load(Ordering::Relaxed))
    }
}

/// The same numbers in each run (splitmix64).
#[derive(Debug, Default)]
pub(crate) struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Entropy for SeededEntropy {
    fn bits(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a test is short")
}

/// So many minutes after 1970, by the wall clock.
pub(crate) fn wall(minutes: u32) -> AcceptTime {
    AcceptTime(u64::from(minutes) * 60_000)
}

pub(crate) fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

/// A reading of both clocks: so many minutes since 1970, none since the start.
pub(crate) fn now_at(minutes: u32) -> Now {
    Now { wall: wall(minutes), uptime: Duration::ZERO }
}

pub(crate) fn customer(text: &str) -> CustomerId {
    CustomerId::new(text).expect("a valid customer id")
}

/// The body of a batch: GETs of a path in a minute, by an agent.
pub(crate) fn batch_by(entries: &[(u32, &str, &str)]) -> String {
    let entry = |(minute, path, agent): &(u32, &str, &str)| {
        let time = Minute(*minute).to_string();
        json!({ "receivedAt": time, "method": "GET", "path": path, "userAgent": agent })
    };
    json!(entries.iter().map(entry).collect::<Vec<_>>()).to_string()
}

/// The body of a batch by one agent.
pub(crate) fn batch(entries: &[(u32, &str)]) -> String {
    let with_agent: Vec<_> = entries.iter().map(|(m, path)| (*m, *path, "curl/8.5.0")).collect();
    batch_by(&with_agent)
}

pub(crate) fn summary(body: &str) -> Summary {
    decode::summarise(&Format::default(), body.as_bytes(), &mut AgentCache::new())
        .expect("a valid batch")
}

/// What a body comes to whose invalid entries are put aside.
pub(crate) fn decoded(body: &str) -> Decoded {
    let rules = decode::Rules { on_invalid: OnInvalid::Skip, paths: &PathRules::default() };
    decode::decode(&Format::default(), body.as_bytes(), rules, &mut AgentCache::new())
        .expect("a batch")
}

/// A batch on its way to the sequencer, and where its answer would arrive. Invalid entries of it
/// are put aside.
pub(crate) fn submission(
    of: &str,
    key: &str,
    body: &str,
) -> (Submission, oneshot::Receiver<crate::sequencer::Outcome>) {
    let (reply, answer) = oneshot::channel();
    let Decoded { summary, dead, .. } = decoded(body);
    let submission = Submission {
        customer: customer(of),
        key: IdempotencyKey::new(key).expect("a valid key"),
        digest: ContentDigest::of(Format::default().id(), body.as_bytes()),
        request_id: RequestId::from_random(1),
        record: summary.to_bytes(),
        summary,
        dead_record: dead.to_bytes(),
        dead,
        permit: Box::new(()),
        reply,
    };
    (submission, answer)
}
