//! Everything a node knows of its instances. Fed with assignments, lists and outcomes; [`crate::reconcile`] plans on it.

use std::collections::BTreeMap;
use std::time::Duration;

use hancock_proto::assignment::{AssignedInstance, Assignment, Desired};
use hancock_proto::ids::{InstanceId, NodeId};
use hancock_proto::report::Life;
use hancock_proto::time::Timestamp;

use crate::environment::PortSide;
use crate::instance::{Deed, Failure, Instance, Memory, Phase, Want};
use crate::observed::{Ending, Exit, Health, Observed, Owner, State};
use crate::retention::Retention;
use crate::throttle::Starts;

/// Time an orphan is left alone, where nothing else is configured: long enough for a master that was put back to an earlier state to be
/// stopped by whoever notices.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(60);

/// A node's instances, wanted and seen.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) id: NodeId,
    pub(crate) side: PortSide,
    /// None: no master was ever heard. Then nothing is done at all.
    pub(crate) assignment: Option<Assignment>,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    /// None: the runtime was never listed. Then nothing is done at all.
    pub(crate) seen: Option<BTreeMap<InstanceId, Observed>>,
    /// Why the runtime cannot be asked just now.
    pub(crate) outage: Option<String>,
    /// Rises with every deed; a list begun before an instance's last deed says nothing of that instance.
    stamp: Stamp,
    /// The newest list taken.
    listed: Stamp,
    touched: BTreeMap<InstanceId, Touch>,
    pub(crate) parking: bool,
    /// A master was heard since the daemon started: only then does an assignment that lacks a container say anything of it.
    heard: bool,
    /// Containers of ours that nobody knows, since when.
    orphans: BTreeMap<InstanceId, Timestamp>,
    orphan_grace: Duration,
    /// When a master was heard last; None: never, as far as is known.
    contact: Option<Timestamp>,
    /// Why nothing new may be put on the disk.
    pub(crate) disk_full: Option<String>,
    /// What of ended instances stays.
    pub(crate) retention: Retention,
    /// How many starts may begin.
    pub(crate) starts: Starts,
}

/// A point in the order of deeds and lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

#[derive(Debug, Clone, Copy)]
struct Touch {
    at: Stamp,
    /// The deed's outcome is open: only a newer list can tell.
    open: bool,
}

impl Node {
    /// A node as its journal remembers it.
    pub fn new(
        id: NodeId,
        side: PortSide,
        assignment: Option<Assignment>,
        memory: BTreeMap<InstanceId, Memory>,
    ) -> Self {
        Self {
            id,
            side,
            assignment,
            instances: memory
                .into_iter()
                .map(|(id, m)| (id, Instance::remembered(m)))
                .collect(),
            seen: None,
            outage: None,
            stamp: Stamp::default(),
            listed: Stamp::default(),
            touched: BTreeMap::new(),
            parking: false,
            heard: false,
            orphans: BTreeMap::new(),
            orphan_grace: ORPHAN_GRACE,
            contact: None,
            disk_full: None,
            retention: Retention::NONE,
            starts: Starts::default(),
        }
    }

    /// How the disk is. With a reason nothing is started here that was not up before, and nothing is kept to be looked at; what is here goes
    /// on, and comes back after a fall.
    pub fn disk(&mut self, full: Option<String>) {
        self.disk_full = full;
    }

    pub(crate) fn disk_refuses(&self, instance: &Instance) -> Option<&String> {
        let new = instance.memory.restarts == 0 && instance.memory.life <= Life::Pulling;
        self.disk_full.as_ref().filter(|_| new)
    }

    /// The same, with the last contact its journal remembers.
    pub fn heard_last(mut self, contact: Option<Timestamp>) -> Self {
        self.contact = contact;
        self
    }

    /// A master that sent its assignment is still there.
    pub fn in_contact(&mut self, now: Timestamp) {
        self.contact = Some(now);
    }

    /// What of the last contact has to be stored: it may be some seconds old, which stops an instance sooner, never later. None: nothing
    /// here asks for it.
    pub fn contact_to_store(&self, stored: Option<Timestamp>) -> Option<Timestamp> {
        let assigned = self.assignment.iter().flat_map(|a| a.instances.values());
        let shortest = assigned.filter_map(|a| a.stop_after).min()?;
        let fresh = self.contact?;
        let age = shortest.duration() / 4;
        Some(
            stored
                .filter(|s| *s <= fresh && fresh.since(*s) < age)
                .unwrap_or(fresh),
        )
    }

    /// When the first instance has to stop for want of contact.
    pub(crate) fn contact_ends(&self, now: Timestamp) -> Option<Timestamp> {
        let assigned = self.assignment.iter().flat_map(|a| a.instances.values());
        let contact = self.contact?;
        let ends = assigned.filter_map(|a| Some(contact + a.stop_after?.duration()));
        ends.filter(|at| *at > now).min()
    }

    /// Whether it must not run just now: it may be replaced elsewhere, as far as this node knows.
    fn is_cut_off(&self, assigned: &AssignedInstance, now: Timestamp) -> bool {
        assigned.stop_after.is_some_and(|after| {
            // A clock set back says nothing: neither that it is early.
            let silent = |heard: Timestamp| heard > now || now >= heard + after.duration();
            self.contact.is_none_or(silent)
        })
    }

