//! Bodies with log lines as sites have them: some 200 bytes each, from a seed.

use anyhow::{Context as _, Result, ensure};

use super::wire::Wire;
use crate::traffic::{Encoding, splitmix64};

/// The day that all lines are of; the day after ends the range of a query for it.
pub(crate) const DAY: &str = "2026-03-01";
const NEXT_DAY: &str = "2026-03-02";

/// A body of `POST /logs`; made once, it can be sent under many keys.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) entries: u64,
}

/// A site: how many different things its lines name.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    random: u64,
    paths: u64,
    agents: u64,
}

impl Body {
    /// One that holds the lines, which are JSON objects.
    pub(crate) fn of(lines: &[String]) -> Self {
        let bytes = format!("[{}]", lines.join(",")).into_bytes();
        Self { bytes, encoding: None, entries: lines.len() as u64 }
    }

    pub(crate) fn compressed(self, encoding: Encoding) -> Result<Self> {
        let bytes = encoding.encode(&self.bytes)?;
        Ok(Self { bytes, encoding: Some(encoding), ..self })
    }
}

impl Site {
    pub(crate) fn new(seed: u64, paths: u64, agents: u64) -> Self {
        Self { random: seed, paths, agents }
    }

    /// Lines that follow one another evenly over `seconds` from that second of [`DAY`] on.
    pub(crate) fn body(&mut self, from: u64, seconds: u64, entries: u64) -> Body {
        let lines: Vec<_> = (0..entries)
            .map(|index| {
                let second = from + index * seconds / entries;
                let path = splitmix64(&mut self.random) % self.paths;
                let agent = splitmix64(&mut self.random) % self.agents;
                let section = ["orders", "customers", "products", "static", "search"];
                let section = section[usize::try_from(path % 5).expect("below 5")];
                line(second, &format!("/api/v2/{section}/{path:06}?page=1"), &browser(agent))
            })
            .collect();
        Body::of(&lines)
    }
}

/// One line at a second of [`DAY`].
pub(crate) fn line(second: u64, path: &str, agent: &str) -> String {
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!(
        r#"{{"receivedAt":"{DAY}T{hour:02}:{minute:02}:{second:02}.250Z","method":"GET","path":"{path}","userAgent":"{agent}"}}"#
    )
}

/// An agent as browsers send it; each number another one.
fn browser(number: u64) -> String {
    let system = ["Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Macintosh; Intel Mac OS X"];
    let system = system[usize::try_from(number % 3).expect("below 3")];
    format!(
        "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.{number}.0",
        100 + number % 40
    )
}

/// All requests of a customer on [`DAY`].
pub(crate) fn counted(wire: &mut Wire, customer: &str) -> Result<u64> {
    let query = format!("/analytics?windowSize=day&from={DAY}T00:00:00Z&to={NEXT_DAY}T00:00:00Z");
    let reply = wire.get(&query, customer)?;
    ensure!(reply.status == 200, "{customer}: {reply}");
    let answer = reply.json()?;
    let windows = answer["windows"].as_array().context("windows is a list")?;
    Ok(windows.iter().filter_map(|window| window["requests"].as_u64()).sum())
}
