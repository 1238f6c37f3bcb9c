//! Connections that dawdle, vanish, come back at once, talk nonsense or never listen.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::super::bodies::{Body, DAY, line};
use super::super::figures::MEMORY_MAX_MIB;
use super::super::wire::{Wire, connect, head};
use super::super::{Ending, Setting};
use super::attack;
use crate::server::{Server, Target};
use crate::traffic::splitmix64;

/// How long a head, a body and a client that reads may take: as short as can be configured.
const TIMEOUT: Duration = Duration::from_secs(1);
const CONFIG: &str = r#"
    [http]
    header_timeout = "1s"
    body_timeout = "1s"
"#;
/// How much later than the timeout a connection may end, on a busy machine.
const SLACK: Duration = Duration::from_secs(15);
/// How often a dawdler sends a byte.
const DRIP: Duration = Duration::from_millis(200);
/// Threads that the connections are spread over.
const THREADS: u64 = 8;
/// Whose answers are long.
const LARGE: &str = "cus-large";

pub(crate) fn run(setting: &Setting) -> Result<Ending> {
    setting.on_server(CONFIG, |server| torment(setting, server))
}

fn torment(setting: &Setting, server: &mut Server) -> Result<Ending> {
    let pid = server.pid()?;
    let connections = if setting.full { 2_000 } else { 250 };
    let length = Duration::from_secs(if setting.full { 20 } else { 1 });
    let mut figures = format!("{connections} connections each");
    let mut note = |what: &str, outcome: String, watched: super::Watched| -> Result<()> {
        figures.push_str(&format!("\n    {what}: {outcome}; {watched}"));
        watched.check(MEMORY_MAX_MIB)
    };
    let (outcome, watched) = attack(server, |target| arrive(pid, target, connections))?;
    note("arriving together", outcome, watched)?;
    let mut dawdlers = vec![
        ("silent", Dawdler::Silent),
        ("slow heads", Dawdler::Head),
        ("slow large bodies of many", Dawdler::Body { announced: 2 << 20, customers: 500 }),
    ];
    if setting.full {
        let small = Dawdler::Body { announced: 2_000, customers: 1 };
        let large = Dawdler::Body { announced: 2 << 20, customers: 1 };
        dawdlers.extend([("slow bodies", small), ("slow large bodies of one customer", large)]);
    }
    for (what, dawdler) in dawdlers {
        let (outcome, watched) = attack(server, |target| dawdle(target, dawdler, connections))?;
        note(what, outcome, watched)?;
    }
    let (outcome, watched) = attack(server, |target| come_back(target, length))?;
    note("reconnecting", outcome, watched)?;
    let (outcome, watched) = attack(server, |target| babble(target, setting.seed, length))?;
    note("garbage", outcome, watched)?;
    prepare_long_answer(server.target(), if setting.full { 15 } else { 5 })?;
    let deaf = if setting.full { connections } else { 80 };
    let (outcome, watched) = attack(server, |target| never_listen(target, deaf))?;
    note("never listening", outcome, watched)?;
    Ok(Ending::Passed(figures))
}

/// Connects while the server cannot accept, because it is not scheduled; all must be served after.
fn arrive(pid: u32, target: &Target, connections: u64) -> Result<String> {
    let pid = Pid::from_raw(pid.try_into()?).context("the server has a pid")?;
    let address = target.url().trim_start_matches("http://").parse()?;
    kill_process(pid, Signal::STOP)?;
    let arrived: io::Result<Vec<_>> =
        (0..connections).map(|_| TcpStream::connect_timeout(&address, TIMEOUT)).collect();
    kill_process(pid, Signal::CONT)?;
    for mut stream in arrived.context("while the server stands still")? {
        stream.set_read_timeout(Some(SLACK))?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).context("after the server stood still")?;
        ensure!(status == *b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&status));
    }
    Ok("all answered".to_owned())
}

/// What a connection does instead of sending a request.
#[derive(Debug, Clone, Copy)]
enum Dawdler {
    Silent,
    Head,
    Body { announced: usize, customers: u64 },
}

impl Dawdler {
    /// What it sends at once.
    fn opening(self, number: u64) -> String {
        match self {
            Self::Silent => String::new(),
            Self::Head => "POST /logs HTTP/1.1\r\nhost: x\r\nx-customer-id: slow\r\nx-".to_owned(),
            Self::Body { announced, customers } => {
                let body = Body { bytes: vec![b' '; announced], encoding: None, entries: 0 };
                head(&format!("slow-{}", number % customers), &format!("k{number}"), &body)
            }
        }
    }
}

/// Opens all connections and keeps them as long as the server does, which must not be long.
fn dawdle(target: &Target, dawdler: Dawdler, connections: u64) -> Result<String> {
    let began = Instant::now();
    let (answered, closed) = (AtomicU64::new(0), AtomicU64::new(0));
    let share = || -> Result<()> {
        let mut open = Vec::new();
        for number in 0..connections / THREADS {
            let mut stream = connect(target)?;
            // A refusal may come before all is written.
            stream.write_all(dawdler.opening(number).as_bytes()).ok();
            stream.set_nonblocking(true)?;
            open.push((stream, Instant::now()));
        }
        while !open.is_empty() {
            thread::sleep(DRIP);
            open.retain_mut(|(stream, _)| match ending(stream) {
                None => true,
                Some(heard) => {
                    let count = if heard { &answered } else { &closed };
                    count.fetch_add(1, Ordering::Relaxed);
                    false
                }
            });
            for (stream, since) in &mut open {
                ensure!(since.elapsed() < TIMEOUT + SLACK, "{dawdler:?} is still connected");
                if !matches!(dawdler, Dawdler::Silent) {
                    // What the server has closed meanwhile is found above.
                    stream.write_all(b"a").ok();
                }
            }
        }
        Ok(())
    };
    in_parallel(share)?;
    Ok(format!(
        "{} answered and {} closed within {:.1?}",
        answered.into_inner(),
        closed.into_inner(),
        began.elapsed()
    ))
}

