//! What a handler leaves unread of a body is read and thrown away, within bounds.
//!
//! Answered and cut at once, a client that still sends sees a reset connection instead of its
//! answer. A connection whose body was not read to its end is closed, and the answer says so.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

use crate::limits;

/// A body that goes back where it came from when its reader drops it.
struct Lent {
    body: Body,
    /// Whether the client was ever asked for the body: until then `expect: 100-continue` holds it.
    asked: bool,
    home: Option<oneshot::Sender<(Body, bool)>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.asked = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            // Nobody waits for it any more when the connection is gone.
            home.send((std::mem::take(&mut self.body), self.asked)).ok();
        }
    }
}

/// Around every request: its answer waits until the rest of its body is out of the way.
pub(super) async fn drain<A: Future<Output = Response>>(
    request: Request,
    answer: impl FnOnce(Request) -> A,
) -> Response {
    if request.body().is_end_stream() {
        return answer(request).await;
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let (home, mut returned) = oneshot::channel();
    let lend = |body| Body::new(Lent { body, asked: false, home: Some(home) });
    let mut response = answer(request.map(lend)).await;
    let is_read = match returned.try_recv() {
        Ok((body, _)) if body.is_end_stream() => true,
        // The refusal is the word that the client waits for before it sends.
        Ok((_, asked)) if waits && !asked => false,
        Ok((body, _)) => throw_away(body).await,
        Err(_) => false,
    };
    if !is_read {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the body came to its end within the bounds.
async fn throw_away(mut body: Body) -> bool {
    let read = async {
        let mut left = limits::DRAIN_BYTES_MAX;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(limits::DRAIN_TIME_MAX, read).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::{ServerSettings, serve};

    /// Sends a request that nobody reads the body of; returns what comes back.
    fn send(address: SocketAddr, extra: &str, length: usize, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("valid");
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{extra}content-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the head is taken");
        stream.write_all(body).expect("the body is taken");
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refused_client_gets_its_answer() {
        let refuse = |request: Request| {
            drain(request, |_| async { StatusCode::BAD_REQUEST.into_response() })
        };
        let router = Router::new().fallback(refuse);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let settings = ServerSettings { connections: 8, header_timeout: Duration::from_secs(5) };
        tokio::spawn(serve(listener, router, settings, std::future::pending()));
        let answers = tokio::task::spawn_blocking(move || {
            let body = vec![b' '; 2 << 20];
            [
                send(address, "", body.len(), &body),
                send(address, "expect: 100-continue\r\n", body.len(), &[]),
                send(address, "", body.len(), &body[..100]),
            ]
        });
        let [whole, held, never] = answers.await.expect("no panic");
        assert!(whole.starts_with("http/1.1 400") && !whole.contains("connection: close"));
        assert!(held.starts_with("http/1.1 400") && held.contains("connection: close"));
        assert!(never.starts_with("http/1.1 400") && never.contains("connection: close"));
    }
}
