//! Takes each deployment one step further: place, wait for readiness, promote, finish; or fail.

use std::collections::BTreeSet;

use hancock_proto::app::AppSpec;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::Life;
use hancock_proto::time::Timestamp;

use super::{Turn, ids};
use crate::acks::{Verdict, acks, stop};
use crate::apply::{MAX_GENERATIONS, Way, may_run, most_generations, way};
use crate::command::{Command, Purpose};
use crate::desired::is_ready;
use crate::leader::LeaderView;
use crate::schedule::{Board, Demand};
use crate::state::{
    App, Cutover, Deployment, Instance, Kind, Phase, Stage, State, is_single_writer,
};

/// Rejections a deployment bears, for each instance it brings.
const REJECTIONS: u32 = 3;

pub(super) fn plan<'a>(turn: &mut Turn<'a>, app: &'a App) {
    for d in turn.state.active_of(app) {
        match d.phase {
            Phase::Clearing => clear(turn, app, d),
            Phase::Placing => place(turn, app, d),
            Phase::Starting => start(turn, app, d),
            Phase::Draining | Phase::Stopping => finish(turn, app, d),
            // Queued ones are started by apply; the cutover takes the others on.
            Phase::Queued | Phase::Promoting | Phase::Failing => {}
            Phase::Successful | Phase::Failed | Phase::Aborted | Phase::Superseded => {}
        }
    }
}

fn fail(turn: &mut Turn<'_>, d: &Deployment, reason: String) {
    let at = turn.now;
    turn.propose(Command::FailDeployment {
        deployment: d.id,
        reason,
        at,
    });
}

/// What runs goes first, unless nobody could come in its place.
fn clear(turn: &mut Turn<'_>, app: &App, d: &Deployment) {
    let Some(spec) = app.spec(d.version) else {
        return;
    };
    let way = way(turn.state, app);
    let stuck = match way {
        Way::Occupied => obstacle(turn.state, turn.view, turn.now, app, d).map(|o| (d.progress, o)),
        Way::Leaving => unreported(turn.state, app),
        Way::Free => None,
    };
    if let Some((since, why)) = stuck {
        if turn.overdue(since + spec.update.progress_deadline.duration()) {
            fail(turn, d, why);
        }
    } else if way != Way::Leaving {
        let at = turn.now;
        turn.propose(Command::Clear {
            deployment: d.id,
            at,
        });
    }
}

/// Why nobody is told to go yet by a deployment that stops what runs first.
pub(crate) fn obstacle(
    state: &State,
    view: &LeaderView,
    now: Timestamp,
    app: &App,
    d: &Deployment,
) -> Option<String> {
    let spec = app.spec(d.version)?;
    if app.generations() >= MAX_GENERATIONS {
        return Some(stuck(app, spec));
    }
    let mut writers = state.instances_of(app).map(|i| &**i);
    let unheard = writers.find(|i| {
        let silent = !view.is_alive(&i.node, now);
        silent && !i.is_over() && is_single_writer(state, i)
    });
    if let Some(i) = unheard {
        return Some(format!(
            "{} may go on writing to its volume on {}, which is not heard; `hancock app stop {}` gives it up",
            i.id, i.node, i.app
        ));
    }
    let demand = Demand {
        spec,
        peers: &BTreeSet::new(),
    };
    let mut board = Board::without(state, view, now, Some(&app.name));
    let (places, misfits) = board.place(state, demand, d.brings as usize);
    let short = d.brings as usize - places.len();
    misfits.map(|why| format!("no place for {short} of {} instances: {why}", d.brings))
}

/// Since when nobody has anything left to drain and somebody who was told to stop has not been reported stopped; and who.
fn unreported(state: &State, app: &App) -> Option<(Timestamp, String)> {
    let rest = state.instances_of(app).map(|i| &**i);
    let rest: Vec<&Instance> = rest.filter(|i| may_run(state, i)).collect();
    let told = |i: &Instance| {
        let told = i.ending_at.filter(|_| i.stage == Stage::Ending)?;
        Some(told + stop(app, i).grace_period.duration())
    };
    let last = rest.iter().max_by_key(|i| told(i))?;
    let since = rest.iter().map(|i| told(i)).collect::<Option<Vec<_>>>()?;
    let why = format!("{} on {} has not been reported stopped", last.id, last.node);
    Some((since.into_iter().max()?, why))
}

