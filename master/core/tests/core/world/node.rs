//! A model agent: does what it is told, at the pace and with the faults the spec's environment asks for.
//!
//! `READY=2000` is ready after 2 s of running, `NEVER=1` never is, `CRASH=1` fails instead of running.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::app::writers::clash;
use hancock_proto::app::{Resources, Volume};
use hancock_proto::assignment::{AssignedInstance, Assignment, Desired};
use hancock_proto::ids::{BootId, Generation, InstanceId};
use hancock_proto::ports::PortRange;
use hancock_proto::report::{Condition, InstanceReport, Life, Report};
use hancock_proto::resources::NodeInfo;
use hancock_proto::time::Timestamp;
use hancock_proto::units::{Cpu, Size};

use super::Balancer;

/// One machine with its daemon.
pub struct Node {
    pub info: NodeInfo,
    pub boots: u32,
    pub generation: Generation,
    pub instances: BTreeMap<InstanceId, Running>,
    pub balancer: Balancer,
    /// The machine runs.
    pub up: bool,
    /// Master and machine hear each other.
    pub linked: bool,
    /// Host ports that other programs hold, unknown to the master.
    pub taken: BTreeSet<u16>,
    /// What a registry makes of every image just now.
    pub image: Option<String>,
    sequence: u64,
}

/// One instance on it.
pub struct Running {
    assigned: AssignedInstance,
    facts: InstanceReport,
    /// Told by a test to fail.
    pub killed: bool,
    /// Told by a test to fail its checks.
    pub ails: bool,
    asked: u32,
}

impl Node {
    pub fn new(id: &str) -> Self {
        let last = id.len() - 1;
        Self {
            info: NodeInfo {
                node: id.parse().unwrap(),
                hostname: id.to_owned(),
                address: format!("10.0.0.{}", &id[last..]),
                labels: BTreeMap::new(),
                capacity: Resources {
                    cpu: Cpu::millicores(2000),
                    memory: Size::mib(1024),
                    disk: Size::mib(10_240),
                },
                ports: PortRange {
                    first: 20_000,
                    last: 20_099,
                }
                .into(),
                runtime: "memory".to_owned(),
                kernel: String::new(),
                addresses: Vec::new(),
                arch: "x86_64".to_owned(),
                version: "0.1.0".to_owned(),
            },
            boots: 1,
            generation: Generation(0),
            instances: BTreeMap::new(),
            balancer: Balancer::default(),
            up: true,
            linked: true,
            taken: BTreeSet::new(),
            image: None,
            sequence: 0,
        }
    }

    pub fn boot(&self) -> BootId {
        format!("{}-{}", self.info.node, self.boots)
            .parse()
            .unwrap()
    }

    /// The daemon starts again: instances live on, the balancer goes on with what it had confirmed.
    pub fn reboot(&mut self) {
        self.boots += 1;
        self.sequence = 0;
    }

    /// A newer assignment replaces the one before; what is not in it goes.
    pub fn take(&mut self, assignment: Assignment) {
        if assignment.generation <= self.generation && !self.instances.is_empty() {
            return;
        }
        self.generation = assignment.generation;
        self.instances
            .retain(|id, _| assignment.instances.contains_key(id));
        for (id, assigned) in assignment.instances {
            let version = assigned.version;
            let known = self.instances.entry(id).or_insert_with(|| Running {
                assigned: assigned.clone(),
                facts: InstanceReport {
                    version,
                    life: Life::Placed,
                    since: Timestamp(0),
                    reason: None,
                    ready: None,
                    restarts: 0,
                    image_digest: None,
                    ailing: false,
                },
                killed: false,
                ails: false,
                asked: 0,
            });
            known.assigned = assigned;
        }
    }

    /// A newer agent can tell what its instances are made of.
    pub fn tell_images(&mut self) {
        for instance in self.instances.values_mut() {
            instance.facts.image_digest.clone_from(&self.image);
        }
    }

    pub fn act(&mut self, now: Timestamp) {
        for instance in self.instances.values_mut() {
            instance.act(&self.taken, self.image.as_ref(), now);
        }
    }

    /// Which of its instances answer.
    pub fn answering(&self) -> Vec<(InstanceId, bool)> {
        let all = self.instances.iter();
        all.map(|(id, i)| (id.clone(), i.is_ready())).collect()
    }

    /// Two of its instances that run and write to what one of them has to itself.
    pub fn rivals(&self) -> Option<(&InstanceId, &InstanceId)> {
        let writing: Vec<_> = self.instances.iter().filter(|(_, i)| i.runs()).collect();
        let pairs = writing.iter().enumerate();
        let mut pairs = pairs.flat_map(|(n, a)| writing[..n].iter().map(move |b| (b, a)));
        let clashes = |(a, b): &(&(&InstanceId, &Running), &(&InstanceId, &Running))| {
            let (mine, theirs) = (a.1.volumes(), b.1.volumes());
            clash((&a.1.assigned.app, &mine), (&b.1.assigned.app, &theirs)).is_some()
        };
        pairs.find(clashes).map(|(a, b)| (a.0, b.0))
    }

