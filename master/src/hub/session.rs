//! One agent's session: three loops that end together.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hancock_master_core::{Command, Reply, State, assignment, chosen, registry_news};
use hancock_proto::ask::{Answer, Question};
use hancock_proto::exec::{Order, ToCommand};
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::ids::{Generation, InstanceId, NodeId, Revision, Term};
use hancock_proto::registry::Fence;
use hancock_proto::report::Report;
use hancock_proto::resources::Offer;
use hancock_wire::{AgentFrame, HubFrame};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::ask::Questions;
use super::exec::{Command as Running, Commands};
use super::logs::{LogStream, Requests, Wanted};
use super::{Sessions, elsewhere, frame};
use crate::audit::Who;
use crate::deps::Deps;
use crate::raft::Seated;

/// Time an agent has for its first message.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two looks at who the masters are.
const LOOK: Duration = Duration::from_secs(10);
/// Messages other parts may have waiting for one session.
const EXTRA: usize = 64;

/// What others may ask of an open session.
pub(super) struct Attached {
    requests: Arc<Requests>,
    commands: Arc<Commands>,
    questions: Arc<Questions>,
    extra: mpsc::Sender<HubMessage>,
    ended: CancellationToken,
    /// As its agent says of itself, see [`Hello::surroundings`].
    pub(super) surroundings: bool,
}

impl Attached {
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    pub(super) fn logs(&self, wanted: Wanted) -> Option<LogStream> {
        self.requests.open(wanted, self.extra.clone())
    }

    pub(super) async fn ask(&self, question: Question) -> Result<Answer, String> {
        self.questions.ask(question, &self.extra).await
    }

    pub(super) fn exec(&self, instance: InstanceId, order: Order) -> Option<Running> {
        self.commands.open(instance, order, self.extra.clone())
    }
}

/// Who is at the other end.
pub(super) struct Speaker {
    /// The node it must be; None: any.
    pub(super) node: Option<NodeId>,
    /// Where it is; None: in this process.
    pub(super) from: Option<SocketAddr>,
    /// Cuts its connection off; None: it is in this process.
    pub(super) line: Option<CancellationToken>,
    /// Time a frame may wait for it; then it is cut off, and comes back.
    pub(super) slow: Duration,
}

/// A session being served.
pub(super) struct Session {
    deps: Arc<Deps>,
    sessions: Arc<Sessions>,
    fence: Fence,
    speaker: Speaker,
    out: mpsc::Sender<Result<HubFrame, Status>>,
    /// Newest report not yet looked at: the one before is replaced.
    report: Mutex<Option<Report>>,
    reported: Notify,
}

/// Where a session's node is.
struct Position {
    /// Generation sent in this session.
    generation: Option<Generation>,
    /// Registry revision sent; None: list first.
    revision: Option<Revision>,
    /// What it was told of the chosen registry.
    chosen: Option<HubMessage>,
    /// Where it was told the masters are.
    masters: Vec<String>,
}

impl Session {
    pub(super) fn new(
        deps: Arc<Deps>,
        sessions: Arc<Sessions>,
        term: Term,
        speaker: Speaker,
        out: mpsc::Sender<Result<HubFrame, Status>>,
    ) -> Self {
        let fence = deps.fence(term);
        Self {
            deps,
            sessions,
            fence,
            speaker,
            out,
            report: Mutex::new(None),
            reported: Notify::new(),
        }
    }

    pub(super) async fn run(self, inbound: Streaming<AgentFrame>) {
        if let Err(status) = self.serve(inbound).await {
            tracing::debug!(%status, "session ended");
            // The other side may be gone already.
            drop(self.out.try_send(Err(status)));
        }
    }

