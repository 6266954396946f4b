//! One request's way through its service: the phase it holds, what it tried, the ticket on its peer.

use std::sync::Arc;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::{Failure, Limits};
use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::retry::Attempt;
use hancock_proto::time::Timestamp;

use crate::access::Trace;
use crate::control::now;
use crate::http::Dial;
use crate::live::{LiveView, Service};

/// What the engine keeps per request.
#[derive(Default)]
pub(super) struct Routing {
    pub(super) service: Option<Arc<Service>>,
    /// Held while a pick is still possible, and not a moment longer: a drain waits for it.
    phase: Option<Arc<LiveView>>,
    /// Counted from pick to end.
    ticket: Option<Ticket>,
    limits: Option<Limits>,
    tried: Tried,
    /// The pick for a retry, made when it was decided.
    next: Option<usize>,
    afresh: bool,
    made: u32,
    pub(super) began: Timestamp,
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

    /// The request is for this service: its routing phase begins.
    pub(super) fn begin(&mut self, service: Arc<Service>) {
        self.phase = Some(service.load());
        self.service = Some(service);
        self.reason = "no_peer";
    }

    /// No further pick will be made.
    pub(super) fn end_phase(&mut self) {
        self.phase = None;
    }

    /// Chooses the peer of the next attempt and counts the request on it. None: nobody is left.
    pub(super) fn pick(&mut self, key: &RequestKey<'_>) -> Option<(Arc<Dial>, bool)> {
        let phase = self.phase.clone()?;
        let next = self.next.take();
        let at = next.or_else(|| pick::pick(&phase.view, key, &self.tried, now()))?;
        let entry = &phase.view.entries()[at];
        // Counted before the former ticket goes: a retry on the same peer never shows as zero.
        self.ticket = Some(Ticket::new(entry.peer.clone()));
        self.limits = Some(entry.limits);
        self.made += 1;
        if let Some(trace) = &mut self.trace {
            trace.attempt(entry.peer.key().to_string());
        }
        Some((phase.dials[at].clone(), std::mem::take(&mut self.afresh)))
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
        let stale = reused && failure == Failure::Lost;
        if !stale {
            self.blame(failure);
        }
        let attempt = Attempt {
            made: self.made,
            began: self.began,
            idempotent: request.idempotent,
            replayable: request.replayable,
            answered: request.answered,
            plain: self.phase.as_ref().is_some_and(|p| p.view.is_plain()),
        };
        if attempt.may_repeat(failure, now()) {
            self.afresh = stale;
            self.next = self
                .phase
                .as_ref()
                .and_then(|p| pick::pick(&p.view, key, &self.tried, now()));
        }
        if self.next.is_none() {
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
        peer.record().failed(limits, failure, others, now());
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
