//! What is counted of TCP services.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admin::metrics::Page;
use crate::control::Control;

/// Counters of one TCP service.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that reached a peer.
    pub(crate) sessions: AtomicU64,
    /// Connections that reached none.
    pub(crate) unserved: AtomicU64,
    /// Sessions that ended otherwise than by both sides being done.
    pub(crate) broken: AtomicU64,
    /// Sessions that ended because nothing moved.
    pub(crate) idle: AtomicU64,
    /// Sessions ended because their peer left and their time was over.
    pub(crate) expired: AtomicU64,
    /// Bytes from clients.
    pub(crate) up: AtomicU64,
    /// Bytes to clients.
    pub(crate) down: AtomicU64,
    /// Bytes of both that did not pass through this process.
    pub(crate) spliced: AtomicU64,
}

/// One of them.
type Counter = fn(&Counters) -> &AtomicU64;

/// Adds the counters of the TCP side in Prometheus' text form.
pub(crate) fn metrics(page: &mut Page, control: &Control) {
    let Some(doors) = control.doors() else { return };
    let mut services = control.table.all();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let each: [(&str, &str, Counter); 8] = [
        ("sessions", "TCP connections that reached a peer.", |c| {
            &c.sessions
        }),
        ("unserved", "TCP connections that reached no peer.", |c| {
            &c.unserved
        }),
        ("broken", "TCP sessions that broke off.", |c| &c.broken),
        ("idle", "TCP sessions ended for silence.", |c| &c.idle),
        (
            "expired",
            "TCP sessions ended at their limit, after their peer had left.",
            |c| &c.expired,
        ),
        ("received_bytes", "Bytes from TCP clients.", |c| &c.up),
        ("sent_bytes", "Bytes to TCP clients.", |c| &c.down),
        (
            "spliced_bytes",
            "Bytes of both moved by the kernel alone.",
            |c| &c.spliced,
        ),
    ];
    for (name, help, of) in each {
        let name = format!("hancock_tcp_{name}_total");
        let mut family = page.family(&name, "counter", help);
        for s in &services {
            let value = of(&s.stats.tcp).load(Ordering::Relaxed);
            family.sample(&[("port", &s.name)], value);
        }
    }
    let help = "TCP connections tried on another peer.";
    let mut retries = page.family("hancock_tcp_retries_total", "counter", help);
    for s in &services {
        retries.sample(
            &[("port", &s.name)],
            s.stats.retries.load(Ordering::Relaxed),
        );
    }
    let help = "Peers of TCP services put aside for a while after they did not answer.";
    let mut bans = page.family("hancock_tcp_bans_total", "counter", help);
    for s in &services {
        bans.sample(&[("port", &s.name)], s.stats.bans.load(Ordering::Relaxed));
    }
    let help = "Whether a wanted TCP port could be opened.";
    let mut open = page.family("hancock_tcp_port_open", "gauge", help);
    for door in doors.lines() {
        let value = u8::from(door.error.is_none());
        open.sample(&[("port", &door.port.to_string())], value);
    }
    let whole = [
        (
            "hancock_tcp_open_failures_total",
            "counter",
            "Tries to open a TCP port that failed.",
            doors.failures.load(Ordering::Relaxed),
        ),
        (
            "hancock_tcp_turned_away_total",
            "counter",
            "TCP connections nobody serves or there was no room for.",
            doors.turned_away.load(Ordering::Relaxed),
        ),
        (
            "hancock_tcp_sessions_open",
            "gauge",
            "TCP sessions open now.",
            doors.runners.sessions(),
        ),
    ];
    for (name, kind, help, value) in whole {
        page.family(name, kind, help).sample(&[], value);
    }
}
