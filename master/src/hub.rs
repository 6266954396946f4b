//! The agents' side of a master: one session per node.
//!
//! - **Data in**: frames of agents. **Data out**: assignments, registry changes, log requests, commands to run, where the masters
//!   are.
//! - **Invariants**: a session belongs to one term and ends with it; what a node is sent is derived from the state and sent again in every
//!   session, so a lost frame is never missed; the newest session of a node wins.
//! - **Never**: queues without a bound. Reports are coalesced, what is sent is derived, a reader that is too slow is cut off.

mod ask;
mod exec;
mod frame;
mod guard;
mod line;
mod logs;
mod seats;
mod session;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hancock_proto::ask::{Answer, Question};
use hancock_proto::exec::Order;
use hancock_proto::ids::{InstanceId, NodeId, Term};
use hancock_tls::{LIFETIME, Role};
use hancock_wire::hub_server::Hub;
use hancock_wire::{AgentFrame, EnrollReply, EnrollRequest, HubFrame};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::exec::{Command, Handle};
pub(crate) use self::guard::Guard;
use self::line::At;
pub(crate) use self::line::Line;
pub(crate) use self::logs::{LogStream, Wanted};
pub(crate) use self::seats::Guest;
use self::seats::Seats;
use self::session::{Attached, Session, Speaker};
use crate::audit::{self, Who};
use crate::deps::Deps;

/// Metadata key under which a master that does not lead says where agents find the leader.
const LEADER: &str = "x-hancock-leader";
/// Frames that may wait for one node's connection.
const QUEUE: usize = 16;
/// What a look at the state takes.
const LOOK_COST: Duration = Duration::from_nanos(500);
/// Shorter pauses are not worth one.
const SHORTEST_PACE: Duration = Duration::from_millis(2);
/// Nodes that are written into the log at the same time: what thousands want at once must not keep heartbeats from the other masters.
const MOST_REGISTERING: usize = 64;
/// Longest an elected master may take to begin its term before agents are sent away.
const BEGIN: Duration = Duration::from_secs(2);

/// The gRPC service agents call. Clones share the sessions.
#[derive(Clone)]
pub struct Service {
    deps: Arc<Deps>,
    sessions: Arc<Sessions>,
    guard: Guard,
    /// Longest a frame may wait for its node.
    slow: Duration,
}

/// Open sessions by node.
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<NodeId, Arc<Attached>>>,
    registering: Semaphore,
    seats: Arc<Seats>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            registering: Semaphore::new(MOST_REGISTERING),
            seats: Arc::default(),
        }
    }
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<NodeId, Arc<Attached>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time a session lets pass between two looks at the state, so that looking takes a tenth of a core at most however many there are:
    /// changes come faster than thousands can look. None: so few may look at once.
    fn pace(&self) -> Option<Duration> {
        let open = u32::try_from(self.open().len()).unwrap_or(u32::MAX);
        Some(LOOK_COST.saturating_mul(open) * 10).filter(|pace| *pace >= SHORTEST_PACE)
    }

    /// A turn to register; None cannot be.
    async fn registering(&self) -> Option<SemaphorePermit<'_>> {
        self.registering.acquire().await.ok()
    }

    /// Makes this the node's session; the one before ends.
    fn attach(&self, node: &NodeId, session: &Arc<Attached>) {
        let former = self.open().insert(node.clone(), session.clone());
        if let Some(former) = former {
            former.end();
        }
    }

    /// False: a newer session has taken over.
    fn detach(&self, node: &NodeId, session: &Arc<Attached>) -> bool {
        let mut open = self.open();
        let ours = open
            .get(node)
            .is_some_and(|have| Arc::ptr_eq(have, session));
        if ours {
            open.remove(node);
        }
        ours
    }

    /// Asks a node for an instance's log. None: the node has no session.
    pub(crate) fn logs(&self, node: &NodeId, wanted: Wanted) -> Option<LogStream> {
        let session = self.open().get(node).cloned()?;
        session.logs(wanted)
    }

    /// Asks a node and waits for its answer. None: the node has no session. Err: for people.
    pub(crate) async fn ask(
        &self,
        node: &NodeId,
        question: Question,
    ) -> Option<Result<Answer, String>> {
        let session = self.open().get(node).cloned()?;
        Some(session.ask(question).await)
    }

    /// Which instances have a job.
    pub(crate) fn seats(&self) -> &Arc<Seats> {
        &self.seats
    }

    /// Has a node run a command inside an instance. Err: for people.
    pub(crate) fn exec(
        &self,
        node: &NodeId,
        instance: &InstanceId,
        order: Order,
    ) -> Result<Command, String> {
        let away = || format!("node {node} is not connected just now, or too much is run there");
        let session = self.open().get(node).cloned().ok_or_else(away)?;
        if order.has_surroundings() && !session.surroundings {
            return Err(format!(
                "the agent of node {node} is of a version that knows no user, workdir or environment of a command; upgrade it, or leave them \
                 away"
            ));
        }
        session.exec(instance.clone(), order).ok_or_else(away)
    }
}

