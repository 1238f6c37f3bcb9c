//! `logmill healthcheck`: for container images that hold no other HTTP client.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{Exit, HealthcheckArgs};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks `GET /livez` of the server at `--url`, or of the one that `listen` means on this machine.
/// Anything but a 200 within 5 s is [`Exit::Findings`].
pub fn run(args: &HealthcheckArgs, listen: SocketAddr, out: &mut impl Write) -> io::Result<Exit> {
    let base = args.url.clone().unwrap_or_else(|| base_url(listen));
    let url = format!("{base}/livez");
    match ask(&url) {
        Ok(200) => {
            writeln!(out, "ok: {url}")?;
            Ok(Exit::Ok)
        }
        Ok(status) => {
            writeln!(out, "not alive: {url} answered {status}")?;
            Ok(Exit::Findings)
        }
        Err(error) => {
            writeln!(out, "not alive: {url}: {error}")?;
            Ok(Exit::Findings)
        }
    }
}

/// The status, whatever it is. A proxy or a redirect would answer for another server.
pub(super) fn ask(url: &str) -> Result<u16, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .build()
        .into();
    Ok(agent.get(url).call()?.status().as_u16())
}

/// The address of a server of this machine that listens so.
pub(super) fn base_url(listen: SocketAddr) -> String {
    format!("http://{}", reachable(listen))
}

/// A server that listens on every address is reached on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        thread,
    };

    use super::{HealthcheckArgs, reachable, run};
    use crate::cli::Exit;

    fn check(listen: SocketAddr) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = run(&HealthcheckArgs { url: None }, listen, &mut out).expect("a Vec takes all");
        (exit, String::from_utf8(out).expect("text"))
    }

    /// Answers one request on a free port.
    fn server(answer: &'static str) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::Builder::new().name("one-answer".to_owned()).spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut head = [0; 1024];
            let length = stream.read(&mut head)?;
            assert!(head[..length].starts_with(b"GET /livez HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes())
        })?;
        Ok(address)
    }

    #[test]
    fn only_a_200_is_alive() -> io::Result<()> {
        let ok = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        assert_eq!(check(ok).0, Exit::Ok);
        for answer in [
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 302 No\r\nlocation: /x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "not HTTP\r\n\r\n",
        ] {
            let (exit, text) = check(server(answer)?);
            assert_eq!(exit, Exit::Findings, "{answer}");
            assert!(text.starts_with("not alive: http://127.0.0.1:"), "{text}");
        }
        Ok(())
    }

    #[test]
    fn nobody_listens() -> io::Result<()> {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        assert_eq!(check(free).0, Exit::Findings);
        Ok(())
    }

    #[test]
    fn every_address_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(of("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(of("[::]:80"), "[::1]:80");
        assert_eq!(of("10.0.0.7:80"), "10.0.0.7:80");
    }
}
