//! Bodies on their way in, which may not be slow, and answers on their way out, which hold what they were given until they are read.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::guest::{Answering, Turn};
use crate::api::admission::Admitted;
use crate::api::limits::Limits;

/// Largest piece of an answer given to be sent: the rest is held until there is room for it.
const PIECE: usize = 64 << 10;

/// A body did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(in crate::api) struct Slow;

/// A request's body.
pub(super) struct Taken {
    body: Incoming,
    limits: Limits,
    /// Armed where a body is waited for, as most are there already.
    late: Option<Pin<Box<Sleep>>>,
    end: Instant,
}

impl Taken {
    pub(super) fn new(body: Incoming, limits: Limits) -> Self {
        Self {
            body,
            limits,
            late: None,
            end: Instant::now() + limits.body,
        }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let at = (Instant::now() + self.limits.body_silence).min(self.end);
        let begin = || Box::pin(tokio::time::sleep_until(at));
        self.late.get_or_insert_with(begin).as_mut().poll(context)
    }
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                this.late = None;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                ready!(this.is_late(context));
                Poll::Ready(Some(Err(Slow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, with everything that is held for it.
pub(super) struct Answer {
    body: Body,
    /// Of the last piece, what was too much.
    rest: Bytes,
    /// Kept where there is more than one piece.
    turn: Option<Arc<Turn>>,
    answering: Answering,
    _admitted: Option<Admitted>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Answer {
    pub(super) fn new(
        body: Body,
        answering: Answering,
        admitted: Option<Admitted>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            turn: None,
            answering,
            _admitted: admitted,
            _room: room,
        }
    }

    fn cut(&mut self, mut data: Bytes) -> Frame<Bytes> {
        self.rest = data.split_off(data.len().min(PIECE));
        Frame::data(data)
    }

    fn next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.cut(rest))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            Ok(match frame?.into_data() {
                Ok(data) => self.cut(data),
                Err(trailers) => trailers,
            })
        }))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = this.next(context);
        // Who asks for more has taken what was given.
        let given = matches!(frame, Poll::Ready(Some(Ok(_)))) && !this.is_end_stream();
        if given && this.turn.is_none() {
            this.turn = this.answering.turn();
        }
        match &this.turn {
            Some(turn) if given => turn.readers(),
            Some(turn) => turn.ours(),
            None => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
