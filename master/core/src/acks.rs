//! Who has confirmed a cutover, who has not, and what that means for the instances that leave by it.
//!
//! Every node of the app's zones in the replicated registry has to confirm: lost and silent ones too, as they may still serve clients. So
//! has every node that belonged to one, until it has let go of the app. Deadlines never lie before the term is one lease old, so a new
//! leader hears everybody first.

use std::collections::BTreeMap;
use std::time::Duration;

use hancock_proto::app::{Stop, Update};
use hancock_proto::ids::{InstanceId, NodeId};
use hancock_proto::report::{Draining, Refusal};
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;

use crate::command::{Confirmation, Evidence, StopCause};
use crate::leader::{LEASE, LeaderView};
use crate::state::{App, Carry, Cutover, Instance, Kind, LettingGo, Node, State};

/// Balancers close sessions at their limit, reset what is not closed 5 s later, and report; only then the instance is stopped.
const CLOSING: Duration = Duration::from_secs(8);

/// How every node that has to confirm stands to one cutover.
pub(crate) struct Acks {
    pub(crate) confirmed: BTreeMap<NodeId, Confirmation>,
    pub(crate) missing: BTreeMap<NodeId, Missing>,
    pub(crate) refused: BTreeMap<NodeId, Refusal>,
    /// When the last of those who confirmed is known to have done so.
    switched: Timestamp,
}

/// A node that has not confirmed.
pub(crate) struct Missing {
    /// Why, as far as it is known.
    pub(crate) why: String,
    /// From then on drain goes on without it.
    pub(crate) deadline: Timestamp,
    /// Until then instances it may still use are held.
    pub(crate) hold_until: Timestamp,
}

/// What may be done with an instance on its way out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It may stop.
    May(StopCause),
    /// Requests are open.
    Draining { until: Timestamp, open: Draining },
    /// Only sessions are open.
    Lingering { until: Timestamp, sessions: u64 },
    /// A balancer may still use it.
    Held { until: Timestamp },
}

/// How every node that has to confirm stands to a cutover that is published.
pub(crate) fn acks(
    state: &State,
    view: &LeaderView,
    now: Timestamp,
    app: &App,
    cutover: &Cutover,
) -> Acks {
    let mut acks = Acks {
        confirmed: BTreeMap::new(),
        missing: BTreeMap::new(),
        refused: BTreeMap::new(),
        switched: Timestamp(0),
    };
    let carry = Carry::of(state, app);
    for (id, node) in &state.nodes {
        let names = carry.names(&node.info.labels);
        if !lets_go(view, app, &carry, id, node) {
            let absent = missing(view, now, app, cutover, id, None);
            let why = format!("is to let go of it and {}", absent.why);
            acks.missing.insert(id.clone(), Missing { why, ..absent });
            continue;
        }
        let leaves = app.routes.leaving.contains_key(id);
        match view.confirmed(id, &node.boot, names.clone()) {
            _ if names.clone().next().is_none() && !leaves => {}
            Some(index) if index >= cutover.index => {
                let since = view.confirmed_since(id, names, cutover.index);
                acks.switched = acks.switched.max(since.unwrap_or_default());
                let boot = node.boot.clone();
                let index = index.min(app.routes.index);
                let confirmation = Confirmation { boot, index };
                acks.confirmed.insert(id.clone(), confirmation);
            }
            _ => {
                let refusal = view.refusal(id, names, cutover.index).cloned();
                let absent = missing(view, now, app, cutover, id, refusal.as_ref());
                acks.missing.insert(id.clone(), absent);
                acks.refused
                    .extend(refusal.map(|refusal| (id.clone(), refusal)));
            }
        }
    }
    acks
}

/// Whether a node no longer carries what it was told to let go of.
pub(crate) fn lets_go(
    view: &LeaderView,
    app: &App,
    carry: &Carry,
    id: &NodeId,
    node: &Node,
) -> bool {
    match app.routes.leaving.get(id) {
        None => true,
        Some(LettingGo { told: None, .. }) => false,
        Some(LettingGo {
            told: Some(told),
            names,
        }) => {
            let carried = |name: &&ServiceName| carry.names(&node.info.labels).any(|n| n == *name);
            let names = names.iter().filter(|name| !carried(name));
            view.lacks(id, &node.boot, names, *told)
        }
    }
}

