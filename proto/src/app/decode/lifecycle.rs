//! `update`, `stop`, `placement` and `restart`: how instances come, go and come back.

use super::check::{at_most, signal};
use super::later::Shape;
use super::reader::{Field, Section};
use crate::app::{Disconnect, Placement, PlacementStrategy, Restart, Stop, Strategy, Update};
use crate::units::Span;

const INSTANT: Span = Span::millis(0);
const SECOND: Span = Span::seconds(1);
const MOMENT: Span = Span::millis(100);
const HOUR: Span = Span::seconds(3600);
const DAY: Span = Span::seconds(24 * 3600);

/// Reads `update`; `single`: a volume has one writer, so old and new cannot run side by side.
pub fn update(field: &Field<'_>, replicas: u64, single: bool, default: Update) -> Update {
    let default = match single {
        true => Update {
            strategy: Strategy::Recreate,
            ..default
        },
        false => default,
    };
    let Some(mut section) = field.section() else {
        return default;
    };
    let strategy_field = section.field("strategy");
    let strategy = strategy_field.word(
        &[
            ("blue_green", Strategy::BlueGreen),
            ("recreate", Strategy::Recreate),
        ],
        &["rolling", "canary"],
    );
    if single && strategy == Some(Strategy::BlueGreen) {
        strategy_field.problem(
            "must be recreate, as a volume is exclusive: old and new instances cannot run side by side",
        );
    }
    let min_healthy = section.field("min_healthy_time");
    let healthy = section.field("healthy_deadline");
    let progress_field = section.field("progress_deadline");
    let unavailable = section.field("max_unavailable");
    let progress = progress_field
        .span(MOMENT..=DAY)
        .unwrap_or(default.progress_deadline);
    let update = Update {
        strategy: strategy.unwrap_or(default.strategy),
        min_healthy_time: min_healthy
            .span(INSTANT..=HOUR)
            .unwrap_or(default.min_healthy_time.min(progress)),
        // Not written, it follows a shorter one for the whole deployment.
        healthy_deadline: healthy
            .span(MOMENT..=DAY)
            .unwrap_or(default.healthy_deadline.min(progress)),
        progress_deadline: progress,
        max_unavailable: whole(&unavailable, 0..=10_000, default.max_unavailable),
        accept_timeout: section
            .field("accept_timeout")
            .span(MOMENT..=HOUR)
            .unwrap_or(default.accept_timeout),
        ack_timeout: section
            .field("ack_timeout")
            .span(MOMENT..=HOUR)
            .unwrap_or(default.ack_timeout),
        hold_unconfirmed: section
            .field("hold_unconfirmed")
            .span(INSTANT..=DAY)
            .unwrap_or(default.hold_unconfirmed),
    };
    at_most(
        &healthy,
        (update.healthy_deadline, "healthy_deadline"),
        (progress, "progress_deadline"),
    );
    at_most(
        &min_healthy,
        (update.min_healthy_time, "min_healthy_time"),
        (progress, "progress_deadline"),
    );
    if replicas > 0 && u64::from(update.max_unavailable) >= replicas {
        unavailable.problem(format!(
            "must be less than replicas {replicas}, or nobody might serve"
        ));
    }
    update_later(&mut section);
    section.end();
    update
}

fn update_later(section: &mut Section<'_>) {
    const PROMOTE: Shape = Shape::Either(&Shape::Flag, &Shape::Table(&[("after", &Shape::Span)]));
    let promote = section.field("auto_promote");
    // True says what happens anyway.
    if promote.value() != Some(&serde_json::Value::Bool(true)) {
        promote.later("promotion by hand or by time", &PROMOTE);
    }
    section
        .field("canary")
        .later("canary instances", &Shape::Whole);
    section
        .field("max_parallel")
        .later("batches", &Shape::Whole);
    section
        .field("auto_revert")
        .later("automatic revert", &Shape::Flag);
    section
        .field("bake_time")
        .later("keeping the old set warm", &Shape::Span);
    section
        .field("prepull")
        .later("getting images beforehand", &Shape::Flag);
}

