//! Plans what to do: what is wanted beside what is seen, into deeds for the runtime and facts for the master.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::app::{Limits, Resources};
use hancock_proto::assignment::Desired;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::InstanceReport;
use hancock_proto::time::Timestamp;

use crate::environment::{StartSpec, resolve};
use crate::instance::{Deed, Instance, Next, Want};
use crate::node::Node;
use crate::observed::{Observed, StopRule};
use crate::ports::{Claim, claim};
use crate::writers::Writer;

#[cfg(test)]
mod images;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
#[cfg(test)]
pub(crate) mod samples {
    pub(crate) use super::world::{assigned, assignment, id};
}

/// How long a start waits before it looks again whether its ports and volumes are free.
const PORT_RETRY: Duration = Duration::from_millis(200);

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Deeds to begin, each for another instance. To be carried out after the node's memory is stored.
    pub actions: Vec<Action>,
    /// Plan again at the latest then.
    pub wake_at: Option<Timestamp>,
    /// Everything known of every instance; readiness is the balancer's to add.
    pub reports: BTreeMap<InstanceId, InstanceReport>,
}

/// One deed for one instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Get what the start needs.
    Prepare(Arc<StartSpec>),
    /// Start it.
    Start(Arc<StartSpec>),
    /// Let it run on under these limits, beside what is reserved for it.
    Limit(InstanceId, Resources, Limits),
    /// Signal, grace period, kill.
    Stop(InstanceId, StopRule),
    /// End it at once.
    Kill(InstanceId),
    /// Remove what is left of it.
    Remove(InstanceId),
}

impl Action {
    /// The instance meant.
    pub fn instance(&self) -> &InstanceId {
        match self {
            Action::Prepare(spec) | Action::Start(spec) => &spec.instance,
            Action::Limit(id, ..) | Action::Stop(id, _) | Action::Kill(id) | Action::Remove(id) => {
                id
            }
        }
    }

    /// The kind of deed.
    pub fn deed(&self) -> Deed {
        match self {
            Action::Prepare(_) => Deed::Prepare,
            Action::Start(_) => Deed::Start,
            Action::Limit(..) => Deed::Limit,
            Action::Stop(..) => Deed::Stop,
            Action::Kill(_) => Deed::Kill,
            Action::Remove(_) => Deed::Remove,
        }
    }
}