fn place<'a>(turn: &mut Turn<'a>, app: &'a App, d: &'a Deployment) {
    let Some(spec) = app.spec(d.version) else {
        return;
    };
    if crashed(turn, d) {
        return;
    }
    let missing = (d.brings as usize).saturating_sub(d.new.len());
    let peers = peers(turn.state, app, d);
    let demand = Demand {
        spec,
        peers: &peers,
    };
    // Half a second set helps nobody; half of an addition does.
    let whole = matches!(d.kind, Kind::Replace | Kind::Restart);
    let (choices, misfits) = turn.seek(demand, missing, whole);
    let found = choices.len();
    turn.place(Purpose::Deployment(d.id), choices);
    let Some(misfits) = misfits else { return };
    if turn.overdue(d.progress + spec.update.progress_deadline.duration()) {
        let short = missing - found;
        let all = d.brings;
        fail(
            turn,
            d,
            format!("no place for {short} of {all} instances: {misfits}"),
        );
    }
}

/// The set the new instances are spread within.
pub(crate) fn peers(state: &State, app: &App, d: &Deployment) -> BTreeSet<InstanceId> {
    let mut peers = d.new.clone();
    if d.kind == Kind::Scale {
        let live = state.instances_of(app);
        peers.extend(ids(live.map(|i| &**i).filter(|i| i.stage == Stage::Live)));
    }
    peers
}

fn start(turn: &mut Turn<'_>, app: &App, d: &Deployment) {
    let Some(spec) = app.spec(d.version) else {
        return;
    };
    if crashed(turn, d) || late(turn, spec, d) {
        return;
    }
    let progress = d.progress + spec.update.progress_deadline.duration();
    if !settled(turn, spec, d) || app.generations() >= most_generations(d.kind) {
        if !d.kind.is_end() && turn.overdue(progress) {
            fail(turn, d, stuck(app, spec));
        }
        return;
    }
    let at = turn.now;
    turn.propose(Command::Promote {
        deployment: d.id,
        at,
    });
}

fn stuck(app: &App, spec: &AppSpec) -> String {
    let after = spec.update.progress_deadline;
    if app.generations() >= MAX_GENERATIONS {
        format!("two earlier generations have not left within {after}")
    } else {
        format!("no progress within {after}")
    }
}

/// An instance that ended fails the whole deployment, with its own words; one that its node merely rejected gets another place, as
/// long as that is not all that ever happens.
fn crashed(turn: &mut Turn<'_>, d: &Deployment) -> bool {
    let new = d.new.iter().filter_map(|id| turn.instance(id));
    let (rejected, ended): (Vec<_>, Vec<_>) = new
        .filter(|i| i.is_over())
        .partition(|i| i.facts.life == Life::Rejected && d.rejected < REJECTIONS * d.brings);
    let Some(ended) = ended.first() else {
        return place_again(turn, d, ids(rejected));
    };
    let why = ended.facts.reason.as_deref();
    let why = why.map(|r| format!(": {r}")).unwrap_or_default();
    let how = match ended.facts.life {
        Life::Rejected => "was rejected",
        Life::Stopped => "has stopped",
        _ => "has failed",
    };
    let reason = format!("instance {} on {} {how}{why}", ended.id, ended.node);
    fail(turn, d, reason);
    true
}

fn place_again(turn: &mut Turn<'_>, d: &Deployment, instances: BTreeSet<InstanceId>) -> bool {
    if instances.is_empty() {
        return false;
    }
    let at = turn.now;
    turn.propose(Command::PlaceAgain {
        deployment: d.id,
        instances,
        at,
    });
    true
}

/// An instance that takes too long fails the deployment as well.
fn late(turn: &mut Turn<'_>, spec: &AppSpec, d: &Deployment) -> bool {
    let deadline = spec.update.healthy_deadline;
    let (state, now) = (turn.state, turn.now);
    let new = d.new.iter().filter_map(|id| turn.instance(id));
    let waiting: Vec<&Instance> = new.filter(|i| !is_ready(state, i)).collect();
    for instance in waiting {
        if turn.overdue(instance.placed_at + deadline.duration()) {
            let reason = format!(
                "instance {} on {} was not ready within {deadline}: {}",
                instance.id,
                instance.node,
                condition(instance, now)
            );
            fail(turn, d, reason);
            return true;
        }
    }
    false
}

