//! Ports for outgoing connections, and the way packets take to containers.

use hancock_agent::detect;

use super::facts::Facts;
use super::finding::{Finding, Level, sysctl};

/// Ports for outgoing connections a balancer should have.
const OUTGOING: u16 = 16_384;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let containers = [forward(facts), bridge(facts)];
    let containers = containers.into_iter().filter(|_| facts.docker);
    containers.chain([outgoing(facts)]).collect()
}

fn outgoing(facts: &Facts) -> Finding {
    const CHECK: &str = "outgoing ports";
    const KEY: &str = "net.ipv4.ip_local_port_range";
    let range = facts.sysctls.get(KEY);
    let Some(range) = range.and_then(|text| detect::outgoing_ports(text)) else {
        return Finding::ok(CHECK, format!("the kernel has no {KEY}"));
    };
    let (first, last) = (range.first, range.last);
    let finding = Finding::ok(
        CHECK,
        format!(
            "{first}-{last}, instances have {}-{}",
            facts.ports.first, facts.ports.last
        ),
    );
    if range.overlaps(facts.ports) {
        let above = facts.ports.last.saturating_add(1);
        let fix = match above < u16::MAX - OUTGOING {
            true => sysctl(KEY, format!("{} 60999", above.max(32_768))),
            false => {
                "write instance-ports = \"20000-29999\" into the agent's configuration".to_owned()
            }
        };
        return finding.bad(
            Level::Warn,
            "the kernel gives ports of instances to outgoing connections: an instance may find its port taken",
            fix,
        );
    }
    match last.saturating_sub(first) < OUTGOING {
        false => finding,
        true => finding.bad(
            Level::Warn,
            "every connection to a peer that is not kept open takes one for a minute: so few are soon used up",
            sysctl(KEY, "32768 60999"),
        ),
    }
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
mod tests {
    use hancock_proto::resources::PortRange;

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
    fn instances_ports_above_all_others_are_to_be_moved() {
        let facts = Facts {
            ports: PortRange {
                first: 60_000,
                last: 65_000,
            },
            ..well()
        };
        let fix = outgoing(&facts).fix.unwrap_or_default();
        assert!(fix.contains("instance-ports"), "{fix}");
    }
}
