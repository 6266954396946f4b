//! What a client sends: heads through the filter, bodies exactly as long as they say, and what comes too early kept for its turn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use hancock_balancer_core::head::{Body, Chunks, Head, Refusal, Scanner, Text};

/// Read at once while there is no other measure.
const PIECE: usize = 4096;
/// Most bytes kept of what was sent before its turn; the rest waits in the kernel.
const AHEAD: usize = 64 * 1024;

/// How long a client may take.
pub(in crate::http) struct Waits<'a> {
    /// For the first byte of a request.
    pub(in crate::http) first: Duration,
    /// For the whole head, from its first byte.
    pub(in crate::http) head: Duration,
    /// True: connections that wait for their next request end.
    pub(in crate::http) close_idle: &'a mut watch::Receiver<bool>,
}

/// Why there is no further request.
#[derive(Debug)]
pub(in crate::http) enum End {
    /// The client is gone, or idle for too long.
    Gone,
    /// It must be told.
    Refused(Refusal),
}

/// What the reader gets next, once the head is out.
#[derive(Debug, Default)]
enum Rest {
    /// Nothing more of this request.
    #[default]
    Nothing,
    Length(u64),
    Chunked(Chunks),
    /// Everything: the connection became a stream of its own.
    Stream,
}

#[derive(Debug, Default)]
pub(super) struct Input {
    /// Arrived and not handed on.
    arrived: BytesMut,
    /// The head, while it is handed on.
    head: Bytes,
    rest: Rest,
    upgrade: bool,
    expects: bool,
    /// A reader that waits for what the connection may become.
    waiting: Option<Waker>,
}

impl Input {
    pub(super) async fn next_head(
        &mut self,
        stream: &mut TcpStream,
        waits: Waits<'_>,
    ) -> Result<(), End> {
        if self.arrived.is_empty() {
            // An idle connection keeps no buffer.
            self.arrived = BytesMut::new();
            self.first_bytes(stream, waits.first, waits.close_idle)
                .await?;
        }
        let deadline = Instant::now() + waits.head;
        match timeout_at(deadline, self.read_head(stream)).await {
            Ok(done) => done,
            Err(_) => Err(End::Refused(Refusal {
                status: 408,
                reason: "slow_header",
            })),
        }
    }

    async fn first_bytes(
        &mut self,
        stream: &TcpStream,
        limit: Duration,
        close: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let closing = async { drop(close.wait_for(|close| *close).await) };
        tokio::select! {
            biased;
            // Silence is no request, so it gets no answer.
            came = timeout(limit, self.more(stream)) => came.unwrap_or(Err(End::Gone)),
            () = closing => Err(End::Gone),
        }
    }

    async fn read_head(&mut self, stream: &TcpStream) -> Result<(), End> {
        let mut scanner = Scanner::default();
        loop {
            match scanner.scan(&self.arrived) {
                Ok(Some(head)) => {
                    self.begin(head);
                    return Ok(());
                }
                Ok(None) => {}
                Err(refusal) => return Err(End::Refused(refusal)),
            }
            self.more(stream).await?;
        }
    }

    async fn more(&mut self, stream: &TcpStream) -> Result<(), End> {
        loop {
            stream.readable().await.map_err(|_| End::Gone)?;
            self.arrived.reserve(PIECE);
            match stream.try_read_buf(&mut self.arrived) {
                Ok(0) => return Err(End::Gone),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::Gone),
            }
        }
    }

    fn begin(&mut self, head: Head) {
        let mut taken = self.arrived.split_to(head.length);
        self.head = match head.text {
            Text::AsSent(start) => {
                taken.advance(start);
                taken.freeze()
            }
            Text::Rewritten(text) => text.into(),
        };
        self.rest = match head.body {
            Body::None => Rest::Nothing,
            Body::Length(length) => Rest::Length(length),
            Body::Chunked => Rest::Chunked(Chunks::default()),
        };
        self.upgrade = head.upgrade;
        // A body that is here already was not waited for.
        self.expects = head.expects && self.arrived.is_empty();
    }

    /// Whether the client may still be sending a body nobody wants any more; asked once.
    pub(super) fn ends_early(&mut self) -> bool {
        let early = matches!(self.rest, Rest::Length(_) | Rest::Chunked(_));
        if early {
            self.rest = Rest::Nothing;
        }
        early
    }

    /// Whether somebody wants the body of a client that waits for a word; asked once.
    pub(super) fn owes_continue(&mut self) -> bool {
        self.head.is_empty() && std::mem::take(&mut self.expects)
    }

    /// The answer makes the connection a stream of its own, if the client asked for that.
    pub(super) fn switched(&mut self) {
        if self.upgrade {
            self.rest = Rest::Stream;
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }

    pub(super) fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.head.is_empty() {
            hand_on(&mut self.head, buf);
            return Poll::Ready(Ok(()));
        }
        match &mut self.rest {
            Rest::Nothing => self.poll_nothing(stream, cx),
            Rest::Stream if self.arrived.is_empty() => Pin::new(stream).poll_read(cx, buf),
            Rest::Stream => {
                hand_on(&mut self.arrived, buf);
                Poll::Ready(Ok(()))
            }
            Rest::Length(_) | Rest::Chunked(_) => self.poll_body(stream, cx, buf),
        }
    }

    /// The reader must not see the next request, but it must see the client go.
    fn poll_nothing(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.upgrade {
            self.waiting = Some(cx.waker().clone());
        }
        while self.arrived.len() < AHEAD {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.arrived.extend_from_slice(read.filled());
        }
        Poll::Pending
    }

    fn poll_body(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.arrived.is_empty() {
            ready!(Pin::new(stream).poll_read(cx, buf))?;
        } else {
            hand_on(&mut self.arrived, buf);
        }
        let came = &buf.filled()[before..];
        let ours = self.rest.pass(came)?;
        if ours < came.len() {
            // The next request, as it seems: it goes back to the front.
            let mut rest = BytesMut::from(&came[ours..]);
            rest.extend_from_slice(&self.arrived);
            self.arrived = rest;
            buf.set_filled(before + ours);
        }
        if self.rest.is_over() {
            self.rest = Rest::Nothing;
        }
        Poll::Ready(Ok(()))
    }
}

impl Rest {
    /// How many of `bytes` belong to the body.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Rest::Length(left) => {
                let ours = (*left).min(bytes.len() as u64);
                *left -= ours;
                Ok(ours as usize)
            }
            Rest::Chunked(chunks) => chunks
                .pass(bytes)
                .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.reason)),
            Rest::Nothing | Rest::Stream => Ok(bytes.len()),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Rest::Length(left) => *left == 0,
            Rest::Chunked(chunks) => chunks.is_done(),
            Rest::Nothing | Rest::Stream => false,
        }
    }
}

fn hand_on(from: &mut impl Buf, buf: &mut ReadBuf<'_>) {
    let length = from.remaining().min(buf.remaining());
    let piece = from.copy_to_bytes(length);
    buf.put_slice(&piece);
}
