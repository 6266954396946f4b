//! Instances of this node: judged here, once each; the verdict tells readiness and feeds routing.

use std::collections::BTreeMap;
use std::time::Duration;

use hancock_balancer_core::health::{ProbeResult, Readiness};
use hancock_balancer_core::peer::Verdict;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::Condition;
use hancock_proto::time::Timestamp;

use super::{Control, HANDED, Inner, now};
use crate::local::{LocalCheck, LocalInstance};
use crate::probe::tasks::{self, Task};

/// Between two reasons for the same verdict of a command.
const REASON_REST: Duration = Duration::from_secs(10);

/// What one control tells another of the instances it judges.
pub(super) type Judged = BTreeMap<InstanceId, (LocalInstance, Option<Condition>)>;

/// One judged instance.
pub(super) struct Local {
    spec: LocalInstance,
    state: Readiness,
    /// None: not judged yet.
    pub(super) condition: Option<Condition>,
    /// When the reason last became another one.
    said: Timestamp,
    generation: u64,
    /// None: there is nothing to ask.
    _task: Option<Task>,
}

impl Local {
    /// Judged, and good.
    pub(super) fn is_ready(&self) -> bool {
        self.condition.as_ref().is_some_and(|c| c.value)
    }

    /// Judged, and bad.
    pub(super) fn is_bad(&self) -> bool {
        self.condition.as_ref().is_some_and(|c| !c.value)
    }

    /// Somebody else's verdict. Answers whether the condition is another one now.
    fn retell(&mut self, spec: LocalInstance, now: Timestamp) -> bool {
        self.spec = spec;
        match &self.spec.check {
            Some(LocalCheck::Told { ready, reason }) => {
                let reason = reason.clone();
                self.conclude(*ready, reason, now)
            }
            _ => false,
        }
    }

    fn is_told(&self) -> bool {
        is_told(&self.spec)
    }

    /// Whether another reason for the same has to wait: what a command prints may differ at each run, and each is a report.
    fn must_rest(&self, value: bool, now: Timestamp) -> bool {
        let command = matches!(self.spec.check, Some(LocalCheck::Command { .. }));
        let same = self.condition.as_ref().is_some_and(|c| c.value == value);
        command && same && now.since(self.said) < REASON_REST
    }

    /// Answers whether the condition is another one now.
    fn conclude(&mut self, value: bool, reason: String, now: Timestamp) -> bool {
        if self.must_rest(value, now) {
            return false;
        }
        let since = match &self.condition {
            Some(before) if before.value == value => before.since,
            _ => now,
        };
        let next = Some(Condition {
            value,
            since,
            reason,
        });
        let changed = self.condition != next;
        self.condition = next;
        if changed {
            self.said = now;
        }
        changed
    }
}

impl Inner {
    /// Answers whether readiness would say something else.
    pub(super) fn watch_local(
        &mut self,
        control: &Control,
        instances: BTreeMap<InstanceId, LocalInstance>,
    ) -> bool {
        let before = self.locals.len();
        self.locals.retain(|id, local| {
            let wanted = instances.get(id);
            wanted.is_some_and(|w| *w == local.spec || (local.is_told() && is_told(w)))
        });
        let mut changed = self.locals.len() != before;
        for (id, spec) in instances {
            changed |= match self.locals.get_mut(&id) {
                None => self.judge_local(control, id, spec),
                Some(local) if local.spec == spec => false,
                Some(local) => {
                    let (was, told) = (local.is_ready(), local.retell(spec, now()));
                    let ready = local.is_ready();
                    if ready != was {
                        self.turned(control, &id, ready);
                    }
                    told
                }
            };
        }
        changed
    }

    /// For a follower.
    pub(super) fn judged(&self) -> Judged {
        let all = self.locals.iter();
        all.map(|(id, l)| (id.clone(), (l.spec.clone(), l.condition.clone())))
            .collect()
    }

    /// Takes another control's verdicts over. Answers whether readiness would say something else.
    pub(super) fn follow(&mut self, control: &Control, judged: Judged) -> bool {
        let mut before = std::mem::take(&mut self.locals);
        let mut turned = Vec::new();
        for (id, (spec, condition)) in judged {
            let was = before.remove(&id).and_then(|l| l.condition);
            let is = condition.as_ref().map(|c| c.value);
            if let Some(ready) = is
                && was.map(|c| c.value) != is
            {
                turned.push((id.clone(), ready));
            }
            let local = Local {
                state: Readiness::new(1, 1),
                condition,
                said: control.started,
                generation: 0,
                _task: None,
                spec,
            };
            self.locals.insert(id, local);
        }
        let changed = !turned.is_empty() || !before.is_empty();
        for (id, ready) in turned {
            self.route_local(control, &id, ready);
        }
        changed
    }

