//! A little world for tests: an engine with containers, deeds under way, lists on their way, and a node that plans.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::app::{
    Container, Limits, PortProtocol, PullPolicy, Resources, Restart, Volume, VolumeKind,
};
use hancock_proto::assignment::{AssignedInstance, Assignment, Desired, PortBinding, RunSpec};
use hancock_proto::ids::{Generation, InstanceId, NodeId, Term, Version};
use hancock_proto::time::Timestamp;
use hancock_proto::units::Span;

use crate::environment::PortSide;
use crate::instance::{Deed, Failure, FailureKind};
use crate::node::{Node, ORPHAN_GRACE, Stamp};
use crate::observed::{Ending, Exit, Observed, Owner, State, StopRule};
use crate::reconcile::{Action, Plan};

pub(crate) fn id(n: u64) -> InstanceId {
    InstanceId::new(&"web".parse().unwrap(), n)
}

pub(super) fn node_id() -> NodeId {
    "n1".parse().unwrap()
}

pub(super) fn owner() -> Owner {
    Owner {
        cluster: "c1".parse().unwrap(),
        node: node_id(),
    }
}

pub(crate) fn assigned(port: u16, desired: Desired) -> AssignedInstance {
    AssignedInstance {
        app: "web".parse().unwrap(),
        version: Version(1),
        desired,
        check: None,
        liveness: None,
        stop_after: None,
        restarts_asked: 0,
        exclusive: BTreeSet::new(),
        run: RunSpec {
            image: None,
            image_digest: None,
            pull_policy: PullPolicy::Missing,
            command: vec!["serve".into(), "{{ port.http }}".into()],
            workdir: None,
            user: None,
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            resources: Resources::default(),
            limits: Limits::default(),
            ports: vec![PortBinding {
                name: "http".into(),
                container: Some(80),
                host: port,
                count: 1,
                protocol: PortProtocol::Tcp,
            }],
            volumes: Vec::new(),
            files: Vec::new(),
            container: Container::default(),
            image_check: false,
            reuse: false,
            stop_signal: "SIGTERM".into(),
            grace_period: Span::seconds(10),
            restart: Restart::default(),
        },
    }
}

/// The same with a volume that has a single writer.
pub(super) fn alone(mut assigned: AssignedInstance) -> AssignedInstance {
    assigned.run.volumes = vec![Volume {
        kind: VolumeKind::Volume,
        source: "data".into(),
        target: "/data".into(),
        read_only: false,
        size: None,
        exclusive: false,
    }];
    assigned.exclusive = ["/data".to_owned()].into();
    assigned
}

pub(crate) fn assignment(instances: BTreeMap<InstanceId, AssignedInstance>) -> Assignment {
    Assignment {
        cluster: owner().cluster,
        term: Term(1),
        node: node_id(),
        generation: Generation(1),
        instances,
    }
}

pub(super) fn observed(id: &InstanceId, state: State) -> Observed {
    Observed {
        owner: owner(),
        instance: id.clone(),
        app: "web".parse().unwrap(),
        version: Version(1),
        stop: StopRule {
            signal: "SIGTERM".into(),
            grace: Span::seconds(10),
        },
        host_ports: Vec::new(),
        folders: Vec::new(),
        state,
        image_digest: None,
        health: None,
    }
}

/// How a deed under way ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Done.
    Done,
    /// Not done.
    Failed,
    /// Done, but the answer says it was late.
    DoneButLate,
    /// The engine was away; not done.
    Away,
}

