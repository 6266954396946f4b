//! Every replicated command, and what applying one answers. Each carries the leader's clock; the state keeps the highest it has seen.

mod evidence;
mod prose;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::api::{ApiError, ApplyReply};
use hancock_proto::app::AppSpec;
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::{
    AppName, BootId, ClusterId, DeploymentId, DocIndex, InstanceId, NodeId, Revision, Term,
    Version, ZoneName,
};
use hancock_proto::registry::{Batch, Fence, Outcome, RegistryUrl};
use hancock_proto::report::InstanceReport;
use hancock_proto::resources::NodeInfo;
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::Server;
use hancock_proto::zone::Zone;
use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::state::Elsewhere;

pub use evidence::{Confirmation, Evidence, StopCause};

/// One replicated command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A new cluster begins. Refused when there is one already.
    Init {
        /// Its id, drawn by the first master.
        cluster: ClusterId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A leader begins its term.
    TermStarted {
        /// The term.
        term: Term,
        /// Name of the leader.
        leader: String,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator wants a master to leave or to lead; carried out beside the log.
    AskMaster {
        /// What.
        deed: MasterDeed,
        /// Name of the master.
        name: String,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Every master knows the next format: it is written from here on, by this very command first.
    AgreeFormat {
        /// Which.
        format: Format,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants this spec.
    ApplyApp {
        /// The spec, complete.
        spec: Arc<AppSpec>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants another number of replicas.
    Scale {
        /// The app.
        app: AppName,
        /// Wanted replicas.
        replicas: u32,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants every instance replaced, same version.
    Restart {
        /// The app.
        app: AppName,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants no instances, the app kept.
    StopApp {
        /// The app.
        app: AppName,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants a stopped app back.
    StartApp {
        /// The app.
        app: AppName,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants the app, its instances and its documents gone.
    DeleteApp {
        /// The app.
        app: AppName,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants a former version back.
    Rollback {
        /// The app.
        app: AppName,
        /// None: the newest stable version below the wanted one.
        version: Option<Version>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An owner wants a deployment undone before it is through.
    Abort {
        /// The deployment.
        deployment: DeploymentId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator wants another instance in this one's place.
    ReplaceInstance {
        /// The instance.
        instance: InstanceId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A daemon said hello: what the node is, and this start of it.
    RegisterNode {
        /// What the node is and has.
        info: NodeInfo,
        /// This start of its daemon.
        boot: BootId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Changed facts of a node's instances.
    Report {
        /// The node.
        node: NodeId,
        /// The boot that reported.
        boot: BootId,
        /// The report's sequence; lower ones of the same boot are ignored.
        sequence: u64,
        /// Changed instances only.
        instances: BTreeMap<InstanceId, InstanceReport>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A node was silent for longer than instances may wait for it.
    NodeLost {
        /// The node.
        node: NodeId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A lost node was heard again.
    NodeFound {
        /// The node.
        node: NodeId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Instances get a node and ports.
    Place {
        /// Who asked for them.
        purpose: Purpose,
        /// Number of the first one. Refused when it is taken: then the plan was made on an older state.
        first: u64,
        /// Where each goes, in the order of their numbers.
        placements: Vec<Placement>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A deployment that starts nothing beside what runs goes on: what runs is to go, or has gone.
    Clear {
        /// The deployment.
        deployment: DeploymentId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// The new instances of a deployment are ready: route to them.
    Promote {
        /// The deployment.
        deployment: DeploymentId,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An app's routed set is brought in line: ready replacements in, dead ones out, surplus retired.
    Heal {
        /// The app.
        app: AppName,
        /// Replacements that are ready.
        join: BTreeSet<InstanceId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A replacement came to nothing and is given up.
    Discard {
        /// The app.
        app: AppName,
        /// Replacements that failed, were lost or took too long.
        instances: BTreeSet<InstanceId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Instances whose checks fail for too long are asked to restart.
    RestartAiling {
        /// The app.
        app: AppName,
        /// Which of its instances.
        instances: BTreeSet<InstanceId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// The registry holds an app's documents of this index.
    Published {
        /// The app.
        app: AppName,
        /// Index of the documents.
        index: DocIndex,
        /// Revision of the masters' own registry.
        revision: Revision,
        /// The same of the one in force, where that is another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outside: Option<Elsewhere>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Drain may begin: the balancers that must have confirmed a cutover, and those given up on.
    BeginDrain {
        /// The app.
        app: AppName,
        /// The cutover.
        index: DocIndex,
        /// Who confirmed, who did not.
        evidence: Evidence,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Retired instances may stop.
    StopInstances {
        /// The app.
        app: AppName,
        /// The cutover they leave by.
        index: DocIndex,
        /// Which, and what allows it.
        stops: BTreeMap<InstanceId, StopCause>,
        /// Who confirmed, who did not.
        evidence: Evidence,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A cutover is over: the documents no longer speak of added and retiring peers.
    Settle {
        /// The app.
        app: AppName,
        /// The cutover.
        index: DocIndex,
        /// Instances that were told to stop and whose nodes cannot say that they did.
        unreported: BTreeSet<InstanceId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A deployment went well.
    FinishDeployment {
        /// The deployment.
        deployment: DeploymentId,
        /// Old instances kept for balancers that have not confirmed.
        holding: BTreeSet<InstanceId>,
        /// Old instances kept for open sessions.
        lingering: BTreeSet<InstanceId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Nodes cannot honour some of a deployment's instances: those are given up and get another place.
    PlaceAgain {
        /// The deployment.
        deployment: DeploymentId,
        /// Its rejected instances.
        instances: BTreeSet<InstanceId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A deployment did not go well; what it did is undone.
    FailDeployment {
        /// The deployment.
        deployment: DeploymentId,
        /// What happened and the way out.
        reason: String,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator wants a zone, or wants it otherwise.
    PutZone {
        /// Its name.
        name: ZoneName,
        /// What it shall be.
        zone: Zone,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator wants a zone gone.
    DeleteZone {
        /// Its name.
        name: ZoneName,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator adds a server to an upstream that no app owns.
    AddServer {
        /// The zone whose balancers carry it.
        zone: ZoneName,
        /// The upstream.
        name: ServiceName,
        /// The server.
        server: Server,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator wants an upstream gone that no app owns.
    DeleteUpstream {
        /// The zone whose balancers carry it.
        zone: ZoneName,
        /// The upstream.
        name: ServiceName,
        /// The leader's clock.
        at: Timestamp,
    },
    /// The balancers of an app's new zones serve it: those of the zones it has left let go.
    LeaveZones {
        /// The app.
        app: AppName,
        /// The cutover it moved by.
        index: DocIndex,
        /// Who confirmed, who did not.
        evidence: Evidence,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Nodes that left an app's zones carry nothing of it any more.
    LetGo {
        /// The app.
        app: AppName,
        /// Which, and the boots that say so.
        nodes: BTreeMap<NodeId, BootId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// An operator chooses another registry.
    ChooseRegistry {
        /// Which.
        url: RegistryUrl,
        /// The leader's clock.
        at: Timestamp,
    },
    /// The registry chosen holds every document.
    RegistryFilled {
        /// The choice.
        number: u64,
        /// Its revision.
        revision: Revision,
        /// The leader's clock.
        at: Timestamp,
    },
    /// Every node follows the registry chosen: it is in force.
    RegistrySwitched {
        /// The choice.
        number: u64,
        /// Nodes, and the boots that said so.
        nodes: BTreeMap<NodeId, BootId>,
        /// The leader's clock.
        at: Timestamp,
    },
    /// A registry held other documents than it should, and was put right.
    RegistryRepaired {
        /// The choice.
        number: u64,
        /// Names that were wrong, a few of them.
        names: BTreeSet<ServiceName>,
        /// How many were wrong.
        count: u64,
        /// The leader's clock.
        at: Timestamp,
    },
    /// The embedded registry writes one batch.
    RegistryPublish {
        /// The documents.
        batch: Batch,
        /// Who writes.
        fence: Fence,
        /// The leader's clock.
        at: Timestamp,
    },
    /// The embedded registry gets a new fence.
    RegistryRaise {
        /// The fence.
        fence: Fence,
        /// The leader's clock.
        at: Timestamp,
    },
}

/// Who asked for instances to be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A deployment.
    Deployment(DeploymentId),
    /// Replacement of failed or lost instances of an app.
    Heal(AppName),
}

/// Where one instance goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Ports in the order of the spec.
    pub ports: Vec<PortBinding>,
}

/// What an operator asks of a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterDeed {
    /// To leave for ever.
    Leave,
    /// To take the lead.
    Lead,
}

/// What applying a command answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// An owner's wish was accepted.
    Applied(ApplyReply),
    /// The deployment concerned.
    Deployment(DeploymentId),
    /// How the embedded registry's write ended.
    Registry(Outcome),
    /// None: raised. Some: the higher fence that rules instead.
    Raised(Option<Fence>),
    /// A wish about masters was noted, in this term: in a later one it has been carried out, or what it was about has changed.
    Noted(Term),
    /// Carried out.
    Done,
    /// Not carried out; the state is as before.
    Refused(ApiError),
}

impl MasterDeed {
    /// As part of a sentence.
    pub fn word(self) -> &'static str {
        match self {
            MasterDeed::Leave => "leave",
            MasterDeed::Lead => "lead",
        }
    }
}

impl Command {
    /// The format it is written in while `agreed` is the cluster's. Who does not know the next one refuses the command that begins it.
    pub fn written_in(&self, agreed: Format) -> Format {
        match self {
            Command::AgreeFormat { format, .. } => agreed.max(*format),
            _ => agreed,
        }
    }

    /// The leader's clock when it was made.
    pub fn at(&self) -> Timestamp {
        use Command as C;
        match self {
            C::Init { at, .. }
            | C::TermStarted { at, .. }
            | C::AskMaster { at, .. }
            | C::AgreeFormat { at, .. }
            | C::ApplyApp { at, .. }
            | C::Scale { at, .. }
            | C::Restart { at, .. }
            | C::StopApp { at, .. }
            | C::StartApp { at, .. }
            | C::DeleteApp { at, .. }
            | C::Rollback { at, .. }
            | C::Abort { at, .. }
            | C::ReplaceInstance { at, .. }
            | C::RegisterNode { at, .. }
            | C::Report { at, .. }
            | C::NodeLost { at, .. }
            | C::NodeFound { at, .. }
            | C::Place { at, .. }
            | C::Clear { at, .. }
            | C::Promote { at, .. }
            | C::Heal { at, .. }
            | C::Discard { at, .. }
            | C::RestartAiling { at, .. }
            | C::Published { at, .. }
            | C::BeginDrain { at, .. }
            | C::StopInstances { at, .. }
            | C::Settle { at, .. }
            | C::FinishDeployment { at, .. }
            | C::FailDeployment { at, .. }
            | C::PlaceAgain { at, .. }
            | C::PutZone { at, .. }
            | C::DeleteZone { at, .. }
            | C::AddServer { at, .. }
            | C::DeleteUpstream { at, .. }
            | C::LeaveZones { at, .. }
            | C::LetGo { at, .. }
            | C::ChooseRegistry { at, .. }
            | C::RegistryFilled { at, .. }
            | C::RegistrySwitched { at, .. }
            | C::RegistryRepaired { at, .. }
            | C::RegistryPublish { at, .. }
            | C::RegistryRaise { at, .. } => *at,
        }
    }
}
