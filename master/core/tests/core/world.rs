//! A cluster in one thread: the real state machine and the real plan, model agents and model balancers, time as a number.

mod balancer;
mod node;
mod readers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::state::{Elsewhere, Phase, Stage, State};
use hancock_master_core::{LeaderView, assignment, chosen, invariants, plan};
use hancock_proto::hub::{Hello, HubMessage};
use hancock_proto::ids::{DeploymentId, InstanceId, LogIndex, NodeId, Term};
use hancock_proto::registry::{Choice, Fence, Outcome};
use hancock_proto::report::{Follows, Report};
use hancock_proto::resources::Offer;
use hancock_proto::time::Timestamp;

pub use balancer::Balancer;
pub use node::{Node, Running};
pub use readers::Outsider;

/// Time between two rounds of the world.
pub const ROUND: Duration = Duration::from_millis(500);

/// Everything there is.
pub struct World {
    pub state: State,
    pub view: LeaderView,
    pub term: Term,
    pub now: Timestamp,
    pub nodes: BTreeMap<NodeId, Node>,
    /// Who reads the registry outside besides them.
    pub readers: BTreeMap<String, Outsider>,
    /// What was applied, as people read it.
    pub log: Vec<String>,
    /// Reports on their way, delivered in this order.
    pub mail: Vec<Report>,
    /// Reports of the round before.
    pub last_mail: Vec<Report>,
    /// Every balancer must have so many living peers to choose from, at every moment.
    pub least: Option<usize>,
    /// Deployments that were over, to notice that they stay so.
    over: BTreeMap<DeploymentId, Phase>,
    index: u64,
}

impl World {
    /// A cluster without nodes.
    pub fn new() -> Self {
        let mut world = Self {
            state: State::new(),
            view: LeaderView::new(Term(0), Timestamp(0)),
            term: Term(0),
            now: Timestamp(0),
            nodes: BTreeMap::new(),
            readers: BTreeMap::new(),
            log: Vec::new(),
            mail: Vec::new(),
            last_mail: Vec::new(),
            least: None,
            over: BTreeMap::new(),
            index: 0,
        };
        let at = world.now;
        world.apply(Command::Init {
            // A name that makes host ports be chosen from the first of the range on: easier to read.
            cluster: "c11487".parse().unwrap(),
            at,
        });
        world.elect();
        world
    }

