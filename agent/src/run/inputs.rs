//! What the loop does with each thing it receives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hancock_agent_core::instance::{Deed, FailureKind};
use hancock_agent_core::node::Stamp;
use hancock_agent_core::observed::{Observed, Owner, State};
use hancock_agent_core::search::Outcome;
use hancock_proto::assignment::Assignment;
use hancock_proto::exec::ToCommand;
use hancock_proto::hub::{AgentMessage, HubMessage};
use hancock_proto::ids::InstanceId;
use hancock_proto::registry::Fence;
use hancock_registry::watcher::Apply;
use tokio::time::Instant;

use crate::detect;
use crate::runtime::{ContainerRuntime, LogQuery, RuntimeError};

use super::{Chosen, Input, LIST_TIMEOUT, Loop, Output, now};

/// Log lines kept with the reason of a failure.
const TAIL: usize = 5;

/// Time to fetch them: a slow log must not delay the verdict.
const TAIL_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest pause between lists of a runtime that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Loop {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Task(output) => self.output(output),
            Input::Hub(fence, message) => self.hub(&fence, message),
            Input::Outside(news) => self.outside(news),
            Input::SessionEnded(reason) => {
                let why = reason.as_ref().map(ToString::to_string);
                tracing::info!(
                    why = why.unwrap_or_default(),
                    "session with the master ended; instances are looked after meanwhile"
                );
                let outcome = reason.as_ref().map_or(Outcome::Lost, Outcome::from);
                self.link.close(outcome);
            }
            Input::Opened(Ok(session)) => {
                tracing::info!("session with the master opened");
                self.link.opened(session);
                self.assigned = false;
                self.reporting.send_again();
                self.offer();
            }
            Input::Opened(Err(error)) => self.link.failed(error),
            Input::RuntimeChanged => {
                (self.listing.wanted, self.listing.failures) = (true, 0);
            }
            Input::Offer => {
                self.offer();
                self.tidy();
            }
            Input::Due if self.listing.next.is_some_and(|at| at <= now()) => self.list(),
            // The turn that follows does what is due.
            Input::Due | Input::BalancerChanged | Input::Stop(_) => {}
        }
    }

    /// Remembered for the next start, which may find none of the configured masters any more.
    fn learn(&mut self, masters: Vec<String>) {
        if self.link.learn(masters.clone()) {
            tracing::info!(?masters, "masters learnt");
            self.record.masters = masters;
            self.store();
        }
    }

    pub(super) fn offer(&mut self) {
        if let Some(open) = self.link.open() {
            // A stream that is dead without saying so is noticed within seconds, which the masters allow for.
            if self.assigned {
                self.node.in_contact(now());
            }
            let mut offer = detect::offer(&self.options.info, &self.options.data_dir);
            offer.cpu_free = self.processor.free();
            offer.network = self.network.since_last(Instant::now());
            offer.traffic = self.traffic.since(self.balancer.counts(), Instant::now());
            open.offer(AgentMessage::Offer(offer));
        }
    }

    pub(super) fn output(&mut self, output: Output) {
        match output {
            Output::Done {
                instance,
                deed,
                outcome,
            } => {
                if let Err(failure) = &outcome {
                    tracing::warn!(%instance, ?deed, reason = %failure.reason, "not done");
                    if failure.kind == FailureKind::Unavailable {
                        self.node.unavailable(failure.reason.clone());
                    }
                } else if matches!(deed, Deed::Start | Deed::Stop | Deed::Kill) {
                    tracing::info!(%instance, ?deed, "done");
                }
                self.node.done(&instance, deed, outcome, now());
            }
            Output::Tidied(tidied) => self.tidied(tidied),
            Output::Listed { stamp, list, told } => self.listed(stamp, list, told),
        }
    }

    /// Lists the runtime, unless a list is under way.
    pub(super) fn list(&mut self) {
        if self.listing.under_way {
            return;
        }
        (self.listing.under_way, self.listing.wanted) = (true, false);
        self.listing.next = Some(now() + self.options.list_interval);
        let (stamp, runtime) = (self.node.begin_list(), Arc::clone(&self.runtime));
        self.tasks.spawn(async move {
            let list = match tokio::time::timeout(LIST_TIMEOUT, runtime.list()).await {
                Ok(list) => list,
                Err(_) => Err(RuntimeError::Unavailable {
                    runtime: runtime.kind().to_owned(),
                    reason: "no list within 30 s".to_owned(),
                }),
            };
            Output::Listed {
                stamp,
                list,
                told: false,
            }
        });
    }

    fn listed(&mut self, stamp: Stamp, list: Result<Vec<Observed>, RuntimeError>, told: bool) {
        match list {
            Ok(list) => {
                let silent = self.node.wants_tail(&list, now());
                if !told && !silent.is_empty() {
                    return self.fetch_tails(stamp, list, silent);
                }
                if self.listing.failures > 0 {
                    tracing::info!(runtime = self.runtime.kind(), "runtime answers again");
                }
                (self.listing.under_way, self.listing.failures) = (false, 0);
                self.node.observe(list, stamp);
            }
            Err(error) => self.not_listed(&error),
        }
    }

    fn not_listed(&mut self, error: &RuntimeError) {
        if self.listing.failures == 0 {
            tracing::warn!(%error, "runtime cannot be listed; nothing is changed until it can");
        }
        self.listing.under_way = false;
        self.listing.failures = self.listing.failures.saturating_add(1);
        let pause = Duration::from_millis(100)
            .saturating_mul(2u32.saturating_pow(self.listing.failures.min(8) - 1))
            .min(LONGEST_PAUSE);
        self.listing.next = Some(now() + pause);
        self.node.unavailable(error.to_string());
    }

    /// Exits that may be the last ones get their last log lines before they are judged.
    fn fetch_tails(&mut self, stamp: Stamp, mut list: Vec<Observed>, silent: Vec<InstanceId>) {
        let (runtime, owner) = (Arc::clone(&self.runtime), self.node.owner());
        self.tasks.spawn(async move {
            let tails = match owner {
                Some(owner) => tails(&*runtime, &owner, silent).await,
                None => BTreeMap::new(),
            };
            for one in &mut list {
                if let State::Exited(exit) = &mut one.state {
                    exit.tail = tails.get(&one.instance).cloned().unwrap_or_default();
                }
            }
            Output::Listed {
                stamp,
                list: Ok(list),
                told: true,
            }
        });
    }

    fn hub(&mut self, fence: &Fence, message: HubMessage) {
        let before = self.record.session.clone();
        match self.record.session.admit(fence) {
            Ok(false) => {}
            Ok(true) if self.store() => {}
            // Not on disk: as if it was never heard. The master repeats what matters in the next session.
            Ok(true) => {
                self.record.session = before;
                return self.link.close(Outcome::Lost);
            }
            Err(refusal) => {
                tracing::warn!(%refusal, "message refused");
                return self.link.close(Outcome::Lost);
            }
        }
        self.link.healthy();
        self.heard(fence, message);
    }

    fn heard(&mut self, fence: &Fence, message: HubMessage) {
        match message {
            HubMessage::Assignment(assignment) => self.hear(fence, assignment),
            HubMessage::Masters { agents } => self.learn(agents),
            HubMessage::RegistryList(listing) => {
                let applies = self.paths.list(&listing);
                self.apply(applies);
                self.reporting.send_again();
            }
            HubMessage::RegistryChanges { revision, changes } => {
                let deletes = changes.iter().any(|change| change.doc.is_none());
                let applies = self.paths.changes(revision, &changes);
                self.apply(applies);
                // Who let go of a service has to say so, even if it never had it.
                if deletes {
                    self.reporting.send_again();
                }
            }
            HubMessage::Registry {
                choice,
                zones,
                filled,
            } => self.follow(Chosen { choice, zones }, filled),
            HubMessage::Logs(request) => {
                let (runtime, owner) = (Arc::clone(&self.runtime), self.node.owner());
                if let Some(open) = self.link.open() {
                    open.logs.begin(runtime, owner, request);
                }
            }
            HubMessage::LogsEnd { id } => {
                if let Some(open) = self.link.open() {
                    open.logs.end(id);
                }
            }
            HubMessage::Exec { id, word } => self.exec(id, word),
            HubMessage::Ask { id, question } => {
                let (runtime, owner) = (Arc::clone(&self.runtime), self.node.owner());
                let (assignment, pulls) = (self.node.assignment(), Arc::clone(&self.pulls));
                if let Some(open) = self.link.open() {
                    let with = (runtime, pulls);
                    open.questions
                        .begin(with, assignment, owner, (id, question));
                }
            }
        }
    }

    fn exec(&mut self, id: u64, word: ToCommand) {
        let (runtime, owner) = (Arc::clone(&self.runtime), self.node.owner());
        let Some(open) = self.link.open() else {
            return;
        };
        match word {
            ToCommand::Begin { instance, order } => {
                open.commands.begin(runtime, owner, id, (instance, order));
            }
            word => open.commands.hear(id, word),
        }
    }

    /// Takes an assignment: on disk first, acted upon after.
    pub(super) fn hear(&mut self, fence: &Fence, assignment: Assignment) {
        let before = self.record.clone();
        if let Err(refusal) = self
            .record
            .session
            .take(&self.options.info.node, fence, &assignment)
        {
            tracing::warn!(%refusal, "assignment refused");
            return;
        }
        let generation = assignment.generation;
        self.record.assignment = Some(assignment.clone());
        self.record.images.note(&assignment);
        if !self.store() {
            self.record = before;
            return self.link.close(Outcome::Lost);
        }
        if before.session.generation != generation {
            tracing::info!(%generation, instances = assignment.instances.len(), "assignment stored");
        }
        self.node.assign(assignment);
        self.assigned = true;
        self.node.in_contact(now());
        self.tidy_soon();
    }

    pub(super) fn apply(&mut self, applies: Vec<Apply>) {
        for Apply { name, doc } in applies {
            if let Err(error) = self.balancer.apply(&name, doc) {
                tracing::warn!(service = %name, %error, "document refused; the last good one is served");
            }
        }
        // Only a hint for the next start: written with the next change of something that matters.
        self.record.registry = self.paths.revision();
        self.stored.registry = self.record.registry;
    }
}

async fn tails(
    runtime: &dyn ContainerRuntime,
    owner: &Owner,
    instances: Vec<InstanceId>,
) -> BTreeMap<InstanceId, Vec<String>> {
    let each = instances.into_iter().map(|id| async {
        let lines = tokio::time::timeout(TAIL_TIMEOUT, tail(runtime, owner, &id)).await;
        (id, lines.unwrap_or_default())
    });
    futures::stream::iter(each)
        .buffer_unordered(8)
        .collect()
        .await
}

async fn tail(runtime: &dyn ContainerRuntime, owner: &Owner, instance: &InstanceId) -> Vec<String> {
    let query = LogQuery {
        tail: Some(TAIL),
        ..LogQuery::default()
    };
    match runtime.logs(owner, instance, query).await {
        Ok(lines) => {
            let texts = lines.filter_map(async |line| line.ok().map(|l| l.text));
            texts.take(TAIL).collect().await
        }
        Err(error) => {
            tracing::debug!(%instance, %error, "no last log lines");
            Vec::new()
        }
    }
}