    /// The same with another grace period for orphans.
    pub fn with_orphan_grace(mut self, grace: Duration) -> Self {
        self.orphan_grace = grace;
        self
    }

    /// The same with what stays of ended instances.
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Takes an assignment that was admitted ([`crate::session`]) and stored.
    pub fn assign(&mut self, assignment: Assignment) {
        if self.assignment.is_none() {
            // Only now is it known which containers are ours: former lists passed them over.
            self.seen = None;
        }
        if !self.heard {
            // What nobody knew before says nothing: the time of orphans begins now.
            self.orphans.clear();
        }
        self.heard = true;
        self.unprepare(&assignment);
        self.assignment = Some(assignment);
    }

    /// What was got ready for another image is not ready for this one.
    fn unprepare(&mut self, next: &Assignment) {
        let before = self.assignment.as_ref().map(|a| &a.instances);
        for (id, instance) in &mut self.instances {
            let digest =
                |all: &BTreeMap<_, AssignedInstance>| Some(all.get(id)?.run.image_digest.clone());
            if before.and_then(digest) != digest(&next.instances) {
                instance.unprepare();
            }
        }
    }

    /// The assignment acted upon.
    pub fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    /// Whose containers are ours. None: no assignment told the cluster yet.
    pub fn owner(&self) -> Option<Owner> {
        let assignment = self.assignment.as_ref()?;
        Some(Owner {
            cluster: assignment.cluster.clone(),
            node: self.id.clone(),
        })
    }

    /// What is to be stored before the plan is carried out.
    pub fn memory(&self) -> BTreeMap<InstanceId, Memory> {
        self.instances
            .iter()
            .map(|(id, i)| (id.clone(), i.memory.clone()))
            .collect()
    }

    /// To be taken when a list is begun and given back with it.
    pub fn begin_list(&mut self) -> Stamp {
        self.stamp = Stamp(self.stamp.0 + 1);
        self.stamp
    }

    /// Whether a list is needed, because the outcome of a deed is open or the runtime was never listed.
    pub fn needs_list(&self) -> bool {
        self.seen.is_none() || self.outage.is_some() || self.touched.values().any(|t| t.open)
    }

    /// Takes a complete list that was begun at `stamp`. Strangers in it are passed over; so is a list older than one taken before.
    pub fn observe(&mut self, list: Vec<Observed>, stamp: Stamp) {
        if stamp < self.listed {
            return;
        }
        self.listed = stamp;
        let mut fresh: BTreeMap<InstanceId, Observed> = BTreeMap::new();
        for one in list.into_iter().filter(|o| self.is_ours(o)) {
            // Two of one instance: the one that runs is the one that counts.
            let known = fresh.get(&one.instance).is_some_and(Observed::is_running);
            if !known {
                fresh.insert(one.instance.clone(), one);
            }
        }
        let mut before = self.seen.take().unwrap_or_default();
        for (id, _) in self.touched.iter().filter(|(_, t)| t.at > stamp) {
            fresh.remove(id);
            fresh.extend(before.remove_entry(id));
        }
        self.touched.retain(|_, t| t.at > stamp);
        self.outage = None;
        self.seen = Some(fresh);
    }

    fn is_ours(&self, one: &Observed) -> bool {
        let cluster = self.assignment.as_ref().map(|a| &a.cluster);
        one.owner.node == self.id && cluster == Some(&one.owner.cluster)
    }

    /// The runtime could not be listed: nothing is known, so nothing is done.
    pub fn unavailable(&mut self, reason: String) {
        self.outage = Some(reason);
    }

    /// Which exits in a list need their last log lines before it is observed: those not answered with a restart at once.
    pub fn wants_tail(&self, list: &[Observed], now: Timestamp) -> Vec<InstanceId> {
        list.iter()
            .filter(|o| self.is_ours(o) && matches!(o.state, State::Exited(_)))
            .filter(|o| self.would_wait(&o.instance, now))
            .map(|o| o.instance.clone())
            .collect()
    }

    fn would_wait(&self, id: &InstanceId, now: Timestamp) -> bool {
        let Some(instance) = self.instances.get(id) else {
            return false;
        };
        let up = matches!(instance.memory.phase, Phase::Up | Phase::Ordered { .. });
        match self.want(id, now) {
            Want::Run(rule) => {
                up && instance.busy().is_none() && !instance.restarts_at_once(rule, now)
            }
            Want::Stop | Want::Leave | Want::Spare(_) | Want::Park => false,
        }
    }

    /// A deed came to its end. `seen`: the container as a successful start left it.
    pub fn done(
        &mut self,
        id: &InstanceId,
        deed: Deed,
        outcome: Result<Option<Observed>, Failure>,
        now: Timestamp,
    ) {
        // One that has ended again already is judged by a list, which brings its last log lines.
        let ended = |seen: &Observed| matches!(seen.state, State::Exited(_));
        let exited = matches!(&outcome, Ok(Some(seen)) if ended(seen));
        let passed = deed == Deed::Start && self.seen_of(id).is_some_and(ended);
        self.touch(id, outcome.is_err() || exited || passed);
        if let Ok(seen) = &outcome
            && !exited
        {
            self.learn(id, deed, seen.clone(), now);
        }
        let Some(mut instance) = self.instances.remove(id) else {
            return;
        };
        instance.done(deed, outcome.map(drop), self.want(id, now), now);
        self.instances.insert(id.clone(), instance);
    }

