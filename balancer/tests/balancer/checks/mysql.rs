//! The mysql check: a login, whole.

use hancock_testkit::fixture::{Server, mariadb};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use super::{check, checking, installed, until};
use crate::world::World;

/// One user with a password and one without; both may do anything.
const USERS: &str = "CREATE DATABASE IF NOT EXISTS shop;
CREATE OR REPLACE USER 'probe'@'%' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO 'probe'@'%';
CREATE OR REPLACE USER 'open'@'%';
GRANT ALL ON *.* TO 'open'@'%';
";

/// Connections the server takes, its least.
const MOST: usize = 10;

fn login(world: &World, server: &Server, user: &str, pass: &str, database: &str) {
    let members = json!({"typ": "mysql", "user": user, "pass": pass, "name": database});
    check(world, &[server], members);
}

#[tokio::test]
async fn a_login_is_good_or_refused_in_the_servers_words() {
    if !installed("mariadbd") {
        return;
    }
    let server = mariadb(USERS, &[&format!("--max-connections={MOST}")]);
    let world = World::new().await;
    for (user, pass, database, refusal) in [
        ("probe", "secret", "shop", None),
        (
            "probe",
            "wrong",
            "shop",
            Some("Access denied for user 'probe'@'127.0.0.1' (using password: YES)"),
        ),
        ("open", "", "", None),
        (
            "probe",
            "",
            "shop",
            Some("Access denied for user 'probe'@'127.0.0.1' (using password: NO)"),
        ),
        ("probe", "secret", "", None),
        (
            "probe",
            "secret",
            "cellar",
            Some("Unknown database 'cellar'"),
        ),
    ] {
        login(&world, &server, user, pass, database);
        let verdict = if refusal.is_some() { "err" } else { "ok" };
        until(&world, 0, verdict, refusal).await;
    }
    // One more than that may come in, for an administrator.
    let mut held = Vec::new();
    for _ in 0..=MOST {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    login(&world, &server, "probe", "secret", "shop");
    until(&world, 0, "err", Some("Too many connections")).await;
    drop(held);
    until(&world, 0, "ok", None).await;
    world.stop().await;
}

#[tokio::test]
async fn one_that_falls_silent_or_dies_is_bad_until_it_is_back() {
    if !installed("mariadbd") {
        return;
    }
    let mut server = mariadb(USERS, &[]);
    let members = json!({"typ": "mysql", "user": "probe", "pass": "secret", "name": "shop"});
    let world = checking(&[&server], members).await;
    until(&world, 0, "ok", None).await;
    server.signal(Signal::SIGSTOP);
    let silent = "failed to receive packet header: timeout";
    until(&world, 0, "err", Some(silent)).await;
    server.signal(Signal::SIGCONT);
    until(&world, 0, "ok", None).await;
    server.crash();
    until(
        &world,
        0,
        "err",
        Some("failed to connect: connection refused"),
    )
    .await;
    server.restart();
    until(&world, 0, "ok", None).await;
    world.stop().await;
}
