//! `healthcheck`: readiness, the only gate for traffic.

use super::check::at_most;
use super::ports::Ports;
use super::reader::{Field, Section};
use crate::app::{CheckKind, HealthCheck, Liveness};
use crate::units::Span;

const SHORTEST: Span = Span::millis(10);
/// A command is a process: run more often it would cost more than what it checks.
const SHORTEST_COMMAND: Span = Span::millis(200);
const LONGEST: Span = Span::seconds(3600);
const MOST_IN_A_ROW: u64 = 100;

/// Reads `healthcheck`.
pub fn check(field: &Field<'_>, ports: &Ports) -> Option<HealthCheck> {
    let mut section = field.section()?;
    let known = section.field("type").required("type: http").word(
        &[
            ("http", CheckKind::Http),
            ("tcp", CheckKind::Tcp),
            ("command", CheckKind::Command),
            ("none", CheckKind::None),
        ],
        &["mysql", "redis"],
    );
    // Without one the rest is read all the same, for its own mistakes.
    let command = section.field("command");
    let kind = known.unwrap_or(match command.is_present() {
        true => CheckKind::Command,
        false => CheckKind::Http,
    });
    let port = port(&mut section, kind, ports);
    let path = path(&section.field("path"), kind);
    let expect = expect(&section.field("expect"), kind);
    let command = self::command(&command, kind, ports);
    let (interval, start_interval, timeout) = times(&mut section, kind);
    let start_period = section
        .field("start_period")
        .span(Span::seconds(0)..=LONGEST);
    let rise = in_a_row(&section.field("rise"), 1);
    let fall = in_a_row(&section.field("fall"), 3);
    section.end();
    Some(HealthCheck {
        kind: known?,
        port,
        path,
        expect,
        command,
        interval,
        start_interval,
        start_period,
        timeout,
        rise,
        fall,
    })
}

fn port(section: &mut Section<'_>, kind: CheckKind, ports: &Ports) -> Option<String> {
    if matches!(kind, CheckKind::Http | CheckKind::Tcp) {
        return ports.named_by(section);
    }
    if let Some(field) = section.aside("port") {
        field.problem("only checks of type http and tcp ask a port");
    }
    None
}

/// The program and its arguments; a text is a shell's.
fn command(field: &Field<'_>, kind: CheckKind, ports: &Ports) -> Vec<String> {
    const EXAMPLE: &str = "command: [pg_isready, -q]";
    let shell = field
        .raw_text()
        .map(|script| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]);
    let command = shell.unwrap_or_else(|| super::texts(field));
    match (kind == CheckKind::Command, field.is_present()) {
        (true, false) => field.problem(format!("is missing; write it like {EXAMPLE}")),
        (true, true) if command.last().is_none_or(String::is_empty) => {
            field.problem(format!("names no program; write it like {EXAMPLE}"));
        }
        (false, true) => field.problem("only a check of type command runs one"),
        _ => {}
    }
    super::filled_in(field, ports);
    command
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
fn times(section: &mut Section<'_>, kind: CheckKind) -> (Span, Span, Span) {
    let (range, [usual, first, limit]) = match kind {
        CheckKind::Command => (
            SHORTEST_COMMAND..=LONGEST,
            [Span::seconds(10), Span::seconds(1), Span::seconds(5)],
        ),
        _ => (
            SHORTEST..=LONGEST,
            [Span::seconds(2), Span::millis(200), Span::seconds(1)],
        ),
    };
    let interval = section
        .field("interval")
        .span(range.clone())
        .unwrap_or(usual);
    let start_field = section.field("start_interval");
    let start = start_field
        .span(range.clone())
        .unwrap_or(interval.min(first));
    at_most(
        &start_field,
        (start, "start_interval"),
        (interval, "interval"),
    );
    let timeout_field = section.field("timeout");
    let timeout = timeout_field.span(range);
    if kind == CheckKind::Command {
        // Each begins when the one before is over.
        return (interval, start, timeout.unwrap_or(limit));
    }
    let timeout = timeout.unwrap_or(interval.min(limit));
    at_most(&timeout_field, (timeout, "timeout"), (interval, "interval"));
    (interval, start, timeout)
}

fn path(field: &Field<'_>, kind: CheckKind) -> Option<String> {
    match (field.text(), kind) {
        (Some(_), kind) if kind != CheckKind::Http => {
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
        (None, CheckKind::Http) => Some("/".to_owned()),
        (None, _) => None,
    }
}

fn expect(field: &Field<'_>, kind: CheckKind) -> Vec<u16> {
    let items = field.items("[200, 204]");
    if kind != CheckKind::Http && !items.is_empty() {
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