    /// A new leader: everything volatile is forgotten; nodes say hello again.
    pub fn elect(&mut self) {
        self.term = self.term.next();
        self.view = LeaderView::new(self.term, self.now);
        let (term, at) = (self.term, self.now);
        self.apply(Command::TermStarted {
            term,
            leader: format!("m{}", term.0),
            at,
        });
        let fence = self.fence();
        self.apply(Command::RegistryRaise { fence, at });
        for id in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.hello(&id);
        }
    }

    /// The masters are lost, and `state` is what comes back of them, as it would after a restore.
    pub fn bring_back(&mut self, mut state: State) {
        state.leap();
        self.index = state.applied.0;
        self.term = state.term;
        self.over.clear();
        self.state = state;
        self.check();
        self.elect();
    }

    fn fence(&self) -> Fence {
        Fence {
            cluster: "test".parse().unwrap(),
            term: self.term,
        }
    }

    /// A node joins, or comes back.
    pub fn join(&mut self, id: &str) {
        let node = Node::new(id);
        let id = node.info.node.clone();
        self.nodes.insert(id.clone(), node);
        self.hello(&id);
    }

    /// Opens the session of a node, if its link is up.
    pub fn hello(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id).filter(|n| n.linked) else {
            return;
        };
        let hello = Hello {
            info: node.info.clone(),
            boot: node.boot(),
            generation: node.generation,
            registry: None,
            surroundings: true,
        };
        let (info, boot, at) = (hello.info.clone(), hello.boot.clone(), self.now);
        self.view.hello(&hello, at);
        self.apply(Command::RegisterNode { info, boot, at });
    }

    /// Applies one command and checks everything that must hold.
    pub fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let before = self.state.clone();
        let reply = self.state.apply(LogIndex(self.index), self.term, &command);
        self.note(&command, &reply);
        if let Reply::Refused(error) = &reply {
            let mut same = self.state.clone();
            (same.applied, same.clock) = (before.applied, before.clock);
            assert!(
                same == before,
                "refused ({error:?}) and yet changed: {command}"
            );
        }
        let stopped = self.stopped_in_use(&before);
        assert!(stopped.is_empty(), "{stopped:#?}\n{}", self.tail());
        self.check();
        reply
    }

    fn note(&mut self, command: &Command, reply: &Reply) {
        let quiet = matches!(
            command,
            Command::RegistryPublish { .. }
                | Command::RegistryRaise { .. }
                | Command::Report { .. }
        );
        let refused = match reply {
            Reply::Refused(error) => format!(" -> refused: {}: {}", error.code, error.message),
            _ => String::new(),
        };
        if !quiet {
            self.log.push(format!("{} {command}{refused}", self.now));
        }
    }

    /// What must hold at every moment.
    pub fn check(&mut self) {
        let wrong = invariants::check(&self.state);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", self.tail());
        for (id, phase) in &self.over {
            if let Some(d) = self.state.deployments.get(id) {
                assert_eq!(d.phase, *phase, "deployment {id} came back");
            }
        }
        let over = self
            .state
            .deployments
            .values()
            .filter(|d| d.phase.is_over());
        self.over = over.map(|d| (d.id, d.phase)).collect();
    }

    /// The end of the log, for messages.
    pub fn tail(&self) -> String {
        let from = self.log.len().saturating_sub(60);
        self.log[from..].join("\n")
    }

    /// Instances just told to stop that run and that a balancer in contact may still choose.
    fn stopped_in_use(&self, before: &State) -> Vec<String> {
        let mut wrong = Vec::new();
        for instance in self.state.instances.values() {
            let was = before.instances.get(&instance.id).map(|i| i.stage);
            if instance.stage != Stage::Ending || was == Some(Stage::Ending) || instance.is_over() {
                continue;
            }
            for (name, reader) in self.readers.iter().filter(|(_, r)| !r.cut && !r.ended) {
                let uses = reader.balancer.selectable().contains(&instance.id);
                if uses && !reader.balancer.has_refused() {
                    wrong.push(format!(
                        "{} is told to stop, {name} still uses it",
                        instance.id
                    ));
                }
            }
            for (id, node) in self.nodes.iter().filter(|(_, n)| n.up && n.linked) {
                let uses = node.balancer.selectable().contains(&instance.id);
                if uses && self.view.is_alive(id, self.now) && !node.balancer.has_refused() {
                    wrong.push(format!(
                        "{} is told to stop, {id} still uses it",
                        instance.id
                    ));
                }
            }
        }
        wrong
    }

    /// Who has a volume to itself is the only one that runs with it.
    fn check_writers(&self) {
        for (id, node) in &self.nodes {
            let rivals = node.rivals();
            assert!(rivals.is_none(), "{id}: {rivals:?}\n{}", self.tail());
        }
    }

    /// Every balancer that serves has enough living peers, and somebody does serve.
    fn check_capacity(&self) {
        let Some(least) = self.least else { return };
        let alive = self.alive();
        let serving = |node: &&Node| node.balancer.carries().any(|(_, at)| at.0 > 0);
        let serving: Vec<_> = self.nodes.values().filter(serving).collect();
        assert!(!serving.is_empty(), "nobody serves\n{}", self.tail());
        for node in serving {
            let (id, peers) = (&node.info.node, node.balancer.selectable());
            let living = peers
                .iter()
                .filter(|p| alive.get(*p) == Some(&true))
                .count();
            assert!(
                living >= least,
                "{id} has {living} of {peers:?}\n{}",
                self.tail()
            );
        }
    }

    /// One round: assignments out, nodes act, reports in, the leader's turn until nothing is left to do.
    pub fn round(&mut self) {
        self.round_with(|_| ());
    }

    /// A round in which something happens to the reports on their way.
    pub fn round_with(&mut self, tamper: impl FnOnce(&mut Vec<Report>)) {
        self.now = self.now + ROUND;
        self.deliver_assignments();
        self.act();
        self.check_writers();
        self.collect_reports();
        let sent = self.mail.clone();
        tamper(&mut self.mail);
        self.last_mail = sent;
        self.deliver_reports();
        self.hear_readers();
        self.lead();
        self.check_capacity();
    }

    /// Rounds for so long.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.round();
        }
    }

    fn deliver_assignments(&mut self) {
        for (id, node) in self.nodes.iter_mut().filter(|(_, n)| n.up && n.linked) {
            if let Some(assignment) = assignment(&self.state, self.term, id) {
                node.take(assignment);
            }
        }
    }

    fn act(&mut self) {
        let now = self.now;
        for node in self.nodes.values_mut().filter(|n| n.up) {
            node.act(now);
        }
        let alive = self.alive();
        let listing = self.state.registry.list();
        for (id, node) in self.nodes.iter_mut().filter(|(_, n)| n.up) {
            if let Some(known) = self.state.nodes.get(id).filter(|_| node.linked) {
                let zones = self.state.zones_of_node(id);
                let listing = listing.clone().for_zones(&zones, known.zoned);
                node.balancer.receive(&listing, now);
            }
            node.balancer.act(&alive, now);
        }
        for reader in self.readers.values_mut() {
            if !reader.cut {
                reader.balancer.receive(&listing, now);
            }
            reader.balancer.act(&alive, now);
        }
    }

    /// Instances that answer, wherever they are.
    fn alive(&self) -> BTreeMap<InstanceId, bool> {
        let nodes = self.nodes.values().filter(|n| n.up);
        nodes.flat_map(|n| n.answering()).collect()
    }

    /// A balancer that is not mute follows the registry chosen as far as the leader waits for it.
    fn collect_reports(&mut self) {
        for (id, node) in self.nodes.iter_mut().filter(|(_, n)| n.up && n.linked) {
            let HubMessage::Registry { choice, filled, .. } = chosen(&self.state, id) else {
                continue;
            };
            let mut report = node.report();
            report.follows = (!node.balancer.mute).then(|| Follows {
                choice: choice.number,
                revision: filled.unwrap_or_default(),
            });
            self.mail.push(report);
        }
    }

    /// Everything in the mail, in its order.
    pub fn deliver_reports(&mut self) {
        for report in std::mem::take(&mut self.mail) {
            self.deliver(&report);
        }
    }

    /// One report and the heartbeat beside it.
    pub fn deliver(&mut self, report: &Report) {
        self.view.offer(&report.node, Offer::default(), self.now);
        if let Some(command) = self.view.report(&self.state, report, self.now) {
            self.apply(command);
        }
    }

    /// The leader's turn, again and again until it has nothing to say.
    pub fn lead(&mut self) {
        for _ in 0..100 {
            let passed = invariants::check_turn(&self.state, &self.view, self.now);
            assert!(passed.is_empty(), "{passed:?}");
            let plan = plan(&self.state, &self.view, self.now, 0);
            if plan.commands.is_empty() && plan.publish.is_empty() {
                return;
            }
            for command in plan.commands {
                self.apply(command);
            }
            for publication in plan.publish {
                self.publish(publication);
            }
        }
        panic!("the leader never rests\n{}", self.tail());
    }

    fn publish(&mut self, publication: hancock_master_core::Publication) {
        let at = self.now;
        let reply = self.apply(Command::RegistryPublish {
            batch: publication.batch.clone(),
            fence: self.fence(),
            at,
        });
        let Reply::Registry(Outcome::Committed(revision)) = reply else {
            panic!("not published: {reply:?}");
        };
        let mut outside = None;
        for Choice { number: choice, .. } in self.state.choosing.outside().cloned() {
            let seen = self.view.outside_mut();
            seen.written(choice, &publication.batch, revision);
            outside = Some(Elsewhere { choice, revision });
        }
        self.apply(Command::Published {
            app: publication.app,
            index: publication.index,
            revision,
            outside,
            at,
        });
    }

    pub fn node(&mut self, id: &str) -> &mut Node {
        let id: NodeId = id.parse().unwrap();
        self.nodes.get_mut(&id).unwrap()
    }

    /// A spec with everything but what the tests vary.
    pub fn apply_spec(&mut self, spec: hancock_proto::app::AppSpec) -> Reply {
        let at = self.now;
        self.apply(Command::ApplyApp {
            spec: Arc::new(spec),
            at,
        })
    }
}
