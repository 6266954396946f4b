//! An agent's connection, which can be cut off: what its reader does not take ends in no other way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hancock_tls::{Caller, Conn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// The connection.
pub(crate) struct Line {
    conn: Conn,
    cut: CancellationToken,
    is_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What a call knows of its connection.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(super) caller: Caller,
    /// Cuts it off.
    pub(super) cut: CancellationToken,
}

impl Line {
    pub(crate) fn new(conn: Conn) -> Self {
        let cut = CancellationToken::new();
        Self {
            conn,
            is_cut: Box::pin(cut.clone().cancelled_owned()),
            cut,
        }
    }
}

impl Connected for Line {
    type ConnectInfo = At;

    fn connect_info(&self) -> At {
        At {
            caller: Caller::of(&self.conn),
            cut: self.cut.clone(),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Whoever serves a connection always reads, so it hears of it here.
        if this.is_cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.conn).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.conn).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.conn).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_shutdown(context)
    }
}