impl Node {
    /// Plans the next deeds and remembers them as under way. Without an assignment, a first list and a runtime that answers it does
    /// nothing: missing data is no reason for anything.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        if self.can_judge() {
            self.count_orphans(now);
            for id in self.known() {
                self.step(&id, now, &mut plan);
            }
            let ends = self.contact_ends(now);
            plan.wake_at = plan.wake_at.into_iter().chain(ends).min();
        }
        plan.reports = self.reports();
        plan
    }

    fn can_judge(&self) -> bool {
        self.assignment.is_some() && self.seen.is_some() && self.outage.is_none()
    }

    /// Everything assigned, remembered or seen.
    fn known(&self) -> BTreeSet<InstanceId> {
        let assigned = self.assignment.iter().flat_map(|a| a.instances.keys());
        let seen = self.seen.iter().flat_map(|s| s.keys());
        assigned
            .chain(seen)
            .chain(self.instances.keys())
            .cloned()
            .collect()
    }

    fn step(&mut self, id: &InstanceId, now: Timestamp, plan: &mut Plan) {
        let seen = self.seen.as_ref().and_then(|s| s.get(id)).cloned();
        let Some(mut instance) = self.take(id, seen.as_ref(), now) else {
            return;
        };
        self.take_wish(id, &mut instance, seen.as_ref());
        let next = self.next(id, &mut instance, seen.as_ref(), now);
        if let Next::Do(deed) = next {
            plan.actions
                .extend(self.action(id, deed, &mut instance, seen.as_ref(), now));
        }
        if let Some(at) = wake(&instance, next, now) {
            plan.wake_at = Some(plan.wake_at.map_or(at, |w| w.min(at)));
        }
        instance.settle_life(now);
        if next != Next::Forget {
            self.instances.insert(id.clone(), instance);
        }
    }

    fn take(
        &mut self,
        id: &InstanceId,
        seen: Option<&Observed>,
        now: Timestamp,
    ) -> Option<Instance> {
        let assigned = self.assignment.as_ref().and_then(|a| a.instances.get(id));
        let version = assigned
            .map(|a| a.version)
            .or_else(|| seen.map(|o| o.version));
        match self.instances.remove(id) {
            Some(known) => Some(known),
            None => {
                // What was asked of one that is new here was asked of no start of this node's.
                let asked = assigned.map_or(0, |a| a.restarts_asked);
                version.map(|v| Instance::new(v, now).asked(asked))
            }
        }
    }

    fn take_wish(&self, id: &InstanceId, instance: &mut Instance, seen: Option<&Observed>) {
        let assigned = self.assignment.as_ref().and_then(|a| a.instances.get(id));
        if let Some(assigned) = assigned.filter(|a| a.desired == Desired::Running) {
            instance.asked_to_restart(assigned.restarts_asked);
            instance.wants_limits(assigned.run.limits);
            let made_of = seen.and_then(|o| o.image_digest.as_ref());
            let wanted = assigned.run.image_digest.as_ref();
            instance.is_of_other_image(made_of.zip(wanted).is_some_and(|(m, w)| m != w));
        }
    }

    fn next(
        &self,
        id: &InstanceId,
        instance: &mut Instance,
        seen: Option<&Observed>,
        now: Timestamp,
    ) -> Next {
        // The outcome of its last deed is open: the next list tells, nothing is guessed.
        if self.is_open(id) {
            return Next::Nothing;
        }
        let (state, want) = (seen.map(|o| &o.state), self.want(id, now));
        if matches!(instance.busy(), None | Some(Deed::Prepare)) {
            instance.facts(state, want, now);
        }
        let left = matches!(want, Want::Leave) && instance.is_over() && instance.busy().is_none();
        if left && let Some(until) = self.kept_until(id, now) {
            return Next::Wait(until);
        }
        instance.next(state, want, now)
    }

    fn action(
        &mut self,
        id: &InstanceId,
        deed: Deed,
        instance: &mut Instance,
        seen: Option<&Observed>,
        now: Timestamp,
    ) -> Option<Action> {
        match deed {
            Deed::Prepare => {
                if let Some(full) = self.disk_refuses(instance) {
                    instance.reject(full.clone());
                    return None;
                }
                Some(Action::Prepare(self.spec(id, instance)?))
            }
            Deed::Start => {
                self.ports_free(id, instance, now)?;
                self.writes_alone(id, instance, now)?;
                self.may_start(instance, now)?;
                Some(Action::Start(self.spec(id, instance)?))
            }
            Deed::Limit => {
                let run = &self.assignment.as_ref()?.instances.get(id)?.run;
                Some(Action::Limit(id.clone(), run.resources, run.limits))
            }
            Deed::Stop => Some(match seen.map(|o| o.stop.clone()) {
                Some(rule) => Action::Stop(id.clone(), rule),
                None => Action::Kill(id.clone()),
            }),
            Deed::Kill => Some(Action::Kill(id.clone())),
            Deed::Remove => Some(Action::Remove(id.clone())),
        }
    }

    fn spec(&self, id: &InstanceId, instance: &mut Instance) -> Option<Arc<StartSpec>> {
        let (assignment, owner) = (self.assignment.as_ref()?, self.owner()?);
        match resolve(&owner, id, assignment.instances.get(id)?, self.side) {
            Ok(spec) => Some(Arc::new(spec)),
            Err(error) => {
                instance.reject(error.to_string());
                None
            }
        }
    }

    /// None: they are not, and the instance was told so.
    fn ports_free(&self, id: &InstanceId, instance: &mut Instance, now: Timestamp) -> Option<()> {
        let (assignment, seen) = (self.assignment.as_ref()?, self.seen.as_ref()?);
        let over = |other: &InstanceId| self.instances.get(other).is_some_and(Instance::is_over);
        match claim(id, assignment, seen, over) {
            Claim::Free => Some(()),
            Claim::Leaving { port, holder } => {
                instance.postpone(
                    now + PORT_RETRY,
                    format!("waits for host port {port}, still held by {holder}"),
                );
                None
            }
            Claim::Taken { port, holder } => {
                instance.reject(format!("host port {port} belongs to {holder} on this node"));
                None
            }
        }
    }

    /// None: somebody else may still write to what is to be its own, and the instance was told so.
    fn writes_alone(&self, id: &InstanceId, instance: &mut Instance, now: Timestamp) -> Option<()> {
        let Some(Writer { holder, what }) = self.writer_beside(id) else {
            return Some(());
        };
        let reason = format!("waits for {what}, which {holder} may still write to");
        instance.postpone(now + PORT_RETRY, reason);
        None
    }

    /// None: too many starts began just now, and the instance was told to wait.
    fn may_start(&mut self, instance: &mut Instance, now: Timestamp) -> Option<()> {
        let wait = |until| {
            let reason = "waits for its turn: many instances start on this node just now";
            instance.postpone(until, reason.to_owned());
        };
        self.starts.take(now).map_err(wait).ok()
    }

    /// Of those that have ended and are not assigned any more nobody wants to hear.
    fn reports(&self) -> BTreeMap<InstanceId, InstanceReport> {
        let assigned = |id| {
            let assignment = self.assignment.as_ref();
            assignment.is_some_and(|a| a.instances.contains_key(id))
        };
        self.instances
            .iter()
            .filter(|(id, instance)| assigned(*id) || !instance.is_over())
            .map(|(id, instance)| (id.clone(), self.report(id, instance)))
            .collect()
    }

    fn report(&self, id: &InstanceId, instance: &Instance) -> InstanceReport {
        let memory = &instance.memory;
        let seen = self.seen_of(id);
        let outage = self.outage.as_ref().filter(|_| !instance.is_over());
        InstanceReport {
            version: memory.version,
            life: memory.life,
            since: memory.since,
            reason: outage.or(memory.reason.as_ref()).cloned(),
            ready: None,
            restarts: memory.restarts,
            image_digest: seen.and_then(|o| o.image_digest.clone()),
            ailing: false,
        }
    }
}

/// When the instance has to be looked at again: its own time, or at once when it changed in a way that may free another.
fn wake(instance: &Instance, next: Next, now: Timestamp) -> Option<Timestamp> {
    match next {
        Next::Wait(at) => Some(at),
        Next::Do(_) if instance.busy().is_none() && !instance.is_over() => Some(now + PORT_RETRY),
        Next::Nothing | Next::Do(_) | Next::Forget => None,
    }
}
