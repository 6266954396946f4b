//! An app: its versions, what is wanted, and what balancers are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::app::{AppSpec, Strategy};
use hancock_proto::ids::{
    AppName, DeploymentId, DocIndex, InstanceId, NodeId, Revision, Version, ZoneName,
};
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Versions of its spec, bounded.
    pub versions: BTreeMap<Version, AppVersion>,
    /// The version asked for.
    pub wanted: Version,
    /// The version that was promoted last and is kept alive; None: nothing serves.
    pub live: Option<Version>,
    /// Asked to be stopped.
    pub stopped: bool,
    /// Asked to be deleted.
    pub deleting: bool,
    /// What balancers are told.
    pub routes: Routes,
    /// Its instances, whatever their stage.
    pub instances: BTreeSet<InstanceId>,
    /// Deployments that are not over, oldest first; at most one draining, one before that, one queued.
    pub active: Vec<DeploymentId>,
    /// Newest deployment, over or not.
    pub newest: Option<DeploymentId>,
    /// Replacements given up in a row; slows healing down.
    pub heal_failures: u32,
    /// No replacement is placed before.
    pub heal_after: Timestamp,
    /// Nodes where instances had its named volumes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, BTreeSet<NodeId>>,
    /// The version that a deployment took out before it starts its own: nobody serves since. It is what comes back when that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting: Option<Version>,
}

/// One version of an app's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppVersion {
    /// The spec.
    pub spec: Arc<AppSpec>,
    /// When it was applied.
    pub at: Timestamp,
    /// A deployment of it was successful.
    pub stable: bool,
    /// Its newest deployment.
    pub deployment: Option<DeploymentId>,
    /// What its image's name stands for in all its instances, as the first node said that had one. None: nobody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
}

/// The app's routed set: what its documents say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// Log index of the last change; 0: never routed.
    pub index: DocIndex,
    /// The version whose services, checks and update rules the documents show.
    pub version: Version,
    /// Instances in the documents' cluster.
    pub serving: BTreeSet<InstanceId>,
    /// Changes balancers have not all carried out yet, oldest first.
    pub cutovers: Vec<Cutover>,
    /// Names that may be in the registry.
    pub names: BTreeSet<ServiceName>,
    /// The documents are to be deleted.
    pub closed: bool,
    /// Index of the documents the registry is known to hold.
    pub published: DocIndex,
    /// Revision they were written at.
    pub revision: Revision,
    /// The same in the registry outside they were written to last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Elsewhere>,
    /// Zones that carry a name besides the one its service is in, because they did before: until the new one's balancers have taken over.
    #[serde(default)]
    pub staying: BTreeMap<ServiceName, BTreeSet<ZoneName>>,
    /// Nodes that carried names and are to let go of them. Until they have they must confirm like all others.
    #[serde(default)]
    pub leaving: BTreeMap<NodeId, LettingGo>,
}

/// A place in a registry outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Number of its choice.
    pub choice: u64,
    /// Revision.
    pub revision: Revision,
}

/// What a node is to let go of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettingGo {
    /// Names it carried; those it is to carry again do not count.
    pub names: BTreeSet<ServiceName>,
    /// Revision of the registry that tells it; None: not published yet.
    pub told: Option<Revision>,
}

/// One acknowledged change of the routed set: who comes, who goes, how far it got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cutover {
    /// Log index of the command that began it.
    pub index: DocIndex,
    /// The deployment it belongs to; None: healing.
    pub deployment: Option<DeploymentId>,
    /// Instances on their way in.
    pub added: BTreeSet<InstanceId>,
    /// Instances on their way out, still in the documents as retiring.
    pub retiring: BTreeSet<InstanceId>,
    /// When the registry held it first.
    pub published_at: Option<Timestamp>,
    /// When drain began.
    pub drain_at: Option<Timestamp>,
    /// Nodes that had not confirmed when drain began.
    pub silent: BTreeSet<NodeId>,
    /// Drain had begun when the documents got their index: they no longer offer whoever retires by it to balancers that hold on to
    /// what was before.
    #[serde(default)]
    pub past: bool,
    /// Services move to another zone by it: when its balancers serve, the old one's stop carrying them.
    #[serde(default)]
    pub moves: bool,
}