impl Service {
    pub(crate) fn new(
        deps: Arc<Deps>,
        sessions: Arc<Sessions>,
        guard: Guard,
        slow: Duration,
    ) -> Self {
        Self {
            deps,
            sessions,
            guard,
            slow,
        }
    }

    /// Signs for a node.
    fn sign(&self, request: &Request<EnrollRequest>) -> Result<EnrollReply, Status> {
        let (credentials, node) = self.guard.enroll(request)?;
        let none = || Status::failed_precondition("this cluster has no authority");
        let authority = credentials.authority.as_ref().ok_or_else(none)?;
        let (key, now) = (&request.get_ref().public_key, self.deps.now());
        let signed = authority.sign(Role::Node(node.clone()), &[], key, now, LIFETIME);
        let signed = signed.map_err(|e| Status::invalid_argument(e.to_string()))?;
        let who = Who::new(&format!("node {node}"), address(request));
        let deed = format!("certificate for node {node}");
        audit::written(&who, &deed, *self.deps.raft.applied().borrow(), false);
        Ok(EnrollReply {
            certificate: signed.certificate,
            authority: signed.authority,
            from: signed.from.0,
            until: signed.until.0,
        })
    }

    /// The term this master may act in; None: agents have to go elsewhere. An elected one is about to begin its term, which is waited for.
    async fn led(&self) -> Option<Term> {
        let mut leading = self.deps.leading();
        let term = *leading.borrow_and_update();
        if term.is_some() || !self.deps.raft.leadership().borrow().leading {
            return term;
        }
        let begun = tokio::time::timeout(BEGIN, leading.wait_for(Option::is_some)).await;
        *begun.ok()?.ok()?
    }
}

#[tonic::async_trait]
impl Hub for Service {
    type SessionStream = ReceiverStream<Result<HubFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let node = self.guard.admit(&request)?;
        let (from, at) = (address(&request), request.extensions().get::<At>());
        let line = at.map(|at| at.cut.clone());
        let Some(term) = self.led().await else {
            return Err(elsewhere(&self.deps));
        };
        let (out, stream) = mpsc::channel(QUEUE);
        let (deps, sessions) = (self.deps.clone(), self.sessions.clone());
        let speaker = Speaker {
            node,
            from,
            line,
            slow: self.slow,
        };
        let session = Session::new(deps, sessions, term, speaker, out);
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollReply>, Status> {
        self.sign(&request).map(Response::new)
    }
}

/// Where a caller is; None: in this process.
fn address<T>(request: &Request<T>) -> Option<SocketAddr> {
    request.extensions().get::<At>()?.caller.address
}

/// Refuses or ends a session, and names the leader for people and, as metadata, for programs.
fn elsewhere(deps: &Deps) -> Status {
    let leadership = deps.raft.leadership().borrow().clone();
    let leader = leadership.leader.as_deref().unwrap_or("not known just now");
    let message = format!("this master does not lead; the leader is {leader}");
    let mut status = Status::unavailable(message);
    let place = leadership.place.as_ref().map(|place| place.agents.parse());
    if let (false, Some(Ok(agents))) = (leadership.leading, place) {
        status.metadata_mut().insert(LEADER, agents);
    }
    status
}