    async fn serve(&self, mut inbound: Streaming<AgentFrame>) -> Result<(), Status> {
        let (hello, knows_cluster) = self.hello(&mut inbound).await?;
        self.register(&hello).await?;
        let node = hello.info.node.clone();
        let (extra, mut messages) = mpsc::channel(EXTRA);
        let attached = Arc::new(Attached {
            requests: Arc::default(),
            commands: Arc::default(),
            questions: Arc::default(),
            extra,
            ended: self.deps.stop.child_token(),
            surroundings: hello.surroundings,
        });
        self.sessions.attach(&node, &attached);
        tracing::info!(%node, boot = %hello.boot, "node connected");
        let position = Position {
            generation: None,
            revision: hello.registry.filter(|_| knows_cluster),
            chosen: None,
            masters: Vec::new(),
        };
        let ended = tokio::select! {
            ended = self.read(&mut inbound, &node, &attached) => ended,
            ended = self.take_reports() => ended,
            ended = self.send(&node, position, &mut messages) => ended,
            () = attached.ended.cancelled() => Err(Status::aborted("another session of the node has begun, or the master ends")),
        };
        attached.requests.clear();
        attached.commands.clear();
        attached.questions.clear();
        if self.sessions.detach(&node, &attached) {
            self.deps.view().disconnected(&node, self.deps.now());
            self.deps.nudge();
            tracing::info!(%node, "node disconnected");
        }
        ended
    }

    async fn hello(&self, inbound: &mut Streaming<AgentFrame>) -> Result<(Hello, bool), Status> {
        let first = tokio::time::timeout(HELLO_DEADLINE, inbound.message()).await;
        let late = |_| Status::deadline_exceeded("no hello came within 10 s");
        let first = first.map_err(late)??;
        let first = first.ok_or_else(|| Status::invalid_argument("the session ended unsaid"))?;
        match frame::read(&first, &self.fence)? {
            AgentMessage::Hello(hello) => Ok((hello, frame::names_cluster(&first))),
            _ => Err(Status::invalid_argument("a session begins with a hello")),
        }
    }

    /// Whether the caller may speak for a node.
    fn judge(&self, node: &NodeId) -> Result<(), Status> {
        match &self.speaker.node {
            Some(certified) if certified != node => Err(Status::permission_denied(format!(
                "the certificate is of node {certified}, the hello of node {node}; give the node its former name, or empty the \
                 agent's data directory to enroll it under the new one"
            ))),
            _ => Ok(()),
        }
    }

    /// Makes the node part of the state when it is new or has changed.
    async fn register(&self, hello: &Hello) -> Result<(), Status> {
        self.judge(&hello.info.node)?;
        let applied = self.deps.raft.newest();
        let known = applied.state().nodes.get(&hello.info.node);
        let same = known.is_some_and(|node| node.info == hello.info && node.boot == hello.boot);
        if !same {
            let _turn = self.sessions.registering().await;
            let who = Who::new(&format!("node {}", hello.info.node), self.speaker.from);
            let command = Command::RegisterNode {
                info: hello.info.clone(),
                boot: hello.boot.clone(),
                at: self.deps.now(),
            };
            self.propose(&who, command).await?;
        }
        self.deps.view().hello(hello, self.deps.now());
        self.deps.nudge();
        Ok(())
    }

