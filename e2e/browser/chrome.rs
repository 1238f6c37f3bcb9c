//! One Chromium without a window, and what it has to say: its console, what it has loaded, its
//! pictures.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use super::made;
use crate::senders::Daemon;

/// From the start of the driver to a browser that can be told what to do.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// A desk's window.
const DESK: (u32, u32) = (1360, 900);

/// A browser and its driver.
pub(crate) struct Chrome {
    runtime: Runtime,
    client: Client,
    shots: Option<PathBuf>,
    // Dropped last: it ends the browser with it.
    _driver: Daemon,
}

impl Chrome {
    pub(super) fn start(
        driver: &Path,
        browser: &Path,
        port: u16,
        home: &Path,
        shots: Option<&Path>,
    ) -> Result<Self> {
        let shots = shots.map(made).transpose()?.map(Path::to_owned);
        let mut daemon = Daemon::new(driver, home);
        daemon.command.arg(format!("--port={port}"));
        daemon.start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options = json!({
            "binary": browser,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
                format!("--user-data-dir={}", home.join("chromium").display()),
                format!("--window-size={},{}", DESK.0, DESK.1),
            ],
        });
        let capabilities = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object, above") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let url = format!("http://127.0.0.1:{port}");
        let deadline = Instant::now() + START_TIMEOUT;
        let client = loop {
            match runtime.block_on(builder.connect(&url)) {
                Ok(client) => break client,
                Err(error) => {
                    daemon.ensure_running()?;
                    ensure!(Instant::now() < deadline, "Chromium does not start: {error}");
                    thread::sleep(POLL);
                }
            }
        };
        Ok(Self { runtime, client, shots, _driver: daemon })
    }

    pub(super) fn open(&self, url: &str) -> Result<()> {
        self.runtime.block_on(self.client.goto(url)).with_context(|| format!("opening {url}"))
    }

    pub(super) fn back(&self) -> Result<()> {
        Ok(self.runtime.block_on(self.client.back())?)
    }

    /// What a script returns.
    pub(super) fn run(&self, script: &str) -> Result<Value> {
        let ran = self.runtime.block_on(self.client.execute(script, Vec::new()));
        ran.with_context(|| format!("running {script}"))
    }

    /// Waits until a script returns something true.
    pub(super) fn wait(&self, what: &str, script: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script)? != Value::Bool(true) {
            if Instant::now() >= deadline {
                let page = self.run("return document.body.innerText")?;
                anyhow::bail!("{what} did not come in {PATIENCE:?}; the page says {page}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Clicks where an element is, as a person does.
    pub(super) fn click(&self, selector: &str) -> Result<()> {
        let locator = fantoccini::Locator::Css(selector);
        let clicked =
            self.runtime.block_on(async { self.client.find(locator).await?.click().await });
        clicked.with_context(|| format!("clicking {selector}"))
    }

    /// Types into whatever has the focus.
    pub(super) fn keys(&self, keys: &str) -> Result<()> {
        let typed = self
            .runtime
            .block_on(async { self.client.active_element().await?.send_keys(keys).await });
        typed.with_context(|| format!("typing {keys:?}"))
    }

    /// A command of the DevTools protocol.
    pub(super) fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.command("goog/cdp/execute", json!({"cmd": command, "params": parameters}))
    }

    /// Moves the pointer.
    pub(super) fn point_at(&self, x: f64, y: f64) -> Result<()> {
        let event = json!({"type": "mouseMoved", "x": x, "y": y});
        self.devtools("Input.dispatchMouseEvent", &event).map(drop)
    }

    /// Takes a picture of the whole page, if pictures are asked for.
    pub(super) fn shoot(&self, name: &str) -> Result<()> {
        let Some(dir) = &self.shots else { return Ok(()) };
        let script = "return [innerWidth, document.documentElement.scrollHeight]";
        let whole = self.run(script)?;
        self.resize(&whole[0], &whole[1])?;
        let picture = self.runtime.block_on(self.client.screenshot())?;
        std::fs::write(dir.join(format!("{name}.png")), picture)?;
        self.resize(&whole[0], &json!(DESK.1))
    }

    /// Gives the page so much room, in CSS pixels.
    pub(super) fn resize(&self, width: &Value, height: &Value) -> Result<()> {
        let room = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &room)?;
        // The chart follows its frame a moment later.
        let painted = "return new Promise(done => requestAnimationFrame(() => \
                       requestAnimationFrame(() => done(true))))";
        self.wait("a new frame", painted)
    }

    /// Fails if the browser complained or asked another host.
    pub(super) fn ensure_quiet(&self, expected: &[&str]) -> Result<()> {
        let said = self.log("browser")?;
        let complaints = said.iter().filter_map(|entry| entry["message"].as_str());
        let complaints: Vec<&str> = complaints
            .filter(|message| !expected.iter().any(|known| message.contains(known)))
            .collect();
        ensure!(complaints.is_empty(), "the browser complains: {complaints:#?}");
        for entry in self.log("performance")? {
            let message = entry["message"].as_str().context("an event")?;
            let event: Value = serde_json::from_str(message)?;
            let event = &event["message"];
            if event["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let url = event["params"]["request"]["url"].as_str().context("an address")?;
            // What the browser loads for itself is out of its own package.
            let is_own =
                ["http://127.0.0.1:", "blob:http://127.0.0.1:", "data:", "about:", "chrome:"];
            ensure!(is_own.iter().any(|own| url.starts_with(own)), "the page asked for {url}");
        }
        Ok(())
    }

    /// What was logged since the last look.
    fn log(&self, kind: &str) -> Result<Vec<Value>> {
        let entries = self.command("se/log", json!({"type": kind}))?;
        Ok(entries.as_array().context("log entries")?.clone())
    }

    fn command(&self, path: &'static str, body: Value) -> Result<Value> {
        let command = Extension { path, body };
        let shown = format!("{command:?}");
        let answer = self.runtime.block_on(self.client.issue_cmd(command));
        answer.with_context(|| format!("the driver refuses {shown}"))
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        // The driver is killed after it, so a browser that cannot be closed is gone as well.
        self.runtime.block_on(self.client.clone().close()).ok();
    }
}

/// A command of chromedriver that WebDriver does not have.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (ureq::http::Method, Option<String>) {
        (ureq::http::Method::POST, Some(self.body.to_string()))
    }
}
