//! The ports an agent listens on, and those its instances get.

use std::net::SocketAddr;

use hancock_proto::ports::PortSet;

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

/// Instances' ports somebody else has, be it the agent itself: others are taken instead, so that it only matters when they are many.
fn instances(facts: &Facts) -> Finding {
    let ours = |l: &Listener| {
        let name = l.by.as_ref().map(|(_, name)| name.as_str());
        name.is_some_and(|name| name.starts_with("hancock") || name == "docker-proxy")
    };
    let strange = facts.listeners.iter().filter(|l| !ours(l)).map(|l| l.at);
    let own = facts.listens.iter().map(|(_, at)| *at);
    let taken = strange.chain(own).map(|at| at.port());
    let taken: PortSet = taken.filter(|port| facts.ports.contains(*port)).collect();
    let (all, count) = (facts.ports.len(), taken.len());
    let which = match taken.is_empty() {
        true => String::new(),
        false => format!(": {}", taken.brief()),
    };
    let found = format!(
        "{}: {count} of {all} are held by others{which}",
        facts.ports.brief()
    );
    let finding = Finding::ok("instances' ports", found);
    match count > all / 2 {
        false => finding,
        true => finding.bad(
            Level::Warn,
            "an instance gets a port of its own; when none is left it cannot be placed here",
            "give instances more with instance-ports = \"FIRST-LAST,PORT\" in the agent's configuration",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::ports::PortRange;

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
        let of = |ranges: &[(u16, u16)]| {
            let ranges = ranges.iter();
            let ports = ranges.map(|&(first, last)| PortRange { first, last });
            instances(&Facts {
                ports: ports.collect(),
                ..held("0.0.0.0:20000", Some((7, "java")))
            })
        };
        assert_eq!(of(&[(20_000, 20_000)]).level, Level::Warn);
        assert_eq!(of(&[(20_000, 20_009)]).level, Level::Ok);
        let finding = of(&[(20_000, 20_003), (8080, 8080), (80, 80)]);
        assert_eq!(
            (finding.level, finding.found.as_str()),
            (
                Level::Ok,
                "80,8080,20000-20003: 2 of 6 are held by others: 80,20000"
            )
        );
    }
}
