//! Clients write until they are answered, and compare what they read with what was answered before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hancock_master_core::{Command, Reply, State};
use hancock_proto::time::Timestamp;

use super::lot::below;
use super::time::pass;
use super::world::{MASTERS, World, step};
use crate::raft::runtime::{Joined, spawn};

/// Longest one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(800);
/// Number of the deployment that the app began with.
const FIRST: u64 = 1;

/// All of them.
pub(super) struct Clients {
    writers: Vec<Joined<Vec<u64>>>,
    reader: Joined<()>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    pub(super) fn start(world: &World, writers: u64) -> Self {
        let (stop, newest) = (Arc::<AtomicBool>::default(), Arc::new(AtomicU64::new(0)));
        let write = |client| {
            let (world, stop, newest) = (world.clone(), stop.clone(), newest.clone());
            spawn(async move {
                let mut answered = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let key = format!("{client}-{}", answered.len());
                    let deployment = write(&world, &key).await;
                    newest.fetch_max(deployment, Ordering::SeqCst);
                    world.note((client, deployment));
                    answered.push(deployment);
                    pass(Duration::from_millis(below(300))).await;
                }
                answered
            })
        };
        Self {
            writers: (0..writers).map(write).collect(),
            reader: spawn(read(world.clone(), stop.clone(), newest.clone())),
            stop,
        }
    }

    /// Everybody gets the answer they wait for; the deployments of all answers.
    pub(super) async fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        self.reader.await.unwrap();
        all
    }
}

/// Restarts the app, however often it must be asked for; the deployment's number.
async fn write(world: &World, key: &str) -> u64 {
    loop {
        if let Some(deployment) = attempt(world, key).await {
            return deployment;
        }
        pass(Duration::from_millis(10 + below(90))).await;
    }
}

async fn attempt(world: &World, key: &str) -> Option<u64> {
    let running = world.running(1 + below(MASTERS))?;
    let restart = Command::Restart {
        app: "web".parse().unwrap(),
        at: Timestamp(2),
    };
    let written = running
        .raft
        .propose_once(restart, Some(key.into()), ATTEMPT);
    let accepted = running.ended.run_until_cancelled(written).await?.ok()?;
    match accepted.reply {
        Reply::Applied(reply) => Some(reply.deployment.unwrap().0),
        other => panic!("{other:?}"),
    }
}

/// Reads from anybody who says that it leads.
async fn read(world: World, stop: Arc<AtomicBool>, newest: Arc<AtomicU64>) {
    while !stop.load(Ordering::SeqCst) {
        step().await;
        let Some(running) = world.running(1 + below(MASTERS)) else {
            continue;
        };
        let answered = newest.load(Ordering::SeqCst);
        let read = running.raft.read(ATTEMPT);
        let Some(Ok(applied)) = running.ended.run_until_cancelled(read).await else {
            continue;
        };
        let seen = applied.state().last_deployment;
        assert!(seen >= answered, "{answered} was answered, {seen} is read");
    }
}

/// Each answer has a deployment of its own, and there are as many deployments as answers.
pub(super) fn check(answered: &[u64], state: &State) {
    let distinct: BTreeSet<u64> = answered.iter().copied().collect();
    assert_eq!(
        distinct.len(),
        answered.len(),
        "one write has another one's answer"
    );
    let written = state.last_deployment - FIRST;
    assert_eq!(
        written,
        answered.len() as u64,
        "deployments for so many answers"
    );
}
