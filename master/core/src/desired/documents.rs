//! An app's upstream documents: readable by any Slardar, with our own member for balancers that acknowledge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use hancock_proto::app::{AppSpec, Balance, CheckKind, HealthCheck, Service, ServiceProxy};
use hancock_proto::ids::{AppName, InstanceId, ZoneName};
use hancock_proto::registry::Batch;
use hancock_proto::service::{ServiceKind, ServiceName};
use hancock_proto::upstream::{HttpOpts, Level, Member, Proxy, Server, UpstreamDoc};

use super::assignment::{check_host, name_of};
use crate::acks::stop;
use crate::state::{App, State};

/// Failed requests in a row after which a balancer leaves a peer alone for [`BAN_SECONDS`].
const BAN_AFTER: u32 = 2;
const BAN_SECONDS: f64 = 5.0;

/// Statuses a check does not like unless it expects them, spelled out for readers that know no ranges.
const BAD_STATUSES: [u16; 41] = [
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418,
    421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507,
    508, 510, 511,
];
/// The rest, bad only where a check says what it expects.
const OTHER_STATUSES: [u16; 14] = [
    200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308,
];

/// Every document of the app by service name; None: to be deleted.
pub fn documents(state: &State, app: &App) -> BTreeMap<ServiceName, Option<Arc<UpstreamDoc>>> {
    let mut all: BTreeMap<_, _> = app
        .routes
        .names
        .iter()
        .map(|name| (name.clone(), None))
        .collect();
    let wanted = app.names();
    let Some(spec) = app.routed_spec().filter(|_| !wanted.is_empty()) else {
        return all;
    };
    for service in &spec.service {
        for name in service.names() {
            let doc = document(state, app, spec, service, &name);
            all.insert(name, Some(Arc::new(doc)));
        }
    }
    all
}

/// The app's documents as one transaction; None: there is no such app.
pub fn batch(state: &State, app: &AppName) -> Option<Batch> {
    let known = state.apps.get(app)?;
    Some(Batch {
        app: app.clone(),
        changes: documents(state, known),
    })
}

fn document(
    state: &State,
    app: &App,
    spec: &AppSpec,
    service: &Service,
    name: &ServiceName,
) -> UpstreamDoc {
    let servers = servers(state, service, &app.routes.serving);
    UpstreamDoc {
        cluster: vec![Level {
            servers,
            ..Level::default()
        }],
        enable: Some(true),
        mode: Some(mode(service.balance).to_owned()),
        protected: Some(true),
        proxy: service.proxy.as_ref().map(|p| proxy(p, name.as_str())),
        hancock: Some(member(state, app, spec, service, name)),
        ..probe(spec, name)
    }
}

fn proxy(asked: &ServiceProxy, host: &str) -> Proxy {
    let mut proxy = asked.document();
    // Of several hosts some may have a path and others none.
    proxy.strip_prefix = proxy.strip_prefix.filter(|_| host.contains('/'));
    proxy
}

fn mode(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "rr",
        Balance::UrlHash => "url_hash",
        Balance::IpHash => "ip_hash",
        Balance::HeaderHash => "header_hash",
        Balance::LeastConn => "least_conn",
        Balance::P2c => "p2c",
        Balance::Maglev => "maglev",
        Balance::IpMaglev => "ip_maglev",
        Balance::HeaderMaglev => "header_maglev",
    }
}

/// The peers behind `ids`, in their order; an instance without the service's port has none.
fn servers<'a>(
    state: &State,
    service: &Service,
    ids: impl IntoIterator<Item = &'a InstanceId>,
) -> Vec<Server> {
    ids.into_iter()
        .filter_map(|id| server(state, service, id))
        .collect()
}

fn server(state: &State, service: &Service, id: &InstanceId) -> Option<Server> {
    let instance = state.instances.get(id)?;
    let node = state.nodes.get(&instance.node)?;
    let port = instance.ports.iter().find(|p| p.name == service.port)?;
    Some(Server {
        host: node.info.address.clone(),
        port: port.host,
        weight: Some(f64::from(service.weight)),
        max_fails: Some(BAN_AFTER),
        fail_timeout: Some(BAN_SECONDS),
        instance: Some(id.clone()),
        ..Server::default()
    })
}