    pub fn report(&mut self) -> Report {
        self.sequence += 1;
        let instances = self.instances.iter();
        Report {
            node: self.info.node.clone(),
            boot: self.boot(),
            sequence: self.sequence,
            generation: self.generation,
            instances: instances
                .map(|(id, i)| (id.clone(), i.facts.clone()))
                .collect(),
            services: self.balancer.report(),
            registry: self.balancer.revision,
            follows: None,
        }
    }
}

impl Running {
    fn setting(&self, name: &str) -> Option<u64> {
        let value = self.assigned.run.environment.get(name)?;
        value.parse().ok()
    }

    /// `reject=N`: another program listens on every port below N.
    fn is_taken(&self, taken: &BTreeSet<u16>) -> bool {
        let first = self.assigned.run.ports.first().map(|p| p.host);
        first.is_some_and(|p| taken.contains(&p)) || first.map(u64::from) < self.setting("REJECT")
    }

    /// Whether there is a process.
    fn runs(&self) -> bool {
        let life = self.facts.life;
        matches!(life, Life::Starting | Life::Running | Life::Stopping)
    }

    /// What is mounted, single writers marked.
    fn volumes(&self) -> Vec<Volume> {
        let each = self.assigned.run.volumes.iter().cloned();
        each.map(|mut volume| {
            volume.exclusive = self.assigned.exclusive.contains(&volume.target);
            volume
        })
        .collect()
    }

    fn is_ready(&self) -> bool {
        self.facts.life == Life::Running && self.facts.ready.as_ref().is_some_and(|c| c.value)
    }

    fn live(&mut self, life: Life, now: Timestamp) {
        self.facts.life = life;
        self.facts.since = now;
    }

    fn is_other_image(&self) -> bool {
        let wanted = self.assigned.run.image_digest.as_ref();
        let made_of = self.facts.image_digest.as_ref();
        wanted.zip(made_of).is_some_and(|(w, m)| w != m)
    }

    /// One step of its life.
    fn act(&mut self, taken: &BTreeSet<u16>, image: Option<&String>, now: Timestamp) {
        let stop = self.assigned.desired == Desired::Stopped;
        match self.facts.life {
            Life::Pending | Life::Placed | Life::Pulling if stop => self.live(Life::Stopped, now),
            Life::Pending | Life::Placed | Life::Pulling => self.live(Life::Starting, now),
            Life::Starting | Life::Running if stop => self.live(Life::Stopping, now),
            Life::Stopping => self.end(Life::Stopped, None, now),
            Life::Starting if self.is_taken(taken) => {
                self.end(Life::Rejected, Some("its port is taken"), now);
            }
            Life::Starting if self.setting("CRASH").is_some() => {
                let reason = "exited with status 1 at once: cannot open config";
                self.end(Life::Failed, Some(reason), now);
            }
            _ if self.facts.life.is_over() => {}
            _ if self.killed => self.end(Life::Failed, Some("killed by signal 9"), now),
            Life::Running if self.assigned.restarts_asked > self.asked => {
                self.asked = self.assigned.restarts_asked;
                (self.ails, self.facts.ailing) = (false, false);
                self.facts.restarts += 1;
                self.facts.ready = None;
                self.live(Life::Starting, now);
            }
            Life::Running if self.is_other_image() => {
                self.facts.ready = None;
                self.live(Life::Starting, now);
            }
            Life::Starting => {
                let pinned = self.assigned.run.image_digest.as_ref();
                self.facts.image_digest = pinned.or(image).cloned();
                self.live(Life::Running, now);
                self.judge(now);
            }
            _ => self.judge(now),
        }
    }

    fn end(&mut self, life: Life, reason: Option<&str>, now: Timestamp) {
        self.live(life, now);
        self.facts.ready = None;
        self.facts.reason = reason.map(str::to_owned);
    }

    fn judge(&mut self, now: Timestamp) {
        let up = now.since(self.facts.since).as_millis() as u64;
        let never = self.setting("NEVER").is_some();
        self.facts.ailing = self.ails;
        let value = !never && !self.ails && up >= self.setting("READY").unwrap_or(0);
        if self.facts.ready.as_ref().is_none_or(|c| c.value != value) {
            let reason = if value { "" } else { "connection refused" };
            self.facts.ready = Some(Condition {
                value,
                since: now,
                reason: reason.to_owned(),
            });
        }
    }
}
