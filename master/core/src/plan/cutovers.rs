//! Takes each cutover one step further: drain, stop, settle; or back, when balancers refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;

use super::Turn;
use super::heal::certain_stop;
use crate::acks::{Acks, Verdict, acks, lets_go, settled_at, stop};
use crate::apply::{can_go_back, must_report, taken_over};
use crate::command::{Command, StopCause};
use crate::state::{App, Carry, Cutover, Instance, Phase, Stage, is_single_writer};

/// What an agent gets beyond the grace period to report a stop before the deployment goes on without.
const STOP_SLACK: Duration = Duration::from_secs(60);

pub(super) fn plan<'a>(turn: &mut Turn<'a>, app: &'a App) {
    for cutover in &app.routes.cutovers {
        // Not known to be written: nothing follows from it, and no deadline runs.
        if cutover.published_at.is_none() {
            continue;
        }
        let acks = acks(turn.state, turn.view, turn.now, app, cutover);
        match cutover.drain_at {
            None => begin(turn, app, cutover, &acks),
            Some(_) => {
                leave_zones(turn, app, cutover, &acks);
                stop_drained(turn, app, cutover, &acks);
                settle(turn, app, cutover);
            }
        }
    }
    let_go(turn, app);
}

/// The old zones let go when every balancer of the new ones has confirmed, or is given up on like an instance would be.
fn leave_zones(turn: &mut Turn<'_>, app: &App, cutover: &Cutover, acks: &Acks) {
    let evidence = acks.evidence();
    if !cutover.moves || !taken_over(turn.state, app, &evidence) {
        return;
    }
    let held = acks.missing.values().map(|m| m.hold_until).max();
    if held.is_some_and(|until| !turn.overdue(until)) {
        return;
    }
    let at = turn.now;
    turn.propose(Command::LeaveZones {
        app: app.name.clone(),
        index: cutover.index,
        evidence,
        at,
    });
}

/// Nodes that left the app's zones are asked until they carry nothing of it.
fn let_go(turn: &mut Turn<'_>, app: &App) {
    if app.routes.leaving.is_empty() {
        return;
    }
    let carry = Carry::of(turn.state, app);
    let known = app.routes.leaving.keys();
    let known = known.filter_map(|id| turn.state.nodes.get_key_value(id));
    // Whoever is asked no more must have nothing open either: nobody would count it.
    let gone = known.filter(|(id, node)| {
        let open = turn.view.has_open(id, &app.instances);
        !open && lets_go(turn.view, app, &carry, id, node)
    });
    let nodes: BTreeMap<_, _> = gone.map(|(id, n)| (id.clone(), n.boot.clone())).collect();
    if !nodes.is_empty() {
        let at = turn.now;
        turn.propose(Command::LetGo {
            app: app.name.clone(),
            nodes,
            at,
        });
    }
}

/// Drain begins when nobody is waited for any more.
fn begin(turn: &mut Turn<'_>, app: &App, cutover: &Cutover, acks: &Acks) {
    if refused(turn, app, cutover, acks) {
        return;
    }
    if !turn.due(settled_at(turn.state, app, cutover)) {
        return;
    }
    if acks
        .deadline()
        .is_some_and(|deadline| !turn.overdue(deadline))
    {
        return;
    }
    let at = turn.now;
    turn.propose(Command::BeginDrain {
        app: app.name.clone(),
        index: cutover.index,
        evidence: acks.evidence(),
        at,
    });
}

/// A deployment whose instances balancers cannot reach goes back.
fn refused(turn: &mut Turn<'_>, app: &App, cutover: &Cutover, acks: &Acks) -> bool {
    let deployment = cutover.deployment;
    let deployment = deployment.and_then(|id| turn.state.deployments.get(&id));
    let promoting = deployment.filter(|d| d.phase == Phase::Promoting);
    let Some(d) = promoting.filter(|d| can_go_back(turn.state, app, d)) else {
        return false;
    };
    let Some(reason) = acks.is_refused(cutover, d.kind) else {
        return false;
    };
    let at = turn.now;
    turn.propose(Command::FailDeployment {
        deployment: d.id,
        reason,
        at,
    });
    true
}

fn stop_drained(turn: &mut Turn<'_>, app: &App, cutover: &Cutover, acks: &Acks) {
    let mut stops: BTreeMap<InstanceId, StopCause> = BTreeMap::new();
    for id in &cutover.retiring {
        let leaving = turn.instance(id).filter(|i| i.stage == Stage::Leaving);
        let Some(instance) = leaving.filter(|i| !i.is_over()) else {
            continue;
        };
        match acks.verdict(turn.view, turn.now, app, cutover, instance) {
            Verdict::May(cause) => drop(stops.insert(id.clone(), cause)),
            Verdict::Draining { until, .. }
            | Verdict::Lingering { until, .. }
            | Verdict::Held { until } => drop(turn.due(until)),
        }
    }
    if stops.is_empty() {
        return;
    }
    let at = turn.now;
    turn.propose(Command::StopInstances {
        app: app.name.clone(),
        index: cutover.index,
        stops,
        evidence: acks.evidence(),
        at,
    });
}

/// A cutover is over when everybody on the way out has ended, or cannot tell.
fn settle(turn: &mut Turn<'_>, app: &App, cutover: &Cutover) {
    if cutover.moves {
        return;
    }
    let mut unreported = BTreeSet::new();
    for id in &cutover.retiring {
        let Some(instance) = turn.instance(id).filter(|i| !i.is_over()) else {
            continue;
        };
        if !cannot_tell(turn, app, instance) {
            return;
        }
        unreported.insert(id.clone());
    }
    let at = turn.now;
    turn.propose(Command::Settle {
        app: app.name.clone(),
        index: cutover.index,
        unreported,
        at,
    });
}

/// Whether an instance was told to stop and nobody will say that it did: its agent is silent, or stuck.
fn cannot_tell(turn: &mut Turn<'_>, app: &App, instance: &Instance) -> bool {
    let Some(told) = instance
        .ending_at
        .filter(|_| instance.stage == Stage::Ending)
    else {
        return false;
    };
    if must_report(turn.state, app, instance) {
        return false;
    }
    // Its own clock may still have to stop it.
    if let Some(certain) = certain_stop(turn, app, instance)
        && is_single_writer(turn.state, instance)
        && !turn.overdue(certain)
    {
        return false;
    }
    let grace = stop(app, instance).grace_period.duration();
    if turn.overdue(told + grace + STOP_SLACK) {
        return true;
    }
    let silent = !turn.view.is_alive(&instance.node, turn.now);
    silent && turn.overdue(Timestamp::default())
}