pub(super) struct World {
    pub(super) node: Node,
    pub(super) wanted: BTreeMap<InstanceId, Desired>,
    pub(super) now: Timestamp,
    pub(super) engine: BTreeMap<InstanceId, Observed>,
    pub(super) under_way: Vec<Action>,
    pub(super) lists: Vec<(Stamp, Vec<Observed>)>,
    pub(super) plan: Plan,
    /// All instances write to one volume, which has a single writer.
    pub(super) single: bool,
    /// What an image's name stands for here.
    pub(super) image: Option<String>,
    /// Instances that were told to stop at any time.
    told_to_stop: BTreeSet<InstanceId>,
    /// Since when an instance is not assigned.
    let_go: BTreeMap<InstanceId, Timestamp>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut stranger = observed(&id(999), State::Running { since: None });
        stranger.owner.cluster = "other".parse().unwrap();
        let engine = BTreeMap::from([(id(999), stranger)]);
        Self {
            node: Node::new(node_id(), PortSide::Container, None, BTreeMap::new()),
            wanted: BTreeMap::new(),
            now: Timestamp(1_000_000),
            engine,
            under_way: Vec::new(),
            lists: Vec::new(),
            plan: Plan::default(),
            single: false,
            image: None,
            told_to_stop: BTreeSet::new(),
            let_go: BTreeMap::new(),
        }
    }

    /// A world whose node was told and has listed.
    pub(super) fn assigned(wanted: impl IntoIterator<Item = (u64, Desired)>) -> Self {
        let mut world = Self::new();
        world.assign(wanted.into_iter().map(|(n, d)| (id(n), d)).collect());
        world.list();
        world.plan();
        world
    }

    pub(super) fn assign(&mut self, wanted: BTreeMap<InstanceId, Desired>) {
        let each = wanted.iter().enumerate();
        let each = each.map(|(n, (id, desired))| {
            let port = 20_000 + u16::try_from(n).unwrap();
            let assigned = assigned(port, *desired);
            let assigned = if self.single {
                alone(assigned)
            } else {
                assigned
            };
            (id.clone(), assigned)
        });
        self.node.assign(assignment(each.collect()));
        let stopped = wanted.iter().filter(|(_, d)| **d == Desired::Stopped);
        self.told_to_stop.extend(stopped.map(|(id, _)| id.clone()));
        self.let_go.retain(|id, _| !wanted.contains_key(id));
        let known = self.engine.keys().chain(self.wanted.keys());
        for id in known.filter(|id| !wanted.contains_key(*id)) {
            self.let_go.entry(id.clone()).or_insert(self.now);
        }
        self.wanted = wanted;
    }

    pub(super) fn begin_list(&mut self) {
        let list = self.engine.values().cloned().collect();
        self.lists.push((self.node.begin_list(), list));
    }

    pub(super) fn deliver(&mut self, at: usize) {
        let (stamp, list) = self.lists.remove(at);
        self.node.observe(list, stamp);
    }

    pub(super) fn list(&mut self) {
        self.begin_list();
        self.deliver(self.lists.len() - 1);
    }

    pub(super) fn plan(&mut self) -> Vec<Action> {
        self.plan = self.node.plan(self.now);
        for action in &self.plan.actions {
            self.check(action);
        }
        self.under_way.extend(self.plan.actions.iter().cloned());
        self.plan.actions.clone()
    }

    /// What no plan may ever ask for.
    fn check(&self, action: &Action) {
        let id = action.instance();
        let running = self.engine.get(id).is_some_and(Observed::is_running);
        let wanted = self.wanted.get(id);
        let other = |a: &&Action| a.instance() == id && a.deed() != Deed::Prepare;
        assert!(*id != self::id(999), "a stranger is touched: {action:?}");
        assert!(
            !self.under_way.iter().any(|a| other(&a)),
            "two at once: {action:?}"
        );
        match action {
            Action::Start(_) => {
                assert!(!running, "started twice: {action:?}");
                assert_eq!(wanted, Some(&Desired::Running), "unwanted: {action:?}");
                self.check_alone(id);
            }
            Action::Prepare(_) | Action::Limit(..) => {
                assert_eq!(wanted, Some(&Desired::Running));
            }
            Action::Stop(..) | Action::Kill(_) => {
                // A last start that was told to have failed may have come about all the same.
                let known = &self.node.instances[id];
                let given_up = known.is_over() || known.memory.asked > 0;
                let wanted = wanted.filter(|_| !given_up && !self.is_other_image(id));
                assert_ne!(wanted, Some(&Desired::Running), "wanted: {action:?}");
                self.check_orphan(id);
            }
            Action::Remove(_) => assert!(wanted.is_none() && !running, "removed: {action:?}"),
        }
    }

    /// Nobody else runs, or is being started, that writes to the same.
    fn check_alone(&self, id: &InstanceId) {
        let starting = self.under_way.iter().filter(|a| a.deed() == Deed::Start);
        let starting = starting.map(|a| a.instance().clone());
        let mut others = self.running().into_iter().chain(starting);
        let other = others.find(|other| self.single && other != id);
        assert_eq!(other, None, "{id} is started beside it");
    }

    fn is_other_image(&self, id: &InstanceId) -> bool {
        let made_of = self.engine.get(id).and_then(|o| o.image_digest.as_ref());
        let assigned = self.node.assignment().and_then(|a| a.instances.get(id));
        let wanted = assigned.and_then(|a| a.run.image_digest.as_ref());
        made_of.zip(wanted).is_some_and(|(m, w)| m != w)
    }

    /// What was not told to stop is stopped after its time only, unless it had ended already as far as its node knew.
    fn check_orphan(&self, id: &InstanceId) {
        let assignment = self.node.assignment();
        let unknown = assignment.is_none_or(|a| !a.instances.contains_key(id));
        let over = self.node.instances[id].is_over();
        let told = self.told_to_stop.contains(id) || self.node.parking || over;
        let spared = self.let_go.get(id);
        let early = spared.is_none_or(|since| self.now.since(*since) < ORPHAN_GRACE);
        assert!(!unknown || told || !early, "orphan {id} is touched at once");
    }

    /// Ends a deed under way.
    pub(super) fn finish(&mut self, at: usize, end: End) {
        let action = self.under_way.remove(at);
        let failure = |kind| Failure {
            kind,
            reason: "it did not work".into(),
        };
        let outcome = match end {
            End::Done => Ok(self.carry_out(&action)),
            End::Failed => Err(failure(FailureKind::Temporary)),
            End::Away => Err(failure(FailureKind::Unavailable)),
            End::DoneButLate => {
                self.carry_out(&action);
                Err(failure(FailureKind::Temporary))
            }
        };
        let (id, deed) = (action.instance(), action.deed());
        self.node.done(id, deed, outcome, self.now);
    }

    pub(super) fn carry_out(&mut self, action: &Action) -> Option<Observed> {
        let id = action.instance();
        match action {
            Action::Prepare(_) | Action::Limit(..) => None,
            Action::Start(spec) => {
                let since = Some(self.now);
                let mut seen = observed(id, State::Running { since });
                seen.image_digest = spec.image_digest.clone().or(self.image.clone());
                self.engine.insert(id.clone(), seen.clone());
                Some(seen)
            }
            Action::Stop(..) | Action::Kill(_) => {
                self.exit(id, Ending::Signal(15));
                None
            }
            Action::Remove(_) => {
                self.engine.remove(id);
                None
            }
        }
    }

    pub(super) fn exit(&mut self, id: &InstanceId, how: Ending) {
        let at = self.now;
        if let Some(one) = self.engine.get_mut(id).filter(|o| o.is_running()) {
            let tail = Vec::new();
            one.state = State::Exited(Exit { at, how, tail });
        }
    }

    /// The daemon is killed and started again: what was under way was done or not, what it knew is what it stored.
    pub(super) fn restart(&mut self, done: bool) {
        for action in std::mem::take(&mut self.under_way) {
            if done {
                self.carry_out(&action);
            }
        }
        self.lists.clear();
        let stored = self.node.assignment().cloned();
        let memory = self.node.memory();
        self.node = Node::new(node_id(), PortSide::Container, stored, memory);
    }

    /// Everything under way ends well, lists arrive, time passes, until nothing more happens.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            while !self.under_way.is_empty() {
                self.finish(0, End::Done);
            }
            self.list();
            self.plan();
            self.now = self.now + Span::seconds(1).duration();
        }
        assert!(
            self.under_way.is_empty(),
            "never quiet: {:?}",
            self.under_way
        );
    }

    pub(super) fn running(&self) -> BTreeSet<InstanceId> {
        let ours = self.engine.iter().filter(|(i, _)| **i != id(999));
        ours.filter(|(_, o)| o.is_running())
            .map(|(id, _)| id.clone())
            .collect()
    }
}
