//! The TCP echo: bytes come back as they are.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::state::State;

/// One connection until the client has said everything, or the app closes.
pub async fn converse(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut write) = stream.split();
    tokio::select! {
        // A client that goes away is no news.
        _ = tokio::io::copy(&mut read, &mut write) => {}
        () = state.closing() => {}
    }
    let _ = write.shutdown().await;
}
