//! Senders, one thread and one connection each: the next batch goes when the last is answered.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::traffic::{Random, Traffic};

/// What was answered in one run.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) length: Duration,
    /// Of accepted batches.
    pub(crate) latencies: Vec<Duration>,
    /// Answers that said to come again.
    pub(crate) refused: u64,
}

/// Senders with their connections, kept from run to run.
pub(crate) struct Load<'t> {
    traffic: &'t Traffic,
    senders: Vec<Sender>,
}

/// When the next batch goes, and when no more do.
#[derive(Debug, Clone, Copy)]
struct Pace {
    began: Instant,
    length: Duration,
    interval: Duration,
    /// Of one sender.
    batches: usize,
}

struct Sender {
    number: usize,
    /// Tells its keys from those of other loads.
    load: usize,
    address: SocketAddr,
    stream: Option<TcpStream>,
    random: Random,
    /// The next one. Senders take turns, so that together they send each body as often.
    batch: usize,
    step: usize,
}

/// Loads so far: a later one may go to a server that has the keys of an earlier one.
static LOADS: AtomicUsize = AtomicUsize::new(0);
/// Longer than any run.
const NO_END: Duration = Duration::from_secs(24 * 60 * 60);

impl<'t> Load<'t> {
    pub(crate) fn new(traffic: &'t Traffic, connections: usize, address: SocketAddr) -> Self {
        let load = LOADS.fetch_add(1, Ordering::Relaxed);
        let sender = |number| Sender {
            number,
            load,
            address,
            stream: None,
            // Another load of the same bodies is for other customers.
            random: Random(((load as u64) << 32) | number as u64),
            batch: number,
            step: connections,
        };
        Self { traffic, senders: (0..connections).map(sender).collect() }
    }

    /// Sends as fast as answers come.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Sent> {
        self.paced(length, Duration::ZERO)
    }

    /// Sends a batch each interval on every connection, or as fast as answers come. A batch that
    /// is late because of the one before it has waited since it was due.
    pub(crate) fn paced(&mut self, length: Duration, interval: Duration) -> Result<Sent> {
        self.send(length, interval, |_| usize::MAX)
    }

    /// Sends so many batches, as fast as answers come, until all are accepted.
    pub(crate) fn batches(&mut self, count: usize) -> Result<Sent> {
        let senders = self.senders.len();
        let share = |number| count / senders + usize::from(number < count % senders);
        self.send(NO_END, Duration::ZERO, share)
    }

    fn send(
        &mut self,
        length: Duration,
        interval: Duration,
        batches: impl Fn(usize) -> usize,
    ) -> Result<Sent> {
        let (traffic, began) = (self.traffic, Instant::now());
        let results: Vec<Result<Sent>> = thread::scope(|scope| {
            let threads = self.senders.iter_mut().map(|sender| {
                let batches = batches(sender.number);
                let pace = Pace { began, length, interval, batches };
                scope.spawn(move || sender.send_until(traffic, pace))
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().expect("returns its errors")).collect()
        });
        let mut all = Sent { length: began.elapsed(), ..Sent::default() };
        for sent in results {
            let sent = sent?;
            all.latencies.extend(sent.latencies);
            all.refused += sent.refused;
        }
        ensure!(!all.latencies.is_empty(), "nothing was accepted");
        all.latencies.sort_unstable();
        Ok(all)
    }
}

impl Sender {
    fn send_until(&mut self, traffic: &Traffic, pace: Pace) -> Result<Sent> {
        let Pace { began, length, interval, batches } = pace;
        let mut sent = Sent::default();
        let mut due = began + interval.mul_f64((self.random.next() % 1_000) as f64 / 1_000.0);
        let mut answer = Vec::new();
        let in_time = |due| due < began + length && began.elapsed() < length;
        while sent.latencies.len() < batches && in_time(due) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let start = if interval.is_zero() { Instant::now() } else { due };
            match self.post(traffic, &mut answer)? {
                202 => {
                    sent.latencies.push(start.elapsed());
                    self.batch += self.step;
                }
                // The same batch again: a refusal has not used its key.
                429 | 503 => {
                    sent.refused += 1;
                    thread::sleep(Duration::from_millis(5));
                }
                status => anyhow::bail!("answered {status}: {}", String::from_utf8_lossy(&answer)),
            }
            due += interval;
        }
        Ok(sent)
    }

    /// Sends the batch whose turn it is; the status of its answer.
    fn post(&mut self, traffic: &Traffic, answer: &mut Vec<u8>) -> Result<u16> {
        let body = traffic.body(self.batch);
        let head = format!(
            "POST /logs HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             x-customer-id: {}\r\nidempotency-key: {}-{}\r\ncontent-length: {}\r\n\r\n",
            traffic.customer(&mut self.random),
            self.load,
            self.batch,
            body.len()
        );
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        write_both(stream, head.as_bytes(), body)?;
        answer.clear();
        let closes = read_answer(stream, answer)?;
        if closes {
            self.stream = None;
        }
        let status = answer.get(9..12).and_then(|code| std::str::from_utf8(code).ok());
        status.and_then(|code| code.parse().ok()).context("no status line")
    }
}

fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> Result<()> {
    let both = [IoSlice::new(head), IoSlice::new(body)];
    let written = stream.write_vectored(&both)?;
    match written.checked_sub(head.len()) {
        Some(of_body) => stream.write_all(&body[of_body..])?,
        None => {
            stream.write_all(&head[written..])?;
            stream.write_all(body)?;
        }
    }
    Ok(())
}

/// Reads an answer to its end; whether the server closes the connection then.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<bool> {
    let mut chunk = [0; 4_096];
    loop {
        let read = stream.read(&mut chunk)?;
        ensure!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&chunk[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let header = |name| head.lines().find_map(|line| line.strip_prefix(name));
        let length: usize = header("content-length: ").context("no length")?.parse()?;
        let closes = header("connection: ") == Some("close");
        let have = answer.len() - end - 4;
        answer.resize(end + 4 + length, 0);
        stream.read_exact(&mut answer[end + 4 + have..])?;
        return Ok(closes);
    }
}
