//! Counters in Prometheus' text form.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Admin;

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn page(admin: &Admin) -> String {
    let table = &admin.control.table;
    let mut services = table.all();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = String::new();
    head(
        &mut out,
        "hancock_requests_total",
        "counter",
        "Requests by service and class of the answer's status.",
    );
    for s in &services {
        for (class, count) in CLASSES.iter().zip(&s.stats.answers) {
            line(
                &mut out,
                "hancock_requests_total",
                &[("service", &s.name), ("class", class)],
                count,
            );
        }
    }
    head(
        &mut out,
        "hancock_requests_unknown_host_total",
        "counter",
        "Requests for hosts nobody serves.",
    );
    line(
        &mut out,
        "hancock_requests_unknown_host_total",
        &[],
        &table.unknown,
    );
    head(
        &mut out,
        "hancock_retries_total",
        "counter",
        "Attempts repeated on another connection.",
    );
    for s in &services {
        line(
            &mut out,
            "hancock_retries_total",
            &[("service", &s.name)],
            &s.stats.retries,
        );
    }
    head(
        &mut out,
        "hancock_probes_total",
        "counter",
        "Active checks by service and result.",
    );
    for s in &services {
        line(
            &mut out,
            "hancock_probes_total",
            &[("service", &s.name), ("result", "good")],
            &s.stats.probes_good,
        );
        line(
            &mut out,
            "hancock_probes_total",
            &[("service", &s.name), ("result", "bad")],
            &s.stats.probes_bad,
        );
    }
    head(
        &mut out,
        "hancock_swaps_total",
        "counter",
        "Swaps of a service's peers.",
    );
    for s in &services {
        line(
            &mut out,
            "hancock_swaps_total",
            &[("service", &s.name)],
            &s.stats.swaps,
        );
    }
    head(
        &mut out,
        "hancock_connections_open",
        "gauge",
        "Open connections of clients.",
    );
    line(&mut out, "hancock_connections_open", &[], &admin.open);
    head(
        &mut out,
        "hancock_access_records_dropped_total",
        "counter",
        "Access records that did not fit while they could not be carried away.",
    );
    for (carrier, dropped) in admin.access.dropped() {
        line(
            &mut out,
            "hancock_access_records_dropped_total",
            &[("carrier", carrier)],
            dropped,
        );
    }
    if let Some(tcp) = &admin.tcp {
        crate::tcp::metrics(&mut out, tcp);
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Values are service names and fixed words, which hold nothing to escape.
fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: &AtomicU64) {
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    };
    let _ = writeln!(out, "{name}{labels} {}", value.load(Ordering::Relaxed));
}
