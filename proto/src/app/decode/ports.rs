//! `ports` and `service`: what an instance listens on, and what balancers make of it.

use std::collections::BTreeSet;

use super::check;
use super::reader::{Field, Section};
use super::words::hint;
use crate::app::{Balance, Port, PortProtocol, PortSpan, Service, ServiceProtocol};

/// Keys of one publish are one transaction, and a transaction has this many.
const MOST_NAMES: usize = 64;
/// Ports a service may listen on: those below belong to the system.
const LISTENS: std::ops::RangeInclusive<u64> = 1024..=65535;
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
        match (field.is_present(), self.list.as_slice()) {
            (false, [only]) => reachable(&field, only),
            (false, []) => field.accept(Err(
                "is missing, and the app has no ports; add one to `ports`",
            )),
            (false, _) => field.accept(Err(format!("is missing; {}", hint("", &names)))),
            (true, _) => {
                let name = field.text()?;
                match self.list.iter().find(|p| p.name == name) {
                    Some(port) => reachable(&field, port),
                    None => field.accept(Err(format!(
                        "no port has the name {name:?}; {}",
                        hint(name, &names)
                    ))),
                }
            }
        }
    }
}

/// Balancers and their checks come over TCP, and to one port.
fn reachable(field: &Field<'_>, port: &Port) -> Option<String> {
    if port.protocol == PortProtocol::Udp {
        field.problem(format!(
            "port {:?} is udp, which balancers do not carry; clients come to the node's own port",
            port.name
        ));
    } else if port.count() > 1 {
        field.problem(format!(
            "port {:?} is a range, and a balancer goes to one port; give that one a name of its own",
            port.name
        ));
    }
    Some(port.name.clone())
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
    let words = [("tcp", PortProtocol::Tcp), ("udp", PortProtocol::Udp)];
    let protocol = section.field("protocol").word(&words, &[]);
    let protocol = protocol.unwrap_or_default();
    let container = span(&section.field("container"));
    let host_field = section.field("host");
    let host = span(&host_field);
    let same = |p: &Port| p.protocol == protocol && meet(p.host, host);
    if before.iter().any(same) {
        host_field.problem("another port has the same host port");
    }
    if let (Some(inside), Some(outside)) = (container, host)
        && inside.count() != outside.count()
    {
        host_field.problem(format!(
            "{outside} and container {inside} are not as many; each port leads to one"
        ));
    }
    section.end();
    Some(Port {
        name: name?.to_owned(),
        container,
        host,
        protocol,
    })
}

fn meet(a: Option<PortSpan>, b: Option<PortSpan>) -> bool {
    a.zip(b).is_some_and(|(a, b)| a.meets(b))
}

/// A number, or a text with a range.
fn span(field: &Field<'_>) -> Option<PortSpan> {
    match field.value() {
        Some(serde_json::Value::String(text)) => field.accept(text.parse()),
        _ => field
            .whole(1..=65535)
            .and_then(|n| u16::try_from(n).ok())
            .map(PortSpan::one),
    }
}

/// Reads `service`.
pub fn services(field: &Field<'_>, ports: &Ports) -> Vec<Service> {
    let mut names = BTreeSet::new();
    let items = field.items("[{port: http, hosts: [web.example]}]");
    let sections = items.iter().filter_map(Field::section);
    let list = sections
        .filter_map(|section| service(section, ports, &mut names))
        .collect();
    if names.len() > MOST_NAMES {
        field.problem(format!(
            "{} hosts and listen ports are more than the {MOST_NAMES} one app may have",
            names.len()
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
    let words = [
        ("http", ServiceProtocol::Http),
        ("tcp", ServiceProtocol::Tcp),
    ];
    let protocol_field = section.field("protocol");
    let unsaid = (!protocol_field.is_present()).then_some(ServiceProtocol::Http);
    // None: a mistake, which tells nothing of the rest.
    let protocol = protocol_field.word(&words, &["udp"]).or(unsaid);
    let (hosts_field, listen_field) = (section.field("hosts"), section.field("listen"));
    leads_here(&hosts_field, &listen_field, protocol);
    let hosts_items = hosts_field.items("[web.example]");
    let hosts = hosts_items.iter().filter_map(|item| host(item, seen));
    let hosts: Vec<String> = hosts.collect();
    let below = hosts.iter().any(|host| host.contains('/'));
    let proxy_field = section.field("proxy");
    if protocol == Some(ServiceProtocol::Tcp) && proxy_field.is_present() {
        proxy_field.problem("says how requests are carried; a service of protocol tcp has none");
    }
    let proxy = super::proxy::proxy(&proxy_field, below);
    let listen = listen(&listen_field, seen);
    let balance_field = section.field("balance");
    let balance = balance_field.word(
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
    if protocol == Some(ServiceProtocol::Tcp) {
        not_of_requests(&balance_field, balance);
    }
    let weight = section.field("weight").whole(1..=MOST_WEIGHT);
    let zone = section.field("zone").parsed().unwrap_or_default();
    section.end();
    Some(Service {
        port: port?,
        protocol: protocol.unwrap_or(ServiceProtocol::Http),
        hosts,
        listen,
        balance: balance.unwrap_or(Balance::RoundRobin),
        weight: weight.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        proxy,
        zone,
    })
}

/// What leads to a service fits its protocol.
fn leads_here(hosts: &Field<'_>, listen: &Field<'_>, protocol: Option<ServiceProtocol>) {
    let named = hosts
        .value()
        .is_some_and(|v| v.as_array().is_none_or(|list| !list.is_empty()));
    match protocol {
        Some(ServiceProtocol::Http) if listen.is_present() => {
            listen.problem("is for protocol: tcp; what leads to an http service are its `hosts`");
        }
        Some(ServiceProtocol::Http) if !named => {
            hosts.problem("is missing; write it like [web.example]");
        }
        Some(ServiceProtocol::Tcp) if named => {
            hosts.problem("is for http; what leads to a tcp service is its port `listen`");
        }
        Some(ServiceProtocol::Tcp) if !listen.is_present() => {
            listen.problem("is missing; write it like listen: 3131");
        }
        _ => {}
    }
}

fn listen(field: &Field<'_>, seen: &mut BTreeSet<String>) -> Option<u16> {
    let port = field.whole(LISTENS).and_then(|n| u16::try_from(n).ok())?;
    if !seen.insert(format!(":{port}")) {
        field.problem(format!("port {port} is listened on twice"));
    }
    Some(port)
}

/// Ways to choose a peer that look at a request.
fn not_of_requests(field: &Field<'_>, balance: Option<Balance>) {
    use Balance::{HeaderHash, HeaderMaglev, Maglev, UrlHash};
    if let Some(UrlHash | HeaderHash | Maglev | HeaderMaglev) = balance {
        field.problem(
            "looks at requests, and a tcp connection has none; there are ip_hash and ip_maglev",
        );
    }
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
