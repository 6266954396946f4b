//! A connection's bytes: when they come is noted, and a reader that takes none is cut off.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hancock_tls::Conn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::guest::Seat;
use crate::api::limits::Limits;

/// A connection in its place in the crowd.
pub(super) struct Wire {
    conn: Conn,
    seat: Seat,
    limits: Limits,
    /// Runs while the reader takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs once nothing more is said.
    farewell: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(conn: Conn, seat: Seat, limits: Limits) -> Self {
        Self {
            conn,
            seat,
            limits,
            stalled: None,
            farewell: None,
        }
    }

    /// What writing came to; too long a wait is an error.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.seat.guest.patience(&self.limits);
        let begin = || Box::pin(tokio::time::sleep(patience));
        ready!(
            self.stalled
                .get_or_insert_with(begin)
                .as_mut()
                .poll(context)
        );
        let from = self.conn.tcp().peer_addr().ok();
        tracing::info!(
            ?from,
            ?patience,
            "a reader took nothing of its answer; cut off"
        );
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Lets what is still on its way arrive: closed before, the connection would be reset and the last answer lost.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let farewell = self.limits.farewell;
        let begin = || Box::pin(tokio::time::sleep(farewell));
        let timer = self.farewell.get_or_insert_with(begin);
        if timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut space = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.conn).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.conn).poll_read(context, buffer));
        if buffer.filled().len() > before {
            this.seat.guest.heard();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.conn).poll_write(context, bytes);
        this.written(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.conn).poll_write_vectored(context, parts);
        this.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.conn).poll_flush(context);
        this.written(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.farewell.is_none() {
            let shut = Pin::new(&mut this.conn).poll_shutdown(context);
            ready!(this.written(context, shut))?;
        }
        this.linger(context).map(Ok)
    }
}