fn member(
    state: &State,
    app: &App,
    spec: &AppSpec,
    service: &Service,
    name: &ServiceName,
) -> Member {
    let accept = spec.update.accept_timeout.duration();
    let retiring = app.routes.holdable();
    Member {
        app: app.name.clone(),
        index: app.routes.index,
        added: app.routes.added().into_iter().cloned().collect(),
        retiring: servers(state, service, retiring),
        max_unavailable: spec.update.max_unavailable,
        accept_timeout_ms: u64::try_from(accept.as_millis()).unwrap_or(u64::MAX),
        session_drain_timeout_ms: Some(session_time(state, app, spec)),
        check: asked(spec).cloned(),
        check_ports: check_ports(state, app, spec, service),
        zones: zones(app, service, name),
    }
}

/// Zones whose balancers carry a service; none where all do.
fn zones(app: &App, service: &Service, name: &ServiceName) -> BTreeSet<ZoneName> {
    let staying = app.routes.staying.get(name).into_iter().flatten();
    let zones: BTreeSet<_> = staying.chain([&service.zone]).cloned().collect();
    match zones.contains(&ZoneName::default()) {
        true => BTreeSet::new(),
        false => zones,
    }
}

/// Milliseconds that sessions on whoever leaves have: as long as the most patient of their versions says.
fn session_time(state: &State, app: &App, spec: &AppSpec) -> u64 {
    let retiring = app.routes.retiring().into_iter();
    let leaving = retiring.filter_map(|id| state.instances.get(id));
    let longest = leaving.map(|i| stop(app, i).session_drain_timeout).max();
    let time = longest.unwrap_or(spec.stop.session_drain_timeout);
    u64::try_from(time.duration().as_millis()).unwrap_or(u64::MAX)
}

/// The check that balancers of other nodes can make, too: over the network. Where there is none a connection has to do.
fn asked(spec: &AppSpec) -> Option<&HealthCheck> {
    spec.own_check().filter(|check| check.port.is_some())
}

/// The checked port of every instance whose check does not ask the served one.
fn check_ports(
    state: &State,
    app: &App,
    spec: &AppSpec,
    service: &Service,
) -> BTreeMap<InstanceId, u16> {
    let asked = asked(spec).and_then(|check| check.port.as_ref());
    let Some(asked) = asked.filter(|port| **port != service.port) else {
        return BTreeMap::new();
    };
    let retiring = app.routes.holdable();
    let ids = app.routes.serving.iter().chain(retiring);
    ids.filter_map(|id| {
        let ports = &state.instances.get(id)?.ports;
        let port = ports.iter().find(|p| p.name == *asked)?;
        Some((id.clone(), port.host))
    })
    .collect()
}

/// The check in Slardar's words.
fn probe(spec: &AppSpec, name: &ServiceName) -> UpstreamDoc {
    let Some(check) = asked(spec) else {
        return UpstreamDoc {
            typ: Some("general".to_owned()),
            ..UpstreamDoc::default()
        };
    };
    let http = check.kind == CheckKind::Http;
    UpstreamDoc {
        typ: Some(if http { "http" } else { "general" }.to_owned()),
        timeout: Some(check.timeout.duration().as_secs_f64()),
        sensibility: Some(check.fall),
        http_opts: http.then(|| http_opts(spec, check, name)),
        ..UpstreamDoc::default()
    }
}

fn http_opts(spec: &AppSpec, check: &HealthCheck, name: &ServiceName) -> HttpOpts {
    let path = check.path.as_deref().unwrap_or("/");
    let port = check.port.as_deref().unwrap_or_default();
    let served = spec.service.iter().any(|s| s.port == port);
    let host = match name.kind() {
        ServiceKind::Http(host) if served => name_of(host).to_owned(),
        _ => check_host(spec, port),
    };
    HttpOpts {
        query: Some(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")),
        statuses: Some(statuses(&check.expect)),
        ..HttpOpts::default()
    }
}

fn statuses(expect: &[u16]) -> BTreeMap<String, Value> {
    let others = OTHER_STATUSES.iter().filter(|_| !expect.is_empty());
    BAD_STATUSES
        .iter()
        .chain(others)
        .filter(|code| !expect.contains(code))
        .map(|code| (code.to_string(), false.into()))
        .chain(expect.iter().map(|code| (code.to_string(), true.into())))
        .collect()
}
