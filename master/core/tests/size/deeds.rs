//! Everything that happens in a cluster from day to day, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use hancock_master_core::Command;
use hancock_proto::app::AppSpec;
use hancock_proto::ids::{AppName, Term};
use hancock_proto::report::Life;
use serde_json::json;

use super::cluster::{Cluster, Watch, boot, city, node_id};

/// Carries all of it out and shows each command before.
pub fn all(cluster: &mut Cluster, watch: Watch<'_>) {
    let app: AppName = "app-3".parse().unwrap();
    let one = BTreeSet::from([cluster.instance_of(&app)]);
    cluster.report(&one, Life::Running, watch);
    cluster.roll_out(&cluster.spec(3, 2), watch);
    cluster.heal(&app, watch);
    let at = cluster.now();
    cluster.tell(Command::Restart { app, at }, watch);
    admitted(cluster, watch);
    nodes(cluster, watch);
    zones(cluster, watch);
}

/// A new app with a port of its own, and one that is deleted.
fn admitted(cluster: &mut Cluster, watch: Watch<'_>) {
    let spec = AppSpec {
        app: "another".parse().unwrap(),
        ..(*cluster.spec(4, 1)).clone()
    };
    let mut spec = serde_json::to_value(spec).unwrap();
    spec["service"] = json!([
        {"port": "http", "protocol": "http", "hosts": ["another.test"], "balance": "round_robin", "weight": 1},
        {"port": "http", "protocol": "tcp", "hosts": [], "listen": 3306, "balance": "round_robin", "weight": 1},
    ]);
    let spec: Arc<AppSpec> = Arc::new(serde_json::from_value(spec).unwrap());
    let at = cluster.now();
    cluster.tell(Command::ApplyApp { spec, at }, watch);
    let (app, at) = ("app-5".parse().unwrap(), cluster.now());
    let replicas = 60;
    cluster.tell(Command::Scale { app, replicas, at }, watch);
    let (app, at) = ("app-6".parse().unwrap(), cluster.now());
    cluster.tell(Command::DeleteApp { app, at }, watch);
}

/// A node is started anew, is lost, comes back, moves to another city.
fn nodes(cluster: &mut Cluster, watch: Watch<'_>) {
    let at = cluster.now();
    let (node, boot) = (node_id(7), boot());
    let info = cluster.info(7, 0);
    let again = Command::RegisterNode {
        info,
        boot: boot.clone(),
        at,
    };
    cluster.tell(again, watch);
    let lost = Command::NodeLost {
        node: node.clone(),
        at,
    };
    cluster.tell(lost, watch);
    cluster.tell(Command::NodeFound { node, at }, watch);
    let info = cluster.info(8, cluster.zones() + 1);
    cluster.tell(Command::RegisterNode { info, boot, at }, watch);
    let (term, leader) = (Term(1), "m2".to_owned());
    cluster.tell(Command::TermStarted { term, leader, at }, watch);
}

fn zones(cluster: &mut Cluster, watch: Watch<'_>) {
    let (at, name) = (cluster.now(), city(cluster.zones() + 7));
    let zone = serde_json::from_value(json!({"selector": {"city": name}})).unwrap();
    let name = name.parse().unwrap();
    cluster.tell(Command::PutZone { name, zone, at }, watch);
    let name = city(cluster.zones() + 7).parse().unwrap();
    cluster.tell(Command::DeleteZone { name, at }, watch);
    let server = json!({"host": "192.0.2.7", "port": 80});
    let (zone, name) = (city(0), "old.test".to_owned());
    let add = Command::AddServer {
        zone: zone.parse().unwrap(),
        name: name.parse().unwrap(),
        server: serde_json::from_value(server).unwrap(),
        at,
    };
    cluster.tell(add, watch);
    let (zone, name) = (zone.parse().unwrap(), name.parse().unwrap());
    cluster.tell(Command::DeleteUpstream { zone, name, at }, watch);
}
