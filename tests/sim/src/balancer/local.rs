//! Instances of the balancer's own node: judged once each; the verdict tells readiness and feeds routing.

use std::collections::BTreeMap;

use hancock_balancer_core::health::Readiness;
use hancock_balancer_core::peer::Verdict;
use hancock_proto::assignment::Check;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::Condition;
use hancock_proto::time::Timestamp;

use super::{Balancer, Effect};

/// How one instance is judged. None: ready as soon as it is listed.
pub(crate) type LocalSpec = Option<Check>;

/// One judged instance.
pub(super) struct Local {
    spec: LocalSpec,
    state: Readiness,
    condition: Option<Condition>,
    generation: u64,
}

impl Local {
    pub(super) fn is_ready(&self) -> bool {
        self.condition.as_ref().is_some_and(|c| c.value)
    }

    pub(super) fn is_bad(&self) -> bool {
        self.condition.as_ref().is_some_and(|c| !c.value)
    }

    fn conclude(&mut self, value: bool, reason: &str, now: Timestamp) {
        let since = match &self.condition {
            Some(before) if before.value == value => before.since,
            _ => now,
        };
        let reason = reason.to_owned();
        self.condition = Some(Condition {
            value,
            since,
            reason,
        });
    }
}

impl Balancer {
    /// Replaces the set of judged instances.
    pub(crate) fn watch_local(
        &mut self,
        instances: &BTreeMap<InstanceId, LocalSpec>,
        now: Timestamp,
    ) {
        self.locals
            .retain(|id, local| instances.get(id) == Some(&local.spec));
        for (id, spec) in instances {
            if !self.locals.contains_key(id) {
                self.judge_local(id, spec, now);
            }
        }
    }

    fn judge_local(&mut self, id: &InstanceId, spec: &LocalSpec, now: Timestamp) {
        self.generation += 1;
        let (rise, fall) = spec.as_ref().map_or((1, 1), |c| (c.spec.rise, c.spec.fall));
        let mut local = Local {
            spec: spec.clone(),
            state: Readiness::new(rise, fall),
            condition: None,
            generation: self.generation,
        };
        match spec {
            None => local.conclude(true, "no check", now),
            Some(_) => {
                let probe = Effect::Local(id.clone(), self.generation);
                self.effects.push(probe);
            }
        }
        self.locals.insert(id.clone(), local);
    }

    /// What a probing task asks; None: it is over.
    pub(crate) fn local_check(&self, id: &InstanceId, generation: u64) -> Option<Check> {
        let local = self.locals.get(id).filter(|l| l.generation == generation)?;
        local.spec.clone()
    }

    /// A probe ended. Answers whether the instance is ready.
    pub(crate) fn local_probed(
        &mut self,
        id: &InstanceId,
        result: Result<(), String>,
        now: Timestamp,
    ) -> bool {
        let Some(local) = self.locals.get_mut(id) else {
            return false;
        };
        let was = local.condition.as_ref().map(|c| c.value);
        let ready = local.state.probed(result.is_ok());
        match result {
            Err(_) if ready && was == Some(true) => {}
            Err(reason) => local.conclude(ready, &reason, now),
            Ok(()) if ready => local.conclude(true, "check passed", now),
            Ok(()) => {}
        }
        if was != Some(ready) && local.condition.is_some() {
            self.route_local(id, ready);
        }
        ready
    }

    /// The verdict feeds routing: peers of the instance, and documents that wait for it.
    fn route_local(&mut self, id: &InstanceId, ready: bool) {
        let mut waiting = Vec::new();
        for (name, service) in &self.services {
            let out = !ready || service.cutover.is_unpassed(id);
            service.set_verdict(id, if out { Verdict::Err } else { Verdict::Ok });
            let probed = service.cutover.to_probe();
            if ready && probed.is_some_and(|(_, wanted)| wanted.contains(id)) {
                waiting.push(name.clone());
            }
        }
        for name in waiting {
            self.accept_probed(&name, id, Ok(()));
        }
    }

    /// The verdicts; absent while not judged yet.
    pub(crate) fn readiness(&self) -> BTreeMap<InstanceId, Condition> {
        let judged = self.locals.iter();
        judged
            .filter_map(|(id, l)| Some((id.clone(), l.condition.clone()?)))
            .collect()
    }
}
