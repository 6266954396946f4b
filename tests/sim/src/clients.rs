//! Requests: they arrive at every node all the time, may stay between loading their view and picking from it, and some become sessions.

use std::sync::Arc;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::Failure;
use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::retry::{Attempt, Rules};
use hancock_balancer_core::table::View;
use hancock_proto::ids::InstanceId;
use hancock_proto::service::{ServiceKind, ServiceName};

use crate::world::{Event, World};

const KEY: RequestKey<'static> = RequestKey {
    target: b"/",
    client: None,
    header: None,
};

/// One request.
pub(crate) struct Request {
    pub(crate) node: usize,
    epoch: u64,
    pub(crate) name: ServiceName,
    pub(crate) began: u64,
    /// Held as long as a pick is possible.
    pub(crate) phase: Option<Arc<View>>,
    pub(crate) ticket: Option<Ticket>,
    entry: usize,
    tried: Tried,
    made: u32,
    /// Who answers it, and where.
    served: Option<(usize, InstanceId)>,
}

impl Request {
    /// Whether the instance may still be picked by it, or is what it is open on.
    pub(crate) fn concerns(&self, id: &InstanceId) -> bool {
        let listed = self.phase.as_ref().is_some_and(|view| {
            let mut entries = view.entries().iter();
            entries.any(|e| e.peer.instance() == Some(id))
        });
        let open = self.ticket.as_ref();
        listed || open.is_some_and(|t| t.peer().instance() == Some(id))
    }
}

impl World {
    /// A request arrives, and the next one after it.
    pub(crate) fn client(&mut self, node: usize) {
        let pause = self.rng.between(80, 1200);
        self.after(pause, Event::Client(node));
        let host = &self.hosts[node];
        let Some(daemon) = host.daemon.as_ref().filter(|_| host.power) else {
            return;
        };
        let names: Vec<ServiceName> = daemon.balancer.views().map(|(n, _)| n.clone()).collect();
        let Some(name) = self.rng.one(&names) else {
            return;
        };
        let Some(daemon) = &self.hosts[node].daemon else {
            return;
        };
        let Some(view) = daemon.balancer.load(&name) else {
            return;
        };
        let request = Request {
            node,
            epoch: daemon.epoch,
            name,
            began: self.now,
            phase: Some(view),
            ticket: None,
            entry: 0,
            tried: Tried::default(),
            made: 0,
            served: None,
        };
        let id = self.number();
        self.requests.insert(id, request);
        let parked = if self.rng.percent(10) {
            self.rng.between(50, 4000)
        } else {
            self.rng.between(0, 2)
        };
        self.after(parked, Event::Pick(id));
    }

    /// Whether the daemon a request came to still runs; else the request is gone with it.
    fn open_request(&mut self, id: u64) -> Option<&mut Request> {
        let request = self.requests.get(&id)?;
        if self.hosts[request.node].epoch() != Some(request.epoch) {
            self.requests.remove(&id);
            return None;
        }
        self.requests.get_mut(&id)
    }

    pub(crate) fn pick(&mut self, id: u64) {
        let now = self.time();
        let Some(request) = self.open_request(id) else {
            return;
        };
        let Some(view) = request.phase.clone() else {
            return;
        };
        let Some(at) = pick::pick(&view, &KEY, &request.tried, now, id) else {
            return self.failed_request(id, "there is nobody to pick");
        };
        let peer = view.entries()[at].peer.clone();
        let chosen = peer.instance().cloned();
        request.ticket = Some(Ticket::new(peer));
        request.entry = at;
        request.made += 1;
        let (node, name, began) = (request.node, request.name.clone(), request.began);
        if let Some(chosen) = chosen {
            self.judge_pick(node, &name, began, &chosen);
        }
        let delay = self.rng.between(1, 12);
        self.after(delay, Event::Dialled(id));
    }

    pub(crate) fn dialled(&mut self, id: u64) {
        let Some(request) = self.open_request(id) else {
            return;
        };
        let Some(ticket) = &request.ticket else {
            return;
        };
        let (node, key) = (request.node, ticket.peer().key().clone());
        match self.connect(node, &key) {
            Ok((there, who)) => self.connected(id, there, who, key.instance.as_ref()),
            Err(failure) => self.attempt_failed(id, failure),
        }
    }

    fn connected(&mut self, id: u64, there: usize, who: InstanceId, meant: Option<&InstanceId>) {
        if meant.is_some_and(|meant| *meant != who) {
            self.fail(format!("a request for {meant:?} was answered by {who}"));
        }
        let over_tcp = |r: &Request| matches!(r.name.kind(), ServiceKind::Tcp(_));
        let session = self.rng.percent(4) || self.requests.get(&id).is_some_and(over_tcp);
        let slow = self.rng.percent(15);
        let lasts = match (session, slow) {
            (true, _) => self.rng.between(1000, 45_000),
            (false, true) => self.rng.between(500, 4500),
            (false, false) => self.rng.between(2, 120),
        };
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        if let (Some(view), Some(ticket)) = (&request.phase, &mut request.ticket) {
            let limits = view.entries()[request.entry].limits;
            ticket.peer().record().connected(limits);
            if session {
                ticket.upgrade();
            }
        }
        // Answered in part: no retry is possible any more.
        request.phase = None;
        request.served = Some((there, who));
        self.after(lasts, Event::Answered(id));
    }

    fn attempt_failed(&mut self, id: u64, failure: Failure) {
        let now = self.time();
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        if let (Some(view), Some(ticket)) = (&request.phase, &request.ticket) {
            let peer = ticket.peer().clone();
            let limits = view.entries()[request.entry].limits;
            let others = || pick::others_unbanned(view, &peer);
            peer.record().failed(limits, failure, others, now);
            request.tried.add(peer);
        }
        let attempt = Attempt {
            rules: Rules::unsaid(false),
            made: request.made,
            began: hancock_proto::time::Timestamp(request.began),
            idempotent: true,
            replayable: true,
            answered: false,
        };
        if attempt.may_repeat(failure, now) {
            return self.pick(id);
        }
        self.failed_request(id, &format!("{failure:?}"));
    }

    /// A request ends well, unless who answered it has gone before its end.
    pub(crate) fn answered(&mut self, id: u64) {
        let Some(request) = self.open_request(id) else {
            return;
        };
        let Some((there, who)) = request.served.clone() else {
            return;
        };
        let container = self.hosts[there].engine.get(&who);
        if container.is_some_and(|c| c.observed.is_running()) {
            self.requests.remove(&id);
            self.oracle.served += 1;
            return;
        }
        self.failed_request(id, &format!("{who} has gone before it ended"));
    }

    fn failed_request(&mut self, id: u64, why: &str) {
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        self.judge_failed(&request, why);
    }
}
