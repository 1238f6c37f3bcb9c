//! Compressed bodies that grow without end, want large windows, or hold nothing for ever.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::super::bodies::Body;
use super::super::figures::{MEMORY_MAX_MIB, peak_memory_mib};
use super::super::wire::{Wire, connect, head};
use super::super::{Ending, Setting};
use super::attack;
use crate::server::{Server, Target};
use crate::traffic::Encoding;

/// What bombs grow to.
const BOMB_BYTES: usize = 256 << 20;
/// What a bomb may add to the memory of a server that idles.
const BOMB_MEMORY_MIB: u64 = 64;
/// What just fits `limits.body_bytes`.
const FITTING_BYTES: usize = 2_000_000;
/// Window that zstd takes unless told otherwise: 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Compressed bytes that hold nothing: as many as a body may have.
const NOTHING_BYTES: usize = FITTING_BYTES;

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server("", |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let times = if setting.full { 50 } else { 2 };
    let parallel = if setting.full { 1_500 } else { 64 };
    let mut figures = String::new();
    let mut note = |what: &str, outcome: String, watched: super::Watched| -> Result<u64> {
        figures.push_str(&format!("\n    {what}: {outcome}; {watched}"));
        watched.check(MEMORY_MAX_MIB)?;
        Ok(watched.peak_mib)
    };
    let idle_mib = peak_memory_mib(server.pid()?)?;
    for (what, body, answers) in bodies()? {
        let (heard, watched) = attack(server, |target| send(target, &body, times))?;
        let bytes = body.bytes.len();
        let peak_mib =
            note(what, format!("{bytes} bytes, {times} times answered {heard:?}"), watched)?;
        ensure!(peak_mib <= idle_mib + BOMB_MEMORY_MIB, "{what}: {peak_mib} MiB, not {idle_mib}");
        ensure!(heard.keys().all(|status| answers.contains(status)), "{what}: {heard:?}");
    }
    for (length, window_log) in
        [(FITTING_BYTES, 21), (FITTING_BYTES, WINDOW_LOG), (50_000, WINDOW_LOG)]
    {
        let body = zstd(length, window_log)?;
        let (heard, watched) = attack(server, |target| hold(target, &body, parallel))?;
        let what = format!("{length} bytes with a window of 2^{window_log} held");
        note(&what, format!("{parallel} times at once, answered {heard:?}"), watched)?;
    }
    Ok(Ending::Passed(figures))
}

/// What is sent, and the answers it may get.
fn bodies() -> Result<Vec<(&'static str, Body, &'static [u16])>> {
    let gzip = |bytes: &[u8]| Encoding::Gzip.encode(bytes);
    let of = |bytes, encoding| Body { bytes, encoding: Some(encoding), entries: 1 };
    let bomb = spaces(BOMB_BYTES);
    Ok(vec![
        ("gzip bomb", of(gzip(&bomb)?, Encoding::Gzip), &[413]),
        ("zstd bomb", of(Encoding::Zstd.encode(&bomb)?, Encoding::Zstd), &[413]),
        ("deflate bomb", of(Encoding::Deflate.encode(&bomb)?, Encoding::Deflate), &[413]),
        ("br bomb", of(Encoding::Br.encode(&bomb)?, Encoding::Br), &[413]),
        ("gzip of nothing", of(repeated(&gzip(b"")?), Encoding::Gzip), &[400]),
        ("zstd of nothing", of(repeated(&Encoding::Zstd.encode(b"")?), Encoding::Zstd), &[400]),
        // A frame to be skipped, without content.
        ("zstd skipped", of(repeated(b"\x50\x2a\x4d\x18\0\0\0\0"), Encoding::Zstd), &[400]),
        // A single segment of 2^60 bytes.
        (
            "zstd of 2^60",
            of(b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x10".to_vec(), Encoding::Zstd),
            &[400],
        ),
    ])
}

/// A body of this length without an entry.
fn spaces(length: usize) -> Vec<u8> {
    let mut bytes = vec![b' '; length];
    bytes[0] = b'[';
    bytes
}

fn repeated(bytes: &[u8]) -> Vec<u8> {
    bytes.repeat(NOTHING_BYTES / bytes.len())
}

/// Spaces in a frame with the given window; they decompress block by block.
fn zstd(length: usize, window_log: u32) -> Result<Body> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1)?;
    encoder.window_log(window_log)?;
    encoder.include_contentsize(false)?;
    encoder.write_all(&spaces(length))?;
    Ok(Body { bytes: encoder.finish()?, encoding: Some(Encoding::Zstd), entries: 1 })
}

/// Sends a body again and again; returns how often each status came back.
fn send(target: &Target, body: &Body, times: u64) -> Result<BTreeMap<u16, u64>> {
    let mut heard = BTreeMap::new();
    for time in 0..times {
        let reply = Wire::new(target).post("bomber", &format!("bomb-{time}"), body)?;
        *heard.entry(reply.status).or_default() += 1;
    }
    Ok(heard)
}

/// Sends all but the last bytes of the body on many connections, waits until the server has taken
/// that much of all, and only then sends the rest.
fn hold(target: &Target, body: &Body, connections: usize) -> Result<BTreeMap<u16, u64>> {
    let line_up = Barrier::new(connections);
    let one = |number: usize| -> Result<u16> {
        let (most, rest) = body.bytes.split_at(body.bytes.len() - 4);
        let opened = connect(target).and_then(|mut stream| {
            stream.write_all(head(&format!("holder-{number}"), "hold", body).as_bytes())?;
            stream.write_all(most)?;
            Ok(stream)
        });
        // Who failed lines up all the same: the others wait for all.
        line_up.wait();
        let mut stream = opened?;
        thread::sleep(Duration::from_millis(500));
        // Who was refused has its answer, and the connection may be closed.
        stream.write_all(rest).ok();
        let mut status = [0; 12];
        let sent = Instant::now();
        stream.read_exact(&mut status).with_context(|| {
            format!("holder {number}, {:?} after the end of its body", sent.elapsed())
        })?;
        Ok(std::str::from_utf8(&status[9..])?.parse()?)
    };
    let statuses: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..connections)
            .map(|n| {
                scope.spawn({
                    let one = &one;
                    move || one(n)
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("returns its errors")).collect()
    });
    let mut heard = BTreeMap::new();
    for status in statuses {
        *heard.entry(status?).or_default() += 1;
    }
    Ok(heard)
}
