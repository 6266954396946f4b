//! One request's way through its service: the phase it holds, what it tried, the ticket on its peer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::http::{HeaderValue, StatusCode, header};
use pingora_proxy::Session;
use tokio_util::sync::CancellationToken;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::{Failure, Limits};
use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::retry::{Attempt, Rules};
use hancock_balancer_core::settings::{Answer, Settings};
use hancock_balancer_core::stay;
use hancock_proto::time::Timestamp;

use crate::access::Trace;
use crate::chance::random;
use crate::control::now;
use crate::http::body::{Body, Wrong};
use crate::http::dial::How;
use crate::http::{Dial, forwarded};
use crate::live::{LiveView, Service};
use crate::meter::count;

/// What the engine keeps per request.
#[derive(Default)]
pub(super) struct Routing {
    pub(super) service: Option<Arc<Service>>,
    /// Held while a pick is still possible, and not a moment longer: a drain waits for it.
    phase: Option<Arc<LiveView>>,
    /// Counted from pick to end.
    ticket: Option<Ticket>,
    limits: Option<Limits>,
    /// When the attempt began, where the mode wants to know how long it takes.
    picked: Option<Instant>,
    tried: Tried,
    /// The pick for a retry, made when it was decided.
    next: Option<usize>,
    afresh: bool,
    made: u32,
    pub(super) began: Timestamp,
    /// Who asks, as far as the service believes what it is told.
    pub(super) client: Option<IpAddr>,
    /// The request's body, as it comes.
    pub(super) body: Body,
    /// What the client's cookie stands for.
    pub(super) stays: Option<u64>,
    /// What the client is to show from now on.
    pub(super) cookie: Option<HeaderValue>,
    /// The document's own word when nobody could be reached.
    pub(super) apology: Option<Arc<Answer>>,
    /// How long the connection waits for the next request.
    pub(super) keepalive: Duration,
    /// Tells the session that may become of the request when it is to end.
    pub(super) ending: Option<CancellationToken>,
    /// Kept when a record is wanted.
    pub(super) trace: Option<Trace>,
    /// Why the proxy would have to answer itself.
    pub(super) reason: &'static str,
}

/// What the request tells about itself when an attempt failed.
pub(super) struct Repeatable {
    pub(super) idempotent: bool,
    pub(super) replayable: bool,
    pub(super) answered: bool,
}

impl Routing {
    pub(super) fn new(recorded: bool) -> Self {
        Self {
            began: now(),
            trace: recorded.then(Trace::default),
            ..Self::default()
        }
    }

    /// The attempt came to this status.
    pub(super) fn outcome(&mut self, status: u16) {
        if let Some(trace) = &mut self.trace {
            trace.outcome(status);
        }
    }

    /// The peer answered with this status; 0: not at all.
    pub(super) fn answered(&self, status: u16) {
        if let Some(ticket) = &self.ticket {
            ticket.peer().answered(status);
        }
    }

    /// The request is for this service: its routing phase begins.
    pub(super) fn begin(&mut self, service: Arc<Service>) {
        self.phase = Some(service.load());
        self.service = Some(service);
        self.reason = "no_peer";
    }

    /// The service's settings hold for the request.
    pub(super) fn admit(&mut self, session: &mut Session) -> Result<(), Wrong> {
        let Some(phase) = &self.phase else {
            return Ok(());
        };
        let settings = phase.view.settings();
        session.set_write_timeout(Some(settings.client.send));
        if !session.is_upgrade_req() {
            session.set_read_timeout(Some(settings.body.patience));
        }
        self.keepalive = settings.client.keepalive;
        if self.keepalive.is_zero() {
            session.set_keepalive(None);
        }
        self.client = forwarded::client(session, &settings.forwarding);
        let headers = &session.req_header().headers;
        if let Some(cookie) = &settings.sticky {
            let cookies = headers.get_all(header::COOKIE).iter();
            self.stays = cookie.find(cookies.map(|v| v.as_bytes()));
        }
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
        self.body.limit(settings.body, length)
    }

    /// The same for the plain case. False: the service asks for more than that.
    pub(super) fn admit_plain(&mut self, client: IpAddr) -> bool {
        let plain = self.settings().is_some_and(|s| s.is_plain());
        self.client = plain.then_some(client);
        plain
    }

    /// The peer's answer came. Answers whether somebody else may do better, already decided; if not, no further pick will be made.
    pub(super) fn came(&mut self, status: u16, request: &Repeatable, key: &RequestKey<'_>) -> bool {
        self.outcome(status);
        // A peer that says it cannot must not win by saying so fast.
        self.took(!(502..=504).contains(&status));
        self.answered(status);
        let bad = status == StatusCode::BAD_GATEWAY;
        let again = bad && self.failed(Failure::BadGateway, false, request, key);
        if !again {
            self.end_phase();
        }
        again
    }

    /// The request ended; 0: without an answer.
    pub(super) fn count(&self, status: u16) {
        if let Some(service) = &self.service {
            let took = now().since(self.began);
            service.stats.traffic.answered(status, took);
        }
    }

    /// No further pick will be made.
    pub(super) fn end_phase(&mut self) {
        self.phase = None;
    }

    /// How the service's requests are carried, as long as its phase lasts.
    pub(super) fn settings(&self) -> Option<&Arc<Settings>> {
        Some(self.phase.as_ref()?.view.settings())
    }

