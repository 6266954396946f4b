//! The stage: an agent between a leader played by the test and a balancer that records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hancock_agent::balancer::LocalBalancer;
use hancock_agent::link::channel::{ChannelLink, HubSession};
use hancock_agent::runtime::ContainerRuntime;
use hancock_agent::{Agent, AgentError, Hygiene, Options, detect};
use hancock_balancer::probe::Inside;
use hancock_balancer::{Counts, LocalCheck, LocalInstance};
use hancock_proto::app::{Container, Limits, PortProtocol, PullPolicy, Resources, Restart};
use hancock_proto::ask::{Answer, Question};
use hancock_proto::assignment::{
    AssignedInstance, Assignment, Check, Desired, PortBinding, RunSpec,
};
use hancock_proto::exec::{FromCommand, Order, ToCommand};
use hancock_proto::hub::{AgentMessage, HubMessage};
use hancock_proto::ids::{AppName, Generation, InstanceId, Term, Version};
use hancock_proto::registry::{Fence, RegistryUrl};
use hancock_proto::report::{Condition, Life, Report, ServiceReport};
use hancock_proto::service::ServiceName;
use hancock_proto::units::Span;
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::fake::Fake;
use hancock_registry::{Opener, RegistryError, UpstreamRegistry};
use tokio::sync::{mpsc, watch};

/// Time orphans are left alone on the stage.
pub const ORPHAN_GRACE: Duration = Duration::from_millis(600);

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn app() -> AppName {
    "web".parse().unwrap()
}

pub fn id(n: u64) -> InstanceId {
    InstanceId::new(&app(), n)
}

/// Records what it is told.
pub struct Recorder {
    watched: Mutex<BTreeMap<InstanceId, LocalInstance>>,
    applied: Mutex<Vec<(String, u64)>>,
    changed: watch::Sender<u64>,
    inside: Mutex<Option<Arc<dyn Inside>>>,
}

fn condition(value: bool, reason: String) -> Condition {
    let since = hancock_proto::time::Timestamp(0);
    Condition {
        value,
        since,
        reason,
    }
}

impl Recorder {
    /// Who runs the commands of checks.
    pub fn inside(&self) -> Option<Arc<dyn Inside>> {
        self.inside.lock().unwrap().clone()
    }

    pub fn watched(&self) -> BTreeMap<InstanceId, LocalInstance> {
        self.watched.lock().unwrap().clone()
    }

    /// Names and indices in the order they came; 0: removed.
    pub fn applied(&self) -> Vec<(String, u64)> {
        self.applied.lock().unwrap().clone()
    }
}

impl LocalBalancer for Recorder {
    fn apply(&self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) -> Result<(), String> {
        let index = doc.map_or(0, |doc| doc.index().0);
        self.applied.lock().unwrap().push((name.to_string(), index));
        Ok(())
    }

    fn watch_local(&self, instances: BTreeMap<InstanceId, LocalInstance>) {
        *self.watched.lock().unwrap() = instances;
    }

    fn run_checks_by(&self, inside: Arc<dyn Inside>) {
        *self.inside.lock().unwrap() = Some(inside);
    }

    /// As it was told: what it would ask itself is not judged.
    fn readiness(&self) -> BTreeMap<InstanceId, Condition> {
        let watched = self.watched().into_iter();
        let told = watched.filter_map(|(id, local)| match local.check? {
            LocalCheck::Told { ready, reason } => Some((id, condition(ready, reason))),
            _ => None,
        });
        told.collect()
    }

