//! Batches that look like those of real sites: few agents and paths make most of the requests.

use std::fmt::Write as _;

/// Distinct raw user agents.
const AGENTS: usize = 600;
/// Distinct paths.
const PATHS: usize = 2_000;
/// Distinct bodies, unless they are so large that a server would find none in its caches: what
/// comes from a network card does.
const BODIES: usize = 300;
const BODIES_BYTES: usize = 12 << 20;
/// `limits.body_bytes`.
const BODY_BYTES_MAX: usize = 2 << 20;
/// What an entry takes, more or less.
const ENTRY_BYTES: usize = 210;
/// Minutes that the batches are of.
const MINUTES: usize = 60;
/// The first of them, in seconds since 1970: 2026-03-01T12:00:00Z.
const BEGIN_S: usize = 1_772_366_400;

/// How batches look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// In a batch.
    pub(crate) entries: usize,
    pub(crate) customers: usize,
    pub(crate) paths: Names,
    pub(crate) agents: Names,
    pub(crate) times: Times,
    /// Distinct bodies, if it is not for their size to say.
    pub(crate) bodies: Option<usize>,
    /// Another one draws other paths and agents.
    pub(crate) seed: u64,
}

/// Which of many names an entry has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Names {
    /// One of so many, the first the most often.
    Popular(usize),
    /// One of so many after the other, from the first to the last and again.
    InTurn(usize),
}

/// When entries were received.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    /// A batch is of one of so many minutes, and its end of the next.
    Minutes(usize),
    /// All bodies together are of so many minutes, which end where the others begin.
    Before(usize),
}

/// What is sent: bodies, and the customers they are sent for.
pub(crate) struct Traffic {
    bodies: Vec<Vec<u8>>,
    customers: Zipf,
    pub(crate) entries: usize,
}

/// Ranks of which the first is drawn most often: the nth as often as 1/n.
pub(crate) struct Zipf {
    /// For each rank, the share of draws up to it.
    shares: Vec<f64>,
}

/// A sequence of numbers from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, and without, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
    pub(crate) fn new(ranks: usize) -> Self {
        let weights = (1..=ranks).map(|rank| 1.0 / rank as f64);
        let sum: f64 = weights.clone().sum();
        let mut share = 0.0;
        let shares = weights.map(|weight| {
            share += weight / sum;
            share
        });
        Self { shares: shares.collect() }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let share = random.share();
        self.shares.partition_point(|upto| *upto < share).min(self.shares.len() - 1)
    }
}

impl Shape {
    /// What real sites send.
    pub(crate) fn usual(entries: usize, customers: usize) -> Self {
        Self {
            entries,
            customers,
            paths: Names::Popular(PATHS),
            agents: Names::Popular(AGENTS),
            times: Times::Minutes(MINUTES),
            bodies: None,
            seed: 7,
        }
    }

    fn bodies(&self) -> usize {
        let few = (BODIES_BYTES / (self.entries * ENTRY_BYTES)).clamp(6, BODIES);
        self.bodies.unwrap_or(few)
    }

    /// When the given entry of the given body was received, in seconds since 1970.
    fn second(&self, body: usize, entry: usize) -> usize {
        match self.times {
            Times::Minutes(minutes) => {
                let minute = (body % minutes) + usize::from(entry * 4 > self.entries * 3);
                BEGIN_S + minute * 60 + entry * 60 / self.entries
            }
            Times::Before(minutes) => {
                let all = self.bodies() * self.entries;
                BEGIN_S - minutes * 60 + (body * self.entries + entry) * minutes * 60 / all
            }
        }
    }
}

/// Draws names.
struct Draw {
    names: Names,
    zipf: Zipf,
    drawn: usize,
}

impl Draw {
    fn new(names: Names) -> Self {
        let ranks = if let Names::Popular(count) = names { count } else { 1 };
        Self { names, zipf: Zipf::new(ranks), drawn: 0 }
    }

    fn next(&mut self, random: &mut Random) -> usize {
        self.drawn += 1;
        match self.names {
            Names::Popular(_) => self.zipf.draw(random),
            Names::InTurn(count) => (self.drawn - 1) % count,
        }
    }
}

impl Traffic {
    /// Bodies of so many entries.
    pub(crate) fn new(entries: usize, customers: usize) -> Self {
        Self::of(&Shape::usual(entries, customers))
    }

    pub(crate) fn of(shape: &Shape) -> Self {
        let mut random = Random(shape.seed);
        let (mut paths, mut agents) = (Draw::new(shape.paths), Draw::new(shape.agents));
        let bodies: Vec<_> = (0..shape.bodies())
            .map(|body| {
                let mut json = String::from("[");
                let mut last = (0, String::new());
                for entry in 0..shape.entries {
                    let second = shape.second(body, entry);
                    if last.0 != second {
                        last = (second, time(second));
                    }
                    let (path, agent) = (paths.next(&mut random), agents.next(&mut random));
                    if entry > 0 {
                        json.push(',');
                    }
                    write!(
                        json,
                        r#"{{"receivedAt":"{}","method":"{}","path":"{}","userAgent":"{}"}}"#,
                        last.1,
                        if path % 10 == 9 { "POST" } else { "GET" },
                        path_name(path),
                        agent_name(agent),
                    )
                    .expect("into memory");
                }
                json.push(']');
                json.into_bytes()
            })
            .collect();
        let largest = bodies.iter().map(Vec::len).max();
        assert!(largest.is_some_and(|bytes| bytes <= BODY_BYTES_MAX), "a body would be refused");
        Self { bodies, customers: Zipf::new(shape.customers), entries: shape.entries }
    }

    pub(crate) fn body(&self, number: usize) -> &[u8] {
        &self.bodies[number % self.bodies.len()]
    }

    pub(crate) fn customer(&self, random: &mut Random) -> String {
        format!("cus-{:05}", self.customers.draw(random))
    }

    /// Bytes of a body.
    pub(crate) fn body_bytes(&self) -> usize {
        self.bodies.iter().map(Vec::len).sum::<usize>() / self.bodies.len()
    }
}

fn time(second: usize) -> String {
    let second = i64::try_from(second).expect("not so late");
    let time = jiff::Timestamp::from_second(second).expect("a time of these years");
    time.strftime("%Y-%m-%dT%H:%M:%S.250Z").to_string()
}

pub(crate) fn path_name(number: usize) -> String {
    let section = ["orders", "customers", "products", "static/js", "search"][number % 5];
    format!("/api/v2/{section}/{number:06}?page={}", number % 7)
}

fn agent_name(number: usize) -> String {
    let system = ["Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Macintosh; Intel Mac OS X"];
    match number % 10 {
        8 => format!("curl/8.{number}.0"),
        9 => format!("Mozilla/5.0 (compatible; Googlebot/2.{number}; +http://google.com/bot.html)"),
        _ => format!(
            "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.{number}.0 \
             Safari/537.36",
            system[number % 3],
            100 + number % 40
        ),
    }
}
