//! nginx logs as `docs/senders/nginx.md` says and `logmill import --follow` sends what it logs,
//! while the server and the import are killed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::ledger::{self, CUSTOMER};
use super::{CONFIG, Daemon, find_program, lines, recipe, unused_port};
use crate::client::Client;
use crate::scenario::Signal;
use crate::torture::dice::Dice;
use crate::torture::{Ending, Setting};

const LINES: usize = 100_000;
const SERVER_KILLS: usize = 6;
const IMPORT_KILLS: usize = 6;
/// The longest between two kills.
const LIFE: Duration = Duration::from_millis(700);
/// Requests that a connection sends before it waits for their answers.
const PIPELINE: usize = 50;
/// The longest pause after them.
const PAUSE: Duration = Duration::from_millis(15);
/// nginx answers within this, or something is wrong with it.
const NGINX_TIMEOUT: Duration = Duration::from_secs(10);
/// The ways in which clients call themselves; nginx writes the bytes of the third as they are.
const AGENTS: [&[u8]; 4] =
    [b"curl/8.5.0", b"say \"hi\" \\ \t there", b"caf\xe9 \xff/1.0", "Größe/1.0".as_bytes()];

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let Some(program) = find_program("nginx") else {
        return Ok(Ending::Skipped("nginx is not installed".to_owned()));
    };
    let lines = lines(setting, LINES)?;
    setting.on_server(CONFIG, |server| {
        let mut dice = Dice::new(setting.seed, 1);
        server.listen_on(unused_port(&mut dice)?);
        server.restart(Signal::Term)?;
        let home = server.scratch().to_owned();
        let log = home.join("logmill.log");
        let port = unused_port(&mut dice)?;
        let mut nginx = Daemon::new(&program, &home);
        nginx.command.arg("-e").arg(home.join("error.log")).arg("-c").arg(configure(&home, port)?);
        nginx.start()?;
        await_nginx(&mut nginx, port)?;

        let mut import = Daemon::new(server.binary(), &home);
        import.command.arg("import").arg(&log);
        import.command.args(["--customer", CUSTOMER, "--format", "nginx", "--follow"]);
        import.command.args(["--url", &server.target().url()]);
        import.command.arg("--state").arg(home.join("import-state"));
        import.start()?;

        let client = Client::new(server.target().clone());
        thread::scope(|scope| {
            let load = scope.spawn(|| request_lines(port, lines, Dice::new(setting.seed, 2)));
            for kill in 0..SERVER_KILLS.max(IMPORT_KILLS) {
                if kill < IMPORT_KILLS {
                    thread::sleep(dice.time(Duration::ZERO, LIFE));
                    import.kill()?;
                    import.start()?;
                }
                if kill < SERVER_KILLS {
                    thread::sleep(dice.time(Duration::ZERO, LIFE));
                    server.stop(Signal::Kill)?;
                    thread::sleep(dice.time(Duration::ZERO, LIFE));
                    server.start()?;
                }
            }
            load.join().expect("requests do not panic")
        })?;
        let tally = ledger::settle(&client, lines, || {
            nginx.ensure_running()?;
            import.ensure_running()
        })?;
        tally.ensure_exact()?;
        Ok(Ending::Passed(format!(
            "{tally}; {SERVER_KILLS} kills of the server, {IMPORT_KILLS} of the import"
        )))
    })
}

/// Writes a configuration that serves nothing and logs as the page says.
fn configure(home: &Path, port: u16) -> Result<std::path::PathBuf> {
    let mut logging = recipe::block("nginx.md", "nginx")?;
    let log = home.join("logmill.log");
    recipe::replace(&mut logging, "/var/log/nginx/logmill.log", &log.to_string_lossy())?;
    let home_of = |name: &str| home.join(name).to_string_lossy().into_owned();
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        temporary += &format!("  {kind}_temp_path {};\n", home_of(kind));
    }
    let config = format!(
        "daemon off;\nworker_processes 2;\npid {};\nevents {{}}\nhttp {{\n{temporary}{logging}\n  \
         keepalive_requests 1000000;\n  \
         server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}\n}}\n",
        home_of("nginx.pid"),
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, config)?;
    Ok(file)
}

fn await_nginx(nginx: &mut Daemon, port: u16) -> Result<()> {
    let deadline = Instant::now() + NGINX_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        nginx.ensure_running()?;
        ensure!(Instant::now() < deadline, "nginx does not listen after {NGINX_TIMEOUT:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Asks for each path once.
fn request_lines(port: u16, lines: usize, mut dice: Dice) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(NGINX_TIMEOUT))?;
    for first in (0..lines).step_by(PIPELINE) {
        let numbers = first..lines.min(first + PIPELINE);
        let mut requests = Vec::new();
        for number in numbers.clone() {
            write!(requests, "GET {} HTTP/1.1\r\nhost: e2e\r\n", ledger::path(number))?;
            requests.extend(b"user-agent: ");
            requests.extend(*dice.pick(&AGENTS));
            requests.extend(b"\r\n\r\n");
        }
        stream.write_all(&requests)?;
        read_answers(&mut stream, numbers.len()).with_context(|| format!("from line {first}"))?;
        thread::sleep(dice.time(Duration::ZERO, PAUSE));
    }
    Ok(())
}

/// Reads so many answers, which have no bodies.
fn read_answers(stream: &mut TcpStream, answers: usize) -> Result<()> {
    const END: &[u8] = b"\r\n\r\n";
    let (mut seen, mut text) = (0, Vec::<u8>::new());
    let mut piece = [0; 16 * 1024];
    while seen < answers {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "nginx closed the connection after {seen} of {answers} answers");
        text.extend(&piece[..read]);
        seen = text.windows(END.len()).filter(|end| *end == END).count();
    }
    let head = b"HTTP/1.1 204 ";
    let good = text.windows(head.len()).filter(|found| found == head).count();
    ensure!(good == answers, "{good} of {answers} requests were answered 204");
    Ok(())
}
