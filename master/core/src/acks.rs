//! Who has confirmed a cutover, who has not, and what that means for the instances that leave by it.
//!
//! Every node of the app's zones in the replicated registry has to confirm: lost and silent ones too, as they may still serve clients. So
//! has every node that belonged to one, until it has let go of the app. Deadlines never lie before the term is one lease old, so a new
//! leader hears everybody first.

mod readers;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hancock_proto::app::{Stop, Update};
use hancock_proto::ids::{BootId, DocIndex, InstanceId, NodeId};
use hancock_proto::report::{Draining, Refusal};
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;

use crate::command::{Confirmation, Evidence, StopCause};
use crate::leader::{LEASE, LeaderView, sum};
use crate::state::{App, Carry, Cutover, Instance, Kind, LettingGo, Node, State};

/// Balancers close sessions at their limit, reset what is not closed 5 s later, and report; only then the instance is stopped.
const CLOSING: Duration = Duration::from_secs(8);

/// A balancer that has to confirm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// A node's.
    Node(NodeId),
    /// One that reads a registry outside, chosen under this number, and is no agent.
    Reader(u64, String),
    /// Those of a registry outside that are not known yet.
    Readers(u64, String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Node(id) => id.fmt(f),
            Who::Reader(_, name) => write!(f, "reader {name}"),
            Who::Readers(_, url) => write!(f, "whoever reads {url}"),
        }
    }
}

/// How every balancer that has to confirm stands to one cutover.
#[derive(Default)]
pub(crate) struct Acks {
    pub(crate) confirmed: BTreeMap<Who, Confirmed>,
    pub(crate) missing: BTreeMap<Who, Missing>,
    pub(crate) refused: BTreeMap<Who, Refusal>,
    /// When the last of those who confirmed is known to have done so.
    switched: Timestamp,
}

/// What a balancer confirmed.
pub(crate) struct Confirmed {
    /// The start of the node's daemon; None: it is no node's.
    boot: Option<BootId>,
    index: DocIndex,
}

/// A balancer that has not confirmed.
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

/// How every balancer that has to confirm stands to a cutover that is published.
pub(crate) fn acks(
    state: &State,
    view: &LeaderView,
    now: Timestamp,
    app: &App,
    cutover: &Cutover,
) -> Acks {
    let mut acks = Acks::default();
    let carry = Carry::of(state, app);
    for (id, node) in &state.nodes {
        let names = carry.names(&node.info.labels);
        if !lets_go(view, app, &carry, id, node) {
            let absent = Last::of(view, now, id).missing(view, now, app, cutover, None);
            let why = format!("is to let go of it and {}", absent.why);
            let who = Who::Node(id.clone());
            acks.missing.insert(who, Missing { why, ..absent });
            continue;
        }
        let leaves = app.routes.leaving.contains_key(id);
        match view.confirmed(id, &node.boot, names.clone()) {
            _ if names.clone().next().is_none() && !leaves => {}
            Some(index) if index >= cutover.index => {
                let since = view.confirmed_since(id, names, cutover.index);
                acks.switched = acks.switched.max(since.unwrap_or_default());
                let boot = Some(node.boot.clone());
                let index = index.min(app.routes.index);
                let confirmed = Confirmed { boot, index };
                acks.confirmed.insert(Who::Node(id.clone()), confirmed);
            }
            _ => {
                let refusal = view.refusal(id, names, cutover.index).cloned();
                let last = Last::of(view, now, id);
                let absent = last.missing(view, now, app, cutover, refusal.as_ref());
                acks.lacks(Who::Node(id.clone()), absent, refusal);
            }
        }
    }
    readers::take(&mut acks, state, view, now, app, cutover);
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

/// When a balancer was heard last.
struct Last {
    heard: Timestamp,
    is_alive: bool,
}

impl Last {
    fn of(view: &LeaderView, now: Timestamp, node: &NodeId) -> Self {
        Self {
            heard: view.last_contact(node),
            is_alive: view.is_alive(node, now),
        }
    }

    /// For how long it is waited for.
    fn missing(
        &self,
        view: &LeaderView,
        now: Timestamp,
        app: &App,
        cutover: &Cutover,
        refusal: Option<&Refusal>,
    ) -> Missing {
        let update = update(app);
        let published = cutover.published_at.unwrap_or(now);
        // A balancer that is there has `accept_timeout` of its own to decide; silence gets `ack_timeout` only.
        let accept = match self.is_alive {
            true => update.accept_timeout,
            false => Default::default(),
        };
        let mature = view.since() + LEASE;
        let deadline = (published + accept.duration() + update.ack_timeout.duration()).max(mature);
        let last = match refusal {
            Some(_) => published,
            None => self.heard,
        };
        let hold_until = (last + update.hold_unconfirmed.duration()).max(deadline);
        let why = match refusal {
            Some(refusal) => format!("refused {}: {}", refusal.peer, refusal.reason),
            None if self.is_alive => "has not confirmed yet".to_owned(),
            None => format!("silent for {} s", now.since(self.heard).as_secs()),
        };
        Missing {
            why,
            deadline,
            hold_until,
        }
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
    fn lacks(&mut self, who: Who, missing: Missing, refusal: Option<Refusal>) {
        self.refused
            .extend(refusal.map(|refusal| (who.clone(), refusal)));
        self.missing.insert(who, missing);
    }

    /// When drain may go on without everybody who is missing; None: nobody is.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.missing.values().map(|m| m.deadline).max()
    }

    /// As it goes into the log.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::default();
        for (who, confirmed) in &self.confirmed {
            let index = confirmed.index;
            match (who, confirmed.boot.clone()) {
                (Who::Node(node), Some(boot)) => {
                    let confirmation = Confirmation { boot, index };
                    evidence.confirmed.insert(node.clone(), confirmation);
                }
                _ => drop(evidence.readers.insert(who.to_string(), index)),
            }
        }
        for (who, missing) in &self.missing {
            let why = missing.why.clone();
            match who {
                Who::Node(node) => drop(evidence.silent.insert(node.clone(), why)),
                _ => drop(evidence.silent_readers.insert(who.to_string(), why)),
            }
        }
        evidence
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
        let each = self.confirmed.keys().map(|who| match who {
            Who::Node(node) => view.open(node, peer),
            Who::Reader(choice, name) => view.outside().open(*choice, name, peer),
            Who::Readers(..) => Draining::default(),
        });
        let each: Vec<Draining> = each.collect();
        sum(each.iter())
    }
}