    async fn propose(&self, who: &Who, command: Command) -> Result<(), Status> {
        match self.deps.propose_for(who, command, None).await {
            Ok(Reply::Refused(error)) => Err(Status::failed_precondition(error.message)),
            Ok(_) => Ok(()),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }

    async fn read(
        &self,
        inbound: &mut Streaming<AgentFrame>,
        node: &NodeId,
        attached: &Attached,
    ) -> Result<(), Status> {
        while let Some(next) = inbound.message().await? {
            match frame::read(&next, &self.fence)? {
                AgentMessage::Hello(hello) => self.register(&hello).await?,
                AgentMessage::Offer(offer) => self.take_offer(node, offer),
                AgentMessage::Report(report) if report.node == *node => self.put_report(report),
                AgentMessage::Report(report) => {
                    let other = report.node;
                    let message = format!("node {node} sent a report of node {other}");
                    return Err(Status::invalid_argument(message));
                }
                AgentMessage::Logs(chunk) => {
                    let id = chunk.id;
                    if !attached.requests.deliver(chunk) {
                        drop(attached.extra.try_send(HubMessage::LogsEnd { id }));
                    }
                }
                AgentMessage::Answer { id, answer } => attached.questions.deliver(id, answer),
                AgentMessage::Exec { id, word } => {
                    if !attached.commands.deliver(id, word) {
                        let word = ToCommand::End;
                        drop(attached.extra.try_send(HubMessage::Exec { id, word }));
                    }
                }
            }
        }
        Ok(())
    }

    /// A heartbeat is news for the plan only when the node was silent, or other ports are in use than before.
    fn take_offer(&self, node: &NodeId, offer: Offer) {
        let now = self.deps.now();
        let mut view = self.deps.view();
        let before = view.offer_of(node).map(|before| &before.ports_in_use);
        let known = before == Some(&offer.ports_in_use) && view.is_alive(node, now);
        view.offer(node, offer, now);
        drop(view);
        if !known {
            self.deps.nudge();
        }
    }

    fn put_report(&self, report: Report) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        self.reported.notify_one();
    }

    /// Looks at the newest report; while its facts are written, newer ones replace each other.
    async fn take_reports(&self) -> Result<(), Status> {
        loop {
            self.reported.notified().await;
            let next = self
                .report
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let Some(report) = next else { continue };
            let applied = self.deps.raft.newest();
            let changed = self
                .deps
                .view()
                .report(applied.state(), &report, self.deps.now());
            self.deps.nudge();
            let Some(command) = changed else { continue };
            match self.deps.propose(command).await {
                Ok(Reply::Refused(error)) => {
                    tracing::debug!(node = %report.node, message = error.message, "report refused");
                }
                Ok(_) => {}
                Err(error) => return Err(Status::unavailable(error.to_string())),
            }
        }
    }

    /// Sends what the node has not been sent: level, not edge.
    async fn send(
        &self,
        node: &NodeId,
        mut position: Position,
        messages: &mut mpsc::Receiver<HubMessage>,
    ) -> Result<(), Status> {
        let mut applied = self.deps.raft.applied();
        let mut leading = self.deps.leading();
        let mut look = tokio::time::interval(LOOK);
        loop {
            if let Some(pace) = self.sessions.pace() {
                self.pause(pace, messages).await?;
            }
            applied.borrow_and_update();
            if *leading.borrow_and_update() != Some(self.fence.term) {
                return Err(elsewhere(&self.deps));
            }
            let newest = self.deps.raft.newest();
            for message in news(newest.state(), self.fence.term, node, &mut position) {
                self.write(&message).await?;
            }
            tokio::select! {
                changed = applied.changed() => changed.map_err(|_| ending())?,
                changed = leading.changed() => changed.map_err(|_| ending())?,
                Some(message) = messages.recv() => self.write(&message).await?,
                _ = look.tick() => self.tell_masters(&mut position).await?,
            }
        }
    }

    /// Lets a time pass without a look at the state; what others ask for is sent meanwhile.
    async fn pause(
        &self,
        pace: Duration,
        messages: &mut mpsc::Receiver<HubMessage>,
    ) -> Result<(), Status> {
        let over = tokio::time::Instant::now() + pace;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(over) => return Ok(()),
                Some(message) = messages.recv() => self.write(&message).await?,
            }
        }
    }

    /// Tells where the masters are, when that is news.
    async fn tell_masters(&self, position: &mut Position) -> Result<(), Status> {
        let agents = agents(self.deps.raft.members());
        if agents == position.masters {
            return Ok(());
        }
        position.masters.clone_from(&agents);
        self.write(&HubMessage::Masters { agents }).await
    }

    async fn write(&self, message: &HubMessage) -> Result<(), Status> {
        let frame = frame::write(message, &self.fence)?;
        match self.out.send_timeout(Ok(frame), self.speaker.slow).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Closed(_)) => Err(Status::cancelled("the node has gone")),
            Err(SendTimeoutError::Timeout(_)) => Err(self.cut_off()),
        }
    }

    /// What waits for its reader would be kept for as long as the connection.
    fn cut_off(&self) -> Status {
        let (from, waited) = (self.speaker.from, self.speaker.slow);
        tracing::warn!(?from, ?waited, "a node does not read its session; cut off");
        if let Some(line) = &self.speaker.line {
            line.cancel();
        }
        Status::resource_exhausted("the node reads too slowly; cut off")
    }
}

