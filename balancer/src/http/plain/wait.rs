//! Waiting for a side, on the connection's one timer.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::conn::{Alarm, Conn};

/// What waiting came to, other than what was waited for.
pub(super) enum Fault {
    /// The client has gone.
    Gone,
    TimedOut,
    Broken(io::Error),
    /// The origin's answer is none, and why.
    Bad(&'static str),
}

/// Something of the origin, as long as the client is there.
pub(super) fn of_origin<T>(
    came: Poll<io::Result<T>>,
    conn: &mut Conn,
    cx: &mut Context<'_>,
) -> Poll<Result<T, Fault>> {
    match came {
        Poll::Ready(came) => Poll::Ready(came.map_err(Fault::Broken)),
        Poll::Pending => conn.poll_gone(cx).map(|()| Err(Fault::Gone)),
    }
}

pub(super) async fn push(
    conn: &mut Conn,
    alarm: &mut Alarm<'_>,
    patience: Duration,
    mut data: &[u8],
) -> Result<(), Fault> {
    while !data.is_empty() {
        let pushed = within(alarm, patience, |cx| {
            conn.poll_push(cx, data).map_err(Fault::Broken)
        });
        match pushed.await {
            Ok(pushed @ 1..) => data = &data[pushed..],
            _ => return Err(Fault::Gone),
        }
    }
    Ok(())
}

/// Waits for what `poll` waits for; the time is asked only when there is something to wait for.
pub(super) async fn within<T>(
    alarm: &mut Alarm<'_>,
    patience: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut until = None;
    poll_fn(|cx| {
        if let Poll::Ready(came) = poll(cx) {
            return Poll::Ready(came);
        }
        let until = *until.get_or_insert_with(|| Instant::now() + patience);
        alarm.poll_over(until, cx).map(|()| Err(Fault::TimedOut))
    })
    .await
}
