//! What a deployment waits for, in one sentence, and until when.

use std::collections::BTreeSet;

use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;

use super::Context;
use crate::acks::{Verdict, acks, settled_at, stop};
use crate::apply::{Way, may_run, taken_over, way};
use crate::desired::is_ready;
use crate::plan::{manner, obstacle, peers};
use crate::schedule::{Board, Demand};
use crate::state::{App, Cutover, Deployment, Instance, Phase, Stage};

/// Instances or nodes named before the rest is only counted.
const SHOWN: usize = 3;

/// One sentence: what the deployment waits for.
pub(super) fn explain(ctx: Context<'_>, d: &Deployment) -> String {
    let Some(app) = ctx.state.apps.get(&d.app) else {
        return d.reason.clone();
    };
    match d.phase {
        Phase::Queued => "waits for the deployment before it to switch over".to_owned(),
        Phase::Clearing => clearing(ctx, app, d),
        Phase::Placing => placing(ctx, app, d),
        Phase::Starting => starting(ctx, app, d),
        Phase::Promoting => switching(ctx, app, d),
        Phase::Draining => draining(ctx, app, d),
        Phase::Stopping => stopping(ctx, d),
        Phase::Failing => format!("goes back to what served before: {}", d.reason),
        Phase::Successful | Phase::Failed | Phase::Aborted | Phase::Superseded => d.reason.clone(),
    }
}

/// What has to go before anything starts.
fn clearing(ctx: Context<'_>, app: &App, d: &Deployment) -> String {
    if way(ctx.state, app) == Way::Occupied {
        let why = obstacle(ctx.state, ctx.leader, ctx.now, app, d);
        return join("nothing is stopped yet".to_owned(), why.unwrap_or_default());
    }
    let cutover = d.cutover.and_then(|index| app.routes.cutover(index));
    let how = match cutover {
        Some(c) if c.drain_at.is_none() => switching(ctx, app, d),
        Some(c)
            if known(ctx, c.retiring.iter())
                .iter()
                .any(|i| i.stage == Stage::Leaving) =>
        {
            draining(ctx, app, d)
        }
        _ => leaving(ctx, app),
    };
    format!("what runs stops first: {how}")
}

/// Who was told to stop and has not said that it did.
fn leaving(ctx: Context<'_>, app: &App) -> String {
    let all = ctx.state.instances_of(app).map(|i| &**i);
    let rest: Vec<_> = all.filter(|i| may_run(ctx.state, i)).collect();
    let count = format!("{} still to stop", rest.len());
    let each = rest.iter().map(|i| format!("{} on {}", named(i), i.node));
    join(count, some(each.collect()))
}

fn placing(ctx: Context<'_>, app: &App, d: &Deployment) -> String {
    let placed = format!("{} of {} placed", d.new.len(), d.brings);
    let Some(spec) = app.spec(d.version) else {
        return placed;
    };
    let peers = peers(ctx.state, app, d);
    let demand = Demand {
        spec,
        peers: &peers,
    };
    let missing = (d.brings as usize).saturating_sub(d.new.len());
    let mut board = Board::new(ctx.state, ctx.leader, ctx.now);
    match board.place(ctx.state, demand, missing) {
        (_, Some(misfits)) => format!("{placed}; {misfits}"),
        (_, None) => placed,
    }
}

fn starting(ctx: Context<'_>, app: &App, d: &Deployment) -> String {
    let new = known(ctx, d.new.iter());
    let (ready, waiting): (Vec<_>, Vec<_>) = new.into_iter().partition(|i| is_ready(ctx.state, i));
    let count = match d.brings {
        0 => "nothing to start".to_owned(),
        brings => format!("{} of {brings} ready", ready.len()),
    };
    if !waiting.is_empty() {
        let each = waiting.iter().map(|i| named(i));
        return format!("{count}; {}", some(each.collect()));
    }
    if app.generations() >= crate::apply::most_generations(d.kind) {
        return format!("{count}; waits for earlier generations to leave");
    }
    match app.spec(d.version).map(|s| s.update.min_healthy_time) {
        Some(time) if time.duration().as_millis() > 0 => {
            format!("{count}; waits until they have been so for {time}")
        }
        _ => count,
    }
}

fn switching(ctx: Context<'_>, app: &App, d: &Deployment) -> String {
    let cutover = d.cutover.and_then(|index| app.routes.cutover(index));
    let Some(cutover) = cutover.filter(|c| c.published_at.is_some()) else {
        let seconds = ctx.now.since(d.since).as_secs();
        let on_their_way = "documents are on their way to the registry";
        return match seconds {
            0..=10 => on_their_way.to_owned(),
            _ => format!("blocked: registry; {on_their_way} for {seconds} s"),
        };
    };
    let acks = acks(ctx.state, ctx.leader, ctx.now, app, cutover);
    let total = acks.confirmed.len() + acks.missing.len();
    let plural = if total == 1 { "" } else { "s" };
    let count = format!(
        "{} of {total} balancer{plural} confirmed",
        acks.confirmed.len()
    );
    let each = acks.missing.iter().map(|(n, m)| format!("{n} {}", m.why));
    let count = join(count, some(each.collect()));
    let left = settled_at(ctx.state, app, cutover).since(ctx.now).as_secs();
    match left {
        0 => count,
        _ => format!("{count}; readers that do not confirm have {left} s left"),
    }
}

