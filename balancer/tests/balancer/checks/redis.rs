//! The redis check: `PING`, and what the server says of its replication.

use hancock_testkit::fixture::{Server, redis};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{check, checking, installed, until};
use crate::world::World;

async fn checked(servers: &[&Server]) -> World {
    checking(servers, json!({"typ": "redis"})).await
}

#[tokio::test]
async fn one_that_falls_silent_or_dies_is_bad_until_it_is_back() {
    if !installed("redis-server") {
        return;
    }
    let mut server = redis(&[]);
    let world = checked(&[&server]).await;
    let peer = until(&world, 0, "ok", None).await;
    assert_eq!(peer["replication"], json!({"role": "master"}));
    let version = peer["redis_version"].as_str().unwrap();
    assert!(
        version.starts_with(|c: char| c.is_ascii_digit()),
        "{version}"
    );
    // The kernel still accepts for it; nothing answers.
    server.signal(Signal::SIGSTOP);
    until(&world, 0, "err", Some("timeout")).await;
    server.signal(Signal::SIGCONT);
    until(&world, 0, "ok", None).await;
    server.crash();
    until(&world, 0, "err", Some("connection refused")).await;
    server.restart();
    until(&world, 0, "ok", None).await;
    world.stop().await;
}

#[tokio::test]
async fn its_refusals_are_told_in_its_own_words() {
    if !installed("redis-server") {
        return;
    }
    let (locked, full) = (
        redis(&["--requirepass", "x"]),
        redis(&["--maxclients", "1"]),
    );
    let deaf = redis(&["--rename-command", "PING", ""]);
    let only = TcpStream::connect(full.address).await.unwrap();
    let world = checked(&[&locked, &full, &deaf]).await;
    let peer = until(&world, 0, "err", Some("NOAUTH Authentication required.")).await;
    assert_eq!(peer["replication"], Value::Null);
    until(&world, 1, "err", Some("ERR max number of clients reached")).await;
    let unknown = "ERR unknown command 'PING', with args beginning with: ";
    until(&world, 2, "err", Some(unknown)).await;
    drop(only);
    until(&world, 1, "ok", None).await;
    world.stop().await;
}

#[tokio::test]
async fn one_that_tells_nothing_of_itself_is_good_all_the_same() {
    if !installed("redis-server") {
        return;
    }
    let server = redis(&["--rename-command", "INFO", ""]);
    let world = checked(&[&server]).await;
    let peer = until(&world, 0, "ok", None).await;
    let problem = peer["replication"]["err"].as_str().unwrap();
    assert!(problem.starts_with("ERR unknown command"), "{peer}");
    world.stop().await;
}

#[tokio::test]
async fn a_replica_cut_off_from_its_master_serves_only_when_nobody_else_can() {
    if !installed("redis-server") {
        return;
    }
    let mut master = redis(&["--repl-diskless-sync-delay", "0"]);
    let port = master.address.port().to_string();
    let (replica, other) = (redis(&["--replicaof", "127.0.0.1", &port]), redis(&[]));
    let world = checked(&[&master, &replica]).await;
    let peer = until(&world, 1, "ok", None).await;
    let told = &peer["replication"];
    assert_eq!(
        (
            &told["role"],
            &told["master_port"],
            &told["master_link_status"]
        ),
        (&json!("slave"), &json!(port), &json!("up"))
    );
    master.crash();
    let cut_off = Some("master link status: down");
    until(&world, 1, "unstable", cut_off).await;
    until(&world, 0, "err", Some("connection refused")).await;
    check(&world, &[&replica, &other], json!({"typ": "redis"}));
    let peer = until(&world, 0, "err", cut_off).await;
    let since = &peer["replication"]["master_link_down_since_seconds"];
    assert!(since.is_string(), "{peer}");
    until(&world, 1, "ok", None).await;
    world.stop().await;
}
