//! What a client sends: heads through the filter, bodies exactly as long as they say, and what comes too early kept for its turn.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout_at};

use hancock_balancer_core::head::{Body, Chunks, Head, Refusal, Scanner, Text};

/// Read at once while there is no other measure.
const PIECE: usize = 4096;
/// Most bytes kept of what was sent before its turn; the rest waits in the kernel.
const AHEAD: usize = 64 * 1024;

/// A connection's one timer. It rings now and then to have a look at the time, and is put off only when it rang: waiting arms no timer.
pub(in crate::http) struct Alarm<'a>(pub(in crate::http) Pin<&'a mut Sleep>);

impl Alarm<'_> {
    /// Ready: it is later than `until`.
    pub(in crate::http) fn poll_over(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if until < self.0.deadline() {
            self.0.as_mut().reset(until);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// How long a client may take. Alarm and end are made once per connection.
pub(in crate::http) struct Waits<'a> {
    /// For the first byte of a request.
    pub(in crate::http) first: Duration,
    /// For the whole head, from its first byte.
    pub(in crate::http) head: Duration,
    pub(in crate::http) alarm: Alarm<'a>,
    /// Comes when connections that wait for their next request are to end.
    pub(in crate::http) closing: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
}

impl Waits<'_> {
    /// Ready: it has been waited long enough.
    fn poll_over(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.alarm.poll_over(until, cx)
    }
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
    /// The head, until it is handed on.
    head: BytesMut,
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
        mut waits: Waits<'_>,
    ) -> Result<(), End> {
        if self.arrived.is_empty() {
            let until = Instant::now() + waits.first;
            // Silence is no request, so it gets no answer.
            poll_fn(|cx| match self.poll_more(stream, cx) {
                Poll::Pending => waits.poll_over(until, cx).map(|()| Err(End::Gone)),
                came => came,
            })
            .await?;
        }
        let mut scanner = Scanner::default();
        if self.scan(&mut scanner)? {
            return Ok(());
        }
        let deadline = Instant::now() + waits.head;
        let rest = self.rest_of_head(stream, scanner);
        timeout_at(deadline, rest).await.unwrap_or({
            Err(End::Refused(Refusal {
                status: 408,
                reason: "slow_header",
            }))
        })
    }

    pub(super) fn arrived(&self) -> &[u8] {
        &self.arrived
    }

    async fn rest_of_head(
        &mut self,
        stream: &mut TcpStream,
        mut scanner: Scanner,
    ) -> Result<(), End> {
        while !self.scan(&mut scanner)? {
            poll_fn(|cx| self.poll_more(stream, cx)).await?;
        }
        Ok(())
    }

    /// Whether the whole head is there, which begins the request.
    fn scan(&mut self, scanner: &mut Scanner) -> Result<bool, End> {
        let head = scanner.scan(&self.arrived).map_err(End::Refused)?;
        let whole = head.is_some();
        if let Some(head) = head {
            self.begin(head);
        }
        Ok(whole)
    }

    fn poll_more(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match ready!(self.poll_arrive(stream, cx)) {
            Ok(0) | Err(_) => Poll::Ready(Err(End::Gone)),
            Ok(_) => Poll::Ready(Ok(())),
        }
    }

    /// More bytes arrive, zero: there are no more. Waits without a buffer, and a short read tells the runtime that there is nothing more
    /// to read, which saves the next read that would find nothing.
    fn poll_arrive(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        ready!(stream.poll_read_ready(cx))?;
        self.arrived.reserve(PIECE);
        let read = pin!(stream.read_buf(&mut self.arrived)).poll(cx);
        if read.is_pending() && self.arrived.is_empty() {
            self.arrived = BytesMut::new();
        }
        read
    }

    fn begin(&mut self, head: Head) {
        // An idle connection keeps no buffer.
        let mut taken = match head.length == self.arrived.len() {
            true => std::mem::take(&mut self.arrived),
            false => self.arrived.split_to(head.length),
        };
        self.head = match head.text {
            Text::AsSent(start) => {
                taken.advance(start);
                taken
            }
            Text::Rewritten(text) => text.as_slice().into(),
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

    /// Whether nothing follows the head: no body, no word before it, and no stream instead of the connection.
    pub(super) fn is_lone(&self) -> bool {
        matches!(self.rest, Rest::Nothing) && !self.upgrade && !self.expects
    }

    pub(super) fn give_back(&mut self, head: BytesMut) {
        self.head = head;
    }

    /// The head that arrived.
    pub(super) fn take_head(&mut self) -> BytesMut {
        std::mem::take(&mut self.head)
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
    pub(super) fn poll_nothing(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.upgrade {
            self.waiting = Some(cx.waker().clone());
        }
        while self.arrived.len() < AHEAD {
            if ready!(self.poll_arrive(stream, cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
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