impl Cutover {
    /// One that begins now: nobody has been told yet.
    pub(crate) fn begun(
        index: DocIndex,
        deployment: Option<DeploymentId>,
        added: BTreeSet<InstanceId>,
        retiring: BTreeSet<InstanceId>,
    ) -> Self {
        Self {
            index,
            deployment,
            added,
            retiring,
            published_at: None,
            drain_at: None,
            silent: BTreeSet::new(),
            past: false,
            moves: false,
        }
    }
}

impl App {
    /// Whether what runs has to be gone before `spec` is started: it asks for that, or what runs has volumes to itself.
    pub(crate) fn stops_before(&self, spec: &AppSpec) -> bool {
        let runs = self.live.or(self.resting).and_then(|v| self.spec(v));
        let alone = runs.is_some_and(|spec| spec.has_single_writer());
        spec.update.strategy == Strategy::Recreate || alone
    }

    /// A spec by version.
    pub fn spec(&self, version: Version) -> Option<&Arc<AppSpec>> {
        self.versions.get(&version).map(|v| &v.spec)
    }

    /// The spec asked for.
    pub fn wanted_spec(&self) -> Option<&Arc<AppSpec>> {
        self.spec(self.wanted)
    }

    /// The spec kept alive.
    pub fn live_spec(&self) -> Option<&Arc<AppSpec>> {
        self.live.and_then(|v| self.spec(v))
    }

    /// The spec the documents show.
    pub fn routed_spec(&self) -> Option<&Arc<AppSpec>> {
        self.spec(self.routes.version)
    }

    /// Services the documents stand for just now.
    pub fn names(&self) -> BTreeSet<ServiceName> {
        match self.routed_spec() {
            Some(spec) if self.routes.index > DocIndex(0) && !self.routes.closed => spec.names(),
            _ => BTreeSet::new(),
        }
    }

    /// Zones that carry each of those services just now.
    pub fn carried(&self) -> BTreeMap<ServiceName, BTreeSet<ZoneName>> {
        let spec = self.routed_spec().filter(|_| !self.names().is_empty());
        let services = spec.iter().flat_map(|spec| &spec.service);
        let mut all = BTreeMap::new();
        for service in services {
            for name in service.names() {
                let mut zones = BTreeSet::from([service.zone.clone()]);
                zones.extend(
                    self.routes
                        .staying
                        .get(&name)
                        .into_iter()
                        .flatten()
                        .cloned(),
                );
                all.insert(name, zones);
            }
        }
        all
    }

    /// Cutovers in which somebody is on the way out: generations.
    pub fn generations(&self) -> usize {
        let leaving = self.routes.cutovers.iter();
        leaving.filter(|c| !c.retiring.is_empty()).count()
    }

    /// The cutover an instance leaves by.
    pub fn leaving(&self, instance: &InstanceId) -> Option<&Cutover> {
        let mut cutovers = self.routes.cutovers.iter();
        cutovers.find(|c| c.retiring.contains(instance))
    }
}

impl Routes {
    /// Whether the registry holds the newest documents.
    pub fn is_published(&self) -> bool {
        self.published >= self.index
    }

    /// The cutover that began at `index`.
    pub fn cutover(&self, index: DocIndex) -> Option<&Cutover> {
        self.cutovers.iter().find(|c| c.index == index)
    }

    /// Every instance on its way in that is still routed.
    pub fn added(&self) -> BTreeSet<&InstanceId> {
        let added = self.cutovers.iter().flat_map(|c| &c.added);
        added.filter(|i| self.serving.contains(*i)).collect()
    }

    /// Every instance on its way out.
    pub fn retiring(&self) -> BTreeSet<&InstanceId> {
        self.cutovers.iter().flat_map(|c| &c.retiring).collect()
    }

    /// Every instance on its way out that a balancer may still hold on to.
    pub fn holdable(&self) -> BTreeSet<&InstanceId> {
        let open = self.cutovers.iter().filter(|c| !c.past);
        open.flat_map(|c| &c.retiring).collect()
    }

    /// Whether the documents speak of it at all.
    pub fn mentions(&self, instance: &InstanceId) -> bool {
        self.serving.contains(instance)
            || self
                .cutovers
                .iter()
                .any(|c| c.retiring.contains(instance) || c.added.contains(instance))
    }
}
