//! The verdict as a table over time.

#![allow(clippy::unwrap_used)]

use hancock_proto::app::{CheckKind, HealthCheck};
use hancock_proto::assignment::{Check, Desired};
use hancock_proto::report::Condition;
use hancock_proto::units::Span;

use super::*;
use crate::reconcile::samples::{assigned, assignment, id};

const UP: Timestamp = Timestamp(1_000_000);

/// Checked every 2 s, not ready after 3 failures, ailing after 10, with 30 s to come up.
fn watched() -> Assignment {
    let mut one = assigned(20_000, Desired::Running);
    one.liveness = Some(Liveness {
        after_failures: 10,
        start: Span::seconds(30),
    });
    one.check = Some(Check {
        spec: HealthCheck {
            kind: CheckKind::Tcp,
            port: Some("http".into()),
            path: None,
            expect: Vec::new(),
            command: Vec::new(),
            interval: Span::seconds(2),
            start_interval: Span::millis(100),
            start_period: None,
            timeout: Span::seconds(1),
            rise: 1,
            fall: 3,
        },
        host_port: Some(20_000),
        host: "web".into(),
    });
    assignment([(id(1), one)].into())
}

fn report(restarts: u32, ready: Option<(bool, u64)>) -> InstanceReport {
    InstanceReport {
        version: hancock_proto::ids::Version(1),
        life: Life::Running,
        since: UP,
        reason: None,
        ready: ready.map(|(value, since)| Condition {
            value,
            since: Timestamp(UP.0 + since),
            reason: String::new(),
        }),
        restarts,
        image_digest: None,
        ailing: false,
    }
}

/// Judges at a time after the start: whether it is ailing, and when to look again.
fn judge(pulse: &mut Pulse, report: InstanceReport, at: u64) -> (bool, Option<u64>) {
    judge_with(pulse, None, report, at)
}

/// The same, with what the image's check says.
fn judge_with(
    pulse: &mut Pulse,
    health: Option<&Health>,
    report: InstanceReport,
    at: u64,
) -> (bool, Option<u64>) {
    let mut reports = BTreeMap::from([(id(1), report)]);
    let next = pulse.judge(&watched(), |_| health, &mut reports, Timestamp(UP.0 + at));
    (reports[&id(1)].ailing, next.map(|t| t.0 - UP.0))
}

#[test]
fn failures_of_the_images_own_check_count_in_its_rhythm() {
    let mut pulse = Pulse::default();
    let starting = judge_with(
        &mut pulse,
        Some(&Health::Starting),
        report(0, Some((false, 0))),
        1000,
    );
    assert_eq!(starting, (false, Some(30_000)));
    let healthy = judge_with(
        &mut pulse,
        Some(&Health::Healthy),
        report(0, Some((true, 5000))),
        5000,
    );
    assert_eq!(healthy, (false, None));
    let bad = Health::Unhealthy {
        reason: String::new(),
        retries: 4,
        interval: Span::seconds(5),
    };
    let mut at = |at| judge_with(&mut pulse, Some(&bad), report(0, Some((false, 60_000))), at);
    // Four of the ten came before the verdict.
    assert_eq!(at(60_000), (false, Some(90_000)));
    assert_eq!(at(90_000), (true, None));
}

#[test]
fn failures_count_from_the_first_one_on() {
    let mut pulse = Pulse::default();
    assert_eq!(
        judge(&mut pulse, report(0, Some((true, 500))), 60_000),
        (false, None)
    );
    let bad = || report(0, Some((false, 61_000)));
    // Three of the ten came before the verdict.
    assert_eq!(judge(&mut pulse, bad(), 61_000), (false, Some(75_000)));
    assert_eq!(judge(&mut pulse, bad(), 74_999), (false, Some(75_000)));
    assert_eq!(judge(&mut pulse, bad(), 75_000), (true, None));
    assert_eq!(
        judge(&mut pulse, report(0, Some((true, 76_000))), 76_000),
        (false, None)
    );
}

#[test]
fn a_slow_start_has_its_time() {
    let mut pulse = Pulse::default();
    assert_eq!(
        judge(&mut pulse, report(0, None), 1000),
        (false, Some(30_000))
    );
    let bad = || report(0, Some((false, 300)));
    assert_eq!(judge(&mut pulse, bad(), 29_000), (false, Some(30_000)));
    assert_eq!(judge(&mut pulse, bad(), 30_000), (true, None));
    // That it was ready before a restart does not count after it.
    judge(&mut pulse, report(0, Some((true, 500))), 40_000);
    assert_eq!(
        judge(&mut pulse, report(1, Some((false, 300))), 20_000),
        (false, Some(30_000))
    );
}

#[test]
fn what_does_not_run_is_not_judged() {
    let mut pulse = Pulse::default();
    let mut starting = report(1, Some((false, 0)));
    starting.life = Life::Starting;
    assert_eq!(judge(&mut pulse, starting, 1_000_000), (false, None));
}
