//! An agent as far as a master can tell: runs nothing, reports everything, confirms what the registry brings.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hancock_master::HubService;
use hancock_proto::ask::{Answer, Orphan, Question};
use hancock_proto::assignment::{Assignment, Desired};
use hancock_proto::exec::{FromCommand, ToCommand};
use hancock_proto::hub::{AgentMessage, Hello, HubMessage, LogChunk, LogLine, LogRequest, Stream};
use hancock_proto::ids::{InstanceId, Revision, Term, Version};
use hancock_proto::report::{Condition, Follows, InstanceReport, Life, Report, ServiceReport};
use hancock_proto::resources::Offer;
use hancock_proto::service::ServiceName;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::watcher::Watcher;
pub use hancock_testkit::node::hello;
use hancock_wire::hub_client::HubClient;
use hancock_wire::hub_server::HubServer;
use hancock_wire::{AgentFrame, HubFrame};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, Streaming};

/// How the agent behaves; may be changed while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// Instances of later versions never become ready.
    pub ready_up_to: Version,
    /// The balancer confirms documents.
    pub confirms: bool,
    /// It follows the registry it is told to.
    pub follows: bool,
}

/// What the agent has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub assignment: Option<Assignment>,
    pub docs: BTreeMap<ServiceName, Arc<UpstreamDoc>>,
    /// Every document applied, in order.
    pub history: Vec<(ServiceName, Option<Arc<UpstreamDoc>>)>,
    pub terms: Vec<Term>,
    /// Commands nobody waited for any more.
    pub ended_commands: usize,
}

/// A running one; its session ends with it.
pub struct Agent {
    seen: Arc<Mutex<Seen>>,
    manners: Arc<Mutex<Manners>>,
    task: JoinHandle<Option<Status>>,
}

/// A gRPC channel to the hub over a pipe in memory.
pub async fn pipe(hub: HubServer<HubService>) -> Channel {
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far));
        Server::builder()
            .add_service(hub)
            .serve_with_incoming(incoming)
            .await
    });
    let mut near = Some(TokioIo::new(near));
    let connector = tower::service_fn(move |_| {
        let near = near
            .take()
            .ok_or_else(|| std::io::Error::other("only one connection"));
        async move { near }
    });
    let endpoint = Endpoint::try_from("http://pipe").unwrap();
    endpoint.connect_with_connector(connector).await.unwrap()
}

/// Opens a session by hand.
pub async fn session(
    hub: HubServer<HubService>,
) -> (mpsc::Sender<AgentFrame>, Streaming<HubFrame>) {
    let (out, outgoing) = mpsc::channel(64);
    let mut client = HubClient::new(pipe(hub).await);
    let stream = client.session(ReceiverStream::new(outgoing)).await.unwrap();
    (out, stream.into_inner())
}

pub fn frame(message: &AgentMessage) -> AgentFrame {
    AgentFrame {
        fence: None,
        body: serde_json::to_vec(message).unwrap(),
    }
}

impl Agent {
    pub async fn connect(hub: HubServer<HubService>, node: &str, boot: &str) -> Self {
        let (out, inbox) = session(hub).await;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let manners = Arc::new(Mutex::new(Manners {
            ready_up_to: Version(u64::MAX),
            confirms: true,
            follows: true,
        }));
        let hello = hello(node, boot);
        out.send(frame(&AgentMessage::Hello(hello.clone())))
            .await
            .unwrap();
        let machine = Machine {
            hello,
            seen: seen.clone(),
            manners: manners.clone(),
            watcher: Watcher::new(),
            lives: BTreeMap::new(),
            sequence: 0,
            told: None,
            chosen: None,
            out,
        };
        let task = tokio::spawn(machine.run(inbox));
        Self {
            seen,
            manners,
            task,
        }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap());
    }

    /// Why the master ended the session.
    pub async fn ended(self) -> Option<Status> {
        let ended = tokio::time::timeout(crate::DEADLINE, self.task).await;
        ended.expect("the session ends").unwrap()
    }

    pub fn vanish(self) {
        self.task.abort();
    }
}

struct Machine {
    hello: Hello,
    seen: Arc<Mutex<Seen>>,
    manners: Arc<Mutex<Manners>>,
    watcher: Watcher,
    /// Facts of each instance, kept so that `since` only moves with a change.
    lives: BTreeMap<InstanceId, InstanceReport>,
    sequence: u64,
    told: Option<Report>,
    /// The registry to follow, and how far it is waited for.
    chosen: Option<(u64, Revision)>,
    out: mpsc::Sender<AgentFrame>,
}

