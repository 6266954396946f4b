//! A cluster of any size, made by the commands a leader would propose: ten instances on a node, fifty of an app, a hundred nodes to a zone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_master_core::command::{Confirmation, Evidence, Placement, Purpose, StopCause};
use hancock_master_core::{Command, LeaderView, Reply, State, batch};
use hancock_proto::app::AppSpec;
use hancock_proto::assignment::PortBinding;
use hancock_proto::hub::Hello;
use hancock_proto::ids::{AppName, BootId, DocIndex, InstanceId, LogIndex, NodeId, Term};
use hancock_proto::registry::Fence;
use hancock_proto::report::{Condition, InstanceReport, Life, Report, ServiceReport};
use hancock_proto::resources::NodeInfo;
use hancock_proto::time::Timestamp;
use serde_json::json;

/// Instances of an app.
pub const REPLICAS: usize = 50;
/// Instances on a node.
const PER_NODE: usize = 10;
/// Nodes of a zone.
const PER_ZONE: usize = 100;
/// The term everything happens in.
const TERM: Term = Term(1);

/// One command about to be carried out.
pub struct Deed<'a> {
    /// The state before.
    pub state: &'a State,
    pub index: LogIndex,
    pub term: Term,
    pub command: &'a Command,
}

/// Is shown every deed.
pub type Watch<'a> = &'a mut dyn FnMut(&Deed<'_>);

pub struct Cluster {
    pub state: State,
    index: u64,
    nodes: usize,
    /// Instances placed so far: they go from node to node.
    placed: usize,
}

impl Cluster {
    /// One with so many instances, all of them serving, nothing under way.
    pub fn new(instances: usize) -> Self {
        let mut cluster = Self {
            state: State::new(),
            index: 0,
            nodes: (instances / PER_NODE).max(PER_ZONE),
            placed: 0,
        };
        cluster.begin();
        for app in 0..instances / REPLICAS {
            let spec = cluster.spec(app, 1);
            cluster.roll_out(&spec, &mut |_| ());
        }
        cluster
    }

    fn begin(&mut self) {
        let (at, leader) = (self.now(), "m1".to_owned());
        let cluster = fence().cluster;
        self.apply(Command::Init { cluster, at });
        self.apply(Command::TermStarted {
            term: TERM,
            leader,
            at,
        });
        let fence = fence();
        self.apply(Command::RegistryRaise { fence, at });
        for zone in 0..self.zones() {
            let name = city(zone).parse().unwrap();
            let zone = serde_json::from_value(json!({"selector": {"city": city(zone)}})).unwrap();
            self.apply(Command::PutZone { name, zone, at });
        }
        for n in 0..self.nodes {
            let (info, boot) = (self.info(n, n / PER_ZONE), boot());
            self.apply(Command::RegisterNode { info, boot, at });
        }
    }

    pub fn zones(&self) -> usize {
        self.nodes.div_ceil(PER_ZONE)
    }

    /// A second after the command before: no deadline is in the way.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.index * 1000)
    }

    pub fn apply(&mut self, command: Command) -> Reply {
        self.tell(command, &mut |_| ())
    }

    /// Shows a command and carries it out, which works.
    pub fn tell(&mut self, command: Command, watch: Watch<'_>) -> Reply {
        self.index += 1;
        let index = LogIndex(self.index);
        watch(&Deed {
            state: &self.state,
            index,
            term: TERM,
            command: &command,
        });
        let reply = self.state.apply(index, TERM, &command);
        assert!(
            !matches!(reply, Reply::Refused(_)),
            "{command:?}: {reply:?}"
        );
        reply
    }

    /// What a node says of itself, in a city.
    pub fn info(&self, n: usize, zone: usize) -> NodeInfo {
        serde_json::from_value(json!({
            "node": node(n), "hostname": node(n), "address": format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255),
            "capacity": {"cpu": 64.0, "memory": "256GiB", "disk": "0B"}, "ports": {"first": 20000, "last": 29999},
            "runtime": "process", "arch": "x86_64", "version": "0", "labels": {"city": city(zone)},
        }))
        .unwrap()
    }

    /// An app's version, in the zone that is its own.
    pub fn spec(&self, app: usize, version: usize) -> Arc<AppSpec> {
        let name = format!("app-{app}");
        let spec = json!({
            "app": name, "kind": "service", "replicas": REPLICAS, "command": ["serve", version.to_string()],
            "resources": {"cpu": 0.1, "memory": "64MiB", "disk": "0B"}, "ports": [{"name": "http"}],
            "service": [{"port": "http", "protocol": "http", "hosts": [format!("{name}.test"), format!("www.{name}.test")],
                "balance": "round_robin", "weight": 1, "zone": city(app % self.zones())}],
            "update": hancock_proto::app::Update::default(), "stop": hancock_proto::app::Stop::default(),
            "placement": hancock_proto::app::Placement::default(), "restart": hancock_proto::app::Restart::default(),
        });
        Arc::new(serde_json::from_value(spec).unwrap())
    }

    /// Brings a version all the way: placed, ready, published, confirmed, drained, stopped, settled.
    pub fn roll_out(&mut self, spec: &Arc<AppSpec>, watch: Watch<'_>) {
        let (app, at) = (&spec.app, self.now());
        let wish = Command::ApplyApp {
            spec: spec.clone(),
            at,
        };
        self.tell(wish, watch);
        let deployment = self.state.apps[app].newest.unwrap();
        self.place(Purpose::Deployment(deployment), REPLICAS, watch);
        let new = self.state.deployments[&deployment].new.clone();
        self.report(&new, Life::Running, watch);
        let at = self.now();
        self.tell(Command::Promote { deployment, at }, watch);
        self.cut_over(app, watch);
        let (holding, lingering, at) = (BTreeSet::new(), BTreeSet::new(), self.now());
        let finish = Command::FinishDeployment {
            deployment,
            holding,
            lingering,
            at,
        };
        self.tell(finish, watch);
        self.settle(app, watch);
    }

    /// Instances go to the next nodes in turn.
    fn place(&mut self, purpose: Purpose, count: usize, watch: Watch<'_>) {
        let placements = (self.placed..self.placed + count).map(|n| {
            let port = PortBinding {
                name: "http".to_owned(),
                container: None,
                host: 20_000 + u16::try_from(n / self.nodes % 10_000).unwrap(),
                count: 1,
                protocol: Default::default(),
            };
            Placement {
                node: node(n % self.nodes).parse().unwrap(),
                ports: vec![port],
            }
        });
        let place = Command::Place {
            purpose,
            first: self.state.last_instance + 1,
            placements: placements.collect(),
            at: self.now(),
        };
        self.placed += count;
        self.tell(place, watch);
    }

    /// Each one's node says so.
    pub fn report(&mut self, instances: &BTreeSet<InstanceId>, life: Life, watch: Watch<'_>) {
        for id in instances {
            let report = self.fact(id, life);
            self.tell(report, watch);
        }
    }

    /// What an instance's node would say next.
    pub fn fact(&self, id: &InstanceId, life: Life) -> Command {
        let known = &self.state.instances[id];
        let at = self.now();
        let ready = Condition {
            value: life == Life::Running,
            since: at,
            reason: "probed".to_owned(),
        };
        let facts = InstanceReport {
            version: known.version,
            life,
            since: at,
            reason: None,
            ready: Some(ready),
            restarts: known.facts.restarts,
            image_digest: None,
            ailing: false,
        };
        Command::Report {
            node: known.node.clone(),
            boot: boot(),
            sequence: self.state.nodes[&known.node].sequence + 1,
            instances: BTreeMap::from([(id.clone(), facts)]),
            at,
        }
    }

    /// Writes the app's documents, as the leader's loop does.
    fn publish(&mut self, app: &AppName, watch: Watch<'_>) {
        let (batch, fence, at) = (batch(&self.state, app).unwrap(), fence(), self.now());
        self.tell(Command::RegistryPublish { batch, fence, at }, watch);
        let published = Command::Published {
            app: app.clone(),
            index: self.state.apps[app].routes.index,
            revision: self.state.registry.revision(),
            outside: None,
            at,
        };
        self.tell(published, watch);
    }

    /// The newest cutover, until who leaves by it has stopped.
    fn cut_over(&mut self, app: &AppName, watch: Watch<'_>) {
        self.publish(app, watch);
        let cutover = self.state.apps[app].routes.cutovers.last().unwrap().clone();
        let (index, evidence, at) = (cutover.index, self.evidence(app), self.now());
        let drain = Command::BeginDrain {
            app: app.clone(),
            index,
            evidence: evidence.clone(),
            at,
        };
        self.tell(drain, watch);
        if cutover.retiring.is_empty() {
            return;
        }
        let stops = cutover.retiring.iter();
        let stop = Command::StopInstances {
            app: app.clone(),
            index,
            stops: stops.map(|id| (id.clone(), StopCause::Drained)).collect(),
            evidence,
            at,
        };
        self.tell(stop, watch);
        self.report(&cutover.retiring, Life::Stopped, watch);
    }

    fn settle(&mut self, app: &AppName, watch: Watch<'_>) {
        let cutover = self.state.apps[app].routes.cutovers.last().unwrap();
        let settle = Command::Settle {
            app: app.clone(),
            index: cutover.index,
            unreported: BTreeSet::new(),
            at: self.now(),
        };
        self.tell(settle, watch);
        self.publish(app, watch);
    }

    /// Every node of the app's zone has confirmed.
    fn evidence(&self, app: &AppName) -> Evidence {
        let app = &self.state.apps[app];
        let zone = &app.routed_spec().unwrap().service[0].zone;
        let zone = self.state.zone(zone).unwrap();
        let confirmation = Confirmation {
            boot: boot(),
            index: app.routes.index,
        };
        let nodes = self.state.nodes_in(&zone);
        let confirmed = nodes.map(|(id, _)| (id.clone(), confirmation.clone()));
        Evidence {
            confirmed: confirmed.collect(),
            ..Evidence::default()
        }
    }

    /// A replacement for one of the app's instances, up to where it serves instead.
    pub fn heal(&mut self, app: &AppName, watch: Watch<'_>) {
        let failed = BTreeSet::from([self.instance_of(app)]);
        self.report(&failed, Life::Failed, watch);
        self.place(Purpose::Heal(app.clone()), 1, watch);
        let newest = InstanceId::new(app, self.state.last_instance);
        let join = BTreeSet::from([newest]);
        self.report(&join, Life::Running, watch);
        let (app, at) = (app.clone(), self.now());
        let heal = Command::Heal {
            app: app.clone(),
            join,
            at,
        };
        self.tell(heal, watch);
        self.cut_over(&app, watch);
        self.settle(&app, watch);
    }

    /// One of the app's instances.
    pub fn instance_of(&self, app: &AppName) -> InstanceId {
        let mut all = self.state.apps[app].instances.iter();
        all.next().unwrap().clone()
    }

    /// A leader that has heard everybody: every node is there and has confirmed what it carries.
    pub fn view(&self) -> LeaderView {
        let now = self.now();
        let mut view = LeaderView::new(TERM, now);
        let apps = self.state.apps.values();
        let mut carried: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for app in apps {
            for (name, zones) in app.carried() {
                let index = app.routes.index;
                let zone = zones.into_iter().next().unwrap();
                carried.entry(zone).or_default().insert(name, served(index));
            }
        }
        for node in self.state.nodes.values() {
            let info = node.info.clone();
            let zones = self.state.zones_of(&info.labels).into_iter();
            let services = zones.filter_map(|zone| carried.get(&zone)).flatten();
            let report = Report {
                node: info.node.clone(),
                boot: boot(),
                sequence: node.sequence + 1,
                generation: node.generation,
                instances: BTreeMap::new(),
                services: services.map(|(n, s)| (n.clone(), s.clone())).collect(),
                registry: Some(self.state.registry.revision()),
                follows: None,
            };
            let hello = Hello {
                info,
                boot: boot(),
                generation: node.generation,
                registry: None,
                surroundings: true,
            };
            view.hello(&hello, now);
            view.report(&self.state, &report, now);
        }
        view
    }
}

fn served(index: DocIndex) -> ServiceReport {
    ServiceReport {
        seen: index,
        confirmed: index,
        refused: None,
        draining: BTreeMap::new(),
    }
}

pub fn node(n: usize) -> String {
    format!("n{n:05}")
}

pub fn node_id(n: usize) -> NodeId {
    node(n).parse().unwrap()
}

pub fn city(zone: usize) -> String {
    format!("c{zone}")
}

pub fn boot() -> BootId {
    "b1".parse().unwrap()
}

fn fence() -> Fence {
    Fence {
        cluster: "c11487".parse().unwrap(),
        term: TERM,
    }
}
