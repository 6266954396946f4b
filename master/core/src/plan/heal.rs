//! Keeps live apps whole: replacements for what has failed or is lost, surplus away.

use std::collections::BTreeSet;
use std::time::Duration;

use hancock_proto::app::{AppSpec, Strategy};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;

use super::{Turn, ids};
use crate::apply::{effect, is_replacement, may_run};
use crate::command::{Command, Purpose};
use crate::desired::is_ready;
use crate::schedule::Demand;
use crate::state::{App, Instance, Phase, Stage, State, is_single_writer};

/// Time a node may take to notice that it is cut off, and that its clock may be behind in a stop.
const STOP_MARGIN: Duration = Duration::from_secs(15);

pub(super) fn plan<'a>(turn: &mut Turn<'a>, app: &'a App) {
    let Some(spec) = app.live_spec().filter(|_| !app.stopped) else {
        return;
    };
    restart_ailing(turn, app, spec);
    let hopeless = hopeless(turn, app, spec);
    let coming: Vec<&Instance> = replacements(turn, app)
        .filter(|i| !hopeless.contains(&i.id))
        .collect();
    let live = turn.live(app).count();
    if !hopeless.is_empty() {
        let at = turn.now;
        turn.propose(Command::Discard {
            app: app.name.clone(),
            instances: hopeless,
            at,
        });
        // The pause it causes decides about the next ones.
        return;
    }
    align(turn, app, &coming);
    let others = may_run_on(turn, app) + in_the_way(turn.state, app, spec);
    let missing = (spec.replicas as usize).saturating_sub(live + coming.len() + others);
    if missing > 0 && !is_switching(turn, app) {
        replace(turn, app, spec, missing, &coming);
    }
}

/// How many instances on lost nodes must not run twice and are not certain to have stopped. Their nodes count the silence from when they
/// noticed it; where nothing stops them, only the node's own word does.
fn may_run_on<'a>(turn: &mut Turn<'a>, app: &'a App) -> usize {
    let state = turn.state;
    let live = state.instances_of(app).map(|i| &**i);
    let lost = live.filter(|i| i.stage == Stage::Live && !i.is_over() && state.is_lost(&i.node));
    let mut count = 0;
    for instance in lost {
        count += usize::from(match certain_stop(turn, app, instance) {
            Some(at) => !turn.due(at),
            None => is_single_writer(state, instance),
        });
    }
    count
}

/// When an instance has stopped at the latest, if its node is cut off since it was heard last. None: nothing stops it there.
pub(super) fn certain_stop(turn: &Turn<'_>, app: &App, instance: &Instance) -> Option<Timestamp> {
    let rules = app.spec(instance.rules)?;
    let (after, grace) = (rules.disconnect?.stop_after, rules.stop.grace_period);
    let silent = turn.view.last_contact(&instance.node);
    Some(silent + after.duration() + grace.duration() + STOP_MARGIN)
}

/// How many instances on their way out are waited for, where nothing starts beside what runs: those of another version, those that came to
/// nothing, and all while the app is brought back.
fn in_the_way(state: &State, app: &App, spec: &AppSpec) -> usize {
    if spec.update.strategy != Strategy::Recreate {
        return 0;
    }
    let other = |i: &Instance| match i.stage {
        Stage::Starting | Stage::Live => false,
        Stage::Leaving => app.resting.is_some() || Some(i.version) != app.live,
        Stage::Ending => true,
    };
    let all = state.instances_of(app);
    all.filter(|i| other(i) && may_run(state, i)).count()
}

/// Instances whose checks fail for too long are asked to restart, those first that were restarted least. Never one that is ready, and only as
/// many as may be missing at the same time, those included that are not ready yet: a check that fails everywhere must not take down
/// everything at once.
fn restart_ailing<'a>(turn: &mut Turn<'a>, app: &'a App, spec: &AppSpec) {
    let heard = |i: &&Instance| turn.view.is_alive(&i.node, turn.now);
    let (mut ailing, rest): (Vec<_>, Vec<_>) = turn.live(app).partition(|i| i.is_ailing());
    let down = rest.iter().filter(|i| !is_ready(turn.state, i)).count();
    let may = (spec.update.max_unavailable.max(1) as usize).saturating_sub(down);
    ailing.retain(heard);
    ailing.sort_by_key(|i| (i.facts.restarts, i.placed_at, i.id.clone()));
    ailing.truncate(may);
    if !ailing.is_empty() {
        let (instances, at) = (ids(ailing), turn.now);
        turn.propose(Command::RestartAiling {
            app: app.name.clone(),
            instances,
            at,
        });
    }
}

fn replacements<'a>(turn: &Turn<'a>, app: &'a App) -> impl Iterator<Item = &'a Instance> + use<'a> {
    let all = turn.state.instances_of(app).map(|i| &**i);
    all.filter(|i| is_replacement(app, i))
}

/// The routed set is about to change as a whole.
fn is_switching(turn: &Turn<'_>, app: &App) -> bool {
    turn.state
        .active_of(app)
        .any(|d| matches!(d.phase, Phase::Promoting | Phase::Failing))
}

/// Replacements that ended, whose node is lost, that took too long, or that are too many.
fn hopeless<'a>(turn: &mut Turn<'a>, app: &'a App, spec: &AppSpec) -> BTreeSet<InstanceId> {
    let deadline = spec.update.healthy_deadline.duration();
    let mut room = (spec.replicas as usize).saturating_sub(turn.live(app).count());
    let mut hopeless = BTreeSet::new();
    for instance in replacements(turn, app).collect::<Vec<_>>() {
        let ended = instance.is_over() || turn.state.is_lost(&instance.node);
        let late = !is_ready(turn.state, instance) && turn.overdue(instance.placed_at + deadline);
        if ended || late || room == 0 {
            hopeless.insert(instance.id.clone());
        } else {
            room -= 1;
        }
    }
    hopeless
}

/// Ready replacements join, dead instances leave, surplus retires: one change of the documents.
fn align(turn: &mut Turn<'_>, app: &App, coming: &[&Instance]) {
    let state = turn.state;
    let ready = coming.iter().filter(|i| is_ready(state, i)).copied();
    let effect = effect(state, app, &ids(ready));
    if effect.is_empty() {
        return;
    }
    let at = turn.now;
    turn.propose(Command::Heal {
        app: app.name.clone(),
        join: effect.join,
        at,
    });
}

fn replace<'a>(
    turn: &mut Turn<'a>,
    app: &'a App,
    spec: &AppSpec,
    missing: usize,
    coming: &[&Instance],
) {
    if !turn.due(app.heal_after) {
        return;
    }
    let mut peers = ids(turn.live(app));
    peers.extend(ids(coming.iter().copied()));
    let demand = Demand {
        spec,
        peers: &peers,
    };
    let (choices, _) = turn.seek(demand, missing, false);
    turn.place(Purpose::Heal(app.name.clone()), choices);
}
