//! The apps of a run and their versions: good ones, slow ones, and ones that never get there.

use std::sync::Arc;

use hancock_proto::app::{
    AppSpec, Balance, Placement, Restart, Service, ServiceProtocol, Stop, Strategy, Update, Volume,
    VolumeKind,
};
use hancock_proto::ids::ZoneName;
use hancock_proto::units::Span;

/// Apps there may be.
pub(crate) const APPS: [&str; 2] = ["web", "api"];

/// Versions of each app there may be.
pub(crate) const VERSIONS: usize = 8;

/// Those in zones come after them.
pub(crate) const IN_ZONES: usize = 3;

/// Those that run alone come last.
pub(crate) const ALONE: usize = 3;

/// Zones there are, each of the nodes with a label of its name; nodes of the last one are in none.
pub(crate) const CITIES: [&str; 3] = ["oslo", "bergen", "lund"];

/// The city of a node when nobody moved it.
pub(crate) fn city(node: usize) -> &'static str {
    CITIES[node % CITIES.len()]
}

/// A version of an app.
pub(crate) fn spec(app: &str, version: usize, replicas: u32) -> Arc<AppSpec> {
    let mut spec = plain(app, replicas);
    spec.command = vec!["serve".to_owned(), format!("v{version}")];
    let mut say = |key: &str, value: &str| {
        spec.environment.insert(key.to_owned(), value.to_owned());
    };
    match version {
        1 => say("READY", "1500"),
        2 => say("NEVER", "1"),
        3 => {
            say("CRASH", "1");
            say("NEVER", "1");
        }
        // The same instances under another weight.
        4 => {
            spec.command = vec!["serve".to_owned(), "v0".to_owned()];
            spec.service[0].weight = 3;
        }
        5 => {
            spec.service[0].hosts.push(format!("www.{app}.test"));
            spec.service.push(over_tcp(app));
        }
        6 => spec.update.min_healthy_time = Span::seconds(2),
        7 => spec.update.max_unavailable = 1,
        8 => zone(&mut spec, CITIES[0]),
        9 => zone(&mut spec, CITIES[1]),
        // Moves without new instances, where it follows the first version.
        10 => {
            spec.command = vec!["serve".to_owned(), "v0".to_owned()];
            zone(&mut spec, CITIES[1]);
        }
        // Old and new never side by side; and what they write to has one writer, an app's own or both apps'.
        11 => spec.update.strategy = Strategy::Recreate,
        12 => own(&mut spec, VolumeKind::Volume, "data"),
        13 => own(&mut spec, VolumeKind::Bind, "/srv/data"),
        _ => {}
    }
    Arc::new(spec)
}

fn own(spec: &mut AppSpec, kind: VolumeKind, source: &str) {
    spec.update.strategy = Strategy::Recreate;
    spec.volumes.push(Volume {
        kind,
        source: source.to_owned(),
        target: "/data".to_owned(),
        read_only: false,
        size: None,
        exclusive: true,
    });
}

fn zone(spec: &mut AppSpec, name: &str) {
    // Names of zones are this crate's own.
    spec.service[0].zone = name.parse().unwrap_or_default();
}

/// The same instances reached by a port of every node.
fn over_tcp(app: &str) -> Service {
    Service {
        port: "http".to_owned(),
        protocol: ServiceProtocol::Tcp,
        hosts: Vec::new(),
        listen: APPS.iter().zip(3131..).find(|a| *a.0 == app).map(|a| a.1),
        balance: Balance::RoundRobin,
        weight: 1,
        proxy: None,
        zone: ZoneName::default(),
    }
}

fn plain(app: &str, replicas: u32) -> AppSpec {
    let update = Update {
        healthy_deadline: Span::seconds(20),
        progress_deadline: Span::seconds(60),
        accept_timeout: Span::seconds(5),
        ack_timeout: Span::seconds(5),
        hold_unconfirmed: Span::seconds(60),
        ..Update::default()
    };
    let stop = Stop {
        drain_timeout: Span::seconds(15),
        session_drain_timeout: Span::seconds(60),
        grace_period: Span::seconds(5),
        ..Stop::default()
    };
    let value = serde_json::json!({
        "app": app, "kind": "service", "replicas": replicas, "command": [],
        "resources": {"cpu": 0.1, "memory": "64MiB", "disk": "0B"},
        "ports": [{"name": "http"}],
        "service": [{"port": "http", "protocol": "http", "hosts": [format!("{app}.test")], "balance": "round_robin", "weight": 1}],
        "healthcheck": {"type": "http", "port": "http", "path": "/healthz", "interval": "2s", "start_interval": "200ms",
            "timeout": "1s", "rise": 1, "fall": 2},
        "update": update, "stop": stop, "placement": Placement::default(), "restart": Restart::default(),
    });
    // The words above are this file's own.
    #[allow(clippy::expect_used)]
    serde_json::from_value(value).expect("a spec")
}

/// Whether an app of this spec can live.
pub(crate) fn viable(spec: &AppSpec) -> bool {
    !spec.environment.contains_key("NEVER") && !spec.environment.contains_key("CRASH")
}
