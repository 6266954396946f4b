//! HTTP over the connections of a door, each of them bounded in what it holds and in how long it may take.
//!
//! - **Data in**: connections that have shaken hands. **Data out**: requests for the router that were admitted; who is slow, or too many, is
//!   told so or sent away.
//! - **Invariants**: nothing waits in line for a place; every wait for a client has a deadline in [`Limits`].
//! - **Never**: looks into what is asked, beyond method and path.

mod bodies;
mod guest;
mod wire;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use hancock_tls::{Caller, Conn, Door};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub(super) use self::bodies::Slow;
use self::bodies::{Answer, Taken};
use self::guest::{Crowd, Guest, Late, Seat};
use self::wire::Wire;
use super::BUSY;
use super::admission::Admission;
use super::error::Failure;
use super::limits::Limits;

/// Largest head of a request, and what is kept of an answer while it is sent.
const HEAD_LIMIT: usize = 32 << 10;
/// Callers at a time that are told that there are too many.
const TURNED_AWAY: usize = 64;

/// Who a request's connection is from.
#[derive(Debug, Clone)]
pub(crate) struct Entered(pub(crate) Caller);

/// What every connection is served with.
struct Server {
    router: Router,
    limits: Limits,
    admission: Admission,
    stop: CancellationToken,
}

/// Serves until `stop`, and then until what was begun is answered.
pub(crate) async fn serve(mut door: Door, router: Router, limits: Limits, stop: CancellationToken) {
    let server = Arc::new(Server {
        router,
        limits,
        admission: Admission::new(&limits),
        stop: stop.clone(),
    });
    let crowd = Arc::<Crowd>::default();
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let tasks = TaskTracker::new();
    while let Some(conn) = stop.run_until_cancelled(door.accept()).await {
        match crowd.enter(limits.connections) {
            Some(seat) => drop(tasks.spawn(server.clone().attend(conn, seat))),
            None => {
                // Too many even to be told: closed.
                let Ok(place) = turned_away.clone().try_acquire_owned() else {
                    continue;
                };
                let telling = turn_away(conn, limits);
                tasks.spawn(async move {
                    telling.await;
                    drop(place);
                });
            }
        }
    }
    drop(door);
    tasks.close();
    tasks.wait().await;
}

impl Server {
    /// One connection, to its end.
    async fn attend(self: Arc<Self>, conn: Conn, seat: Seat) {
        let caller = Caller::of(&conn);
        let from = caller.address;
        let (guest, limits, stop) = (seat.guest.clone(), self.limits, self.stop.clone());
        let io = TokioIo::new(Wire::new(conn, seat, limits));
        let asked = guest.clone();
        let service = service_fn(move |request| {
            let entered = ConnectInfo(Entered(caller.clone()));
            self.clone().answer(request, asked.clone(), entered)
        });
        let builder = builder(&limits);
        let mut served = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut overdue = pin!(guest.overdue(&limits));
        let mut ending = false;
        loop {
            tokio::select! {
                ended = served.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(?from, error, "a connection ended");
                    }
                    return;
                }
                () = guest.cut.cancelled() => {
                    return tracing::debug!(?from, "an idle connection made room for another");
                }
                late = overdue.as_mut() => return told(late, &caller_text(from)),
                () = stop.cancelled(), if !ending => {
                    ending = true;
                    served.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        guest: Arc<Guest>,
        entered: ConnectInfo<Entered>,
    ) -> Result<Response<Answer>, Infallible> {
        let answering = guest.asks(request.version() == Version::HTTP_2);
        let length = request.body().size_hint().upper();
        let admitted = self
            .admission
            .admit(request.method(), request.uri(), length);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(busy) => return Ok(said(busy).map(|body| Answer::new(body, answering, None, None))),
        };
        let mut request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(Taken::new(body, self.limits)),
        });
        request.extensions_mut().insert(entered);
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            answering.upgraded(admitted);
            return Ok(response.map(|body| Answer::new(body, answering, None, None)));
        }
        let length = response.body().size_hint().exact().unwrap_or(0);
        let (response, room) = match self.admission.answer(length) {
            Ok(room) => (response, room),
            Err(busy) => (said(busy), None),
        };
        Ok(response.map(|body| Answer::new(body, answering, Some(admitted), room)))
    }
}

fn said(failure: Failure) -> Response<Body> {
    failure.into_response()
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(HEAD_LIMIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_send_buf_size(HEAD_LIMIT)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping);
    builder
}

/// Says to a caller that there are too many, and waits a moment for it to hear.
async fn turn_away(conn: Conn, limits: Limits) {
    let most = limits.connections;
    let service = service_fn(move |_: Request<Incoming>| async move {
        let message = format!(
            "this master has as many connections as it takes ({most}); nothing was done, try again in a second"
        );
        Ok::<_, Infallible>(said(Failure::new(BUSY, message)))
    });
    let builder = builder(&limits);
    let mut served = pin!(builder.serve_connection(TokioIo::new(conn), service));
    tokio::select! {
        _ended = served.as_mut() => {}
        () = tokio::time::sleep(limits.farewell) => {}
    }
}

fn told(late: Late, from: &str) {
    match late {
        Late::Head => tracing::debug!(from, "a connection asked for nothing in time; closed"),
        Late::Idle => tracing::debug!(from, "an idle connection was closed"),
        Late::Reader => tracing::info!(from, "a reader took nothing of its answer; cut off"),
    }
}

fn caller_text(from: Option<std::net::SocketAddr>) -> String {
    from.map_or_else(|| "nowhere".to_owned(), |from| from.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