/// What a move to another zone waits for.
fn moving(ctx: Context<'_>, app: &App, cutover: &Cutover) -> String {
    let zones: BTreeSet<_> = app.routes.staying.values().flatten().collect();
    let zones: Vec<_> = zones.iter().map(ToString::to_string).collect();
    let acks = acks(ctx.state, ctx.leader, ctx.now, app, cutover);
    let each = acks.missing.iter().map(|(n, m)| format!("{n} {}", m.why));
    let each: Vec<_> = each.collect();
    let lacks = each.is_empty() && !taken_over(ctx.state, app, &acks.evidence());
    let why = match lacks {
        true => "its new zone has no balancer that serves it".to_owned(),
        false => some(each),
    };
    join(format!("zone {} still carries it", zones.join(", ")), why)
}

fn draining(ctx: Context<'_>, app: &App, d: &Deployment) -> String {
    let cutover = d.cutover.and_then(|index| app.routes.cutover(index));
    let Some(cutover) = cutover else {
        return "documents are being settled".to_owned();
    };
    if cutover.moves {
        return moving(ctx, app, cutover);
    }
    let leaving = known(ctx, cutover.retiring.iter());
    let leaving: Vec<_> = leaving
        .into_iter()
        .filter(|i| i.stage == Stage::Leaving && !i.is_over())
        .collect();
    let count = match leaving.len() {
        0 => return "no old instance is left to drain".to_owned(),
        1 => "1 old instance drains".to_owned(),
        more => format!("{more} old instances drain"),
    };
    let each = leaving
        .iter()
        .map(|i| format!("{} {}", i.id, open(ctx, app, cutover, i)));
    join(count, some(each.collect()))
}

fn open(ctx: Context<'_>, app: &App, cutover: &Cutover, instance: &Instance) -> String {
    let acks = acks(ctx.state, ctx.leader, ctx.now, app, cutover);
    let left = |until: Timestamp| until.since(ctx.now).as_secs();
    match acks.verdict(ctx.leader, ctx.now, app, cutover, instance) {
        Verdict::May(cause) => cause.prose().to_owned(),
        Verdict::Draining { until, open } => format!(
            "has {} and {} open, {} s left",
            count_of(open.requests, "request"),
            count_of(open.sessions, "session"),
            left(until)
        ),
        Verdict::Lingering { until, sessions } => {
            let sessions = count_of(sessions, "session");
            format!("has {sessions} open, {} s left", left(until))
        }
        Verdict::Held { until } => {
            let each = acks.missing.iter().map(|(n, m)| format!("{n} {}", m.why));
            let who = some(each.collect());
            format!("is held for {} s more, as {who}", left(until))
        }
    }
}

fn stopping(ctx: Context<'_>, d: &Deployment) -> String {
    let old = known(ctx, d.old.iter());
    let running: Vec<_> = old.into_iter().filter(|i| !i.is_over()).collect();
    let stopped = d.old.len().saturating_sub(running.len());
    let count = format!("{stopped} of {} stopped", d.old.len());
    let each = running.iter().map(|i| named(i));
    join(count, some(each.collect()))
}

/// An instance and how it is. Without times: a view is shown for longer than the moment it is made.
fn named(instance: &Instance) -> String {
    let (life, why) = manner(instance);
    format!("{} {life}{why}", instance.id)
}

fn count_of(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

fn known<'a>(ctx: Context<'a>, ids: impl Iterator<Item = &'a InstanceId>) -> Vec<&'a Instance> {
    let known = ids.filter_map(|id| ctx.state.instances.get(id));
    known.map(|i| &**i).collect()
}

fn join(count: String, details: String) -> String {
    if details.is_empty() {
        count
    } else {
        format!("{count}; {details}")
    }
}

/// The first few, and how many more.
fn some(each: Vec<String>) -> String {
    let more = each.len().saturating_sub(SHOWN);
    let shown: Vec<_> = each.into_iter().take(SHOWN).collect();
    let shown = shown.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// When something happens at the latest.
pub(super) fn deadline(ctx: Context<'_>, d: &Deployment) -> Option<Timestamp> {
    let app = ctx.state.apps.get(&d.app)?;
    let update = &app.spec(d.version)?.update;
    let progress = d.progress + update.progress_deadline.duration();
    match d.phase {
        Phase::Placing => Some(progress),
        Phase::Starting => {
            let new = known(ctx, d.new.iter()).into_iter();
            let waiting = new.filter(|i| !is_ready(ctx.state, i));
            let healthy = update.healthy_deadline.duration();
            let first = waiting.map(|i| i.placed_at + healthy).min();
            Some(first.map_or(progress, |first| first.min(progress)))
        }
        Phase::Promoting | Phase::Failing => {
            let cutover = app.routes.cutover(d.cutover?)?;
            cutover.published_at?;
            acks(ctx.state, ctx.leader, ctx.now, app, cutover).deadline()
        }
        Phase::Draining => {
            let cutover = app.routes.cutover(d.cutover?)?;
            let leaving = known(ctx, cutover.retiring.iter()).into_iter();
            let drain = leaving.map(|i| stop(app, i).drain_timeout.duration()).max();
            Some(cutover.drain_at? + drain?)
        }
        _ => None,
    }
}
