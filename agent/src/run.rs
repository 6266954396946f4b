//! The agent's loop: receive, ask the core, store, carry out, report. It decides nothing itself.

mod ask;
mod deeds;
mod exec;
mod inputs;
mod logs;
mod outside;
mod parking;
mod pulls;
mod reporting;
mod session;
mod tidying;
mod traffic;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use hancock_proto::hub::HubMessage;
use hancock_proto::ids::InstanceId;
use hancock_proto::registry::Fence;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_registry::paths::Paths;
use hancock_registry::watcher::Watcher;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use hancock_agent_core::instance::{Deed, Failure};
use hancock_agent_core::node::{Node, Stamp};
use hancock_agent_core::observed::Observed;
use hancock_agent_core::search::Search;

use crate::agent::Options;
use crate::balancer::LocalBalancer;
use crate::detect::{Processor, network};
use crate::journal::{Journal, Record};
use crate::link::MasterLink;
use crate::runtime::{ContainerRuntime, RuntimeError};
use deeds::Limits;
use reporting::Reporting;
use session::Link;

pub use outside::Chosen;
pub use tidying::Hygiene;

/// Time one list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How the agent is asked to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// Stop the instances too.
    pub instances: bool,
    /// Time that may take.
    pub deadline: Duration,
}

/// What tasks bring back to the loop.
#[derive(Debug)]
enum Output {
    /// A deed ended.
    Done {
        instance: InstanceId,
        deed: Deed,
        outcome: Result<Option<Observed>, Failure>,
    },
    /// The images were looked at.
    Tidied(tidying::Tidied),
    /// A list ended; `told`: the last log lines of exits were fetched.
    Listed {
        stamp: Stamp,
        list: Result<Vec<Observed>, RuntimeError>,
        told: bool,
    },
}

/// What wakes the loop.
enum Input {
    Task(Output),
    Hub(Fence, HubMessage),
    SessionEnded(Option<crate::link::LinkError>),
    Outside(outside::News),
    Opened(Result<crate::link::Session, crate::link::LinkError>),
    RuntimeChanged,
    BalancerChanged,
    Offer,
    Due,
    Stop(Stop),
}

/// Everything the loop holds.
pub(crate) struct Loop {
    options: Options,
    runtime: Arc<dyn ContainerRuntime>,
    balancer: Arc<dyn LocalBalancer>,
    journal: Journal,
    /// As it is on disk.
    stored: Record,
    /// As it should be on disk.
    record: Record,
    node: Node,
    link: Link,
    paths: Paths,
    following: outside::Following,
    tasks: JoinSet<Output>,
    limits: Limits,
    listing: Listing,
    reporting: Reporting,
    tidying: tidying::Tidying,
    pulls: Arc<pulls::Pulls>,
    traffic: traffic::Meter,
    processor: Processor,
    /// The leader of the open session has sent what this node shall run.
    assigned: bool,
    network: network::Meter,
    /// When the core wants to be asked again.
    wake_at: Option<Timestamp>,
    /// When a failed write of the journal is tried again.
    store_again: Option<Timestamp>,
}

/// How far listing the runtime is.
#[derive(Debug, Default)]
struct Listing {
    under_way: bool,
    /// Something changed since the list under way began.
    wanted: bool,
    /// Failed lists in a row.
    failures: u32,
    /// Next one at the latest then.
    next: Option<Timestamp>,
}

impl Loop {
    pub(crate) fn new(
        options: Options,
        runtime: Arc<dyn ContainerRuntime>,
        link: Arc<dyn MasterLink>,
        balancer: Arc<dyn LocalBalancer>,
        journal: Journal,
        record: Record,
    ) -> Self {
        let node = Node::new(
            options.info.node.clone(),
            runtime.port_side(),
            record.assignment.clone(),
            record.instances.clone(),
        )
        .with_orphan_grace(options.orphan_grace)
        .with_retention(options.hygiene.retention)
        .heard_last(record.contact);
        let search = Search::new(options.masters.clone(), record.masters.clone());
        let mut watcher = Watcher::new();
        // The balancer serves these from an earlier run; a list may prove them gone.
        watcher.adopt(
            record.session.cluster.clone(),
            record.registry,
            balancer.names(),
        );
        let limits = Limits::default();
        Self {
            link: Link::new(link, search),
            reporting: Reporting::default(),
            tidying: tidying::Tidying::default(),
            pulls: Arc::new(pulls::Pulls::new(limits.pulls())),
            traffic: traffic::Meter::default(),
            processor: Processor::default(),
            network: network::Meter::default(),
            limits,
            listing: Listing::default(),
            tasks: JoinSet::new(),
            stored: record.clone(),
            assigned: false,
            wake_at: None,
            store_again: None,
            options,
            runtime,
            balancer,
            journal,
            record,
            node,
            paths: Paths::new(watcher),
            following: outside::Following::default(),
        }
    }

    /// Runs until asked to stop, or until whoever could ask is gone.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<Stop>) {
        let mut runtime = self.runtime.changes();
        let mut balancer = self.balancer.changed();
        let mut offers = tokio::time::interval(self.options.offer_interval);
        offers.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        tracing::info!(node = %self.options.info.node, generation = %self.record.session.generation, "agent started");
        self.list();
        self.begin_following();
        loop {
            self.turn();
            let due = self.due();
            let input = tokio::select! {
                request = &mut stop => match request {
                    Ok(request) => Input::Stop(request),
                    Err(_) => return,
                },
                Some(Ok(output)) = self.tasks.join_next() => Input::Task(output),
                input = self.link.next(|| hello(&self.options, &self.record, self.paths.revision())) => input,
                news = self.following.next() => Input::Outside(news),
                () = bumped(&mut runtime) => Input::RuntimeChanged,
                () = bumped(&mut balancer) => Input::BalancerChanged,
                _ = offers.tick() => Input::Offer,
                () = tokio::time::sleep_until(due) => Input::Due,
            };
            if let Input::Stop(request) = input {
                return self.end(request).await;
            }
            self.take(input);
        }
    }

    /// When something is due without anybody saying so.
    fn due(&self) -> Instant {
        let now = now();
        let times = [self.wake_at, self.listing.next, self.store_again];
        let next = times.into_iter().flatten().min();
        Instant::now() + next.map_or(self.options.list_interval, |at| at.since(now))
    }
}

use session::hello;

/// Waits for a bump; for ever when nobody can bump any more.
async fn bumped(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}