    pub(crate) fn seen_of(&self, id: &InstanceId) -> Option<&Observed> {
        self.seen.as_ref()?.get(id)
    }

    fn learn(&mut self, id: &InstanceId, deed: Deed, new: Option<Observed>, now: Timestamp) {
        let Some(seen) = self.seen.as_mut() else {
            return;
        };
        match deed {
            Deed::Prepare | Deed::Limit => {}
            Deed::Start => seen.extend(new.map(|o| (id.clone(), o))),
            Deed::Remove => drop(seen.remove(id)),
            Deed::Stop | Deed::Kill => {
                let exit = Exit {
                    at: now,
                    how: Ending::Unseen,
                    tail: Vec::new(),
                };
                if let Some(one) = seen.get_mut(id) {
                    one.state = State::Exited(exit);
                }
            }
        }
    }

    pub(crate) fn touch(&mut self, id: &InstanceId, open: bool) {
        self.stamp = Stamp(self.stamp.0 + 1);
        let at = self.stamp;
        self.touched.insert(id.clone(), Touch { at, open });
    }

    /// Whether what is known of it is older than its last deed.
    pub(crate) fn is_open(&self, id: &InstanceId) -> bool {
        self.touched.get(id).is_some_and(|t| t.open)
    }

    /// Starts nothing more and stops everything, until the daemon comes back.
    pub fn park(&mut self) {
        self.parking = true;
    }

    /// Whether nothing runs any more.
    pub fn is_parked(&self) -> bool {
        let idle = |i: &Instance| matches!(i.busy(), None | Some(Deed::Prepare));
        let down = |seen: &BTreeMap<_, Observed>| !seen.values().any(Observed::is_running);
        self.instances.values().all(idle) && self.seen.as_ref().is_none_or(down)
    }

    /// Everything of ours that runs, wanted or not.
    pub fn still_running(&self) -> impl Iterator<Item = &InstanceId> {
        let seen = self.seen.iter().flat_map(|s| s.iter());
        seen.filter(|(_, o)| o.is_running()).map(|(id, _)| id)
    }

    /// Instances that run and are wanted, with their restarts.
    pub fn running(&self) -> impl Iterator<Item = (&InstanceId, &AssignedInstance, u32)> {
        let assigned = self.assignment.iter().flat_map(|a| a.instances.iter());
        assigned.filter_map(|(id, assigned)| {
            let memory = &self.instances.get(id)?.memory;
            (memory.phase == Phase::Up).then_some((id, assigned, memory.restarts))
        })
    }

    /// What the check of its image says of an instance, where that counts.
    pub fn health(&self, id: &InstanceId) -> Option<&Health> {
        let assigned = self.assignment.as_ref()?.instances.get(id)?;
        let seen = self.seen_of(id).filter(|_| assigned.run.image_check)?;
        seen.health.as_ref()
    }

    /// Notes what nobody knows, and forgets whom somebody claimed or who is gone. One that ended as it was told, or for good, is no orphan:
    /// the master let go of it knowing that.
    pub(crate) fn count_orphans(&mut self, now: Timestamp) {
        let assigned = self.assignment.as_ref().map(|a| &a.instances);
        let Some((assigned, seen)) = assigned.zip(self.seen.as_ref()) else {
            return;
        };
        let ended = |id: &InstanceId| {
            let known = self.instances.get(id);
            known.is_some_and(|i| i.is_over() || i.memory.phase == Phase::Stopping)
        };
        self.orphans
            .retain(|id, _| seen.contains_key(id) && !assigned.contains_key(id));
        for id in seen.keys().filter(|id| !assigned.contains_key(*id)) {
            if !self.orphans.contains_key(id) && !ended(id) {
                self.orphans.insert(id.clone(), now);
            }
        }
    }

    pub(crate) fn want(&self, id: &InstanceId, now: Timestamp) -> Want<'_> {
        let assigned = self.assignment.as_ref().and_then(|a| a.instances.get(id));
        match assigned {
            Some(a) if a.desired == Desired::Stopped => Want::Stop,
            Some(_) if self.parking => Want::Park,
            Some(a) if self.is_cut_off(a, now) => Want::Park,
            Some(a) => Want::Run(&a.run.restart),
            None => self.unassigned(id, now),
        }
    }

    fn unassigned(&self, id: &InstanceId, now: Timestamp) -> Want<'_> {
        match self.orphans.get(id) {
            Some(_) if self.parking => Want::Park,
            Some(_) if !self.heard => Want::Spare(None),
            Some(since) if now < *since + self.orphan_grace => {
                Want::Spare(Some(*since + self.orphan_grace))
            }
            Some(_) | None => Want::Leave,
        }
    }
}
