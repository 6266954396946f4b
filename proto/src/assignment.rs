//! What one node shall run: derived from the master's state, stored by the agent before it acts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::app::{
    Container, File, HealthCheck, Limits, PortProtocol, PullPolicy, Resources, Restart, Volume,
};
use crate::ids::{AppName, ClusterId, Generation, InstanceId, NodeId, Term, Version};
use crate::units::Span;

/// Everything one node shall run, whole. An instance that is not in it is no longer wanted and is removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The cluster that decided it.
    pub cluster: ClusterId,
    /// The term it was sent in. An agent refuses a lower one than it has seen.
    pub term: Term,
    /// The node it is for.
    pub node: NodeId,
    /// Counts this node's changes. An agent refuses to go back.
    pub generation: Generation,
    /// The instances, ordered by id.
    pub instances: BTreeMap<InstanceId, AssignedInstance>,
}

/// One instance as the node shall run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignedInstance {
    /// App it belongs to.
    pub app: AppName,
    /// Version of the app's spec.
    pub version: Version,
    /// Run or stop.
    pub desired: Desired,
    /// What to run.
    pub run: RunSpec,
    /// How readiness is judged on the node. None: ready as soon as it runs, unless the image has a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// When its node asks to restart it because of that check. None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// It is stopped after this time without contact to the masters, and not started before there is some. None: it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<Span>,
    /// How often it was asked to be restarted; its node restarts it once for a higher number than it knows.
    #[serde(default)]
    pub restarts_asked: u32,
    /// Targets of its volumes that have a single writer. Not said of the volumes themselves, as agents of former versions read no more of
    /// them than they know.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclusive: BTreeSet<String>,
}

/// When a running instance is as good as dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Failed checks in a row, once it was ready.
    pub after_failures: u32,
    /// Time it has to become ready after a start.
    pub start: Span,
}

/// What the master wants of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Be up; be restarted when it ends.
    Running,
    /// End, by signal and grace period. It stays in the assignment until the agent has reported it stopped.
    Stopped,
}

/// What a runtime needs to run one instance. Texts may still hold `{{ … }}` placeholders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Image, for runtimes that have images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What the image's name stood for when the first instance of the version was made. None: not known yet, or it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// When it is fetched.
    #[serde(default, skip_serializing_if = "PullPolicy::is_missing")]
    pub pull_policy: PullPolicy,
    /// Program and arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment of the spec; the agent adds `PORT`, `PORT_<NAME>` and `HANCOCK_*`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The owner's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Reserved amounts.
    pub resources: Resources,
    /// What it may not exceed.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// Ports in the order of the spec, host ports chosen.
    #[serde(default)]
    pub ports: Vec<PortBinding>,
    /// What is mounted.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Files put there before the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// What is asked of the container engine.
    #[serde(default, skip_serializing_if = "Container::is_default")]
    pub container: Container,
    /// The image's own check judges it, where the image has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub image_check: bool,
    /// It waits for jobs and runs `command` once for each, instead of all the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuse: bool,
    /// First signal on stop.
    pub stop_signal: String,
    /// Time between the signal and SIGKILL.
    pub grace_period: Span,
    /// What to do when it ends by itself.
    pub restart: Restart,
}

/// One port of one instance, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Name from the spec.
    pub name: String,
    /// Port inside a container, the first one of a range. None: the same number as `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<u16>,
    /// Port on the node, the first one of a range.
    pub host: u16,
    /// How many there are, one after the other.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u16,
    /// What is spoken over it.
    #[serde(default, skip_serializing_if = "PortProtocol::is_tcp")]
    pub protocol: PortProtocol,
}

impl PortBinding {
    /// Every port on the node.
    pub fn hosts(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.host;
        (0..self.count).map_while(move |n| first.checked_add(n))
    }

    /// Every port on the node with that inside the container.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let inside = self.container.unwrap_or(self.host);
        let inside = (0..self.count).map_while(move |n| inside.checked_add(n));
        self.hosts().zip(inside)
    }
}

fn one() -> u16 {
    1
}

fn is_one(count: &u16) -> bool {
    *count == 1
}

/// A readiness check with its port resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What and how often.
    pub spec: HealthCheck,
    /// Host port that is asked. None: it is a command.
    pub host_port: Option<u16>,
    /// Host header of an HTTP check.
    pub host: String,
}
