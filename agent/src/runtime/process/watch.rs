//! Notices ends: the kernel wakes us, nothing is polled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hancock_proto::ids::InstanceId;
use tokio::sync::watch as notice;
use tokio::task::JoinHandle;

use super::proc::Process;

/// Where the kernel gives no handles on processes, they are looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The watched processes, one per instance.
#[derive(Debug)]
pub(super) struct Watches {
    changes: notice::Sender<u64>,
    watched: Mutex<BTreeMap<InstanceId, (Process, JoinHandle<()>)>>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            changes: notice::channel(0).0,
            watched: Mutex::default(),
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let watched = self
            .watched
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        watched.values().for_each(|(_, task)| task.abort());
    }
}

impl Watches {
    pub(super) fn changes(&self) -> notice::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn notify(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Watches an instance's process from now on, in place of any former one.
    pub(super) fn watch(self: &Arc<Self>, instance: &InstanceId, process: Process) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, (_, task)| !task.is_finished());
        if watched.get(instance).is_some_and(|(p, _)| *p == process) {
            return;
        }
        let changes = self.changes.clone();
        let task = tokio::spawn(async move {
            ended(process).await;
            changes.send_modify(|n| *n += 1);
        });
        if let Some((_, former)) = watched.insert(instance.clone(), (process, task)) {
            former.abort();
        }
    }
}

async fn ended(process: Process) {
    if let Err(error) = process.ended().await {
        tracing::debug!(%error, pid = process.pid, "no handle on a process; looked at now and then");
        while process.is_alive() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
