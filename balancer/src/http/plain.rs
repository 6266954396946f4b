//! The plain case, on our own: a request without a body that stays a request, of a service that asks for nothing unusual. It goes through
//! the bytes that came, without a map of headers, a channel or a task, by the same routing as everything else.
//!
//! Whatever is not plain is left alone before anything was done, and is the other engine's.

mod exchange;
mod origin;
mod pool;
mod wait;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hyper::http::header::HeaderName;
use hyper::http::{HeaderMap, HeaderValue, Version};
use tokio::sync::{Notify, watch};
use tokio::time::{Sleep, sleep};

use hancock_balancer_core::h1::Request;

use super::conn::{Alarm, Conn};
use super::host::Name;
use super::routing::Routing;
use crate::access::{Access, Record};
use crate::listen::Served;
use crate::live::Table;

use exchange::Exchange;
pub(in crate::http) use pool::Pool;

/// Between looks at connections nobody uses.
const SWEEP: Duration = Duration::from_secs(1);

/// What became of a connection.
pub(super) enum Next {
    /// The request is not plain: nothing was done.
    Elsewhere(Box<Conn>),
    /// The connection waits for its next request, for at most so long.
    Kept(Box<Conn>, Duration),
    /// It has ended.
    Ended,
}

/// The plain requests of one data-plane thread.
pub(super) struct Plain {
    table: Arc<Table>,
    access: Arc<Access>,
    thread: usize,
    idle: Idle,
}

/// Peers that idle connections are kept to.
#[derive(Default)]
struct Idle {
    dials: Mutex<Vec<Weak<super::Dial>>>,
    more: Notify,
}

impl Plain {
    /// Has to be called where tasks can be spawned.
    pub(super) fn new(served: &Served) -> Arc<Self> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let plain = Arc::new(Self {
            table: served.table.clone(),
            access: served.access.clone(),
            thread: THREADS.fetch_add(1, Ordering::Relaxed),
            idle: Idle::default(),
        });
        tokio::spawn(sweep(plain.clone()));
        plain
    }

    /// Serves the request whose head has arrived, if it is plain.
    pub(super) async fn serve(
        &self,
        mut conn: Box<Conn>,
        alarm: Pin<&mut Sleep>,
        drain: &watch::Receiver<bool>,
    ) -> Next {
        let Some(head) = conn.take_lone_head() else {
            return Next::Elsewhere(conn);
        };
        let Some((request, routing)) = self.route(&head, &conn) else {
            conn.give_back(head);
            return Next::Elsewhere(conn);
        };
        let close = request.close || *drain.borrow();
        let mut exchange = Exchange::new(self, &mut conn, Alarm(alarm), request, routing, close);
        match exchange.run().await {
            Some(idle) => Next::Kept(conn, idle),
            None => Next::Ended,
        }
    }

    /// None: it is not plain.
    fn route<'a>(&self, head: &'a BytesMut, conn: &Conn) -> Option<(Request<'a>, Routing)> {
        let request = Request::read(head)?;
        let name = Name::read(request.host).ok()?;
        let service = self.table.routed(name.as_str(), &request.target)?;
        let mut routing = Routing::new(self.access.is_wanted());
        routing.begin(service);
        routing
            .admit_plain(conn.client())
            .then_some((request, routing))
    }

    /// Keeps a connection to an origin for the next request.
    fn keep(&self, origin: origin::Origin) {
        let (dial, first) = origin.into_idle(self.thread);
        if first {
            self.idle.dials().push(Arc::downgrade(&dial));
            self.idle.more.notify_one();
        }
    }

    fn sweep(&self, now: Instant) {
        let mut unasked = 0;
        self.idle.dials().retain(|dial| {
            let looked = dial.upgrade().map(|d| d.idle.sweep(self.thread, now));
            let looked = looked.unwrap_or_default();
            unasked += looked.unasked;
            looked.left > 0
        });
        self.unasked(unasked);
    }

    fn unasked(&self, connections: u64) {
        let counter = &self.table.meter.unasked;
        counter.fetch_add(connections, Ordering::Relaxed);
    }

    /// Tells of a request that ended; status 0: its client went without an answer.
    fn tell(&self, request: &Request<'_>, routing: &Routing, status: u16, sent: usize) {
        routing.count(status);
        let Some(trace) = &routing.trace else { return };
        let named = |(name, value, _): (&[u8], &[u8], &[u8])| {
            let name = HeaderName::from_bytes(name).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        };
        let headers: HeaderMap = request.lines().filter_map(named).collect();
        self.access.take(&Record {
            client: routing.client,
            method: request.method,
            target: String::from_utf8_lossy(&request.target).into_owned(),
            version: Some(Version::HTTP_11),
            headers: Some(&headers),
            status,
            sent,
            began: routing.began,
            trace,
        });
    }
}

impl Idle {
    fn dials(&self) -> std::sync::MutexGuard<'_, Vec<Weak<super::Dial>>> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that nobody used for too long, or that their origin closed; ends with its runtime.
async fn sweep(engine: Arc<Plain>) {
    loop {
        if engine.idle.dials().is_empty() {
            engine.idle.more.notified().await;
        }
        engine.sweep(Instant::now());
        sleep(SWEEP).await;
    }
}
