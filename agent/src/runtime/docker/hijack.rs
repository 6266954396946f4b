//! A command's input and output on a connection of its own. The engine's client library guesses from the first byte of a piece whether it has
//! a header, and a program may print any byte; here it is known.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, stream};
use hancock_proto::exec::MAX_PIECE;
use hancock_proto::hub::Stream;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;

use super::RuntimeError;
use crate::runtime::exec::{Piece, Pieces};

/// Time the engine has to begin.
const BEGIN: Duration = Duration::from_secs(20);

/// Most of a refusal that is read.
const MAX_REFUSAL: usize = 16 << 10;

/// Starts the command `id` that was made before.
pub(super) async fn start(
    socket: &Path,
    id: &str,
    terminal: bool,
) -> io::Result<TokioIo<Upgraded>> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the engine did not begin in 20 s");
    let begun = tokio::time::timeout(BEGIN, ask(socket, id, terminal)).await;
    begun.map_err(late)?
}

async fn ask(socket: &Path, id: &str, terminal: bool) -> io::Result<TokioIo<Upgraded>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut ask, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    // Ends with the connection.
    tokio::spawn(connection.with_upgrades());
    // Without a version in the path, which every engine understands.
    let request = Request::post(format!("/exec/{id}/start"))
        .header(header::HOST, "docker")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Full::new(Bytes::from(format!(
            "{{\"Detach\":false,\"Tty\":{terminal}}}"
        ))))
        .map_err(io::Error::other)?;
    let answer = ask.send_request(request).await.map_err(io::Error::other)?;
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            let upgraded = hyper::upgrade::on(answer).await;
            upgraded.map(TokioIo::new).map_err(io::Error::other)
        }
        _ => Err(io::Error::other(refusal(answer).await)),
    }
}

/// What the engine says.
async fn refusal(answer: Response<Incoming>) -> String {
    let status = answer.status();
    let body = http_body_util::Limited::new(answer.into_body(), MAX_REFUSAL);
    let body = body.collect().await.map(|body| body.to_bytes());
    let told = body.ok().and_then(|body| {
        let told: serde_json::Value = serde_json::from_slice(&body).ok()?;
        told.get("message")?.as_str().map(str::to_owned)
    });
    told.unwrap_or_else(|| format!("the engine answers {status}"))
}

/// Both outputs in one stream: pieces with a header of eight bytes, which says whose it is and how long.
pub(super) struct Outputs<R> {
    from: R,
    stream: Stream,
    /// What is left of the piece that has begun.
    left: usize,
}

impl<R: AsyncRead + Send + Unpin + 'static> Outputs<R> {
    pub(super) fn new(from: R) -> Self {
        let stream = Stream::Stdout;
        Self {
            from,
            stream,
            left: 0,
        }
    }

    pub(super) fn pieces(self) -> Pieces {
        let next = |mut this: Self| async move {
            match this.next().await {
                Ok(Some(piece)) => Some((Ok(piece), this)),
                Ok(None) => None,
                Err(error) => {
                    let failed = RuntimeError::failed("read", "the command's output", error);
                    Some((Err(failed), this))
                }
            }
        };
        stream::unfold(self, next).boxed()
    }

    /// None: both have ended.
    async fn next(&mut self) -> io::Result<Option<Piece>> {
        while self.left == 0 {
            let mut header = [0; 8];
            if self.from.read(&mut header[..1]).await? == 0 {
                return Ok(None);
            }
            self.from.read_exact(&mut header[1..]).await?;
            self.stream = match header[0] {
                2 => Stream::Stderr,
                _ => Stream::Stdout,
            };
            let length = [header[4], header[5], header[6], header[7]];
            self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        }
        let mut data = vec![0; self.left.min(MAX_PIECE)];
        let read = self.from.read(&mut data).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        data.truncate(read);
        self.left -= read;
        let stream = self.stream;
        Ok(Some(Piece { stream, data }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn both_outputs_are_told_apart_whatever_they_print() {
        let mut wire = vec![1, 0, 0, 0, 0, 0, 0, 3, 2, 1, 0];
        wire.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        wire.extend([2, 0, 0, 0, 0, 0, 0, 1, b'e']);
        let pieces: Vec<_> = Outputs::new(io::Cursor::new(wire)).pieces().collect().await;
        let pieces: Vec<_> = pieces.into_iter().map(Result::unwrap).collect();
        let piece = |stream, data: &[u8]| Piece {
            stream,
            data: data.to_vec(),
        };
        assert_eq!(
            pieces,
            [
                piece(Stream::Stdout, &[2, 1, 0]),
                piece(Stream::Stderr, b"e")
            ]
        );
        let cut = Outputs::new(io::Cursor::new(vec![1, 0, 0, 0, 0, 0, 0, 3, b'x']));
        let pieces: Vec<_> = cut.pieces().take(2).collect().await;
        assert!(pieces[0].is_ok() && pieces[1].is_err(), "{pieces:?}");
    }
}