    /// What the origin is sent as `Host`, as long as the phase lasts.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        Some(self.phase.as_ref()?.host.clone())
    }

    /// Chooses the peer of the next attempt and counts the request on it. None: nobody is left.
    pub(super) fn pick(&mut self, key: &RequestKey<'_>, upgrade: bool) -> Option<(Arc<Dial>, How)> {
        let phase = self.phase.clone()?;
        let Some(at) = self.next.take().or_else(|| self.choose(&phase, key)) else {
            self.apology = phase.view.settings().no_peer.clone();
            return None;
        };
        self.remember(&phase, at);
        let entry = &phase.view.entries()[at];
        // Counted before the former ticket goes: a retry on the same peer never shows as zero.
        self.ticket = Some(Ticket::new(entry.peer.clone()));
        self.limits = Some(entry.limits);
        self.picked = phase.view.times_answers().then(Instant::now);
        self.made += 1;
        if let Some(trace) = &mut self.trace {
            trace.attempt(entry.peer.key().to_string());
        }
        let how = How {
            times: phase.view.settings().peer,
            upgrade,
            afresh: std::mem::take(&mut self.afresh),
        };
        Some((phase.dials[at].clone(), how))
    }

    /// The peer the client stays with, else whose turn it is.
    fn choose(&self, phase: &LiveView, key: &RequestKey<'_>) -> Option<usize> {
        let now = now();
        let stays = self.stays;
        let at = stays.and_then(|token| stay::entry(&phase.view, token, &self.tried, now));
        at.or_else(|| pick::pick(&phase.view, key, &self.tried, now, random()))
    }

    /// A client that came to another peer than it asked for is told whom to ask for.
    fn remember(&mut self, phase: &LiveView, at: usize) {
        let Some(cookie) = &phase.view.settings().sticky else {
            return;
        };
        let token = stay::token(&phase.view, at).filter(|token| self.stays != Some(*token));
        let set = token.map(|token| cookie.set(token));
        // Its parts were looked at when the document came.
        self.cookie = set.and_then(|set| HeaderValue::from_maybe_shared(set).ok());
    }

    /// The picked peer cannot even be dialled: it counts as tried.
    pub(super) fn undialable(&mut self) {
        self.reason = "unresolved";
        if let Some(ticket) = self.ticket.take() {
            self.tried.add(ticket.peer().clone());
            self.made -= 1;
        }
    }

    /// A new connection to the picked peer opened.
    pub(super) fn connected(&self) {
        if let (Some(ticket), Some(limits)) = (&self.ticket, self.limits) {
            ticket.peer().record().connected(limits);
        }
    }

    /// The attempt ended: it was answered, or it failed.
    pub(super) fn took(&mut self, answered: bool) {
        if let (Some(picked), Some(ticket)) = (self.picked.take(), &self.ticket) {
            let latency = ticket.peer().latency();
            latency.took(picked.elapsed(), answered, now());
        }
    }

    /// The request became a session.
    pub(super) fn upgraded(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.upgrade();
        }
    }

    /// An attempt failed. Answers whether there is another one, already decided. `reused`: on a pooled connection, which says nothing
    /// about the peer: it may have closed it just then.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        reused: bool,
        request: &Repeatable,
        key: &RequestKey<'_>,
    ) -> bool {
        self.reason = word(failure);
        if !request.answered {
            self.outcome(status(failure));
        }
        if !request.answered && failure != Failure::BadGateway {
            self.answered(0);
        }
        let stale = reused && failure == Failure::Lost;
        if !stale {
            self.blame(failure);
            self.took(false);
        }
        let attempt = Attempt {
            made: self.made,
            began: self.began,
            idempotent: request.idempotent,
            replayable: request.replayable,
            answered: request.answered,
            rules: self.settings().map_or(Rules::unsaid(true), |s| s.retry),
        };
        if attempt.may_repeat(failure, now()) {
            self.afresh = stale;
            self.next = self.phase.clone().and_then(|p| self.choose(&p, key));
        }
        if self.next.is_none() {
            if failure.before_request() {
                self.apology = self.settings().and_then(|s| s.no_peer.clone());
            }
            self.end_phase();
        } else if let Some(service) = &self.service {
            service
                .stats
                .retries
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.next.is_some()
    }

    /// Whether a retry is decided.
    pub(super) fn goes_on(&self) -> bool {
        self.next.is_some()
    }

    fn blame(&mut self, failure: Failure) {
        let (Some(ticket), Some(limits)) = (&self.ticket, self.limits) else {
            return;
        };
        let peer = ticket.peer().clone();
        // Without the phase nobody knows who else there is; then nobody is banned.
        let others = || {
            self.phase
                .as_ref()
                .is_some_and(|p| pick::others_unbanned(&p.view, &peer))
        };
        let banned = peer.record().failed(limits, failure, others, now());
        if let (true, Some(service)) = (banned, &self.service) {
            count(&service.stats.bans);
        }
        self.tried.add(peer);
    }
}

/// What a failed attempt counts as in records.
fn status(failure: Failure) -> u16 {
    match failure {
        Failure::TimedOut | Failure::Unreachable => 504,
        Failure::Refused | Failure::Lost | Failure::BadGateway => 502,
    }
}

fn word(failure: Failure) -> &'static str {
    match failure {
        Failure::Refused => "refused",
        Failure::Unreachable => "unreachable",
        Failure::Lost => "lost",
        Failure::TimedOut => "timeout",
        Failure::BadGateway => "bad_gateway",
    }
}