/// Where agents find the masters, voters first; none: there is only this one, in the agent's own process.
fn agents(mut masters: Vec<Seated>) -> Vec<String> {
    masters.sort_by_key(|master| !master.voter);
    let places = masters.into_iter().map(|master| master.member.agents);
    places.filter(|at| !at.is_empty()).collect()
}

fn ending() -> Status {
    Status::unavailable("the master ends")
}

/// What the state says beyond what was sent.
fn news(state: &State, term: Term, node: &NodeId, position: &mut Position) -> Vec<HubMessage> {
    let mut out = Vec::new();
    if let Some(message) = registry_news(state, node, position.revision) {
        position.revision = Some(state.registry.revision());
        out.push(message);
    }
    let chosen = chosen(state, node);
    if position.chosen.as_ref() != Some(&chosen) {
        out.push(chosen.clone());
        position.chosen = Some(chosen);
    }
    if position.generation != Some(state.generation(node))
        && let Some(assignment) = assignment(state, term, node)
    {
        position.generation = Some(assignment.generation);
        out.push(HubMessage::Assignment(assignment));
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A session whose agent says this of itself, and what it is sent.
    fn attached(surroundings: bool) -> (Arc<Attached>, mpsc::Receiver<HubMessage>) {
        let (extra, sent) = mpsc::channel(8);
        let attached = Attached {
            requests: Arc::default(),
            commands: Arc::default(),
            questions: Arc::default(),
            extra,
            ended: CancellationToken::new(),
            surroundings,
        };
        (Arc::new(attached), sent)
    }

    #[tokio::test]
    async fn an_agent_is_asked_only_for_what_it_says_that_it_can() {
        let plain = || Order {
            command: vec!["id".to_owned()],
            ..Order::default()
        };
        let user = || Order {
            user: Some("nobody".to_owned()),
            ..plain()
        };
        let (node, instance) = ("n1".parse().unwrap(), "web-1".parse().unwrap());
        let sessions = Sessions::default();
        let asked = |order| sessions.exec(&node, &instance, order);
        assert!(asked(plain()).err().unwrap().contains("not connected"));

        let (older, mut sent) = attached(false);
        sessions.attach(&node, &older);
        let refusal = asked(user()).err().unwrap();
        assert!(
            refusal.contains("node n1") && refusal.contains("upgrade it"),
            "{refusal}"
        );
        assert!(
            sent.try_recv().is_err(),
            "nothing may be run as somebody else"
        );
        let _running = asked(plain()).unwrap();
        assert!(sent.try_recv().is_ok());

        let (newer, mut sent) = attached(true);
        sessions.attach(&node, &newer);
        let _running = asked(user()).unwrap();
        let begin = sent.try_recv().unwrap();
        let word = ToCommand::Begin {
            instance: instance.clone(),
            order: user(),
        };
        assert_eq!(begin, HubMessage::Exec { id: 1, word });
    }

    #[test]
    fn a_hello_of_former_versions_says_nothing_of_it() {
        let hello = serde_json::json!({
            "info": {"node": "n1", "hostname": "n1", "address": "10.0.0.1", "capacity": {"cpu": 1.0, "memory": "1GiB", "disk": "0B"},
                "ports": {"first": 1, "last": 2}, "runtime": "process", "arch": "x86_64", "version": "0"},
            "boot": "b1", "generation": 0,
        });
        let hello: Hello = serde_json::from_value(hello).unwrap();
        assert!(!hello.surroundings);
    }
}
