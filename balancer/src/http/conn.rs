//! An accepted connection in the engine's terms, with small writes gathered: head and body of an answer leave in one packet.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::Accepted;

/// Writes are gathered up to this; anything larger goes straight out.
const GATHER: usize = 4096;

#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    gathered: Vec<u8>,
    /// How much of it is out.
    sent: usize,
    digest: Arc<SocketDigest>,
}

impl Conn {
    pub(super) fn boxed(accepted: Accepted) -> Stream {
        let digest = SocketDigest::from_raw_fd(accepted.stream.as_raw_fd());
        // Known already, so that nobody asks the kernel again.
        let _ = digest.peer_addr.set(Some(accepted.peer.into()));
        if let Err(error) = accepted.stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %accepted.peer, "cannot turn off delayed sending");
        }
        Box::new(Self {
            stream: accepted.stream,
            gathered: Vec::new(),
            sent: 0,
            digest: Arc::new(digest),
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let rest = &self.gathered[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.gathered.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever reads waits for the other side, which may be waiting for what was gathered. Errors show on the next write.
        if !self.gathered.is_empty() {
            let _ = self.poll_send(cx);
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.len() + data.len() > GATHER {
            ready!(self.poll_send(cx))?;
        }
        if data.len() >= GATHER {
            return Pin::new(&mut self.stream).poll_write(cx, data);
        }
        self.gathered.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::trace!(%error, "a client was gone before its connection was closed");
        }
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl Ssl for Conn {}

impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

impl Peek for Conn {}
