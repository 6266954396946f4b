//! The TCP echo: bytes come back as they are, after a line that says who answers if that was asked for.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::state::State;

/// One connection until the client has said everything, or the app closes.
pub async fn converse(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut write) = stream.split();
    if state.echo_greets {
        // A client that goes away is no news, here and below.
        let _ = write.write_all(state.identity.hello().as_bytes()).await;
    }
    tokio::select! {
        _ = tokio::io::copy(&mut read, &mut write) => {}
        () = state.closing() => {}
    }
    let _ = write.shutdown().await;
}
