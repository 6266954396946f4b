//! Which running instances are as good as dead. It only says so: a restart is the leader's to allow, who knows how many others serve.

use std::collections::BTreeMap;
use std::time::Duration;

use hancock_proto::assignment::{AssignedInstance, Assignment, Liveness};
use hancock_proto::ids::InstanceId;
use hancock_proto::report::{InstanceReport, Life};
use hancock_proto::time::Timestamp;

use crate::observed::Health;

#[cfg(test)]
mod tests;

/// What has to be remembered to judge.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    /// Instances that were ready since their last start, with their restarts until then.
    ready_once: BTreeMap<InstanceId, u32>,
}

impl Pulse {
    /// Marks the ailing ones among reports whose readiness is filled in. Gives when to judge again at the latest.
    pub fn judge<'a>(
        &mut self,
        assignment: &Assignment,
        health: impl Fn(&InstanceId) -> Option<&'a Health>,
        reports: &mut BTreeMap<InstanceId, InstanceReport>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.ready_once
            .retain(|id, _| assignment.instances.contains_key(id));
        let mut next = None;
        for (id, assigned) in &assignment.instances {
            let Some((report, since)) = reports
                .get_mut(id)
                .and_then(|report| Some((self.due(id, assigned, health(id), report)?, report)))
                .map(|(due, report)| (report, due))
            else {
                continue;
            };
            report.ailing = now >= since;
            if !report.ailing {
                next = Some(next.map_or(since, |n: Timestamp| n.min(since)));
            }
        }
        next
    }

    /// When it will have failed for too long; None: it is well, or nobody asks.
    fn due(
        &mut self,
        id: &InstanceId,
        assigned: &AssignedInstance,
        health: Option<&Health>,
        report: &InstanceReport,
    ) -> Option<Timestamp> {
        let rule = assigned.liveness?;
        let checked = assigned.check.is_some() || health.is_some();
        if report.life != Life::Running || !checked {
            return None;
        }
        let ready = report.ready.as_ref();
        if ready.is_some_and(|c| c.value) {
            self.ready_once.insert(id.clone(), report.restarts);
            return None;
        }
        match (ready, self.ready_once.get(id)) {
            (Some(bad), Some(restarts)) if *restarts == report.restarts => {
                Some(bad.since + rest(&rule, assigned, health)?)
            }
            // It has yet to come up: a slow start is no failure before its time is over.
            _ => Some(report.since + rule.start.duration()),
        }
    }
}

/// The verdict came with the `fall`th failure; this is how long the other ones take. None: none was counted.
fn rest(rule: &Liveness, assigned: &AssignedInstance, health: Option<&Health>) -> Option<Duration> {
    let (fall, interval) = match health {
        Some(Health::Unhealthy {
            retries, interval, ..
        }) => (*retries, *interval),
        Some(Health::Starting | Health::Healthy) => return None,
        None => assigned
            .check
            .as_ref()
            .map(|c| (c.spec.fall, c.spec.interval))?,
    };
    let more = rule.after_failures.saturating_sub(fall);
    Some(interval.duration().saturating_mul(more))
}
