//! The ports an agent listens on, and those its instances get.

use std::net::SocketAddr;

use super::facts::{Facts, Listener};
use super::finding::{Finding, Level};

pub fn check(facts: &Facts) -> Vec<Finding> {
    let listens = facts.listens.iter();
    let own = listens.map(|(option, at)| one(facts, option, *at));
    own.chain([instances(facts)]).collect()
}

fn one(facts: &Facts, option: &str, at: SocketAddr) -> Finding {
    let check = format!("port of {option}");
    let holder = facts.listeners.iter().find(|l| collide(l.at, at));
    let Some(holder) = holder else {
        return free(facts, option, at, check);
    };
    let (found, kill) = match &holder.by {
        Some((pid, name)) if name.starts_with("hancock") => {
            return Finding::ok(check, format!("{at} is held by {name}, process {pid}"));
        }
        Some((pid, name)) => (
            format!("{at} is held by {name}, process {pid}"),
            format!("end {name} (`kill {pid}`)"),
        ),
        None => (
            format!("{at} is held by somebody"),
            format!("see who it is with `sudo ss -ltnp sport = :{}`", at.port()),
        ),
    };
    Finding::ok(check, found).bad(
        Level::Fail,
        "the agent does not start: it listens there itself",
        format!("{kill}, or give the agent another address with {option} = \"IP:PORT\""),
    )
}

fn free(facts: &Facts, option: &str, at: SocketAddr, check: String) -> Finding {
    const KEY: &str = "net.ipv4.ip_unprivileged_port_start";
    let finding = Finding::ok(check, format!("{at} is free"));
    let first = facts.number(KEY).unwrap_or(1024);
    match facts.privileged || u64::from(at.port()) >= first {
        true => finding,
        false => finding.bad(
            Level::Warn,
            format!("only root may open ports below {first}, and this is not run by it"),
            format!("run the agent as root, as its unit does, or give it another address with {option} = \"IP:PORT\""),
        ),
    }
}

/// Whether one cannot be opened beside the other.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let anywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (anywhere || one.ip() == other.ip())
}

/// Instances' ports somebody else has: others are taken instead, so that it only matters when they are many.
fn instances(facts: &Facts) -> Finding {
    let range = facts.ports;
    let strange = |l: &&Listener| {
        let ours =
            l.by.as_ref()
                .is_some_and(|(_, name)| name.starts_with("hancock") || name == "docker-proxy");
        range.contains(l.at.port()) && !ours
    };
    let mut taken: Vec<u16> = facts
        .listeners
        .iter()
        .filter(strange)
        .map(|l| l.at.port())
        .collect();
    taken.sort_unstable();
    taken.dedup();
    let all = u64::from(range.last.saturating_sub(range.first)) + 1;
    let count = taken.len() as u64;
    let found = format!(
        "{}-{}: {count} of {all} are held by others",
        range.first, range.last
    );
    let finding = Finding::ok("instances' ports", found);
    match count > all / 2 {
        false => finding,
        true => finding.bad(
            Level::Warn,
            "an instance gets a port of its own; when none is left it cannot be placed here",
            "give instances more with instance-ports = \"FIRST-LAST\" in the agent's configuration",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::resources::PortRange;

    use super::super::facts::well;
    use super::*;

    fn held(at: &str, by: Option<(u32, &str)>) -> Facts {
        let by = by.map(|(pid, name)| (pid, name.to_owned()));
        let at = at.parse().unwrap();
        Facts {
            listens: vec![("http", "127.0.0.1:80".parse().unwrap())],
            listeners: vec![Listener { at, by }],
            ..well()
        }
    }

    #[test]
    fn a_port_is_free_or_somebodys() {
        for (at, by, level, told) in [
            ("127.0.0.2:80", Some((7, "nginx")), Level::Ok, "free"),
            ("127.0.0.1:81", Some((7, "nginx")), Level::Ok, "free"),
            (
                "127.0.0.1:80",
                Some((7, "nginx")),
                Level::Fail,
                "nginx, process 7",
            ),
            ("[::]:80", Some((7, "nginx")), Level::Fail, "nginx"),
            ("0.0.0.0:80", None, Level::Fail, "somebody"),
            (
                "0.0.0.0:80",
                Some((7, "hancock")),
                Level::Ok,
                "hancock, process 7",
            ),
        ] {
            let finding = &check(&held(at, by))[0];
            assert_eq!(finding.level, level, "{at} {by:?}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn low_ports_are_roots() {
        let facts = Facts {
            privileged: false,
            ..well()
        };
        assert_eq!(check(&facts)[0].level, Level::Warn);
    }

    #[test]
    fn many_of_the_instances_ports_taken_is_told() {
        let range = |first, last| Facts {
            ports: PortRange { first, last },
            ..held("0.0.0.0:20000", Some((7, "java")))
        };
        assert_eq!(instances(&range(20_000, 20_000)).level, Level::Warn);
        assert_eq!(instances(&range(20_000, 20_009)).level, Level::Ok);
    }
}
