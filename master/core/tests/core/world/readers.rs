//! Model readers of a registry outside: balancers that are no nodes' and confirm through the registry, as long as they reach it.

use hancock_master_core::Outside;
use hancock_proto::ids::NodeId;
use hancock_proto::registry::{Confirmation, Reader};

use super::{Balancer, World};

/// One of them.
#[derive(Default)]
pub struct Outsider {
    pub balancer: Balancer,
    /// It does not reach the registry: its lease is over.
    pub cut: bool,
    /// It has ended, and said so.
    pub ended: bool,
}

impl Outsider {
    fn tell(&self, name: &str) -> Option<Reader> {
        let services = self.balancer.report().into_iter();
        let told = Confirmation {
            reader: name.to_owned(),
            node: NodeId::try_from(name.to_owned()).unwrap(),
            boot: "b1".parse().unwrap(),
            revision: self.balancer.revision?,
            index: Default::default(),
            open: services.filter(|(_, report)| report.is_open()).collect(),
            more: false,
            ended: self.ended,
        };
        Some(Reader {
            name: name.to_owned(),
            told: Some(told),
        })
    }
}

impl World {
    /// What the keeper of the registry in force sees: its documents once, its readers always.
    pub(super) fn hear_readers(&mut self) {
        let Some(number) = self.state.choosing.outside().map(|c| c.number).last() else {
            return;
        };
        let known = self.readers.iter().filter(|(_, r)| !r.cut);
        let readers = known.filter_map(|(name, r)| r.tell(name)).collect();
        let outside: &mut Outside = self.view.outside_mut();
        outside.listed(number, &self.state.registry.list());
        outside.heard(number, readers, self.now);
    }
}
