//! `task`: how an app runs jobs.

use serde_json::Value;

use super::reader::{Field, Section};
use crate::app::{Kind, Task};
use crate::units::Span;

const SECOND: Span = Span::seconds(1);
const DAY: Span = Span::seconds(24 * 3600);
/// Time a job may take when nobody says.
const USUAL: Span = Span::seconds(3600);

/// Reads `task`, which a task has and nothing else.
pub fn task(field: &Field<'_>, kind: Kind) -> Option<Task> {
    const EXAMPLE: &str = "task: {reuse: true}";
    match (kind, field.is_present()) {
        (Kind::Task, false) => field.problem(format!("is missing; write it like {EXAMPLE}")),
        (Kind::Service, true) => field.problem("only an app of kind task has it"),
        _ => {}
    }
    let mut section = field.section()?;
    let reuse = section.field("reuse").required("reuse: true");
    let timeout = section.field("timeout").span(SECOND..=DAY);
    if reuse.flag() == Some(false) {
        reuse.problem("not supported yet: a container of its own for each job; write true");
    }
    section.end();
    Some(Task {
        reuse: reuse.flag()?,
        timeout: timeout.unwrap_or(USUAL),
    })
}

/// What a task must have and what it cannot: nobody reaches it but by a job.
pub fn fits(kind: Kind, top: &mut Section<'_>) {
    if kind != Kind::Task {
        return;
    }
    top.field("image").required("image: resize:1.2");
    top.field("command").required("command: [/bin/resize]");
    for name in ["ports", "service", "healthcheck", "liveness"] {
        // Written by a machine: there are none.
        let none = |field: &Field<'_>| {
            field
                .value()
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty)
        };
        if let Some(field) = top.aside(name).filter(|field| !none(field)) {
            field.problem("a task is reached by its jobs only; leave it out");
        }
    }
    let container = top.field("container").value();
    if container.and_then(|c| c.get("init")) == Some(&Value::Bool(true)) {
        top.field("container")
            .problem("a task's instances have an init of their own; leave `init` out");
    }
}
