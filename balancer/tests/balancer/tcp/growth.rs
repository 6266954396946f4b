//! Ports that come and go all day leave nothing behind.

use std::fs;

use hancock_testkit::skip;

use super::peer::Peer;
use super::{TcpWorld, name_behind, quiet_port};

/// Ports in turn.
const PORTS: usize = 50;
/// What a long run may keep beyond its first tenth.
const KEPT: u64 = 32 << 20;

fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = pages.split_whitespace().nth(1).unwrap();
    pages.parse::<u64>().unwrap() * 4096
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// With `HANCOCK_LONG=1` a hundred thousand changes.
#[tokio::test]
async fn changes_of_ports_leave_nothing_behind() {
    let changes = skip::rounds(4_000, 100_000);
    let world = TcpWorld::new().await;
    let peer = Peer::named("a").await;
    let ports: Vec<u16> = (0..PORTS).map(|_| quiet_port()).collect();
    let mut early = None;
    for change in 0..changes / 2 {
        let port = ports[change % PORTS];
        world.put(port, &[peer.port]);
        if change.is_multiple_of(100) {
            assert_eq!(name_behind(port).await, "a");
        }
        world.delete(port);
        if change == changes / 20 {
            early = Some((resident(), threads()));
        }
        // The tasks of closed ports end when others run.
        tokio::task::yield_now().await;
    }
    let (memory, running) = early.unwrap();
    let grown = resident().saturating_sub(memory);
    println!(
        "{changes} changes: {} KiB more than after a tenth of them ({} KiB), {running} threads then, {} now",
        grown >> 10,
        memory >> 10,
        threads()
    );
    assert!(grown < KEPT, "{} KiB more", grown >> 10);
    assert!(threads() <= running + 2, "threads grew");
    world.stop().await;
}
