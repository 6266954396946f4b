//! Small rules shared by sections.

use std::fmt::Display;

use super::reader::Field;

/// Reports on `field` when `low` is more than `high`.
pub fn at_most<T: PartialOrd + Display>(
    field: &Field<'_>,
    (low, low_name): (T, &str),
    (high, high_name): (T, &str),
) {
    if low > high {
        field.problem(format!("{low_name} {low} is more than {high_name} {high}"));
    }
}

/// Whether `name` can stand in `PORT_<NAME>` and `{{ port.<name> }}`.
pub fn is_port_name(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inside)
}

/// Longest path of a host.
const LONGEST_PATH: usize = 1024;

/// Why `host`, with or without a path, cannot be looked up by a balancer; `None` when it can.
pub fn host_problem(host: &str) -> Option<String> {
    match host.split_once('/') {
        Some((name, path)) => name_problem(name).or_else(|| path_problem(host, path)),
        None => name_problem(host),
    }
}

fn path_problem(host: &str, path: &str) -> Option<String> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    let segment = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(inside);
    let fits = path.len() <= LONGEST_PATH && path.split('/').all(segment);
    (!fits).then(|| {
        format!(
            "{host:?} has no path that requests could be told by; write it like web.example/api"
        )
    })
}

fn name_problem(host: &str) -> Option<String> {
    let label = |label: &str| {
        let inside =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match host {
        "store" | "logger" => Some(format!(
            "{host:?} is a name balancers use themselves; choose another"
        )),
        _ if host.contains(':') => Some(format!(
            "{host:?} must not name a port or scheme; write only the name, like web.example"
        )),
        _ if host.contains('*') => Some(format!(
            "{host:?}: wildcards are not supported; list every name"
        )),
        _ if host.chars().any(|c| c.is_ascii_uppercase()) => Some(format!(
            "{host:?} must be lower case: {}",
            host.to_ascii_lowercase()
        )),
        _ if host.len() > 253 || !host.split('.').all(label) => Some(format!(
            "{host:?} is not a host name; write it like web.example"
        )),
        _ => None,
    }
}

/// Signals a process can be asked to end with.
const SIGNALS: [&str; 12] = [
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGWINCH",
    "SIGALRM", "SIGABRT", "SIGPWR", "SIGCONT",
];

/// The full name of a signal, written with or without `SIG`.
pub fn signal(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let full = if text.starts_with("SIG") {
        text.to_owned()
    } else {
        format!("SIG{text}")
    };
    let real_time = full
        .strip_prefix("SIGRTMIN+")
        .and_then(|n| n.parse::<u8>().ok());
    if SIGNALS.contains(&full.as_str()) || real_time.is_some_and(|n| n <= 30) {
        return Some(full);
    }
    field.accept(Err(format!(
        "{text:?} is not a signal; {}",
        super::words::hint(&full.to_uppercase(), &SIGNALS)
    )))
}
