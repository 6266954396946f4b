//! A session that is told from outside to end: its peer is on the way out and its time is over.

use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use hancock_balancer_core::frames::{Frames, GOING_AWAY};

use crate::farewell;

/// What a WebSocket's answer says of itself, in any spelling.
const WEBSOCKET: &[u8] = b"upgrade: websocket";

#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Who tells; known before the answer is written.
    teller: OnceLock<CancellationToken>,
    told: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Frames towards the client. None: no WebSocket.
    frames: Option<Frames>,
    ended: bool,
}

impl Ending {
    /// A session that becomes of this connection is told by `teller`.
    pub(super) fn told_by(&self, teller: CancellationToken) {
        // One answer makes one session.
        let _ = self.teller.set(teller);
    }

    /// The answer that begins the session is written.
    pub(super) fn begin(&mut self, head: &[u8]) {
        let teller = self.teller.get();
        self.told = teller.map(|t| Box::pin(t.clone().cancelled_owned()));
        let mut lines = head.split(|byte| *byte == b'\n');
        let websocket = lines.any(|l| l.trim_ascii().eq_ignore_ascii_case(WEBSOCKET));
        self.frames = websocket.then(Frames::default);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n");
        self.pass(&head[end.map_or(head.len(), |end| end + 4)..]);
    }

    /// Whether the connection is a session by now.
    pub(super) fn has_begun(&self) -> bool {
        self.told.is_some()
    }

    /// These bytes went towards the client.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.pass(bytes);
        }
    }

    /// Whether the session is over. The first time it comes with what is left to be said to the client, which may be nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<&'static [u8]>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let told = self.told.as_mut();
        if !told.is_some_and(|told| told.as_mut().poll(cx).is_ready()) {
            return Poll::Pending;
        }
        self.ended = true;
        let between = self.frames.as_ref().is_some_and(Frames::is_between);
        Poll::Ready(Some(if between { &GOING_AWAY } else { &[] }))
    }
}

/// Sees a client off by a handle of its own: the engine drops the connection when its session is over.
pub(super) fn see_off(stream: &TcpStream) {
    let own = stream.as_fd().try_clone_to_owned();
    let own = own.map(std::net::TcpStream::from);
    match own.and_then(TcpStream::from_std) {
        Ok(mut own) => drop(tokio::spawn(
            async move { farewell::see_off(&mut own).await },
        )),
        Err(error) => tracing::debug!(%error, "cannot wait for a client to close"),
    }
}
