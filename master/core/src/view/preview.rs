//! What applying a spec would do, without doing it.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::api::{ApiError, FieldChange, PlanAction, PlanReply, PlannedInstance};
use hancock_proto::app::AppSpec;
use hancock_proto::resources::Usage;
use serde_json::Value;

use super::Context;
use crate::apply::{action, admit};
use crate::refuse;
use crate::schedule::{Board, Demand};
use crate::state::{App, Stage};

/// What applying `spec` would do.
///
/// # Errors
/// As applying it would be refused.
pub fn preview(ctx: Context<'_>, spec: &AppSpec) -> Result<PlanReply, ApiError> {
    admit(ctx.state, spec)?;
    let app = ctx.state.apps.get(&spec.app).map(|a| &**a);
    if app.is_some_and(|a| a.deleting) {
        let message = format!("app {} is being deleted", spec.app);
        return Err(refuse::conflict(message));
    }
    let kind = kind(app, spec);
    let count = brings(app, spec, kind);
    let (placements, unplaceable) = places(ctx, app, spec, kind, count);
    Ok(PlanReply {
        app: spec.app.clone(),
        action: kind,
        changes: changes(app.and_then(App::wanted_spec).map(|s| &**s), spec),
        notes: notes(ctx, app, spec, kind),
        peak: peak(ctx, app, spec, kind, placements.len()),
        placements,
        unplaceable,
        spec: spec.clone(),
    })
}

/// A stopped app takes the spec up when it starts.
fn kind(app: Option<&App>, spec: &AppSpec) -> PlanAction {
    match app {
        Some(app) if app.stopped => PlanAction::Nothing,
        Some(app) => action(app.live_spec().map(|s| &**s), spec),
        None => PlanAction::Create,
    }
}

fn brings(app: Option<&App>, spec: &AppSpec, kind: PlanAction) -> u32 {
    match kind {
        PlanAction::Create | PlanAction::Replace => spec.replicas,
        PlanAction::Scale => {
            let have = app.and_then(App::live_spec).map_or(0, |s| s.replicas);
            spec.replicas.saturating_sub(have)
        }
        PlanAction::Reroute | PlanAction::Nothing => 0,
    }
}

fn places(
    ctx: Context<'_>,
    app: Option<&App>,
    spec: &AppSpec,
    kind: PlanAction,
    count: u32,
) -> (Vec<PlannedInstance>, Vec<String>) {
    let live = app.into_iter().flat_map(|a| ctx.state.instances_of(a));
    let live = live.filter(|i| kind == PlanAction::Scale && i.stage == Stage::Live);
    let peers: BTreeSet<_> = live.map(|i| i.id.clone()).collect();
    let demand = Demand {
        spec,
        peers: &peers,
    };
    let gone = app.filter(|app| clears(app, spec, kind)).map(|a| &a.name);
    let mut board = Board::without(ctx.state, ctx.leader, ctx.now, gone);
    let (choices, misfits) = board.place(ctx.state, demand, count as usize);
    let planned = choices.into_iter().map(|c| PlannedInstance {
        node: c.placement.node,
        reason: c.reason,
    });
    (
        planned.collect(),
        misfits.map(|m| m.lines()).unwrap_or_default(),
    )
}

/// Whether what runs stops before anything starts.
fn clears(app: &App, spec: &AppSpec, kind: PlanAction) -> bool {
    kind == PlanAction::Replace && app.stops_before(spec)
}

/// That nobody serves for a moment, and zones whose readers do not all confirm.
fn notes(ctx: Context<'_>, app: Option<&App>, spec: &AppSpec, kind: PlanAction) -> Vec<String> {
    let clears = app.is_some_and(|app| clears(app, spec, kind));
    let gap = "what runs stops before the new instances start: nobody serves in between".to_owned();
    let zones: BTreeSet<_> = spec.service.iter().map(|s| &s.zone).collect();
    let settle = zones.into_iter().filter_map(|name| {
        let time = ctx.state.zone(name)?.external_settle?;
        Some(format!(
            "zone {name} has readers that do not confirm: old instances drain no earlier than {time} after the switch"
        ))
    });
    clears.then_some(gap).into_iter().chain(settle).collect()
}

/// What the app reserves while old and new run side by side, where they do.
fn peak(
    ctx: Context<'_>,
    app: Option<&App>,
    spec: &AppSpec,
    kind: PlanAction,
    added: usize,
) -> Usage {
    let mut peak = Usage::default();
    let app = app.filter(|app| !clears(app, spec, kind));
    let have = app.into_iter().flat_map(|a| {
        let instances = ctx.state.instances_of(a);
        instances.filter_map(|i| a.spec(i.version))
    });
    for spec in have {
        peak = peak.plus(&spec.resources);
    }
    for _ in 0..added {
        peak = peak.plus(&spec.resources);
    }
    peak
}

fn changes(old: Option<&AppSpec>, new: &AppSpec) -> Vec<FieldChange> {
    let Some(old) = old else { return Vec::new() };
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &value(old), &mut before);
    flatten("", &value(new), &mut after);
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let different = paths.into_iter().filter(|p| before.get(p) != after.get(p));
    different
        .map(|path| FieldChange {
            old: before.get(&path).cloned().unwrap_or(Value::Null),
            new: after.get(&path).cloned().unwrap_or(Value::Null),
            path,
        })
        .collect()
}

fn value(spec: &AppSpec) -> Value {
    serde_json::to_value(spec).unwrap_or(Value::Null)
}

/// Leaves by path: `service[0].hosts[1]`.
fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{name}"), value, out);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                flatten(&format!("{path}[{i}]"), value, out);
            }
        }
        leaf => drop(out.insert(path.to_owned(), leaf.clone())),
    }
}