impl Machine {
    async fn run(mut self, mut inbox: Streaming<HubFrame>) -> Option<Status> {
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                next = inbox.message() => match next {
                    Ok(Some(frame)) => self.take(&frame).await,
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                _ = beat.tick() => self.say(&AgentMessage::Offer(Offer::default())).await,
            }
            self.report().await;
        }
    }

    async fn say(&self, message: &AgentMessage) {
        // A session that has ended is seen by the reading side.
        drop(self.out.send(frame(message)).await);
    }

    async fn take(&mut self, frame: &HubFrame) {
        let term = Term(frame.fence.as_ref().unwrap().term);
        self.seen.lock().unwrap().terms.push(term);
        let applied = match serde_json::from_slice(&frame.body).unwrap() {
            HubMessage::Assignment(assignment) => {
                self.seen.lock().unwrap().assignment = Some(assignment);
                return;
            }
            HubMessage::RegistryList(listing) => self.watcher.list(&listing),
            HubMessage::RegistryChanges { revision, changes } => {
                self.watcher.changes(revision, &changes)
            }
            HubMessage::Registry { choice, filled, .. } => {
                self.chosen = Some((choice.number, filled.unwrap_or_default()));
                return;
            }
            HubMessage::Logs(request) => return self.logs(&request).await,
            HubMessage::LogsEnd { .. } | HubMessage::Masters { .. } => return,
            HubMessage::Ask { id, question } => return self.answer(id, &question).await,
            HubMessage::Exec { id, word } => return self.exec(id, word).await,
        };
        let mut seen = self.seen.lock().unwrap();
        for apply in applied {
            seen.history.push((apply.name.clone(), apply.doc.clone()));
            match apply.doc {
                Some(doc) => drop(seen.docs.insert(apply.name, doc)),
                None => drop(seen.docs.remove(&apply.name)),
            }
        }
    }

    /// Two chunks, with times that interleave between instances.
    async fn logs(&self, request: &LogRequest) {
        let line = |at: u64| LogLine {
            instance: request.instance.clone(),
            at: Timestamp(at),
            stream: Stream::Stdout,
            text: format!("line at {at}"),
        };
        for (first, end) in [(1, None), (4, (!request.follow).then_some(Ok(())))] {
            let lines = (first..first + 3).map(line).collect();
            let id = request.id;
            self.say(&AgentMessage::Logs(LogChunk { id, lines, end }))
                .await;
        }
    }

    /// There is one orphan, of a cluster that is gone, and more than are told.
    async fn answer(&self, id: u64, question: &Question) {
        let cluster = "gone".parse().unwrap();
        let own = matches!(question, Question::Purge { cluster: asked } if *asked != cluster);
        let orphan = Orphan {
            cluster,
            instance: "web-9".parse().unwrap(),
            app: "web".parse().unwrap(),
            version: Version(1),
            running: true,
            own: false,
        };
        let answer = match own {
            true => Err("it is the node's own".to_owned()),
            false => Ok(Answer::Orphans {
                orphans: vec![orphan],
                more: 7,
            }),
        };
        self.say(&AgentMessage::Answer { id, answer }).await;
    }

    /// Every program is `cat`: what is read is printed, and the end of the input is its end, with code 3.
    async fn exec(&mut self, id: u64, word: ToCommand) {
        let says = match word {
            ToCommand::Begin { .. } => vec![FromCommand::Begun],
            ToCommand::Input { data } => {
                let stream = Stream::Stdout;
                vec![FromCommand::Output { stream, data }, FromCommand::Credit]
            }
            ToCommand::InputEnd => vec![FromCommand::Ended { outcome: Ok(3) }],
            ToCommand::End => {
                self.seen.lock().unwrap().ended_commands += 1;
                vec![]
            }
            ToCommand::Resize(_) | ToCommand::Credit => vec![],
        };
        for word in says {
            self.say(&AgentMessage::Exec { id, word }).await;
        }
    }

    async fn report(&mut self) {
        let report = self.observe();
        let same = self.told.as_ref().is_some_and(|told| {
            Report {
                sequence: told.sequence,
                ..report.clone()
            } == *told
        });
        if same {
            return;
        }
        self.sequence += 1;
        self.told = Some(Report {
            sequence: self.sequence,
            ..report
        });
        self.say(&AgentMessage::Report(self.told.clone().unwrap()))
            .await;
    }

    fn observe(&mut self) -> Report {
        let manners = *self.manners.lock().unwrap();
        let seen = self.seen.lock().unwrap().clone();
        let assigned = seen.assignment.as_ref();
        let lives = &mut self.lives;
        let instances = assigned.map(|a| &a.instances).into_iter().flatten();
        let instances: BTreeMap<_, _> = instances
            .map(|(id, wanted)| {
                let life = match wanted.desired {
                    Desired::Running => Life::Running,
                    Desired::Stopped => Life::Stopped,
                };
                let ready = life == Life::Running && wanted.version <= manners.ready_up_to;
                let now = InstanceReport {
                    version: wanted.version,
                    life,
                    since: SystemClock.now(),
                    reason: None,
                    ready: Some(Condition {
                        value: ready,
                        since: SystemClock.now(),
                        reason: "as told".into(),
                    }),
                    restarts: 0,
                    image_digest: None,
                    ailing: false,
                };
                let have = lives.entry(id.clone()).or_insert_with(|| now.clone());
                let same_ready = have.ready.as_ref().map(|c| c.value) == Some(ready);
                if have.life != life || !same_ready {
                    *have = now;
                }
                (id.clone(), have.clone())
            })
            .collect();
        let services = seen.docs.iter().map(|(name, doc)| {
            let confirmed = if manners.confirms {
                doc.index()
            } else {
                Default::default()
            };
            let report = ServiceReport {
                seen: doc.index(),
                confirmed,
                refused: None,
                draining: BTreeMap::new(),
            };
            (name.clone(), report)
        });
        Report {
            node: self.hello.info.node.clone(),
            boot: self.hello.boot.clone(),
            sequence: 0,
            generation: assigned.map(|a| a.generation).unwrap_or_default(),
            instances,
            services: services.collect(),
            registry: self.watcher.revision(),
            follows: self
                .chosen
                .filter(|_| manners.follows)
                .map(|(choice, revision)| Follows { choice, revision }),
        }
    }
}