    fn services(&self) -> BTreeMap<ServiceName, ServiceReport> {
        BTreeMap::new()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn counts(&self) -> BTreeMap<ServiceName, Counts> {
        BTreeMap::new()
    }

    fn names(&self) -> Vec<ServiceName> {
        Vec::new()
    }
}

pub struct Stage {
    pub agent: Option<Agent>,
    pub link: ChannelLink,
    pub session: HubSession,
    pub balancer: Arc<Recorder>,
    pub folder: tempfile::TempDir,
    /// The registry at every address of etcd.
    pub outside: Fake,
    /// The newest report.
    pub report: Report,
    /// Pieces of output heard of each command.
    pub outputs: BTreeMap<u64, usize>,
    pub term: u64,
    pub restart: Restart,
    /// Of every instance.
    pub restarts_asked: u32,
    /// Of every instance.
    pub stop_after: Option<Span>,
    /// Of every instance.
    pub image: Option<String>,
    /// Of every instance.
    pub image_digest: Option<String>,
    /// Of every instance.
    pub image_check: bool,
    /// Of every instance.
    pub check: Option<Check>,
    pub command: Vec<String>,
    /// Host port before the first instance's.
    pub ports: u16,
    sessions: mpsc::Receiver<HubSession>,
    boots: u32,
}

impl Stage {
    pub async fn new(runtime: Arc<dyn ContainerRuntime>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (link, mut sessions) = ChannelLink::new();
        let balancer = Arc::new(Recorder {
            watched: Mutex::default(),
            applied: Mutex::default(),
            changed: watch::channel(0).0,
            inside: Mutex::default(),
        });
        let outside = Fake::new();
        let options = options(&folder, 1, &outside);
        let started = Agent::start_with(options, runtime, Arc::new(link.clone()), balancer.clone());
        let agent = started.await.unwrap();
        let session = sessions.recv().await.unwrap();
        let report = Report {
            node: "n1".parse().unwrap(),
            boot: session.hello.boot.clone(),
            sequence: 0,
            generation: Generation(0),
            instances: BTreeMap::new(),
            services: BTreeMap::new(),
            registry: None,
            follows: None,
        };
        Self {
            agent: Some(agent),
            link,
            session,
            balancer,
            folder,
            outside,
            report,
            outputs: BTreeMap::new(),
            term: 1,
            restart: Restart::default(),
            restarts_asked: 0,
            stop_after: None,
            image: None,
            image_digest: None,
            image_check: false,
            check: None,
            command: vec!["serve".into()],
            // Nothing in these tests listens; and nobody else does on such ports.
            ports: 900,
            sessions,
            boots: 1,
        }
    }

    pub async fn try_start(
        &mut self,
        runtime: Arc<dyn ContainerRuntime>,
    ) -> Result<Agent, AgentError> {
        self.boots += 1;
        let options = options(&self.folder, self.boots, &self.outside);
        let link = Arc::new(self.link.clone());
        Agent::start_with(options, runtime, link, self.balancer.clone()).await
    }

    /// The agent is dropped, as if it was killed, and started again.
    pub async fn restart_agent(&mut self, runtime: Arc<dyn ContainerRuntime>) {
        drop(self.agent.take());
        self.agent = Some(self.try_start(runtime).await.unwrap());
    }

    pub async fn shutdown(&mut self, instances: bool) {
        let agent = self.agent.take().unwrap();
        agent.shutdown(instances, Duration::from_secs(20)).await;
    }

    /// The newest session there is; former ones are forgotten.
    pub async fn next_session(&mut self) {
        let next = tokio::time::timeout(DEADLINE, self.sessions.recv()).await;
        self.session = next.expect("a new session").unwrap();
        while let Ok(newer) = self.sessions.try_recv() {
            self.session = newer;
        }
    }

    pub async fn send(&self, message: HubMessage) {
        let fence = Fence {
            cluster: "c1".parse().unwrap(),
            term: Term(self.term),
        };
        assert!(self.session.send(&fence, message).await, "session is over");
    }

    pub async fn assign(&self, generation: u64, all: impl IntoIterator<Item = (u64, Desired)>) {
        let each = all.into_iter().map(|(n, d)| (id(n), self.instance(n, d)));
        let assignment = Assignment {
            cluster: "c1".parse().unwrap(),
            term: Term(self.term),
            node: "n1".parse().unwrap(),
            generation: Generation(generation),
            instances: each.collect(),
        };
        self.send(HubMessage::Assignment(assignment)).await;
    }

    fn instance(&self, n: u64, desired: Desired) -> AssignedInstance {
        AssignedInstance {
            app: app(),
            version: Version(1),
            desired,
            check: self.check.clone(),
            liveness: None,
            stop_after: self.stop_after,
            restarts_asked: self.restarts_asked,
            exclusive: BTreeSet::new(),
            run: RunSpec {
                image: self.image.clone(),
                image_digest: self.image_digest.clone(),
                pull_policy: PullPolicy::Missing,
                command: self.command.clone(),
                workdir: None,
                user: None,
                environment: BTreeMap::new(),
                labels: BTreeMap::new(),
                resources: Resources::default(),
                limits: Limits::default(),
                ports: vec![PortBinding {
                    name: "http".into(),
                    container: None,
                    host: self.ports + u16::try_from(n).unwrap(),
                    count: 1,
                    protocol: PortProtocol::Tcp,
                }],
                volumes: Vec::new(),
                files: Vec::new(),
                container: Container::default(),
                image_check: self.image_check,
                reuse: false,
                stop_signal: "SIGTERM".into(),
                grace_period: Span::seconds(10),
                restart: self.restart.clone(),
            },
        }
    }

