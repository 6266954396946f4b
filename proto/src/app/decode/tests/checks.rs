//! How an instance is judged.

use serde_json::json;

use super::spec;
use crate::app::AppSpec;
use crate::units::Span;

/// As those of the other sections.
pub(super) const MISTAKES: &[(&str, &str, &str)] = &[
    (
        r#"{"healthcheck": {"path": "/"}}"#,
        "healthcheck.type",
        "is missing; write it like type: http",
    ),
    (
        r#"{"healthcheck": {"type": "mysql"}}"#,
        "healthcheck.type",
        "not supported yet",
    ),
    (
        r#"{"healthcheck": {"type": "tcp", "path": "/"}}"#,
        "healthcheck.path",
        "only a check of type http",
    ),
    (
        r#"{"healthcheck": {"type": "tcp", "timeout": "3s"}}"#,
        "healthcheck.timeout",
        "timeout 3s is more than interval 2s",
    ),
    (
        r#"{"healthcheck": {"type": "tcp", "interval": 2}}"#,
        "healthcheck.interval",
        "write it like \"10s\"",
    ),
    (
        r#"{"healthcheck": {"type": "tcp", "rise": 0}}"#,
        "healthcheck.rise",
        "from 1 to 100",
    ),
    (
        r#"{"healthcheck": {"type": "http", "expect": [20]}}"#,
        "healthcheck.expect[0]",
        "from 100 to 599",
    ),
    (
        r#"{"healthcheck": {"type": "command"}}"#,
        "healthcheck.command",
        "is missing; write it like command: [pg_isready, -q]",
    ),
    (
        r#"{"healthcheck": {"type": "command", "command": []}}"#,
        "healthcheck.command",
        "names no program",
    ),
    (
        r#"{"healthcheck": {"type": "command", "command": ""}}"#,
        "healthcheck.command",
        "names no program",
    ),
    (
        r#"{"healthcheck": {"type": "command", "command": ["x", "$PORT"]}}"#,
        "healthcheck.command[1]",
        "no shell reads it",
    ),
    (
        r#"{"healthcheck": {"type": "command", "command": "x {{ port.grpc }}"}}"#,
        "healthcheck.command",
        "unknown placeholder",
    ),
    (
        r#"{"healthcheck": {"type": "command", "command": ["x"], "port": "http"}}"#,
        "healthcheck.port",
        "only checks of type http and tcp",
    ),
    (
        r#"{"healthcheck": {"type": "command", "command": ["x"], "interval": "100ms"}}"#,
        "healthcheck.interval",
        "must be from 200ms",
    ),
    (
        r#"{"healthcheck": {"type": "tcp", "command": ["x"]}}"#,
        "healthcheck.command",
        "only a check of type command",
    ),
    (
        r#"{"healthcheck": {"type": "none", "path": "/"}}"#,
        "healthcheck.path",
        "only a check of type http",
    ),
    (
        r#"{"healthcheck": {"type": "http", "start_period": "2h"}}"#,
        "healthcheck.start_period",
        "must be from 0s to 1h",
    ),
];

#[test]
fn a_check_by_command_is_a_program_or_a_line_for_a_shell() {
    let check = |command| {
        let check = json!({"type": "command", "command": command, "start_period": "30s"});
        let spec = AppSpec::decode(&spec(json!({"healthcheck": check}))).unwrap();
        spec.healthcheck.unwrap()
    };
    let program = check(json!(["pg_isready", "-p", "{{ port.http }}"]));
    assert_eq!(program.command, ["pg_isready", "-p", "{{ port.http }}"]);
    assert_eq!(program.port, None);
    assert_eq!(
        (program.interval, program.start_interval, program.timeout),
        (Span::seconds(10), Span::seconds(1), Span::seconds(5))
    );
    assert_eq!(program.start_period, Some(Span::seconds(30)));
    // Each begins after the one before: it may take longer than the time between them.
    let quick = json!({"type": "command", "command": "x", "interval": "500ms"});
    let quick = AppSpec::decode(&spec(json!({"healthcheck": quick}))).unwrap();
    assert_eq!(quick.healthcheck.unwrap().timeout, Span::seconds(5));
    let line = check(json!("probe $PORT && test -e /ok"));
    assert_eq!(
        line.command,
        ["/bin/sh", "-c", "probe $PORT && test -e /ok"]
    );
}
