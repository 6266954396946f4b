//! One node on a page: what it says it is, what of it is reserved, what is free.

use hancock_proto::api::NodeView;
use hancock_proto::ids::Term;
use hancock_proto::resources::{Offer, Uplink};

use super::{heard, labels};
use crate::cli::args::{self, bytes, cores};
use crate::cli::out::{Out, Tone};
use crate::cli::table::harmless;

/// Width of the names.
const NAMES: usize = 12;

/// A line for everything known. `term`: of the leader that heard the node.
pub(super) fn text(node: &NodeView, term: Term, out: &Out) -> String {
    let tone = match node.state.as_str() {
        "alive" => Tone::Good,
        _ => Tone::Bad,
    };
    let mut lines = vec![
        ("node", harmless(node.info.node.as_str())),
        ("state", out.tint(&node.state, tone)),
    ];
    lines.extend(about(node, term));
    lines.extend(reserved(node, out));
    lines.extend(node.offer.iter().flat_map(free));
    let known = lines.iter().filter(|(_, value)| !value.is_empty());
    known
        .map(|(name, value)| format!("{name:NAMES$} {value}\n"))
        .collect()
}

fn about(node: &NodeView, term: Term) -> Vec<(&'static str, String)> {
    let info = &node.info;
    let mut lines = vec![
        (
            "last seen",
            format!("{}, by the leader of term {term}", heard(node.heard_ms)),
        ),
        ("host name", harmless(&info.hostname)),
        ("address", harmless(&info.address)),
    ];
    lines.extend(info.addresses.iter().map(|line| ("line", uplink(line))));
    lines.extend([
        ("labels", harmless(&labels(info))),
        ("version", harmless(&info.version)),
        ("runtime", harmless(&info.runtime)),
        (
            "machine",
            harmless(format!("{} {}", info.arch, info.kernel).trim()),
        ),
        ("ports", info.ports.to_string()),
        ("instances", node.instances.to_string()),
        ("generation", node.generation.to_string()),
    ]);
    lines
}

fn uplink(line: &Uplink) -> String {
    let operator = line.operator.as_deref().map(|name| format!(" of {name}"));
    let bandwidth = line.bandwidth.map(|rate| format!(", {rate}"));
    let rest = [operator, bandwidth]
        .map(Option::unwrap_or_default)
        .concat();
    harmless(&format!("{}{rest}", line.ip))
}

/// What instances have of what there is. More than there is, after a change of the node: said, and nothing is stopped for it.
fn reserved(node: &NodeView, out: &Out) -> Vec<(&'static str, String)> {
    let (used, there) = (&node.used, &node.info.capacity);
    let line = |name, used: u64, there: u64, shown: fn(u64) -> String| {
        let text = format!("{} of {} reserved", shown(used), shown(there));
        match used > there {
            true => (
                name,
                out.tint(&format!("{text}: more than there is"), Tone::Bad),
            ),
            false => (name, text),
        }
    };
    vec![
        line("cpu", used.cpu, there.cpu.as_millicores().into(), cores),
        line("memory", used.memory, there.memory.as_bytes(), bytes),
        line("disk", used.disk, there.disk.as_bytes(), bytes),
    ]
}

fn free(offer: &Offer) -> Vec<(&'static str, String)> {
    let cpu = offer.cpu_free.map(|cpu| format!("{cpu} cores, "));
    let free = format!(
        "{}{} memory, {} disk",
        cpu.unwrap_or_default(),
        bytes(offer.memory_free.as_bytes()),
        bytes(offer.disk_free.as_bytes())
    );
    let network = offer.network.map(|n| {
        let (received, sent) = (args::rate(n.received), args::rate(n.sent));
        format!("{received} in, {sent} out")
    });
    vec![
        ("load", format!("{:.2}", offer.load)),
        ("free now", free),
        ("network", network.unwrap_or_default()),
    ]
}