    /// Answers whether readiness would say something else.
    fn judge_local(&mut self, control: &Control, id: InstanceId, spec: LocalInstance) -> bool {
        let generation = self.next_generation();
        let known = self.handed.remove(&id);
        let fresh = now().since(control.started) < HANDED;
        let known = known.filter(|(was, _)| fresh && *was == spec);
        let known = known.map(|(_, condition)| condition);
        let ready = known.as_ref().map(|condition| condition.value);
        let check = spec.check.as_ref();
        let asked = check.and_then(LocalCheck::spec);
        let (rise, fall) = asked.map_or((1, 1), |c| (c.rise, c.fall));
        let mut local = Local {
            state: Readiness::new(rise, fall).known(ready.unwrap_or(false)),
            condition: known,
            said: control.started,
            generation,
            _task: check
                .and_then(|check| tasks::local(control, &id, generation, check, ready.is_some())),
            spec: spec.clone(),
        };
        if local.spec.check.is_none() {
            local.conclude(true, "no check".to_owned(), now());
        }
        local.retell(spec, now());
        let (judged, told) = (local.condition.is_some(), local.is_told());
        let (good, bad) = (local.is_ready(), local.is_bad());
        self.locals.insert(id.clone(), local);
        if bad || told {
            self.route_local(control, &id, good);
        }
        judged
    }

    /// Answers whether the instance is ready, and whether readiness would say something else.
    pub(super) fn local_probed(
        &mut self,
        control: &Control,
        instance: &InstanceId,
        generation: u64,
        result: ProbeResult,
        now: Timestamp,
    ) -> Option<(bool, bool)> {
        let local = self
            .locals
            .get_mut(instance)
            .filter(|l| l.generation == generation)?;
        let was = local.condition.as_ref().map(|c| c.value);
        let ready = local.state.probed(result == ProbeResult::Ok);
        let changed = match reason(&result) {
            // A failure that has not told yet changes nothing.
            Some(_) if ready && was == Some(true) => false,
            Some(reason) => local.conclude(ready, reason, now),
            None if ready => local.conclude(true, "check passed".to_owned(), now),
            // On its way up: good, but not often enough.
            None => false,
        };
        if was != Some(ready)
            && self
                .locals
                .get(instance)
                .is_some_and(|l| l.condition.is_some())
        {
            self.turned(control, instance, ready);
        }
        Some((ready, changed))
    }

    fn turned(&mut self, control: &Control, instance: &InstanceId, ready: bool) {
        let known = self.locals.get(instance);
        let reason = known.and_then(|l| Some(l.condition.as_ref()?.reason.as_str()));
        tracing::info!(%instance, ready, reason, "readiness changed");
        self.route_local(control, instance, ready);
    }

    /// The verdict feeds routing: peers of the instance, and documents that wait for it.
    fn route_local(&mut self, control: &Control, instance: &InstanceId, ready: bool) {
        let mut waiting = Vec::new();
        for (name, state) in &self.services {
            let peers = state
                .peers
                .iter()
                .filter(|p| p.instance() == Some(instance));
            let out = !ready || state.cutover.is_unpassed(instance);
            for peer in peers {
                peer.set_verdict(if out { Verdict::Err } else { Verdict::Ok });
                if ready {
                    peer.record().forgive();
                }
            }
            let probed = state.cutover.to_probe();
            if ready && probed.is_some_and(|(_, wanted)| wanted.contains(instance)) {
                waiting.push(name.clone());
            }
        }
        for name in waiting {
            self.accept_probed(control, &name, instance, Ok(()));
        }
    }
}

fn is_told(spec: &LocalInstance) -> bool {
    matches!(spec.check, Some(LocalCheck::Told { .. }))
}

/// What a probe that did not go well says.
fn reason(result: &ProbeResult) -> Option<String> {
    match result {
        ProbeResult::Ok => None,
        ProbeResult::Failed(None) => Some("check failed".to_owned()),
        ProbeResult::Failed(Some(reason)) | ProbeResult::Unstable(reason) => Some(reason.clone()),
    }
}