fn missing(
    view: &LeaderView,
    now: Timestamp,
    app: &App,
    cutover: &Cutover,
    node: &NodeId,
    refusal: Option<&Refusal>,
) -> Missing {
    let update = update(app);
    let alive = view.is_alive(node, now);
    let published = cutover.published_at.unwrap_or(now);
    let heard = view.last_contact(node);
    // A balancer that is there has `accept_timeout` of its own to decide; silence gets `ack_timeout` only.
    let accept = if alive {
        update.accept_timeout
    } else {
        Default::default()
    };
    let mature = view.since() + LEASE;
    let deadline = (published + accept.duration() + update.ack_timeout.duration()).max(mature);
    let last = if refusal.is_some() { published } else { heard };
    let hold_until = (last + update.hold_unconfirmed.duration()).max(deadline);
    let why = match refusal {
        Some(refusal) => format!("refused {}: {}", refusal.peer, refusal.reason),
        None if alive => "has not confirmed yet".to_owned(),
        None => format!("silent for {} s", now.since(heard).as_secs()),
    };
    Missing {
        why,
        deadline,
        hold_until,
    }
}

/// The time readers that do not confirm have: before it drain does not begin. The longest of the app's zones counts.
pub(crate) fn settled_at(state: &State, app: &App, cutover: &Cutover) -> Timestamp {
    let zones = app.carried().into_values().flatten();
    let times = zones.filter_map(|name| state.zone(&name)?.external_settle);
    let longest = times.max().map(|time| time.duration()).unwrap_or_default();
    cutover.published_at.unwrap_or_default() + longest
}

/// The update rules that hold for an app's documents.
pub(crate) fn update(app: &App) -> Update {
    app.routed_spec()
        .map(|s| s.update.clone())
        .unwrap_or_default()
}

/// The stop rules that hold for an instance.
pub(crate) fn stop(app: &App, instance: &Instance) -> Stop {
    app.spec(instance.rules)
        .map(|s| s.stop.clone())
        .unwrap_or_default()
}

impl Acks {
    /// When drain may go on without everybody who is missing; None: nobody is.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.missing.values().map(|m| m.deadline).max()
    }

    /// As it goes into the log.
    pub(crate) fn evidence(&self) -> Evidence {
        let silent = self.missing.iter();
        Evidence {
            confirmed: self.confirmed.clone(),
            silent: silent
                .map(|(node, missing)| (node.clone(), missing.why.clone()))
                .collect(),
        }
    }

    /// Whether refusals of peers this cutover adds are too many: more than a tenth of the zone, in a small zone any.
    pub(crate) fn is_refused(&self, cutover: &Cutover, kind: Kind) -> Option<String> {
        let nodes = self.confirmed.len() + self.missing.len();
        // One that only changes documents adds nobody: what is refused is the document.
        let is_ours = |r: &Refusal| kind == Kind::Reroute || cutover.added.contains(&r.peer);
        let mut ours = self.refused.iter();
        let (first, refusal) = ours.find(|(_, r)| is_ours(r))?;
        let count = self.refused.values().filter(|r| is_ours(r)).count();
        let too_many = if nodes < 10 {
            count > 0
        } else {
            count * 10 > nodes
        };
        too_many.then(|| {
            format!(
                "{count} of {nodes} balancers refused; {first} says of {}: {}",
                refusal.peer, refusal.reason
            )
        })
    }

    /// What may be done with `instance`, which leaves by `cutover`, whose drain has begun.
    pub(crate) fn verdict(
        &self,
        view: &LeaderView,
        now: Timestamp,
        app: &App,
        cutover: &Cutover,
        instance: &Instance,
    ) -> Verdict {
        let held = self.missing.values().map(|m| m.hold_until).max();
        if let Some(until) = held.filter(|until| now < *until) {
            return Verdict::Held { until };
        }
        let open = self.open(view, &instance.id);
        let stop = stop(app, instance);
        // Who switches late, because it was not there, gets the same time to finish what is open.
        let began = self.switched.max(cutover.drain_at.unwrap_or(now));
        let mature = view.since() + LEASE;
        let requests = (began + stop.drain_timeout.duration()).max(mature);
        let sessions = began + stop.session_drain_timeout.duration() + CLOSING;
        let sessions = sessions.max(mature);
        if now < requests && !open.is_drained() {
            return Verdict::Draining {
                until: requests,
                open,
            };
        }
        if now < sessions && open.sessions > 0 {
            return Verdict::Lingering {
                until: sessions,
                sessions: open.sessions,
            };
        }
        Verdict::May(self.cause(open))
    }

    fn cause(&self, open: Draining) -> StopCause {
        match open {
            _ if !self.missing.is_empty() => StopCause::Unconfirmed,
            open if open.is_drained() => StopCause::Drained,
            open if open.sessions > 0 => StopCause::SessionTimeout,
            _ => StopCause::DrainTimeout,
        }
    }

    /// What is open on a peer over every balancer that confirmed.
    fn open(&self, view: &LeaderView, peer: &InstanceId) -> Draining {
        let mut sum = Draining::default();
        for node in self.confirmed.keys() {
            let open = view.open(node, peer);
            sum.requests = sum.requests.saturating_add(open.requests);
            sum.sessions = sum.sessions.saturating_add(open.sessions);
            sum.older_phase |= open.older_phase;
        }
        sum
    }
}
