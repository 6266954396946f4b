//! A connection to an origin, for one exchange.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::http::Dial;

/// See the module.
pub(super) struct Origin {
    stream: TcpStream,
    dial: Arc<Dial>,
    /// It served a request before.
    pub(super) reused: bool,
    /// Arrived and not handed on.
    pub(super) arrived: BytesMut,
    /// How long it may wait for its next request.
    keep: Duration,
}

impl Origin {
    pub(super) fn reused(stream: TcpStream, dial: Arc<Dial>, keep: Duration) -> Self {
        Self {
            reused: true,
            ..Self::new(stream, dial, keep)
        }
    }

    fn new(stream: TcpStream, dial: Arc<Dial>, keep: Duration) -> Self {
        Self {
            stream,
            dial,
            reused: false,
            arrived: BytesMut::new(),
            keep,
        }
    }

    pub(super) async fn connect(
        address: SocketAddr,
        dial: Arc<Dial>,
        keep: Duration,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Heads are sent whole; waiting for more helps nobody.
        stream.set_nodelay(true)?;
        Ok(Self::new(stream, dial, keep))
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    /// More arrives, at most about `most` bytes; zero: there is no more. While it waits there is no buffer.
    pub(super) fn poll_arrive(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_read_ready(cx))?;
        self.arrived.reserve(most);
        pin!(self.stream.read_buf(&mut self.arrived)).poll(cx)
    }

    /// Its place among the idle ones; with it whether those of its thread are to be swept from now on.
    pub(super) fn into_idle(self, thread: usize) -> (Arc<Dial>, bool) {
        let first = self.dial.idle.put(thread, self.stream, self.keep);
        (self.dial, first)
    }
}
