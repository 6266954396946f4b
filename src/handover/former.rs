//! A process that handed over to this one and has not ended yet.

use std::io;

use futures::future::select_all;
use hancock_balancer::handover::{Change, FormerLink};
use tokio::sync::watch;

use super::message::{FromFormer, FromNext};
use super::wire::Wire;

/// Changes in one message.
const CHANGES: usize = 64;

/// See the module.
pub struct Former {
    pid: u32,
    /// Processes before it that have not ended.
    before: watch::Receiver<Vec<u32>>,
    stop: watch::Sender<bool>,
}

impl Former {
    /// Follows it to its end.
    pub fn follow(pid: u32, before: Vec<u32>, wire: Wire, link: FormerLink) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (told, before) = watch::channel(before);
        tokio::spawn(async move {
            carry(wire, &link, &told, stopped).await;
            tracing::info!(pid, "the former process has ended");
            told.send_replace(Vec::new());
            drop((link, told));
        });
        Self { pid, stop, before }
    }

    /// Nobody can tell of it any more.
    pub fn has_ended(&self) -> bool {
        self.before.has_changed().is_err()
    }

    async fn ended(&self) {
        let mut before = self.before.clone();
        // Until nobody can tell any more.
        while before.changed().await.is_ok() {}
    }

    /// It is to end as well.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// All former processes that have not ended, and those before them.
pub fn pids(formers: &[Former]) -> Vec<u32> {
    let live = formers.iter().filter(|former| !former.has_ended());
    let each = live.flat_map(|former| {
        let before = former.before.borrow().clone();
        std::iter::once(former.pid).chain(before)
    });
    each.collect()
}

/// Returns when one more has ended.
pub async fn one_ended(formers: &[Former]) {
    let live = formers.iter().filter(|former| !former.has_ended());
    let ends: Vec<_> = live.map(|former| Box::pin(former.ended())).collect();
    match ends.is_empty() {
        true => std::future::pending().await,
        false => drop(select_all(ends).await),
    }
}

/// Returns when all have ended.
pub async fn ended(formers: &[Former]) {
    for former in formers {
        former.ended().await;
    }
}

/// Until it is gone.
async fn carry(
    mut wire: Wire,
    link: &FormerLink,
    others: &watch::Sender<Vec<u32>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told = false;
    loop {
        let message = tokio::select! {
            said = wire.receive::<FromFormer>() => match said {
                Ok(Some((FromFormer::Tail { tail, before }, _))) => {
                    others.send_replace(before);
                    link.heard(tail);
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => return,
            },
            changes = link.changes() => Some(changes),
            () = async { drop(stop.wait_for(|stop| *stop).await) }, if !told => None,
        };
        let sent = match message {
            Some(changes) => send(&mut wire, changes).await,
            None => {
                told = true;
                wire.send(&FromNext::Stop, &[]).await
            }
        };
        if let Err(error) = sent {
            return tracing::warn!(%error, "the former process does not listen");
        }
    }
}

async fn send(wire: &mut Wire, mut changes: Vec<Change>) -> io::Result<()> {
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(CHANGES));
        wire.send(&FromNext::Changes(changes), &[]).await?;
        changes = rest;
    }
    Ok(())
}
