//! How long what is left of ended instances stays, to be looked at: the newest ones of each app, for a while, as long as the disk has room.

use std::time::Duration;

use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;

use crate::node::Node;
use crate::observed::{Observed, State};

/// What of ended instances stays on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How many of each app.
    pub most: usize,
    /// How long, since the end.
    pub time: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            most: 2,
            time: Duration::from_secs(24 * 3600),
        }
    }
}

impl Retention {
    /// Nothing stays.
    pub const NONE: Self = Self {
        most: 0,
        time: Duration::ZERO,
    };
}

impl Node {
    /// Until when what is left of an ended instance stays that is not assigned any more. None: it goes.
    pub(crate) fn kept_until(&self, id: &InstanceId, now: Timestamp) -> Option<Timestamp> {
        if self.disk_full.is_some() {
            return None;
        }
        let one = self.seen.as_ref()?.get(id)?;
        let ended = self.left_at(one)?;
        let until = ended + self.retention.time;
        let newer = self.seen.iter().flat_map(|seen| seen.values());
        let newer = newer.filter(|other| other.app == one.app);
        let newer = newer.filter(|other| {
            let at = self.left_at(other);
            at.is_some_and(|at| (at, &other.instance) > (ended, id))
        });
        (now < until && newer.count() < self.retention.most).then_some(until)
    }

    /// When one ended that is not assigned any more.
    fn left_at(&self, one: &Observed) -> Option<Timestamp> {
        let assigned = self.assignment.as_ref().map(|a| &a.instances);
        let gone = assigned.is_some_and(|a| !a.contains_key(&one.instance));
        match &one.state {
            State::Exited(exit) if gone => Some(exit.at),
            State::Exited(_) | State::Created | State::Running { .. } => None,
        }
    }
}
