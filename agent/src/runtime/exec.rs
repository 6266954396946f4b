//! A command run beside an instance's own processes, in the instance's surroundings: what every runtime gives for one.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use futures::{Stream as Flow, StreamExt, stream};
use hancock_proto::exec::{MAX_PIECE, Window};
use hancock_proto::hub::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;

use super::RuntimeError;

/// Pieces of output as they come; ends when nothing holds the output open any more.
pub type Pieces = Pin<Box<dyn Flow<Item = Result<Piece, RuntimeError>> + Send>>;

/// Why an instance that was not started for jobs refuses one.
pub(super) const TAKES_NO_JOBS: &str = "it takes no jobs";

/// A command under way. It ends when this is dropped.
pub struct Exec {
    /// Its input. To be flushed after each write; shut down: it reads an end. Leads nowhere for a command without input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its output. Not read: the command waits.
    pub output: Pieces,
    /// The rest.
    pub control: Box<dyn Control>,
}

/// What can be done with a command, beside its input and output.
#[async_trait]
pub trait Control: Send + Sync {
    /// Gives its terminal another size.
    ///
    /// # Errors
    /// It has no terminal, or has ended.
    async fn resize(&self, window: Window) -> Result<(), RuntimeError>;

    /// Waits for its end, which comes after the end of its output. Its exit code; 128 and the signal's number when a signal ended it.
    ///
    /// # Errors
    /// How it ended is not known.
    async fn ended(&self) -> Result<i32, RuntimeError>;
}

/// How a command ended; None: it has not. An error is for people.
pub(super) type End = Option<Result<i32, String>>;

/// Waits until whoever attends to a command has told its end.
pub(super) async fn ended(mut end: watch::Receiver<End>) -> Result<i32, RuntimeError> {
    let unknown = |why: &str| RuntimeError::failed("learn the end of", "the command", why);
    let ended = end.wait_for(Option::is_some).await;
    match ended.as_deref() {
        Ok(Some(Ok(code))) => Ok(*code),
        Ok(Some(Err(why))) => Err(unknown(why)),
        _ => Err(unknown("the agent ends")),
    }
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where to; a terminal's output is all standard output.
    pub stream: Stream,
    /// At most [`MAX_PIECE`] bytes, never none.
    pub data: Vec<u8>,
}

/// What `from` has to say, as output of `stream`.
pub(super) fn pieces(from: impl AsyncRead + Send + Unpin + 'static, stream: Stream) -> Pieces {
    let next = move |mut from: _| async move {
        let mut data = vec![0; MAX_PIECE];
        match AsyncReadExt::read(&mut from, &mut data).await {
            Ok(0) => None,
            Ok(n) => {
                data.truncate(n);
                Some((Ok(Piece { stream, data }), from))
            }
            Err(error) if is_end(&error) => None,
            Err(error) => {
                let failed = RuntimeError::failed("read", "the command's output", error);
                Some((Err(failed), from))
            }
        }
    };
    stream::unfold(from, next).boxed()
}

/// A terminal whose last program is gone answers with an error.
fn is_end(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EIO)
}
