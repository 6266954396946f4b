//! The end of a session that neither side asked for.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Who was told the end has this long to close.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells the end and waits for the other's; who does not close in time is reset.
pub(crate) async fn see_off(stream: &mut TcpStream) {
    // One that is gone already shows in a moment.
    let _ = stream.shutdown().await;
    let mut nowhere = tokio::io::sink();
    let ended = tokio::io::copy(stream, &mut nowhere);
    if !matches!(timeout(PATIENCE, ended).await, Ok(Ok(_))) {
        reset(stream);
    }
}

/// Closing it will tell the other side that something broke.
pub(crate) fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "cannot have a connection reset");
    }
}
