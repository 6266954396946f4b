//! What the agent needs of the node's balancer. One real implementation; the agent's own tests put a recorder in its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_balancer::probe::Inside;
use hancock_balancer::{Counts, Handle, LocalInstance};
use hancock_proto::ids::InstanceId;
use hancock_proto::report::{Condition, ServiceReport};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;
use tokio::sync::watch;

/// A node's balancer as the agent sees it.
pub trait LocalBalancer: Send + Sync {
    /// One change of one service. None: really deleted.
    ///
    /// # Errors
    /// The document is wrong; the last good one stays.
    fn apply(&self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) -> Result<(), String>;
    /// Which instances are to be judged; replaces the whole set.
    fn watch_local(&self, instances: BTreeMap<InstanceId, LocalInstance>);
    /// Who runs checks by command inside them.
    fn run_checks_by(&self, inside: Arc<dyn Inside>);
    /// The verdicts; absent while not judged yet.
    fn readiness(&self) -> BTreeMap<InstanceId, Condition>;
    /// What is served, refused and still draining, per service.
    fn services(&self) -> BTreeMap<ServiceName, ServiceReport>;
    /// Bumped when one of the two above would answer something else.
    fn changed(&self) -> watch::Receiver<u64>;
    /// What every service carried since the balancer started.
    fn counts(&self) -> BTreeMap<ServiceName, Counts>;
    /// Services it serves from an earlier run.
    fn names(&self) -> Vec<ServiceName>;
}

impl LocalBalancer for Handle {
    fn apply(&self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) -> Result<(), String> {
        let applied = self.apply_named(name, doc);
        applied.map_err(|error| error.to_string())
    }

    fn watch_local(&self, instances: BTreeMap<InstanceId, LocalInstance>) {
        Handle::watch_local(self, instances);
    }

    fn run_checks_by(&self, inside: Arc<dyn Inside>) {
        Handle::run_checks_by(self, inside);
    }

    fn readiness(&self) -> BTreeMap<InstanceId, Condition> {
        Handle::readiness(self)
    }

    fn services(&self) -> BTreeMap<ServiceName, ServiceReport> {
        let hosts = Handle::services(self).into_iter();
        let hosts = hosts.filter_map(|(name, report)| Some((host(&name)?, report)));
        let ports = self.tcp_services().into_iter();
        let ports = ports.filter_map(|(name, report)| Some((port(&name)?, report)));
        hosts.chain(ports).collect()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        Handle::changed(self)
    }

    fn counts(&self) -> BTreeMap<ServiceName, Counts> {
        let hosts = Handle::counts(self).into_iter();
        let hosts = hosts.filter_map(|(name, counts)| Some((host(&name)?, counts)));
        let ports = self.tcp_counts().into_iter();
        let ports = ports.filter_map(|(name, counts)| Some((port(&name)?, counts)));
        hosts.chain(ports).collect()
    }

    fn names(&self) -> Vec<ServiceName> {
        let hosts = Handle::names(self).into_iter();
        let ports = self.tcp_names().into_iter();
        let hosts = hosts.filter_map(|name| host(&name));
        hosts.chain(ports.filter_map(|name| port(&name))).collect()
    }
}

fn host(name: &str) -> Option<ServiceName> {
    ServiceName::http(name).ok()
}

/// The balancer names a TCP service by its port.
fn port(name: &str) -> Option<ServiceName> {
    format!(":{name}").parse().ok()
}
