//! `ports` and `service`: what an instance listens on, and what balancers make of it.

use std::collections::BTreeSet;

use super::check;
use super::later::Shape;
use super::reader::{Field, Section};
use super::words::hint;
use crate::app::{Balance, Port, Service, ServiceProtocol};

/// Keys of one publish are one transaction, and a transaction has this many.
const MOST_HOSTS: usize = 64;
/// Weights beyond this say nothing more.
const MOST_WEIGHT: u64 = 1000;

/// The ports of a spec, also those with other mistakes, so that naming them is not a second mistake.
pub struct Ports {
    pub list: Vec<Port>,
}

impl Ports {
    /// Their names in order.
    pub fn names(&self) -> Vec<&str> {
        self.list.iter().map(|p| p.name.as_str()).collect()
    }

    /// The port a section names; the only one when it names none.
    pub fn named_by(&self, section: &mut Section<'_>) -> Option<String> {
        let field = section.field("port");
        let names = self.names();
        match (field.is_present(), names.as_slice()) {
            (false, [only]) => Some((*only).to_owned()),
            (false, []) => field.accept(Err(
                "is missing, and the app has no ports; add one to `ports`",
            )),
            (false, _) => field.accept(Err(format!("is missing; {}", hint("", &names)))),
            (true, _) => {
                let name = field.text()?;
                match names.contains(&name) {
                    true => Some(name.to_owned()),
                    false => field.accept(Err(format!(
                        "no port has the name {name:?}; {}",
                        hint(name, &names)
                    ))),
                }
            }
        }
    }
}

/// Reads `ports`.
pub fn ports(field: &Field<'_>) -> Ports {
    let mut list: Vec<Port> = Vec::new();
    for item in field.items("[{name: http, container: 8080}]") {
        if let Some(port) = item.section().and_then(|section| port(section, &list)) {
            list.push(port);
        }
    }
    Ports { list }
}

fn port(mut section: Section<'_>, before: &[Port]) -> Option<Port> {
    let name_field = section.field("name").required("name: http");
    let name = name_field.text();
    if let Some(name) = name.filter(|name| !check::is_port_name(name)) {
        name_field.problem(format!(
            "{name:?} is not a port name: 1 to 32 of a-z, 0-9, \"-\" and \"_\", first a letter"
        ));
    }
    if before.iter().any(|p| Some(p.name.as_str()) == name) {
        name_field.problem("another port has the same name");
    }
    let container = number(&section.field("container"));
    let host_field = section.field("host");
    let host = number(&host_field);
    if host.is_some() && before.iter().any(|p| p.host == host) {
        host_field.problem("another port has the same host port");
    }
    section
        .field("protocol")
        .later("protocols of a port's own", &Shape::Word(&["tcp", "udp"]));
    section.end();
    Some(Port {
        name: name?.to_owned(),
        container,
        host,
    })
}

fn number(field: &Field<'_>) -> Option<u16> {
    field.whole(1..=65535).and_then(|n| u16::try_from(n).ok())
}

/// Reads `service`.
pub fn services(field: &Field<'_>, ports: &Ports) -> Vec<Service> {
    let mut hosts = BTreeSet::new();
    let items = field.items("[{port: http, hosts: [web.example]}]");
    let sections = items.iter().filter_map(Field::section);
    let list = sections
        .filter_map(|section| service(section, ports, &mut hosts))
        .collect();
    if hosts.len() > MOST_HOSTS {
        field.problem(format!(
            "{} hosts are more than the {MOST_HOSTS} one app may have",
            hosts.len()
        ));
    }
    list
}

fn service(
    mut section: Section<'_>,
    ports: &Ports,
    seen: &mut BTreeSet<String>,
) -> Option<Service> {
    let port = ports.named_by(&mut section);
    let protocol = section
        .field("protocol")
        .word(&[("http", ServiceProtocol::Http)], &["tcp", "udp"]);
    let hosts_field = section.field("hosts");
    // A TCP service is refused already; that it has no hosts is right.
    let is_other = section.field("listen").is_present();
    if hosts_field
        .value()
        .is_none_or(|v| v.as_array().is_some_and(Vec::is_empty))
        && !is_other
    {
        hosts_field.problem("is missing; write it like [web.example]");
    }
    let hosts: Vec<String> = hosts_field
        .items("[web.example]")
        .iter()
        .filter_map(|host| self::host(host, seen))
        .collect();
    let below = hosts.iter().any(|host| host.contains('/'));
    let proxy = super::proxy::proxy(&section.field("proxy"), below);
    let balance = section.field("balance").word(
        &[
            ("round_robin", Balance::RoundRobin),
            ("url_hash", Balance::UrlHash),
            ("ip_hash", Balance::IpHash),
            ("header_hash", Balance::HeaderHash),
            ("least_conn", Balance::LeastConn),
            ("p2c", Balance::P2c),
            ("maglev", Balance::Maglev),
            ("ip_maglev", Balance::IpMaglev),
            ("header_maglev", Balance::HeaderMaglev),
        ],
        &["hash", "random"],
    );
    let weight = section.field("weight").whole(1..=MOST_WEIGHT);
    section.field("listen").later("TCP services", &Shape::Whole);
    section.field("zone").later("zones", &Shape::Text);
    section.end();
    Some(Service {
        port: port?,
        protocol: protocol.unwrap_or(ServiceProtocol::Http),
        hosts,
        balance: balance.unwrap_or(Balance::RoundRobin),
        weight: weight.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        proxy,
    })
}

fn host(field: &Field<'_>, seen: &mut BTreeSet<String>) -> Option<String> {
    let host = field.text()?.to_owned();
    if let Some(problem) = check::host_problem(&host) {
        field.problem(problem);
    }
    if !seen.insert(host.clone()) {
        field.problem(format!("host {host:?} is named twice"));
    }
    Some(host)
}
