//! One machine: its disk, its engine, and the daemon that may run on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_agent_core::environment::PortSide;
use hancock_agent_core::node::Node;
use hancock_agent_core::{instance, session};
use hancock_proto::app::Resources;
use hancock_proto::assignment::Assignment;
use hancock_proto::ids::{BootId, InstanceId, NodeId, Revision};
use hancock_proto::ports::PortSet;
use hancock_proto::report::Report;
use hancock_proto::resources::NodeInfo;
use hancock_proto::service::ServiceName;
use hancock_proto::units::{Cpu, Size};
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::watcher::Watcher;

use crate::balancer::{Balancer, LocalSpec};
use crate::engine::Engine;
use crate::specs::city;

/// First host port of every node.
const FIRST_PORT: u16 = 20_000;

/// What the agent stores before it acts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) session: session::Memory,
    pub(crate) assignment: Option<Assignment>,
    pub(crate) instances: BTreeMap<InstanceId, instance::Memory>,
    pub(crate) registry: Option<Revision>,
    /// The store outside that was listed last.
    pub(crate) store: Option<u64>,
}

/// What survives whatever happens to the machine.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) journal: Record,
    pub(crate) documents: BTreeMap<ServiceName, Arc<UpstreamDoc>>,
}

/// See the module.
pub(crate) struct Host {
    pub(crate) info: NodeInfo,
    pub(crate) power: bool,
    /// Masters and machine hear each other.
    pub(crate) linked: bool,
    /// Machines whose instances cannot be reached from here.
    pub(crate) blocked: BTreeSet<usize>,
    /// Flushing takes this long now and then.
    pub(crate) slow_disk: u64,
    pub(crate) engine: Engine,
    pub(crate) disk: Disk,
    pub(crate) daemon: Option<Daemon>,
    /// Counts starts of the daemon.
    pub(crate) boots: u64,
    /// Nothing was done to it, its daemon or its link since then.
    pub(crate) steady: u64,
}

impl Host {
    pub(crate) fn new(number: usize, ports: u16) -> Self {
        let name = format!("n{number}");
        Self {
            info: info(&name, number, ports),
            power: true,
            linked: true,
            blocked: BTreeSet::new(),
            slow_disk: 0,
            engine: Engine::default(),
            disk: Disk::default(),
            daemon: None,
            boots: 0,
            steady: 0,
        }
    }

    pub(crate) fn id(&self) -> &NodeId {
        &self.info.node
    }

    /// A daemon begins with what is on the disk.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.daemon = Some(Daemon::new(&self.info, self.boots, &self.disk));
    }

    /// The epoch of the daemon that runs.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.daemon.as_ref().map(|d| d.epoch)
    }
}

// Names made here are well-formed.
#[allow(clippy::unwrap_used)]
fn info(name: &str, number: usize, ports: u16) -> NodeInfo {
    NodeInfo {
        node: name.parse().unwrap(),
        hostname: name.to_owned(),
        address: format!("10.0.0.{number}"),
        labels: BTreeMap::from([("city".to_owned(), city(number - 1).to_owned())]),
        capacity: Resources {
            cpu: Cpu::millicores(8000),
            memory: Size::mib(16_384),
            disk: Size::mib(10_240),
        },
        ports: host_ports(ports),
        runtime: "process".to_owned(),
        kernel: String::new(),
        addresses: Vec::new(),
        arch: "x86_64".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

/// So many: the lower half in a row, the others single ones.
fn host_ports(count: u16) -> PortSet {
    let port = |n: u16| FIRST_PORT + n + n.saturating_sub(count / 2);
    (0..count).map(port).collect()
}

/// A running daemon: agent and balancer. Everything here is lost when it ends.
pub(crate) struct Daemon {
    pub(crate) epoch: u64,
    pub(crate) boot: BootId,
    pub(crate) node: Node,
    /// Whom it listens to, and where the registry is; the rest of the journal is in the node.
    pub(crate) record: Record,
    pub(crate) watcher: Watcher,
    pub(crate) balancer: Balancer,
    /// The open session.
    pub(crate) session: Option<u64>,
    /// Sessions in a row that failed.
    pub(crate) failures: u32,
    pub(crate) listing: bool,
    pub(crate) list_wanted: bool,
    pub(crate) sequence: u64,
    pub(crate) last: Option<Report>,
    pub(crate) watched: BTreeMap<InstanceId, LocalSpec>,
    /// The turn that is due.
    pub(crate) wake: Option<u64>,
    /// When the last write to disk ends: they end in order.
    pub(crate) flushed: u64,
}

impl Daemon {
    // Boot ids made here are well-formed.
    #[allow(clippy::unwrap_used)]
    fn new(info: &NodeInfo, epoch: u64, disk: &Disk) -> Self {
        let record = disk.journal.clone();
        let balancer = Balancer::restored(&disk.documents);
        let mut watcher = Watcher::new();
        let cluster = record.session.cluster.clone();
        watcher.adopt(cluster, record.registry, balancer.names());
        Self {
            epoch,
            boot: format!("{}-{epoch}", info.node).parse().unwrap(),
            node: Node::new(
                info.node.clone(),
                PortSide::Host,
                record.assignment.clone(),
                record.instances.clone(),
            ),
            record,
            watcher,
            balancer,
            session: None,
            failures: 0,
            listing: false,
            list_wanted: true,
            sequence: 0,
            last: None,
            watched: BTreeMap::new(),
            wake: None,
            flushed: 0,
        }
    }
}
