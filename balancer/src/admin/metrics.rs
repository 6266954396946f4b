//! Counters in Prometheus' text form. Series of a service, and of a peer, go with it; of peers there are so many at most.

mod page;
mod registry;
mod services;

use std::sync::atomic::{AtomicU64, Ordering};

use super::Admin;
use crate::meter::{KINDS, Meter, REASONS};

pub(crate) use page::Page;

pub(super) fn page(admin: &Admin) -> String {
    let table = &admin.control.table;
    let mut services = table.all();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let mut page = Page::default();
    services::requests(&mut page, &services);
    page.family(
        "hancock_requests_unknown_host_total",
        "counter",
        "Requests for hosts nobody serves.",
    )
    .sample(&[], load(&table.unknown));
    services::peers(&mut page, &services);
    services::changes(&mut page, &services);
    connections(&mut page, &table.meter, &admin.open);
    probes(&mut page, admin);
    origins(&mut page, &table.meter);
    let mut dropped = page.family(
        "hancock_access_records_dropped_total",
        "counter",
        "Access records that did not fit while they could not be carried away.",
    );
    for (carrier, count) in admin.access.dropped() {
        dropped.sample(&[("carrier", carrier)], load(count));
    }
    if let Some(standing) = admin.control.standing() {
        registry::page(&mut page, &standing.view());
    }
    if let Some(tcp) = &admin.tcp {
        crate::tcp::metrics(&mut page, tcp);
    }
    page.into_text()
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn connections(page: &mut Page, meter: &Meter, open: &AtomicU64) {
    page.family(
        "hancock_connections_accepted_total",
        "counter",
        "Connections of HTTP clients that were served.",
    )
    .sample(&[], load(&meter.accepted));
    page.family(
        "hancock_connections_open",
        "gauge",
        "Open connections of clients.",
    )
    .sample(&[], load(open));
    let mut away = page.family(
        "hancock_connections_turned_away_total",
        "counter",
        "Connections of HTTP clients closed at once, by the limit they would have broken.",
    );
    for (limit, count) in ["address", "total"].iter().zip(&meter.turned_away) {
        away.sample(&[("limit", limit)], load(count));
    }
    let mut refused = page.family(
        "hancock_requests_refused_total",
        "counter",
        "Requests refused before they were routed, by what was wrong with them.",
    );
    for (reason, count) in REASONS.iter().zip(&meter.refused) {
        refused.sample(&[("reason", reason)], load(count));
    }
}

/// Of both sides.
fn probes(page: &mut Page, admin: &Admin) {
    let mut results = page.family(
        "hancock_probe_results_total",
        "counter",
        "Active checks by what they ask for and by result.",
    );
    for (at, kind) in KINDS.iter().enumerate() {
        for (which, result) in ["good", "bad"].iter().enumerate() {
            let of = |meter: &Meter| load(&meter.probes[at][which]);
            let tcp = admin.tcp.as_ref().map_or(0, |tcp| of(&tcp.table.meter));
            let count = of(&admin.control.table.meter) + tcp;
            results.sample(&[("kind", kind), ("result", result)], count);
        }
    }
}

fn origins(page: &mut Page, meter: &Meter) {
    page.family(
        "hancock_unexpected_upstream_data_total",
        "counter",
        "Connections to origins that held data nobody had asked for when they were put aside or taken up again; they were closed.",
    )
    .sample(&[], meter.unexpected());
}
