//! One turn: plan, store, carry out, tell.

use std::time::Duration;

use hancock_agent_core::reconcile::Plan;
use hancock_proto::report::Life;

use super::{Loop, now};

/// Pause before a failed write of the journal is tried again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

impl Loop {
    /// Plans on what is known now and begins what is planned. Cheap when nothing changed.
    pub(super) fn turn(&mut self) {
        let now = now();
        let plan = self.node.plan(now);
        self.wake_at = plan.wake_at;
        self.record.instances = self.node.memory();
        self.record.contact = self.node.contact_to_store(self.record.contact);
        self.store();
        self.carry_out(plan);
        if self.node.needs_list() {
            self.listing.wanted = true;
        }
        if self.listing.wanted && self.listing.failures == 0 {
            self.list();
        }
    }

    /// Writes the journal when it differs from the disk. A full disk must not keep instances down, so what is only a count of restarts
    /// may be late; what was *heard* is never acted upon before it is stored, see [`Loop::hear`].
    pub(super) fn store(&mut self) -> bool {
        if self.record == self.stored {
            self.store_again = None;
            return true;
        }
        match self.journal.save(&self.record) {
            Ok(()) => {
                self.stored = self.record.clone();
                self.store_again = None;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "journal not written; tried again in a second");
                self.store_again = Some(now() + STORE_AGAIN);
                false
            }
        }
    }

    fn carry_out(&mut self, plan: Plan) {
        for action in plan.actions {
            self.begin(action);
        }
        self.watch_local();
        let mut reports = plan.reports;
        for (id, report) in &mut reports {
            if report.life == Life::Pulling
                && let Some(told) = self.runtime.progress(id)
            {
                report.reason = Some(told);
            }
        }
        self.report(reports);
    }
}
