//! Who writes to a volume that has a single writer: another one starts only when that one is seen not to run. The masters see to it as well;
//! what a node sees with its own eyes holds even when they err.

use hancock_proto::app::writers::{clash, spoken};
use hancock_proto::app::{Volume, VolumeKind};
use hancock_proto::assignment::{AssignedInstance, Assignment};
use hancock_proto::ids::InstanceId;

use crate::instance::Phase;
use crate::node::Node;

/// Who keeps an instance from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    /// It may run.
    pub(crate) holder: InstanceId,
    /// What both would write to.
    pub(crate) what: String,
}

impl Node {
    /// Who may run and would write beside it.
    pub(crate) fn writer_beside(&self, id: &InstanceId) -> Option<Writer> {
        let assignment = self.assignment.as_ref()?;
        let mine = assignment.instances.get(id)?;
        let seen = self.seen.iter().flat_map(|s| s.keys());
        let mut others = self.instances.keys().chain(seen);
        others.find_map(|other| {
            let what = (other != id && self.may_run(other))
                .then(|| self.shared(assignment, mine, other))??;
            let holder = other.clone();
            Some(Writer { holder, what })
        })
    }

    /// It runs, or a deed whose outcome is open may have made it.
    fn may_run(&self, id: &InstanceId) -> bool {
        let phase = self.instances.get(id).map(|i| i.memory.phase);
        let up = matches!(
            phase,
            Some(Phase::Ordered { .. } | Phase::Up | Phase::Restarting | Phase::Stopping)
        );
        let seen = self.seen.as_ref().and_then(|s| s.get(id));
        up || self.is_open(id) || seen.is_some_and(|o| o.is_running())
    }

    /// What two instances would both write to. Of one that is not assigned any more only the runtime says what it has; until it does,
    /// and for another one of its app, it is taken to be the same.
    fn shared(
        &self,
        assignment: &Assignment,
        mine: &AssignedInstance,
        other: &InstanceId,
    ) -> Option<String> {
        let volumes = volumes(mine);
        if let Some(theirs) = assignment.instances.get(other) {
            let theirs = (&theirs.app, &*self::volumes(theirs));
            return clash((&mine.app, &volumes), theirs).map(spoken);
        }
        let Some(seen) = self.seen.as_ref().and_then(|s| s.get(other)) else {
            // It is just being started, and nobody can say yet what it has.
            return volumes.iter().find(|v| v.exclusive).map(spoken);
        };
        if let Some(own) = volumes.iter().find(|v| v.exclusive && seen.app == mine.app) {
            return Some(spoken(own));
        }
        let folders: Vec<Volume> = seen.folders.iter().map(|f| folder(f)).collect();
        clash((&mine.app, &volumes), (&seen.app, &folders)).map(spoken)
    }
}

/// An instance's volumes, single writers marked.
fn volumes(assigned: &AssignedInstance) -> Vec<Volume> {
    let each = assigned.run.volumes.iter();
    each.map(|v| Volume {
        exclusive: assigned.exclusive.contains(&v.target),
        ..v.clone()
    })
    .collect()
}

/// A folder of the host that is written to.
fn folder(source: &str) -> Volume {
    Volume {
        kind: VolumeKind::Bind,
        source: source.to_owned(),
        target: String::new(),
        read_only: false,
        size: None,
        exclusive: false,
    }
}
