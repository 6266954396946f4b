//! Ports for outgoing connections, and the way packets take to containers.

use hancock_agent::detect;
use hancock_proto::ports::{PortRange, PortSet};

use super::facts::Facts;
use super::finding::{Finding, Level, sysctl};

/// The setting of the ports for outgoing connections.
const LOCAL_PORTS: &str = "net.ipv4.ip_local_port_range";
/// Ports for outgoing connections a balancer should have.
const OUTGOING: u16 = 16_384;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let containers = [forward(facts), bridge(facts)];
    let containers = containers.into_iter().filter(|_| facts.docker);
    containers.chain([outgoing(facts)]).collect()
}

fn outgoing(facts: &Facts) -> Finding {
    const CHECK: &str = "outgoing ports";
    let range = facts.sysctls.get(LOCAL_PORTS);
    let Some(range) = range.and_then(|text| detect::outgoing_ports(text)) else {
        return Finding::ok(CHECK, format!("the kernel has no {LOCAL_PORTS}"));
    };
    let found = format!("{range}, instances have {}", facts.ports.brief());
    let both = facts.ports.within(range);
    if !both.is_empty() {
        let found = format!("{found}; in both: {}", both.brief());
        return Finding::ok(CHECK, found).bad(
            Level::Warn,
            "the kernel gives ports of instances to outgoing connections: an instance may find its port taken",
            apart(&facts.ports, range),
        );
    }
    let finding = Finding::ok(CHECK, found);
    match range.last.saturating_sub(range.first) < OUTGOING {
        false => finding,
        true => finding.bad(
            Level::Warn,
            "every connection to a peer that is not kept open takes one for a minute: so few are soon used up",
            sysctl(LOCAL_PORTS, "32768 60999"),
        ),
    }
}

/// How instances and the kernel get ports of their own: the kernel's go above, where there is room, or else instances leave them.
fn apart(ports: &PortSet, kernels: PortRange) -> String {
    let above = ports.last().and_then(|last| last.checked_add(1));
    if let Some(above) = above.filter(|above| *above < u16::MAX - OUTGOING) {
        return sysctl(LOCAL_PORTS, format!("{} 60999", above.max(32_768)));
    }
    let rest = match ports.without(kernels) {
        none if none.is_empty() => detect::DEFAULT_PORTS.into(),
        rest => rest,
    };
    format!("write instance-ports = \"{rest}\" into the agent's configuration")
}

fn forward(facts: &Facts) -> Finding {
    const CHECK: &str = "forwarding";
    const KEY: &str = "net.ipv4.ip_forward";
    match facts.number(KEY) {
        Some(0) => Finding::ok(CHECK, format!("{KEY} = 0")).bad(
            Level::Fail,
            "packets from elsewhere do not get to containers, nor theirs out",
            sysctl(KEY, 1),
        ),
        Some(value) => Finding::ok(CHECK, format!("{KEY} = {value}")),
        None => Finding::ok(CHECK, format!("the kernel has no {KEY}")),
    }
}

fn bridge(facts: &Facts) -> Finding {
    const CHECK: &str = "bridges";
    const KEY: &str = "net.bridge.bridge-nf-call-iptables";
    const WHY: &str = "the engine's rules do not see what containers of one bridge send to each other: published ports may not work from there";
    let load = "echo br_netfilter > /etc/modules-load.d/hancock.conf && modprobe br_netfilter";
    match facts.number(KEY) {
        Some(0) => Finding::ok(CHECK, format!("{KEY} = 0")).bad(Level::Warn, WHY, sysctl(KEY, 1)),
        Some(value) => Finding::ok(CHECK, format!("{KEY} = {value}")),
        None => Finding::ok(CHECK, "br_netfilter is not loaded").bad(Level::Warn, WHY, load),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::facts::well;
    use super::*;

    #[test]
    fn ports_and_ways_are_judged() {
        for (key, value, level, fix) in [
            (
                "net.ipv4.ip_local_port_range",
                "15000 60999",
                Level::Warn,
                "= 32768 60999",
            ),
            (
                "net.ipv4.ip_local_port_range",
                "32768 40000",
                Level::Warn,
                "= 32768 60999",
            ),
            ("net.ipv4.ip_forward", "0", Level::Fail, "ip_forward = 1"),
            (
                "net.bridge.bridge-nf-call-iptables",
                "0",
                Level::Warn,
                "iptables = 1",
            ),
            (
                "net.bridge.bridge-nf-call-iptables",
                "",
                Level::Warn,
                "modprobe",
            ),
        ] {
            let mut facts = well();
            facts.sysctls.insert(key.to_owned(), value.to_owned());
            let found = check(&facts);
            let bad: Vec<_> = found.iter().filter(|f| f.level != Level::Ok).collect();
            assert_eq!(bad.len(), 1, "{key} {value}: {bad:?}");
            assert_eq!(bad[0].level, level, "{key} {value}");
            let told = bad[0].fix.clone().unwrap_or_default();
            assert!(told.contains(fix), "{key} {value}: {told}");
        }
    }

    #[test]
    fn what_is_only_for_containers_is_asked_of_them_only() {
        let mut facts = Facts {
            docker: false,
            ..well()
        };
        facts
            .sysctls
            .insert("net.ipv4.ip_forward".to_owned(), "0".to_owned());
        assert!(check(&facts).iter().all(|f| f.level == Level::Ok));
    }

    #[test]
    fn the_part_the_kernel_has_too_is_told_and_left() {
        for (given, both, fix) in [
            (
                "60000-65000",
                "60000-60999",
                "instance-ports = \"61000-65000\"",
            ),
            (
                "40000-60999,40000",
                "40000-60999",
                "instance-ports = \"20000-29999\"",
            ),
            (
                "20000-29999,60000,8080",
                "in both: 60000",
                "instance-ports = \"8080,20000-29999\"",
            ),
            ("30000-32770,45000", "32768-32770,45000", "= 45001 60999"),
        ] {
            let pieces = given.split(',').map(|piece| piece.parse::<PortRange>());
            let facts = Facts {
                ports: pieces.collect::<Result<_, _>>().unwrap(),
                ..well()
            };
            let finding = outgoing(&facts);
            assert!(finding.found.ends_with(both), "{finding:?}");
            assert!(finding.fix.unwrap_or_default().contains(fix), "{given}");
        }
    }
}
