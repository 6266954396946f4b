//! One plain request, from the choice of a peer to the last byte of its answer.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use pingora_core::protocols::http::date;

use hancock_balancer_core::h1::{self, Answer, Body, Framing, Own, Request};
use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::Failure;
use hancock_balancer_core::retry;
use hancock_balancer_core::settings::{PeerTimes, Settings};

use super::Plain;
use super::origin::Origin;
use super::wait::{Fault, of_origin, push, within};
use crate::http::conn::{Alarm, Conn};
use crate::http::dial::How;
use crate::http::routing::{Repeatable, Routing};
use crate::http::{Dial, answer, page};

/// Read at once: a head, and what small body comes with it.
const HEAD: usize = 16 * 1024;
/// Read at once of a body.
const PIECE: usize = 64 * 1024;
/// Heads an origin may send before its answer.
const INTERIM: usize = 16;

/// Why there is no whole answer.
enum Stop {
    /// The client is told why there is none at all.
    Failed,
    /// There is nobody to tell, or it would be understood as part of the answer.
    Over,
}

pub(super) struct Exchange<'a> {
    engine: &'a Plain,
    conn: &'a mut Conn,
    alarm: Alarm<'a>,
    request: Request<'a>,
    routing: Routing,
    settings: Arc<Settings>,
    /// The connection ends with this answer.
    close: bool,
    /// What the client was told, 0: nothing yet, or only what comes before an answer.
    status: u16,
    /// It was told something.
    told: bool,
    /// Bytes of the body that the client was sent.
    sent: usize,
    /// What is written next, to either side.
    out: Vec<u8>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        engine: &'a Plain,
        conn: &'a mut Conn,
        alarm: Alarm<'a>,
        request: Request<'a>,
        routing: Routing,
        close: bool,
    ) -> Self {
        let settings = routing.settings().cloned();
        let settings = settings.unwrap_or_else(|| Settings::unsaid(true));
        Self {
            engine,
            conn,
            alarm,
            request,
            close: close || settings.client.keepalive.is_zero(),
            settings,
            routing,
            status: 0,
            told: false,
            sent: 0,
            out: Vec::new(),
        }
    }

    /// Answers. None: the connection has ended, else how long it waits for the next request.
    pub(super) async fn run(&mut self) -> Option<Duration> {
        let answered = self.answer().await;
        self.routing.end_phase();
        match answered {
            Ok(()) if self.close => self.conn.close().await,
            Ok(()) | Err(Stop::Over) => {}
            Err(Stop::Failed) => self.apologise().await,
        }
        self.engine
            .tell(&self.request, &self.routing, self.status, self.sent);
        (answered.is_ok() && !self.close).then_some(self.settings.client.keepalive)
    }

    async fn answer(&mut self) -> Result<(), Stop> {
        loop {
            let mut origin = self.reach().await?;
            if let Some(answer) = self.ask(&mut origin).await? {
                return self.relay(origin, answer).await;
            }
        }
    }

    /// A connection to the peer whose turn it is.
    async fn reach(&mut self) -> Result<Origin, Stop> {
        while let Some((dial, how)) = self.pick() {
            if let Some(origin) = self.idle(&dial, how.afresh, how.times.pool) {
                return Ok(origin);
            }
            let Some(address) = dial.address() else {
                self.routing.undialable();
                continue;
            };
            match self.connect(address, dial, how.times).await {
                Ok(origin) => {
                    self.routing.connected();
                    return Ok(origin);
                }
                Err(fault) => self.unreached(fault)?,
            }
        }
        Err(Stop::Failed)
    }

    fn pick(&mut self) -> Option<(Arc<Dial>, How)> {
        let key = key(&self.request, self.routing.client);
        self.routing.pick(&key, false)
    }

    fn idle(&self, dial: &Arc<Dial>, afresh: bool, keep: Duration) -> Option<Origin> {
        if afresh {
            return None;
        }
        let (stream, unasked) = dial.idle.take(self.engine.thread);
        if unasked > 0 {
            self.engine.unasked(unasked);
        }
        Some(Origin::reused(stream?, dial.clone(), keep))
    }

    async fn connect(
        &mut self,
        address: SocketAddr,
        dial: Arc<Dial>,
        times: PeerTimes,
    ) -> Result<Origin, Fault> {
        let mut connecting = pin!(Origin::connect(address, dial, times.pool));
        let conn = &mut *self.conn;
        within(&mut self.alarm, times.connect, |cx| {
            of_origin(connecting.as_mut().poll(cx), conn, cx)
        })
        .await
    }

    /// Whether there is another attempt after a peer that could not be connected to.
    fn unreached(&mut self, fault: Fault) -> Result<(), Stop> {
        let (failure, timed_out) = match fault {
            Fault::Gone | Fault::Bad(_) => return Err(Stop::Over),
            Fault::TimedOut => (Failure::Unreachable, true),
            Fault::Broken(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                (Failure::Refused, false)
            }
            Fault::Broken(e) => (Failure::Unreachable, e.kind() == io::ErrorKind::TimedOut),
        };
        let again = self.failed(failure, false);
        if timed_out {
            self.routing.reason = "timeout";
        }
        if again { Ok(()) } else { Err(Stop::Failed) }
    }

    /// Sends the request and reads the answer's head into `out`. None: another attempt is decided.
    async fn ask(&mut self, origin: &mut Origin) -> Result<Option<Answer>, Stop> {
        self.write_request();
        if !retry::is_idempotent(self.request.method) {
            // From here on the origin may have acted on it.
            self.routing.end_phase();
        }
        let asked = match self.send(origin).await {
            Ok(()) => self.head(origin).await,
            Err(fault) => Err(fault),
        };
        match asked {
            Ok(answer) => {
                let request = self.repeatable();
                let key = key(&self.request, self.routing.client);
                let again = self.routing.came(answer.status, &request, &key);
                Ok((!again).then_some(answer))
            }
            Err(fault) => self.unanswered(fault, origin.reused).map(|()| None),
        }
    }

    fn write_request(&mut self) {
        let mut text = [0; 48];
        let client = address(self.conn.client(), &mut text);
        let host = self.routing.host();
        let host = host.as_ref().map_or(self.request.host, |h| h.as_bytes());
        self.out.clear();
        self.request.write(host, client, &mut self.out);
    }

    async fn send(&mut self, origin: &mut Origin) -> Result<(), Fault> {
        let (conn, mut rest) = (&mut *self.conn, &self.out[..]);
        within(&mut self.alarm, self.settings.peer.send, |cx| {
            while !rest.is_empty() {
                let written = ready!(of_origin(origin.poll_write(cx, rest), conn, cx))?;
                rest = &rest[written..];
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Reads until the answer begins; what comes before it goes on at once.
    async fn head(&mut self, origin: &mut Origin) -> Result<Answer, Fault> {
        for _ in 0..INTERIM {
            let answer = self.next_head(origin).await?;
            if !answer.is_interim() {
                return Ok(answer);
            }
            self.told = true;
            self.push().await.map_err(|_| Fault::Gone)?;
        }
        Err(Fault::Bad("origin sent nothing but beginnings"))
    }

    async fn next_head(&mut self, origin: &mut Origin) -> Result<Answer, Fault> {
        let date = date::get_cached_date();
        let own = Own {
            server: page::SERVER,
            date: date.as_bytes(),
        };
        loop {
            self.out.clear();
            let to_head = self.request.is_head();
            let read = match origin.arrived.is_empty() {
                true => Ok(None),
                false => h1::read(&origin.arrived, to_head, own, &mut self.out),
            };
            if let Some(answer) = read.map_err(Fault::Bad)? {
                let _ = origin.arrived.split_to(answer.length);
                return Ok(answer);
            }
            if self.arrive(origin, HEAD).await? == 0 {
                return Err(Fault::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    async fn arrive(&mut self, origin: &mut Origin, most: usize) -> Result<usize, Fault> {
        let conn = &mut *self.conn;
        within(&mut self.alarm, self.settings.peer.read, |cx| {
            of_origin(origin.poll_arrive(cx, most), conn, cx)
        })
        .await
    }

    /// Whether there is another attempt after a peer that did not answer, or not well.
    fn unanswered(&mut self, fault: Fault, reused: bool) -> Result<(), Stop> {
        let failure = match fault {
            Fault::Gone => return Err(Stop::Over),
            Fault::TimedOut => Failure::TimedOut,
            Fault::Bad(why) => {
                tracing::debug!(why, "a bad answer");
                self.routing.end_phase();
                self.routing.reason = answer::BAD;
                return Err(Stop::Failed);
            }
            Fault::Broken(_) => Failure::Lost,
        };
        match self.failed(failure, reused) {
            true => Ok(()),
            false => Err(Stop::Failed),
        }
    }

    /// Hands on the answer whose head is in `out`.
    async fn relay(&mut self, mut origin: Origin, answer: Answer) -> Result<(), Stop> {
        let mut body = Body::new(answer.framing);
        let last: &[u8] = match self.close {
            true => b"Connection: close\r\n\r\n",
            false => b"Connection: keep-alive\r\n\r\n",
        };
        self.out.extend_from_slice(last);
        let mut piece = std::mem::take(&mut origin.arrived);
        loop {
            let Ok(ours) = body.pass(&piece) else {
                return Err(self.broken());
            };
            let unasked = ours < piece.len();
            self.hand_on(&body, &piece[..ours], answer).await?;
            if body.is_done() {
                self.put_away(origin, answer, unasked);
                return Ok(());
            }
            piece.clear();
            origin.arrived = piece;
            let came = self.arrive(&mut origin, PIECE).await;
            piece = std::mem::take(&mut origin.arrived);
            match came {
                Ok(0) => match body.end() {
                    Some(last) => self.out.extend_from_slice(last),
                    None => return Err(self.cut(Failure::Lost)),
                },
                Ok(_) => {}
                Err(Fault::Gone) => return Err(Stop::Over),
                Err(Fault::TimedOut) => return Err(self.cut(Failure::TimedOut)),
                Err(Fault::Broken(_) | Fault::Bad(_)) => return Err(self.cut(Failure::Lost)),
            }
        }
    }

    /// Sends what is due and a piece of the body. A small one leaves with the head; a large one is not copied.
    async fn hand_on(&mut self, body: &Body, piece: &[u8], answer: Answer) -> Result<(), Stop> {
        self.status = answer.status;
        self.sent += piece.len();
        let framed = answer.framing == Framing::UntilClose;
        let small = !self.out.is_empty() && piece.len() <= HEAD;
        if framed || small {
            body.write(piece, &mut self.out);
            return self.push().await;
        }
        self.push().await?;
        self.push_piece(piece).await
    }

    async fn push(&mut self) -> Result<(), Stop> {
        let out = std::mem::take(&mut self.out);
        let pushed = self.push_piece(&out).await;
        self.out = out;
        self.out.clear();
        pushed
    }

    async fn push_piece(&mut self, piece: &[u8]) -> Result<(), Stop> {
        let patience = self.settings.client.send;
        let pushed = push(self.conn, &mut self.alarm, patience, piece).await;
        pushed.map_err(|_| Stop::Over)
    }

    /// The connection to the origin after the answer.
    fn put_away(&self, origin: Origin, answer: Answer, unasked: bool) {
        if unasked {
            self.engine.unasked(1);
        } else if answer.keep && answer.framing != Framing::UntilClose {
            self.engine.keep(origin);
        }
    }

    /// The body breaks its framing.
    fn broken(&mut self) -> Stop {
        if self.status != 0 {
            return Stop::Over;
        }
        self.routing.reason = answer::BAD;
        Stop::Failed
    }

    /// The origin ended within its answer.
    fn cut(&mut self, failure: Failure) -> Stop {
        self.failed(failure, false);
        Stop::Over
    }

    fn failed(&mut self, failure: Failure, reused: bool) -> bool {
        let request = self.repeatable();
        let key = key(&self.request, self.routing.client);
        self.routing.failed(failure, reused, &request, &key)
    }

    fn repeatable(&self) -> Repeatable {
        Repeatable {
            idempotent: retry::is_idempotent(self.request.method),
            replayable: true,
            answered: self.told || self.status != 0,
        }
    }

    /// Tells the client why there is no answer.
    async fn apologise(&mut self) {
        let reason = self.routing.reason;
        self.status = if reason == "timeout" { 504 } else { 502 };
        let own = self.routing.apology.take();
        let bare = self.request.is_head();
        let text = page::whole_or_own(self.status, reason, own.as_deref(), bare);
        if let Some(own) = own {
            self.status = own.status;
        }
        self.conn.last_word(&text).await;
    }
}

fn key<'a>(request: &'a Request<'_>, client: Option<IpAddr>) -> RequestKey<'a> {
    RequestKey {
        target: &request.target,
        client,
        header: request.header("x-hash-key"),
    }
}

fn address(ip: IpAddr, text: &mut [u8; 48]) -> &[u8] {
    let mut cursor = io::Cursor::new(&mut text[..]);
    // The longest address is shorter.
    let _ = write!(cursor, "{ip}");
    let length = cursor.position() as usize;
    &text[..length]
}
