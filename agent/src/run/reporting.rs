//! What the leader and the balancer are told: the whole, whenever anything of it changed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hancock_agent_core::environment::{PortSide, check_command};
use hancock_agent_core::liveness::Pulse;
use hancock_agent_core::observed::Health;
use hancock_balancer::{LocalCheck, LocalInstance};
use hancock_proto::assignment::AssignedInstance;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::{Condition, InstanceReport, Life, Report};
use hancock_proto::time::Timestamp;

use crate::runtime::checks::Checks;

use super::{Loop, now};

/// Commands of checks that run at the same time, at most, however many cores there are.
const MOST_CHECKS: usize = 16;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    sequence: u64,
    /// None: the session has not had one yet.
    last: Option<Report>,
    watched: BTreeMap<InstanceId, LocalInstance>,
    pulse: Pulse,
    /// The balancer knows who runs commands of checks.
    checking: bool,
}

impl Reporting {
    /// A new session knows nothing.
    pub(super) fn send_again(&mut self) {
        self.last = None;
    }
}

impl Loop {
    /// Tells the balancer which instances run here, when that changed.
    pub(super) fn watch_local(&mut self) {
        self.give_checks();
        let dial = dial(self.runtime.port_side(), &self.options.info.address);
        let running: BTreeMap<_, _> = self
            .node
            .running()
            .filter_map(|(id, assigned, _)| Some((id.clone(), self.local(id, assigned, dial)?)))
            .collect();
        if running != self.reporting.watched {
            self.reporting.watched.clone_from(&running);
            self.balancer.watch_local(running);
        }
    }

    /// Has checks by command run, as soon as it is known whose instances these are.
    fn give_checks(&mut self) {
        let Some(owner) = self.node.owner().filter(|_| !self.reporting.checking) else {
            return;
        };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let at_once = (2 * cores).clamp(2, MOST_CHECKS);
        let checks = Checks::new(Arc::clone(&self.runtime), owner, at_once);
        self.balancer.run_checks_by(Arc::new(checks));
        self.reporting.checking = true;
    }

    /// None: it has no port anybody could ask, and nothing else to go by.
    fn local(
        &self,
        id: &InstanceId,
        assigned: &AssignedInstance,
        dial: IpAddr,
    ) -> Option<LocalInstance> {
        let check = match self.node.health(id) {
            Some(health) => Some(told(health)),
            None => self.check(id, assigned, dial),
        };
        let port = assigned.run.ports.first().map(|p| p.host);
        let asks = matches!(check, None | Some(LocalCheck::Asked(..)));
        (port.is_some() || !asks).then(|| LocalInstance {
            address: SocketAddr::new(dial, port.unwrap_or_default()),
            check,
        })
    }

    fn check(
        &self,
        id: &InstanceId,
        assigned: &AssignedInstance,
        dial: IpAddr,
    ) -> Option<LocalCheck> {
        let check = assigned.check.as_ref()?;
        if let Some(port) = check.host_port {
            let (spec, address) = (check.spec.clone(), SocketAddr::new(dial, port));
            return Some(LocalCheck::Asked(spec, address, check.host.clone()));
        }
        let side = self.runtime.port_side();
        Some(
            match check_command(&self.node.owner()?, id, assigned, side) {
                Ok(command) => LocalCheck::Command {
                    spec: check.spec.clone(),
                    command,
                },
                Err(error) => LocalCheck::Told {
                    ready: false,
                    reason: format!("its check cannot be run: {error}"),
                },
            },
        )
    }

    /// Reports, when something changed since the session's last report. Coalesced: only the newest waits to be sent.
    pub(super) fn report(&mut self, mut instances: BTreeMap<InstanceId, InstanceReport>) {
        self.judge(&mut instances);
        self.feel_pulse(&mut instances);
        let follows = self.follows();
        let Some(open) = self.link.open() else {
            return;
        };
        let mut report = Report {
            node: self.options.info.node.clone(),
            boot: self.options.boot.clone(),
            sequence: self.reporting.sequence,
            generation: self.stored.session.generation,
            instances,
            services: self.balancer.services(),
            registry: self.paths.revision(),
            follows,
        };
        // Where the watch is comes with whatever else changed: alone it would be told with every change of other apps.
        let last = self.reporting.last.as_ref();
        if last.is_some_and(|last| says_the_same(last, &mut report)) {
            return;
        }
        self.reporting.sequence += 1;
        report.sequence = self.reporting.sequence;
        open.report(report.clone());
        self.reporting.last = Some(report);
    }

    fn judge(&self, instances: &mut BTreeMap<InstanceId, InstanceReport>) {
        let verdicts = self.balancer.readiness();
        let assigned = self.node.assignment().map(|a| &a.instances);
        for (id, report) in instances {
            let checked = assigned
                .and_then(|a| a.get(id))
                .is_none_or(|a| a.check.is_some() || self.node.health(id).is_some());
            report.ready = ready(report, checked, verdicts.get(id));
        }
    }
}

impl Loop {
    /// Tells which instances ail, and comes back when another one will.
    fn feel_pulse(&mut self, instances: &mut BTreeMap<InstanceId, InstanceReport>) {
        let Some(assignment) = self.node.assignment() else {
            return;
        };
        let health = |id: &InstanceId| self.node.health(id);
        let again = self
            .reporting
            .pulse
            .judge(assignment, health, instances, now());
        self.wake_at = self.wake_at.into_iter().chain(again).min();
    }
}

/// But for where the watches are.
fn says_the_same(last: &Report, report: &mut Report) -> bool {
    let newest = std::mem::replace(&mut report.registry, last.registry);
    let follows = std::mem::replace(&mut report.follows, last.follows);
    let same = last == report;
    (report.registry, report.follows) = (newest, follows);
    same
}

fn ready(report: &InstanceReport, checked: bool, verdict: Option<&Condition>) -> Option<Condition> {
    let say = |value, since: Timestamp, reason: &str| {
        let reason = reason.to_owned();
        Some(Condition {
            value,
            since,
            reason,
        })
    };
    match report.life {
        Life::Running if checked => verdict.cloned(),
        Life::Running => say(true, report.since, "runs, and no check is asked for"),
        // It was up before; a verdict of that time must not outlive it.
        _ if report.restarts > 0 => say(false, report.since, "does not run"),
        _ => None,
    }
}

/// Where this node reaches its own instances.
fn dial(side: PortSide, address: &str) -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match side {
        PortSide::Host => loopback,
        // Published ports answer on the node's address; the loopback path would go through a relay in user space.
        PortSide::Container => address.parse().unwrap_or(loopback),
    }
}

/// The verdict of the check of an instance's image.
fn told(health: &Health) -> LocalCheck {
    let (ready, reason) = match health {
        Health::Starting => (false, "the image's own check has not passed yet".to_owned()),
        Health::Healthy => (true, "the image's own check passed".to_owned()),
        Health::Unhealthy { reason, .. } => (false, reason.clone()),
    };
    LocalCheck::Told { ready, reason }
}
