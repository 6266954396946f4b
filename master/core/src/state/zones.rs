//! Zones, and which balancers carry what.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::ids::{NodeId, ZoneName};
use hancock_proto::service::ServiceName;
use hancock_proto::zone::Zone;

use super::{App, Node, State};

/// Labels of a node.
type Labels = BTreeMap<String, String>;

impl State {
    /// A zone; the default one is always there.
    pub fn zone(&self, name: &ZoneName) -> Option<Zone> {
        let known = self.zones.get(name).cloned();
        known.or_else(|| name.is_default().then(Zone::default))
    }

    /// Every zone by name, the default one among them.
    pub fn all_zones(&self) -> BTreeMap<ZoneName, Zone> {
        let mut all: BTreeMap<_, _> = self.zones.iter().map(cloned).collect();
        all.entry(ZoneName::default()).or_default();
        all
    }

    /// Zones a node with these labels belongs to.
    pub fn zones_of(&self, labels: &Labels) -> BTreeSet<ZoneName> {
        let holding = self.zones.iter().filter(|(_, zone)| zone.holds(labels));
        let named = holding.map(|(name, _)| name.clone());
        // The default one holds all nodes, whether anything is said of it or not.
        named.chain([ZoneName::default()]).collect()
    }

    /// Zones of a registered node; none of one that is not.
    pub fn zones_of_node(&self, node: &NodeId) -> BTreeSet<ZoneName> {
        let known = self.nodes.get(node);
        known
            .map(|n| self.zones_of(&n.info.labels))
            .unwrap_or_default()
    }

    /// Nodes of a zone, by name.
    pub fn nodes_in<'a>(&'a self, zone: &'a Zone) -> impl Iterator<Item = (&'a NodeId, &'a Node)> {
        let nodes = self.nodes.iter().map(|(id, node)| (id, &**node));
        nodes.filter(|(_, node)| zone.holds(&node.info.labels))
    }
}

fn cloned((name, zone): (&ZoneName, &Zone)) -> (ZoneName, Zone) {
    (name.clone(), zone.clone())
}

/// An app's services with the zones that carry them, looked up once.
pub(crate) struct Carry(Vec<(ServiceName, Vec<Zone>)>);

impl Carry {
    pub(crate) fn of(state: &State, app: &App) -> Self {
        Self::new(state, app.carried())
    }

    pub(crate) fn new(state: &State, carried: BTreeMap<ServiceName, BTreeSet<ZoneName>>) -> Self {
        let zones =
            |names: BTreeSet<ZoneName>| names.iter().filter_map(|n| state.zone(n)).collect();
        let each = carried.into_iter();
        Self(each.map(|(name, names)| (name, zones(names))).collect())
    }

    /// Whether every node that carries a service by this one does so by the other, too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(name, zones)| {
            let mut same = other.0.iter().filter(|(n, _)| n == name);
            same.any(|(_, more)| zones.iter().all(|zone| more.contains(zone)))
        })
    }

    /// Services a node with these labels carries.
    pub(crate) fn names(&self, labels: &Labels) -> impl Iterator<Item = &ServiceName> + Clone {
        let holding = self
            .0
            .iter()
            .filter(|(_, zones)| zones.iter().any(|z| z.holds(labels)));
        holding.map(|(name, _)| name)
    }

    /// Whether a node with these labels carries any of them.
    pub(crate) fn any(&self, labels: &Labels) -> bool {
        self.names(labels).next().is_some()
    }
}
