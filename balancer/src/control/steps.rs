//! Carrying out what the core decided for a service.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_balancer_core::cutover::{Cutover, Step};
use hancock_balancer_core::health::{self, Policy, ProbeResult};
use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::upstream::{PeerKey, Upstream};
use hancock_proto::ids::{DocIndex, InstanceId};
use hancock_proto::time::Timestamp;

use super::service::ServiceState;
use super::{Control, Inner};
use crate::handover::Verdicts;
use crate::probe::{Answer, RedisFacts, tasks};

impl Inner {
    pub(super) fn restore(
        &mut self,
        control: &Control,
        upstream: Arc<Upstream>,
        known: &mut Verdicts,
    ) {
        let mut state = ServiceState::new(&upstream.name);
        Self::remember(&mut state, known);
        state.confirmed = upstream.index();
        state.cutover = Cutover::restored(upstream.clone());
        state.install(&upstream, &self.locals);
        control.table.insert(state.service.clone());
        reroute(control, &mut state, &upstream);
        self.services.insert(upstream.name.to_string(), state);
        self.sync_probes(control, &upstream.name);
    }

    pub(super) fn document(&mut self, control: &Control, upstream: Arc<Upstream>, now: Timestamp) {
        let ready = self.ready();
        let name = upstream.name.clone();
        if !self.services.contains_key(&*name) {
            let mut state = ServiceState::new(&name);
            state.health = self.past.take(&name);
            control.table.insert(state.service.clone());
            self.services.insert(name.to_string(), state);
        }
        let Some(state) = self.services.get_mut(&*name) else {
            return;
        };
        if std::mem::take(&mut state.deleted) {
            // What was confirmed before may be gone from the disk by now.
            state.confirmed = DocIndex(0);
            control.table.insert(state.service.clone());
        }
        let steps = state.cutover.document(upstream, &ready, now);
        self.version += 1;
        self.carry_out(control, &name, steps);
    }

    pub(super) fn deleted(&mut self, control: &Control, name: &str) {
        let Some(state) = self.services.get_mut(name) else {
            return;
        };
        let steps = state.cutover.deleted();
        self.version += 1;
        self.carry_out(control, name, steps);
    }

    /// Answers whether anything came of it.
    pub(super) fn accept_probed(
        &mut self,
        control: &Control,
        name: &str,
        instance: &InstanceId,
        result: Result<(), String>,
    ) -> bool {
        let Some(state) = self.services.get_mut(name) else {
            return false;
        };
        state.service.stats.probed(result.is_ok());
        let steps = state.cutover.probed(instance, result);
        let changed = !steps.is_empty();
        self.carry_out(control, name, steps);
        changed
    }

    /// Deadlines and drains of services that have any. Answers whether a report would say something else.
    pub(super) fn turn(&mut self, control: &Control, now: Timestamp) -> bool {
        let mut changed = false;
        for name in std::mem::take(&mut self.active) {
            changed |= self.turn_of(control, &name, now);
        }
        changed
    }

    fn turn_of(&mut self, control: &Control, name: &str, now: Timestamp) -> bool {
        let Some(state) = self.services.get_mut(name) else {
            return false;
        };
        let steps = state.cutover.tick(now);
        let mut changed = !steps.is_empty();
        if changed {
            self.carry_out(control, name, steps);
        }
        let Some(state) = self.services.get_mut(name) else {
            return changed;
        };
        state.settle();
        changed |= state.tell_draining();
        if state.deleted && state.writing.is_none() && state.is_settled() {
            let state = self.services.remove(name);
            self.past
                .keep(name, state.map(|s| s.health).unwrap_or_default());
            return true;
        }
        let open = state.deleted || !state.is_settled();
        if state.cutover.deadline().is_some() || open {
            self.active.insert(name.to_owned());
        }
        changed
    }

    fn carry_out(&mut self, control: &Control, name: &str, steps: Vec<Step>) {
        for step in steps {
            self.step(control, name, step);
        }
        self.sync_probes(control, name);
        self.active.insert(name.to_owned());
        control.wake.notify_one();
    }

    fn step(&mut self, control: &Control, name: &str, step: Step) {
        let Some(state) = self.services.get_mut(name) else {
            return;
        };
        match step {
            Step::Hold(upstream) => {
                tracing::info!(service = %name, index = %upstream.index(), "keeping the old set until the added peers pass");
                state.install(&upstream, &self.locals);
                reroute(control, state, &upstream);
            }
            Step::Switch(upstream) => {
                tracing::info!(service = %name, index = %upstream.index(), peers = upstream.peers().count(), "switched");
                state.install(&upstream, &self.locals);
                reroute(control, state, &upstream);
                // Somebody else's document instead of ours: ours is not served, whatever is still on disk.
                state.confirmed = state.confirmed.min(upstream.index());
                state.settle();
                control.switched(state, Some(upstream.doc.clone()));
            }
            Step::Passed(instance) => {
                tracing::info!(service = %name, %instance, "an added peer passed after the switch");
                let peers = state
                    .peers
                    .iter()
                    .filter(|p| p.instance() == Some(&instance));
                peers.for_each(|p| p.set_verdict(Verdict::Ok));
            }
            Step::Refused(refusal) => {
                tracing::warn!(service = %name, index = %refusal.index, peer = %refusal.peer, reason = %refusal.reason, "refused a document: an added peer did not pass in time, the old set stays");
            }
            Step::Remove => {
                tracing::info!(service = %name, "deleted");
                state.uninstall();
                state.settle();
                state.deleted = true;
                state.reroute(&control.table, None, false);
                control.table.remove(name);
                // Known as long as it is on disk: a restart before that would serve it again.
                control.switched(state, None);
            }
        }
    }

