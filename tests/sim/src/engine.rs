//! What runs on a machine: containers that outlive their daemon, with delays, exits and images that never get there.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::{Ending, Exit, Observed, State};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    /// As the engine shows it.
    pub(crate) observed: Observed,
    /// Distinguishes this run from an earlier one of the same instance.
    pub(crate) run: u64,
    /// From then on it answers well; None: never.
    pub(crate) ready_at: Option<u64>,
    /// When it was told to stop.
    pub(crate) signalled: Option<u64>,
}

impl Container {
    /// Whether its ports are open: an app that is told to stop closes them first.
    pub(crate) fn listens(&self) -> bool {
        self.observed.is_running() && self.signalled.is_none()
    }

    /// Whether it answers well.
    pub(crate) fn answers(&self, now: u64) -> bool {
        self.listens() && self.ready_at.is_some_and(|at| at <= now)
    }
}

/// All containers of one machine.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    containers: BTreeMap<InstanceId, Container>,
    runs: u64,
}

impl Engine {
    /// One container.
    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Container> {
        self.containers.get(id)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&InstanceId, &Container)> {
        self.containers.iter()
    }

    /// Those that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&InstanceId, &Container)> {
        self.all().filter(|(_, c)| c.observed.is_running())
    }

    /// Who listens on a host port.
    pub(crate) fn at_port(&self, port: u16) -> Option<(&InstanceId, &Container)> {
        self.running()
            .find(|(_, c)| c.listens() && c.observed.host_ports.contains(&port))
    }

    /// As a daemon is shown them.
    pub(crate) fn list(&self) -> Vec<Observed> {
        let all = self.containers.values();
        all.map(|c| c.observed.clone()).collect()
    }

    /// Starts a container; the reason when a port is taken. Answers the run.
    pub(crate) fn start(&mut self, spec: &Arc<StartSpec>, now: u64) -> Result<u64, String> {
        let ports: Vec<u16> = spec.host_ports().collect();
        let taken = self.running().find_map(|(id, c)| {
            let mut held = c.observed.host_ports.iter();
            held.find(|p| ports.contains(p)).map(|p| (*p, id.clone()))
        });
        if let Some((port, holder)) = taken.filter(|(_, id)| *id != spec.instance) {
            return Err(format!("port {port} is in use by {holder}"));
        }
        self.runs += 1;
        let container = Container {
            observed: Observed {
                owner: spec.owner.clone(),
                instance: spec.instance.clone(),
                app: spec.app.clone(),
                version: spec.version,
                stop: spec.stop.clone(),
                host_ports: ports,
                folders: spec.folders(),
                state: State::Running {
                    since: Some(Timestamp(now)),
                },
                image_digest: None,
                health: None,
            },
            run: self.runs,
            ready_at: ready_at(spec, now),
            signalled: None,
        };
        self.containers.insert(spec.instance.clone(), container);
        Ok(self.runs)
    }

    /// The stop signal. Answers the run that got it.
    pub(crate) fn signal(&mut self, id: &InstanceId, now: u64) -> Option<u64> {
        let container = self.containers.get_mut(id);
        let container = container.filter(|c| c.observed.is_running())?;
        container.signalled.get_or_insert(now);
        Some(container.run)
    }

    /// It ends. False: that run is over already.
    pub(crate) fn exit(
        &mut self,
        id: &InstanceId,
        run: Option<u64>,
        how: Ending,
        now: u64,
    ) -> bool {
        let container = self.containers.get_mut(id);
        let container = container.filter(|c| run.is_none_or(|r| r == c.run));
        let Some(container) = container.filter(|c| c.observed.is_running()) else {
            return false;
        };
        container.observed.state = State::Exited(Exit {
            at: Timestamp(now),
            how,
            tail: Vec::new(),
        });
        true
    }

    /// What is left of it goes.
    pub(crate) fn remove(&mut self, id: &InstanceId) {
        self.containers.remove(id);
    }

    /// The machine lost its power. `keep`: ended containers are still listed afterwards.
    pub(crate) fn power_off(&mut self, keep: bool, now: u64) {
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            self.exit(&id, None, Ending::Unseen, now);
        }
        if !keep {
            self.containers.clear();
        }
    }
}

/// `READY=2000` is ready after 2 s of running, `NEVER=1` never is.
fn ready_at(spec: &StartSpec, now: u64) -> Option<u64> {
    if spec.environment.contains_key("NEVER") {
        return None;
    }
    let after = spec.environment.get("READY").and_then(|t| t.parse().ok());
    Some(now + after.unwrap_or(50))
}
