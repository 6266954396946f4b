//! `healthcheck`: readiness, the only gate for traffic.

use super::check::at_most;
use super::later::Shape;
use super::ports::Ports;
use super::reader::{Field, Section};
use crate::app::{CheckKind, HealthCheck, Liveness};
use crate::units::Span;

const SHORTEST: Span = Span::millis(10);
const LONGEST: Span = Span::seconds(3600);
const MOST_IN_A_ROW: u64 = 100;

/// Reads `healthcheck`.
pub fn check(field: &Field<'_>, ports: &Ports) -> Option<HealthCheck> {
    let mut section = field.section()?;
    let kind = section.field("type").required("type: http").word(
        &[("http", CheckKind::Http), ("tcp", CheckKind::Tcp)],
        &["mysql", "redis", "command"],
    );
    let port = ports.named_by(&mut section);
    let path = path(&section.field("path"), kind);
    let expect = expect(&section.field("expect"), kind);
    let (interval, start_interval, timeout) = times(&mut section);
    let rise = in_a_row(&section.field("rise"), 1);
    let fall = in_a_row(&section.field("fall"), 3);
    section
        .field("command")
        .later("checks by a command", &Shape::List(&Shape::Text));
    section.field("start_period").later(
        "a start period; `update.healthy_deadline` limits the start",
        &Shape::Span,
    );
    section.end();
    Some(HealthCheck {
        kind: kind?,
        port: port?,
        path,
        expect,
        interval,
        start_interval,
        timeout,
        rise,
        fall,
    })
}

/// Reads `liveness`. `checked`: whether anything is checked, and after how many failures an instance is not ready.
pub fn liveness(field: &Field<'_>, checked: Option<Option<u32>>) -> Option<Liveness> {
    let mut section = field.section()?;
    let failures = section
        .field("after_failures")
        .required("after_failures: 10");
    let after = failures.whole(1..=1000).and_then(|n| u32::try_from(n).ok());
    match (checked, after) {
        (None, _) => field.problem("nothing is checked: add a healthcheck, or a service"),
        (Some(Some(fall)), Some(after)) if after < fall => failures.problem(format!(
            "is less than healthcheck.fall ({fall}): it would be restarted before it is taken out"
        )),
        _ => {}
    }
    section.end();
    Some(Liveness {
        after_failures: after?,
    })
}

/// Those not written follow a short interval, so that it alone can be written.
fn times(section: &mut Section<'_>) -> (Span, Span, Span) {
    let range = SHORTEST..=LONGEST;
    let interval = section
        .field("interval")
        .span(range.clone())
        .unwrap_or(Span::seconds(2));
    let start_field = section.field("start_interval");
    let start = start_field
        .span(range.clone())
        .unwrap_or(interval.min(Span::millis(200)));
    at_most(
        &start_field,
        (start, "start_interval"),
        (interval, "interval"),
    );
    let timeout_field = section.field("timeout");
    let timeout = timeout_field
        .span(range)
        .unwrap_or(interval.min(Span::seconds(1)));
    at_most(&timeout_field, (timeout, "timeout"), (interval, "interval"));
    (interval, start, timeout)
}

fn path(field: &Field<'_>, kind: Option<CheckKind>) -> Option<String> {
    match (field.text(), kind) {
        (Some(_), Some(CheckKind::Tcp)) => {
            field.accept(Err("only a check of type http asks for a path"))
        }
        (Some(text), _)
            if !text.starts_with('/')
                || text.contains(|c: char| c.is_ascii_control() || c == ' ') =>
        {
            field.accept(Err(format!(
                "{text:?} is not a path; write it like /healthz"
            )))
        }
        (Some(text), _) => Some(text.to_owned()),
        (None, Some(CheckKind::Http)) => Some("/".to_owned()),
        (None, _) => None,
    }
}

fn expect(field: &Field<'_>, kind: Option<CheckKind>) -> Vec<u16> {
    let items = field.items("[200, 204]");
    if kind == Some(CheckKind::Tcp) && !items.is_empty() {
        field.problem("only a check of type http expects statuses");
    }
    let statuses = items.iter().filter_map(|item| item.whole(100..=599));
    statuses
        .filter_map(|status| u16::try_from(status).ok())
        .collect()
}

fn in_a_row(field: &Field<'_>, default: u32) -> u32 {
    let count = field.whole(1..=MOST_IN_A_ROW);
    count.and_then(|n| u32::try_from(n).ok()).unwrap_or(default)
}