    /// Starts and ends probing tasks so that they fit what is served and what waits.
    fn sync_probes(&mut self, control: &Control, name: &str) {
        let generation = self.next_generation();
        let Some(state) = self.services.get_mut(name) else {
            return;
        };
        let serving = state.cutover.serving().cloned();
        state.rounds = match &serving {
            Some(up) if up.has_rounds() && up.checks.enabled => match state.rounds.take() {
                Some(running) if running.1.is_for(&up.doc) => Some(running),
                _ => Some((generation, tasks::rounds(control, up, generation))),
            },
            _ => None,
        };
        state.resolving = match &serving {
            Some(up) if up.peers().any(|p| p.key.ip().is_none()) => match state.resolving.take() {
                Some(running) if running.is_for(&up.doc) => Some(running),
                _ => Some(tasks::resolve(control, up)),
            },
            _ => None,
        };
        sync_accepting(control, state);
    }

    pub(super) fn round_good(
        &mut self,
        name: &str,
        generation: u64,
        key: &PeerKey,
        facts: Option<RedisFacts>,
        now: Timestamp,
    ) {
        let Some(state) = current_round(&mut self.services, name, generation) else {
            return;
        };
        state.redis.insert(key.clone(), facts);
        let health = health::good(state.health.remove(key), now);
        state.health.insert(key.clone(), health);
        if let Some(peer) = state.peers.get(key) {
            peer.set_verdict(Verdict::Ok);
        }
    }

    pub(super) fn round_done(
        &mut self,
        name: &str,
        generation: u64,
        answers: Vec<Answer>,
        now: Timestamp,
    ) {
        let Some(state) = current_round(&mut self.services, name, generation) else {
            return;
        };
        let Some(upstream) = state.cutover.serving().cloned() else {
            return;
        };
        let keys: Vec<&PeerKey> = upstream.peers().map(|p| &p.key).collect();
        let before = keys
            .iter()
            .map(|key| state.health.get(*key).cloned())
            .collect();
        let policy = Policy {
            sensibility: upstream.checks.sensibility,
            protected: upstream.checks.protected,
        };
        let mut results = Vec::with_capacity(answers.len());
        for (key, answer) in keys.iter().zip(answers) {
            state.service.stats.probed(answer.result == ProbeResult::Ok);
            state.redis.insert((*key).clone(), answer.redis);
            results.push(answer.result);
        }
        let judged = health::round(before, &results, policy, now);
        // From the last to the first: an address that is listed twice ends with what its first place says.
        for (key, health) in keys.iter().zip(judged).rev() {
            if let Some(peer) = state.peers.get(key) {
                tell_change(name, key, peer.verdict(), &health);
                peer.set_verdict(health.verdict);
            }
            state.health.insert((*key).clone(), health);
        }
        state.forget(&keys);
        self.last_check = Some(now);
    }

    pub(super) fn resolved(&mut self, name: &str, key: &PeerKey, address: std::net::SocketAddr) {
        let dial = self.services.get(name).and_then(|s| s.dial_of(key));
        if let Some(dial) = dial {
            dial.resolved(address);
        }
    }

    /// Answers whether an index was confirmed.
    pub(super) fn durable(&mut self, name: &str, sequence: u64) -> bool {
        let Some(state) = self.services.get_mut(name) else {
            return false;
        };
        // An older write than the newest confirms nothing: its document is no longer the one served.
        let Some((_, index)) = state.writing.take_if(|(wanted, _)| *wanted == sequence) else {
            return false;
        };
        state.confirmed = index;
        true
    }
}

fn reroute(control: &Control, state: &mut ServiceState, upstream: &Upstream) {
    let route = upstream.settings.route.as_ref();
    state.reroute(&control.table, route, upstream.handover.is_some());
}

fn current_round<'a>(
    services: &'a mut BTreeMap<String, ServiceState>,
    name: &str,
    generation: u64,
) -> Option<&'a mut ServiceState> {
    let state = services.get_mut(name)?;
    let current = state.rounds.as_ref().is_some_and(|(g, _)| *g == generation);
    current.then_some(state)
}

fn tell_change(name: &str, key: &PeerKey, before: Verdict, health: &health::PeerHealth) {
    if before != health.verdict {
        let reason = health.msg.as_deref().unwrap_or("");
        tracing::info!(service = %name, peer = %key, verdict = ?health.verdict, reason, "a peer's verdict changed");
    }
}

/// One task per added peer that has not passed; tasks of other documents end.
fn sync_accepting(control: &Control, state: &mut ServiceState) {
    let Some((upstream, wanted)) = state.cutover.to_probe() else {
        return state.accepting.clear();
    };
    let upstream = upstream.clone();
    let keys: Vec<_> = wanted.into_iter().map(|i| (i, upstream.index())).collect();
    state.accepting.retain(|key, _| keys.contains(key));
    for key in keys {
        let start = || tasks::accept(control, &upstream, &key.0);
        if !state.accepting.contains_key(&key)
            && let Some(task) = start()
        {
            state.accepting.insert(key, task);
        }
    }
}