/// How an instance is, and for how long.
fn condition(instance: &Instance, now: Timestamp) -> String {
    let seconds = now.since(instance.facts.since).as_secs();
    let (life, why) = manner(instance);
    format!("{life} for {seconds} s{why}")
}

/// How an instance is, and why in brackets.
pub(crate) fn manner(instance: &Instance) -> (Life, String) {
    let facts = &instance.facts;
    let not_ready = facts.ready.as_ref().filter(|c| !c.value);
    let why = facts
        .reason
        .as_deref()
        .or(not_ready.map(|c| c.reason.as_str()));
    let why = why.filter(|w| !w.is_empty());
    let why = why.map(|w| format!(" ({w})")).unwrap_or_default();
    (facts.life, why)
}

/// Every new instance is ready and has been for `min_healthy_time`.
fn settled(turn: &mut Turn<'_>, spec: &AppSpec, d: &Deployment) -> bool {
    let mut all = true;
    for id in &d.new {
        let Some(instance) = turn.instance(id) else {
            return false;
        };
        let since = instance.ready_at.unwrap_or(turn.now);
        all &= is_ready(turn.state, instance)
            && turn.due(since + spec.update.min_healthy_time.duration());
    }
    all
}

/// A deployment has gone well when its cutovers are settled, or when all that is left is held or lingers. One that stopped what ran before it
/// started anything has two.
fn finish(turn: &mut Turn<'_>, app: &App, d: &Deployment) {
    let cutovers = app.routes.cutovers.iter();
    let mine: Vec<&Cutover> = cutovers.filter(|c| is_of(c, d)).collect();
    let rest = match &*mine {
        [] if is_clean(app, d) => Some(Rest::default()),
        [] => None,
        _ if d.kind == Kind::Delete => None,
        mine => rest(turn, app, mine),
    };
    let Some(rest) = rest else { return };
    let at = turn.now;
    turn.propose(Command::FinishDeployment {
        deployment: d.id,
        holding: rest.holding,
        lingering: rest.lingering,
        at,
    });
}

fn is_of(cutover: &Cutover, d: &Deployment) -> bool {
    cutover.deployment == Some(d.id) || d.cutover == Some(cutover.index)
}

fn is_clean(app: &App, d: &Deployment) -> bool {
    let routes = &app.routes;
    let gone = d.kind != Kind::Delete || (routes.closed && routes.names.is_empty());
    routes.is_published() && gone
}

/// Old instances a finished deployment leaves behind.
#[derive(Default)]
struct Rest {
    holding: BTreeSet<InstanceId>,
    lingering: BTreeSet<InstanceId>,
}

/// What a deployment would leave behind if it finished now; None: it has something to wait for.
fn rest(turn: &Turn<'_>, app: &App, cutovers: &[&Cutover]) -> Option<Rest> {
    let mut all = Rest::default();
    for cutover in cutovers {
        let rest = rest_of(turn, app, cutover)?;
        all.holding.extend(rest.holding);
        all.lingering.extend(rest.lingering);
    }
    Some(all)
}

fn rest_of(turn: &Turn<'_>, app: &App, cutover: &Cutover) -> Option<Rest> {
    let acks = acks(turn.state, turn.view, turn.now, app, cutover);
    let mut rest = Rest::default();
    for id in &cutover.retiring {
        let Some(instance) = turn.instance(id).filter(|i| !i.is_over()) else {
            continue;
        };
        if instance.stage == Stage::Ending {
            return None;
        }
        match acks.verdict(turn.view, turn.now, app, cutover, instance) {
            Verdict::Held { .. } => rest.holding.insert(id.clone()),
            Verdict::Lingering { .. } => rest.lingering.insert(id.clone()),
            Verdict::May(_) | Verdict::Draining { .. } => return None,
        };
    }
    let waits = rest.holding.is_empty() && rest.lingering.is_empty();
    (!waits).then_some(rest)
}
