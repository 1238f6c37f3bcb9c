//! The dashboard in a real browser: Debian's Chromium, driven over WebDriver.
//!
//! A case starts a server, fills it, and looks at the page as a person does. What the page shows
//! is compared with what the API answers to the very questions that the page has asked. Without
//! `chromium` and `chromedriver` the cases are skipped, and that is said.

mod chrome;
mod controls;
mod figures;
mod hostile;
mod looks;
mod pages;
mod site;
mod snapshot;
mod states;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::client::Client;
use crate::senders::{find_program, unused_port};
use crate::server::Server;
use crate::torture::dice::Dice;
use crate::torture::ground::with_server;
use crate::torture::{Case, Ending, Setting};
use chrome::Chrome;

/// Every case.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "figures",
        title: "Every figure on the page is the API's, whatever range and filter it is of",
        run: figures::run,
    },
    Case {
        name: "controls",
        title: "Range, customer, filter and time zone are chosen by mouse, keyboard and link",
        run: controls::run,
    },
    Case {
        name: "looks",
        title: "The page fits light, dark, a hovering pointer and a phone",
        run: looks::run,
    },
    Case {
        name: "pages",
        title: "A series of several pages is shown and saved whole, and a cut one never as whole",
        run: pages::run,
    },
    Case {
        name: "hostile",
        title: "Paths and agents that are markup are shown as text and do nothing",
        run: hostile::run,
    },
    Case {
        name: "states",
        title: "An empty store, tokens, and a server that goes away and comes back",
        run: states::run,
    },
];

/// A server with a page for operators, and a browser that looks at it.
pub(crate) struct Stage<'s> {
    pub(crate) server: &'s mut Server,
    pub(crate) chrome: Chrome,
    /// Where the page is that names any customer.
    pub(crate) page: String,
    /// Asks what the page asks.
    pub(crate) client: Client,
}

/// What a case needs beside a server.
#[derive(Default)]
struct Scene<'a> {
    /// The tokens that are asked for, if any are.
    tokens: Option<&'a str>,
    /// What the browser may complain of.
    expected: &'a [&'a str],
}

/// Runs a case. At its end nothing may have gone to another host, and the browser may have nothing
/// to complain of but what is expected.
fn on_stage(
    setting: &Setting,
    scene: &Scene<'_>,
    steps: impl FnOnce(&mut Stage<'_>) -> Result<String>,
) -> Result<Ending> {
    let (Some(browser), Some(driver)) = (find_program("chromium"), find_program("chromedriver"))
    else {
        let missing = "chromium and chromedriver are not installed (Debian: chromium-driver)";
        return Ok(Ending::Skipped(missing.to_owned()));
    };
    let mut dice = Dice::new(setting.seed, 1);
    let operators = unused_port(&mut dice)?;
    let mut config = format!("server.admin_listen = '127.0.0.1:{operators}'\n");
    if scene.tokens.is_some() {
        config.push_str("auth.tokens_file = 'tokens.toml'\n");
    }
    with_server(setting, &config, |server| {
        let home = server.scratch().to_owned();
        if let Some(tokens) = scene.tokens {
            std::fs::write(home.join("tokens.toml"), tokens)?;
        }
        // A page finds a server that comes back where it was.
        server.listen_on(unused_port(&mut dice)?);
        server.start()?;
        let shots = setting.screenshots.as_deref();
        let chrome = Chrome::start(&driver, &browser, unused_port(&mut dice)?, &home, shots)?;
        let client = Client::new(server.target().clone());
        let page = format!("http://127.0.0.1:{operators}/");
        let mut stage = Stage { server, chrome, page, client };
        let figures = steps(&mut stage)?;
        stage.chrome.ensure_quiet(scene.expected)?;
        drop(stage.chrome);
        server.finish()?;
        Ok(Ending::Passed(figures))
    })
}

impl Stage<'_> {
    /// Opens the page for operators with this query and waits for its figures.
    pub(crate) fn open(&self, query: &str) -> Result<()> {
        self.chrome.open(&format!("{}{query}", self.page))?;
        self.await_figures()
    }

    /// Waits until the page has shown a whole answer of this moment's state.
    pub(crate) fn await_figures(&self) -> Result<()> {
        let ready = "return !document.getElementById('figures').hidden \
                     && document.getElementById('updated').textContent !== '' \
                     && document.getElementById('live-note').textContent !== '' \
                     && window.Chart && Boolean(Chart.getChart('chart'))";
        self.chrome.wait("the figures", ready)
    }

    /// Waits until an element has this text.
    pub(crate) fn await_text(&self, id: &str, text: &str) -> Result<()> {
        let script = format!(
            "return document.getElementById({id:?}).textContent.includes({text:?}) \
             && document.getElementById({id:?}).checkVisibility()"
        );
        self.chrome.wait(&format!("{text:?} in #{id}"), &script)
    }

    /// The text of an element.
    pub(crate) fn text(&self, id: &str) -> Result<String> {
        let script = format!("return document.getElementById({id:?}).innerText");
        let text = self.chrome.run(&script)?;
        text.as_str().map(str::to_owned).with_context(|| format!("#{id} has no text"))
    }

    /// Waits until the address says this behind its `?`.
    pub(crate) fn await_query(&self, query: &str) -> Result<()> {
        self.chrome.wait(query, &format!("return location.search === {query:?}"))
    }
}

/// The digits of a number with separators.
fn number(text: &str) -> Result<u64> {
    let digits: String = text.chars().filter(|c| *c != ',').collect();
    digits.trim().parse().with_context(|| format!("{text:?} is no number"))
}

/// Fails unless two of them are the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, shown: &T, answered: &T) -> Result<()> {
    ensure!(shown == answered, "{what}: the page shows {shown:?}, the API says {answered:?}");
    Ok(())
}

/// A directory that is there.
fn made(dir: &Path) -> Result<&Path> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}
