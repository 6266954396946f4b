//! Bodies of requests: whole, or too large.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use futures::StreamExt;

/// Largest body that is read.
const MAX: usize = 1 << 20;
/// Of a larger one this much is thrown away, so that the client gets to read the refusal.
const THROWN_AWAY: usize = 16 << 20;
/// And for this long at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// A body is whole by then.
const SLOWEST: Duration = Duration::from_secs(30);

/// Whether the request says that its body is too large.
pub(super) fn is_announced_too_large(request: &Request) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > MAX as u64)
}

/// Why there is no whole body.
pub(super) enum Spoilt {
    /// It is too large; this is its rest.
    TooLarge(Body),
    /// It did not come in time.
    Slow,
    /// It ended early, or its chunks are none.
    Broken,
}

/// The whole body.
pub(super) async fn whole(body: Body) -> Result<Vec<u8>, Spoilt> {
    let mut pieces = body.into_data_stream();
    let mut read = Vec::new();
    let reading = async {
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece.map_err(|_| Some(Spoilt::Broken))?);
            (read.len() <= MAX).then_some(()).ok_or(None)?;
        }
        Ok(())
    };
    match tokio::time::timeout(SLOWEST, reading).await {
        Ok(Ok(())) => Ok(read),
        Ok(Err(None)) => Err(Spoilt::TooLarge(Body::from_stream(pieces))),
        Ok(Err(Some(spoilt))) => Err(spoilt),
        Err(_) => Err(Spoilt::Slow),
    }
}

/// Reads on without keeping anything.
pub(super) async fn throw_away(body: Body) {
    let mut pieces = body.into_data_stream();
    let mut left = THROWN_AWAY;
    let reading = async {
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, reading).await.is_err() {
        tracing::debug!("a client was slow to send a body that was refused");
    }
}
