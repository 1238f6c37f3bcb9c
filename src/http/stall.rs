//! A client that does not read its answers is not waited for without end.
//!
//! Its connection holds a slot, and its answer memory, until all is written; hyper has no bound
//! for that. So while a write waits, [`limits::PACE_BYTES_MIN`] must go out within the time that
//! a connection may be idle, or the connection is cut.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::limits;

/// A stream that fails to be written to when nobody reads at the other end.
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Runs from the first write that had to wait.
    waiting: Option<Pin<Box<Sleep>>>,
    /// What went out since.
    written: usize,
}

impl<S: AsyncWrite + Unpin> Impatient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None, written: 0 }
    }

    /// Goes along with a write of `bytes`: notes what went out, or how long it waits already.
    fn watch(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        write: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = write {
            self.written += written;
            if written == bytes || self.written >= limits::PACE_BYTES_MIN {
                self.waiting = None;
            }
        }
        if write.is_ready() {
            return write;
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            self.written = 0;
            Box::pin(tokio::time::sleep(self.patience))
        });
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, data);
        self.watch(context, data.len(), write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, data);
        self.watch(context, data.iter().map(|part| part.len()).sum(), write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn nobody_reads() {
        let (server, _client) = duplex(1024);
        let mut server = Impatient::new(server, PATIENCE);
        let error = server.write_all(&[0; 4096]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_drop_now_and_then_is_not_reading() {
        let (server, mut client) = duplex(1024);
        let mut server = Impatient::new(server, PATIENCE);
        let drip = tokio::spawn(async move {
            let mut byte = [0];
            while client.read_exact(&mut byte).await.is_ok() {
                tokio::time::sleep(PATIENCE / 10).await;
            }
        });
        let error = server.write_all(&[0; 4096]).await.expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(server);
        drip.await.expect("ends with the stream");
    }

    /// Time between answers does not count, nor does time that brings enough.
    #[tokio::test]
    async fn who_reads_may_take_long() {
        let (server, mut client) = duplex(limits::PACE_BYTES_MIN);
        let mut server = Impatient::new(server, PATIENCE);
        let reader = tokio::spawn(async move {
            let mut chunk = vec![0; limits::PACE_BYTES_MIN];
            for _ in 0..8 {
                tokio::time::sleep(PATIENCE / 4).await;
                client.read_exact(&mut chunk).await.expect("more to come");
            }
        });
        for _ in 0..4 {
            let answer = vec![0; 2 * limits::PACE_BYTES_MIN];
            server.write_all(&answer).await.expect("somebody reads");
            tokio::time::sleep(PATIENCE * 2).await;
        }
        reader.await.expect("it has read everything");
    }
}
