//! What goes wrong, one thing after the other; some last while the next happens.

use std::time::Duration;

use super::lot::below;
use super::time::pass;
use super::world::{MASTERS, World};
use crate::raft::runtime::spawn;

/// One fault, and the time before the next; in words.
pub(super) async fn one(world: &World) -> String {
    let id = 1 + below(MASTERS);
    let other = 1 + (id + below(MASTERS - 1)) % MASTERS;
    let pause = Duration::from_millis(50 + below(900));
    let what = match below(11) {
        0 | 1 => {
            world.crash(id);
            format!("m{id} crashes")
        }
        2 => {
            for id in 1..=MASTERS {
                world.crash(id);
            }
            "all crash".to_owned()
        }
        3 => {
            let others = (1..=MASTERS).filter(|other| *other != id);
            let cut = others.flat_map(|other| [(id, other), (other, id)]);
            world.lock().cut.extend(cut);
            format!("m{id} is alone")
        }
        4 => {
            world.lock().cut.insert((id, other));
            format!("m{other} does not hear m{id}")
        }
        5 => {
            world.lock().cut.clear();
            "all hear each other".to_owned()
        }
        6 => {
            fail_disk(world, id);
            format!("m{id}'s disk does not flush")
        }
        7 => {
            let mut inner = world.lock();
            (inner.loss, inner.delay) = (below(300), 1 + below(120));
            format!("{} of 1000 lost, {} ms late", inner.loss, inner.delay)
        }
        8 => {
            let mut inner = world.lock();
            inner.flush = below(80);
            format!("flushes take {} ms", inner.flush)
        }
        9 => {
            transfer(world, id);
            format!("m{id} shall lead")
        }
        _ => {
            revive(world).await;
            "who ended starts".to_owned()
        }
    };
    world.note(&what);
    pass(pause).await;
    // Most of the time a majority runs: nothing happens without one.
    if below(3) > 0 {
        revive(world).await;
    }
    format!("{what}, for {pause:?}")
}

async fn revive(world: &World) {
    for id in 1..=MASTERS {
        world.mend(id).await;
        world.start(id).await;
    }
}

fn fail_disk(world: &World, id: u64) {
    if let Some(running) = world.running(id) {
        running.device.fail_syncs(true);
    }
}

fn transfer(world: &World, id: u64) {
    for from in 1..=MASTERS {
        let Some(running) = world.running(from) else {
            continue;
        };
        if running.raft.leadership().borrow().leading {
            drop(spawn(async move {
                drop(running.raft.transfer(&format!("m{id}")).await)
            }));
        }
    }
}
