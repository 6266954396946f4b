//! An accepted connection in the engine's terms. Every request passes the strict head filter first; the engine gets exactly one request at
//! a time, and small writes are gathered: head and body of an answer leave in one packet.

mod ending;
mod input;
mod refuse;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::BytesMut;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Accepted;
use ending::Ending;
use input::Input;

pub(super) use input::{Alarm, End, Waits};

/// Writes are gathered up to this; anything larger goes straight out.
const GATHER: usize = 4096;
/// How an answer begins that makes the connection a stream of its own.
const SWITCHING: &[u8] = b"HTTP/1.1 101";
/// What a client waits for that asked before sending its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    input: Input,
    gathered: Vec<u8>,
    /// How much of it is out.
    sent: usize,
    digest: Arc<SocketDigest>,
    client: IpAddr,
    ending: Ending,
}

impl Conn {
    pub(super) fn boxed(accepted: Accepted) -> Box<Self> {
        let digest = SocketDigest::from_raw_fd(accepted.stream.as_raw_fd());
        // Known already, so that nobody asks the kernel again.
        let _ = digest.peer_addr.set(Some(accepted.peer.into()));
        Box::new(Self {
            stream: accepted.stream,
            input: Input::default(),
            gathered: Vec::new(),
            sent: 0,
            digest: Arc::new(digest),
            client: accepted.peer.ip(),
            ending: Ending::default(),
        })
    }

    /// A session that becomes of it ends when `teller` says so.
    pub(super) fn told_by(&self, teller: CancellationToken) {
        self.ending.told_by(teller);
    }

    /// Whether the session was told to end. Its last word goes out then, as far as the client takes it at once.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(last) = self.ending.poll(cx) else {
            return false;
        };
        if let Some(last) = last {
            self.gathered.extend_from_slice(last);
            let _ = self.poll_send(cx);
            ending::see_off(&self.stream);
        }
        true
    }

    /// Waits for the next request's head.
    pub(super) async fn next_head(&mut self, waits: Waits<'_>) -> Result<(), End> {
        self.flush().await.map_err(|_| End::Gone)?;
        self.input.next_head(&mut self.stream, waits).await
    }

    /// The head that was waited for; the body follows to whoever reads.
    pub(super) fn take_head(&mut self) -> BytesMut {
        self.input.take_head()
    }

    /// The head, when nothing of its request follows and the connection stays what it is.
    pub(super) fn take_lone_head(&mut self) -> Option<BytesMut> {
        self.input.is_lone().then(|| self.input.take_head())
    }

    /// A head that was taken and is somebody else's to serve.
    pub(super) fn give_back(&mut self, head: BytesMut) {
        self.input.give_back(head);
    }

    /// The address at the other end.
    pub(super) fn client(&self) -> IpAddr {
        self.client
    }

    /// Ready: the client has gone, while nothing more was expected of it.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.input.poll_nothing(&mut self.stream, cx).map(|_| ())
    }

    /// Sends without gathering.
    pub(super) fn poll_push(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    /// Nothing more is said.
    pub(super) async fn close(&mut self) {
        if let Err(error) = self.stream.shutdown().await {
            tracing::trace!(%error, "a client was gone before its connection was closed");
        }
    }

    /// What arrived of a request that was refused.
    pub(super) fn arrived(&self) -> &[u8] {
        self.input.arrived()
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
        if self.input.owes_continue() {
            self.gathered.extend_from_slice(CONTINUE);
        }
        let ended = self.poll_ending(cx);
        // Whoever reads waits for the other side, which may be waiting for what was gathered. Errors show on the next write.
        if !self.gathered.is_empty() {
            let _ = self.poll_send(cx);
        }
        if ended {
            return Poll::Ready(Ok(()));
        }
        let me = &mut *self;
        me.input.poll_read(&mut me.stream, cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.poll_ending(cx) {
            // Nothing follows the last word.
            return Poll::Ready(Ok(data.len()));
        }
        if self.gathered.len() + data.len() > GATHER {
            ready!(self.poll_send(cx))?;
        }
        if !self.ending.has_begun() && data.starts_with(SWITCHING) {
            self.input.switched();
            self.ending.begin(data);
            self.gathered.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        let taken = if data.len() >= GATHER {
            ready!(Pin::new(&mut self.stream).poll_write(cx, data))?
        } else {
            self.gathered.extend_from_slice(data);
            data.len()
        };
        self.ending.pass(&data[..taken]);
        Poll::Ready(Ok(taken))
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
        if self.input.ends_early() {
            self.linger().await;
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