/// Reads `stop`.
pub fn stop(field: &Field<'_>) -> Stop {
    let default = Stop::default();
    let Some(mut section) = field.section() else {
        return default;
    };
    let session_field = section.field("session_drain_timeout");
    let drain = section
        .field("drain_timeout")
        .span(INSTANT..=DAY)
        .unwrap_or(default.drain_timeout);
    // Not written, it is never shorter than the one for requests.
    let session = session_field
        .span(INSTANT..=DAY)
        .unwrap_or(default.session_drain_timeout.max(drain));
    at_most(
        &session_field,
        (drain, "drain_timeout"),
        (session, "session_drain_timeout"),
    );
    let stop = Stop {
        signal: signal(&section.field("signal")).unwrap_or(default.signal),
        drain_timeout: drain,
        session_drain_timeout: session,
        grace_period: section
            .field("grace_period")
            .span(INSTANT..=HOUR)
            .unwrap_or(default.grace_period),
    };
    section.end();
    stop
}

/// Reads `placement`.
pub fn placement(field: &Field<'_>) -> Placement {
    const AFFINITY: Shape = Shape::Table(&[("expr", &Shape::Text), ("weight", &Shape::Whole)]);
    let default = Placement::default();
    let Some(mut section) = field.section() else {
        return default;
    };
    let placement = Placement {
        strategy: strategy(&section.field("strategy")).unwrap_or(default.strategy),
        max_per_node: section
            .field("max_per_node")
            .whole(1..=10_000)
            .and_then(|n| u32::try_from(n).ok()),
    };
    section
        .field("spread_by")
        .later("spreading over groups of nodes", &Shape::Text);
    section
        .field("constraints")
        .later("constraints", &Shape::List(&Shape::Text));
    section
        .field("affinity")
        .later("affinity", &Shape::List(&AFFINITY));
    section.end();
    placement
}

fn strategy(field: &Field<'_>) -> Option<PlacementStrategy> {
    match field.raw_text() {
        Some(script) if script.starts_with("script:") => field.accept(Err(
            "not supported yet: strategies by script; for now there is spread",
        )),
        _ => field.word(
            &[("spread", PlacementStrategy::Spread)],
            &["binpack", "least_load", "bandwidth"],
        ),
    }
}

/// Reads `restart`.
pub fn restart(field: &Field<'_>) -> Restart {
    let default = Restart::default();
    let Some(mut section) = field.section() else {
        return default;
    };
    let delay_field = section.field("delay");
    let delay = delay_field.span(INSTANT..=HOUR).unwrap_or(default.delay);
    let max_delay = section
        .field("max_delay")
        .span(INSTANT..=DAY)
        .unwrap_or(default.max_delay.max(delay));
    at_most(&delay_field, (delay, "delay"), (max_delay, "max_delay"));
    let restart = Restart {
        attempts: whole(&section.field("attempts"), 0..=1000, default.attempts),
        interval: section
            .field("interval")
            .span(MOMENT..=DAY)
            .unwrap_or(default.interval),
        delay,
        max_delay,
    };
    section.end();
    restart
}

/// Reads `disconnect`.
pub fn disconnect(field: &Field<'_>) -> Option<Disconnect> {
    const RECONCILE: Shape = Shape::Word(&[
        "keep_original",
        "keep_replacement",
        "best_score",
        "longest_running",
    ]);
    let mut section = field.section()?;
    let lost_after = section.field("lost_after");
    lost_after.later("a time of an app's own to be lost", &Shape::Span);
    let replace = section.field("replace");
    replace.later("leaving lost instances alone", &Shape::Flag);
    let reconcile = section.field("reconcile");
    reconcile.later("a choice of who stays", &RECONCILE);
    let stop_after = section.field("stop_after");
    let stop_after = stop_after.required("stop_after: 1m").span(SECOND..=DAY);
    section.end();
    Some(Disconnect {
        stop_after: stop_after?,
    })
}

fn whole(field: &Field<'_>, range: std::ops::RangeInclusive<u64>, default: u32) -> u32 {
    field
        .whole(range)
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(default)
}