/// Whether the server has closed the connection, and if so, whether it said something before.
fn ending(stream: &mut TcpStream) -> Option<bool> {
    let mut heard = false;
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Some(heard),
            Ok(_) => heard = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return heard.then_some(true),
            Err(_) => return Some(heard),
        }
    }
}

/// Connects, says something or nothing, and is gone, again and again.
fn come_back(target: &Target, length: Duration) -> Result<String> {
    let (began, times) = (Instant::now(), AtomicU64::new(0));
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let share = || -> Result<()> {
        while began.elapsed() < length {
            let time = times.fetch_add(1, Ordering::Relaxed);
            let mut stream = connect(target)?;
            match time % 3 {
                0 => {}
                1 => drop(stream.write(&request[..10])?),
                _ => {
                    // Gone with the answer unread, which resets the connection.
                    stream.write_all(request)?;
                    let mut first = [0];
                    stream.read_exact(&mut first)?;
                }
            }
        }
        Ok(())
    };
    in_parallel(share)?;
    Ok(format!("{} connections in {length:?}", times.into_inner()))
}

/// Sends noise, and noise behind requests that are right.
fn babble(target: &Target, seed: u64, length: Duration) -> Result<String> {
    let (began, next) = (Instant::now(), AtomicU64::new(seed));
    let bytes = AtomicU64::new(0);
    let body = Body::of(&[line(0, "/x", "curl/8.5.0")]);
    let share = || -> Result<()> {
        let mut noise = vec![0; 256 * 1024];
        while began.elapsed() < length {
            let mut random = next.fetch_add(1, Ordering::Relaxed);
            noise.chunks_mut(8).for_each(|eight| {
                eight.copy_from_slice(&splitmix64(&mut random).to_le_bytes()[..eight.len()]);
            });
            let mut stream = connect(target)?;
            let right = match random % 4 {
                0 => String::new(),
                1 => "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500),
                2 => format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(20_000)),
                _ => head("babbler", &format!("{random:x}"), &body) + "[",
            };
            // The server may close at any byte.
            let sent = stream.write_all(right.as_bytes()).and_then(|()| stream.write_all(&noise));
            bytes.fetch_add((right.len() + noise.len()) as u64, Ordering::Relaxed);
            if sent.is_ok() {
                stream.shutdown(std::net::Shutdown::Write).ok();
            }
            ensure!(ends(&mut stream)?, "the server goes on with garbage");
        }
        Ok(())
    };
    in_parallel(share)?;
    Ok(format!("{} MB sent in {length:?}", bytes.into_inner() / 1_000_000))
}

/// Whether the server closes the connection soon.
fn ends(stream: &mut TcpStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(TIMEOUT + SLACK))?;
    let mut chunk = [0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(_) => return Ok(true),
        }
    }
}

/// Asks for long answers and reads none of them.
fn never_listen(target: &Target, connections: u64) -> Result<String> {
    let began = Instant::now();
    let query = format!("/analytics?from={DAY}T00:00:00Z&to={DAY}T01:00:00Z");
    let request = format!("GET {query} HTTP/1.1\r\nhost: x\r\nx-customer-id: {LARGE}\r\n\r\n");
    let share = || -> Result<()> {
        let mut open = Vec::new();
        for _ in 0..connections / THREADS {
            let mut stream = connect(target)?;
            stream.write_all(request.as_bytes())?;
            stream.set_nonblocking(true)?;
            open.push(stream);
        }
        while !open.is_empty() {
            let since = began.elapsed();
            ensure!(since < TIMEOUT + 2 * SLACK, "{} are waited for without end", open.len());
            // What the server does not take it has not closed.
            open.retain_mut(|stream| match stream.write(b"GET ") {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
            thread::sleep(DRIP);
        }
        Ok(())
    };
    in_parallel(share)?;
    Ok(format!("all closed within {:.1?}", began.elapsed()))
}

/// Gives [`LARGE`] a window whose answer has so many megabytes.
fn prepare_long_answer(target: &Target, megabytes: u64) -> Result<()> {
    let mut wire = Wire::new(target);
    for batch in 0..megabytes {
        let filler = "x".repeat(980);
        let path = |number| format!("/{batch:04}/{number:04}/{filler}");
        let lines: Vec<_> = (0..1_000).map(|number| line(0, &path(number), "curl/8.5.0")).collect();
        let reply = wire.post(LARGE, &format!("large-{batch}"), &Body::of(&lines))?;
        ensure!(reply.status == 202, "{reply}");
    }
    Ok(())
}

/// Does the same in each of [`THREADS`] threads.
fn in_parallel(share: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let shares: Vec<_> = (0..THREADS).map(|_| scope.spawn(&share)).collect();
        shares.into_iter().try_for_each(|share| share.join().expect("returns its errors"))
    })
}