    pub async fn receive(&mut self) -> AgentMessage {
        let message = tokio::time::timeout(DEADLINE, self.session.receive.recv()).await;
        message.expect("a message").expect("an open session")
    }

    /// Asks; what was answered.
    pub async fn ask(&mut self, ask: u64, question: Question) -> Result<Answer, String> {
        self.send(HubMessage::Ask { id: ask, question }).await;
        loop {
            if let AgentMessage::Answer { id, answer } = self.receive().await {
                assert_eq!(id, ask);
                return answer;
            }
        }
    }

    /// The same for orphans: as instance, whether it runs, whether it is the node's own.
    pub async fn orphans(
        &mut self,
        ask: u64,
        question: Question,
    ) -> Result<Vec<(InstanceId, bool, bool)>, String> {
        match self.ask(ask, question).await? {
            Answer::Orphans { orphans, .. } => {
                let orphans = orphans.into_iter();
                Ok(orphans.map(|o| (o.instance, o.running, o.own)).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks for a command in the first instance.
    pub async fn begin(&mut self, id: u64, command: &[&str]) {
        let order = Order {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..Order::default()
        };
        let instance = self::id(1);
        let word = ToCommand::Begin { instance, order };
        self.send(HubMessage::Exec { id, word }).await;
    }

    /// As [`Stage::begin`], and waits until it runs.
    pub async fn exec(&mut self, id: u64, command: &[&str]) {
        self.begin(id, command).await;
        assert_eq!(self.heard(id).await, FromCommand::Begun);
    }

    /// The next word of a command; what others print meanwhile is counted.
    pub async fn heard(&mut self, wanted: u64) -> FromCommand {
        loop {
            if let AgentMessage::Exec { id, word } = self.receive().await {
                if matches!(word, FromCommand::Output { .. }) {
                    *self.outputs.entry(id).or_default() += 1;
                }
                if id == wanted {
                    return word;
                }
            }
        }
    }

    /// Waits for a report that fits.
    pub async fn reported(&mut self, what: &str, fits: impl Fn(&Report) -> bool) {
        let waiting = async {
            while !fits(&self.report) || self.report.sequence == 0 {
                if let AgentMessage::Report(report) = self.receive().await {
                    self.report = report;
                }
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "waited for {what}: {:?}", self.report);
    }

    pub async fn lives(&mut self, lives: &[(u64, Life)]) {
        let fits = |report: &Report| {
            let life = |n: &u64| report.instances.get(&id(*n)).map(|i| i.life);
            lives.iter().all(|(n, wanted)| life(n) == Some(*wanted))
        };
        self.reported(&format!("{lives:?}"), fits).await;
    }

    pub async fn wait_for(&self, what: &str, fits: impl Fn(&Self) -> bool) {
        wait_for(what, || fits(self)).await;
    }
}

fn options(folder: &tempfile::TempDir, boot: u32, outside: &Fake) -> Options {
    let outside = outside.clone();
    let open = move |url: &RegistryUrl| -> Result<Arc<dyn UpstreamRegistry>, RegistryError> {
        match url.secret().starts_with("etcd://") {
            true => Ok(Arc::new(outside.clone())),
            false => Err(RegistryError::Unsupported {
                url: url.to_string(),
                problem: "nobody knows it",
            }),
        }
    };
    let overrides = detect::Overrides {
        node: Some("n1".parse().unwrap()),
        ..detect::Overrides::default()
    };
    Options {
        masters: vec!["m1:7401".to_owned()],
        info: detect::node_info(overrides, "fake", folder.path()).unwrap(),
        boot: format!("boot-{boot}").parse().unwrap(),
        data_dir: folder.path().to_owned(),
        offer_interval: Duration::from_millis(200),
        orphan_grace: ORPHAN_GRACE,
        hygiene: Hygiene {
            disk_watermark: 100,
            retention: hancock_agent::Retention::NONE,
            ..Hygiene::default()
        },
        list_interval: Duration::from_secs(2),
        registries: Opener::new(open),
    }
}

/// Waits for a condition.
pub async fn wait_for(what: &str, fits: impl Fn() -> bool) {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        while !fits() {
            again.tick().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "waited 30 s for: {what}");
}
