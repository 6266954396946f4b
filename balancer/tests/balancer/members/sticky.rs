//! `sticky`: a cookie keeps a client with its peer.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{connect, rest, serving};
use crate::origin::Origin;
use crate::world::{WEB, World, doc, handover, plain, server};

/// One request with a cookie; who answered, and the cookie that was set.
async fn ask(world: &World, cookie: Option<&str>) -> (String, Option<String>) {
    let cookie = cookie.map(|c| format!("Cookie: a=b; {c}; c=d\r\n"));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {WEB}\r\n{}Connection: close\r\n\r\n",
        cookie.unwrap_or_default()
    );
    let mut stream = connect(world).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head
        .lines()
        .map(|line| line.split_once(": ").unwrap_or((line, "")));
    let set = lines.find(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let set = set.map(|(_, value)| value.to_owned());
    (body.to_owned(), set)
}

fn pair(set: &str) -> &str {
    set.split(';').next().unwrap_or_default()
}

fn members() -> Value {
    json!({"sticky": {"cookie": "srv", "secret": "s3cret"}})
}

#[tokio::test]
async fn a_client_stays_and_is_told_only_once() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let world = serving(&[a.port(), b.port()], members()).await;
    let (first, set) = ask(&world, None).await;
    let set = set.expect("a cookie");
    assert!(
        set.starts_with("srv=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let value = pair(&set).trim_start_matches("srv=");
    assert!(
        value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit()),
        "{set}"
    );
    for _ in 0..4 {
        assert_eq!(ask(&world, Some(pair(&set))).await, (first.clone(), None));
    }
    // Others take turns.
    let (second, other) = ask(&world, None).await;
    assert_ne!(first, second);
    assert_ne!(Some(set), other);
    // A token nobody has is as good as none.
    assert!(ask(&world, Some("srv=0123456789abcdef")).await.1.is_some());
    world.stop().await;
}

#[tokio::test]
async fn a_client_of_a_dead_peer_gets_another_and_a_new_cookie() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let world = serving(&[a.port(), b.port()], members()).await;
    let (first, set) = ask(&world, None).await;
    assert_eq!(first, "a");
    let old = set.expect("a cookie");
    a.kill().await;
    let (then, set) = ask(&world, Some(pair(&old))).await;
    let new = set.expect("another cookie");
    assert_eq!(then, "b");
    assert_ne!(pair(&old), pair(&new));
    assert_eq!(ask(&world, Some(pair(&new))).await, ("b".to_owned(), None));
    world.stop().await;
}

#[tokio::test]
async fn cookies_are_the_same_on_every_balancer_and_after_a_restart() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let ports = [a.port(), b.port()];
    let (one, two) = (
        serving(&ports, members()).await,
        serving(&ports, members()).await,
    );
    let (_, set) = ask(&one, None).await;
    let (_, other) = ask(&one, None).await;
    for set in [set, other].map(|s| s.expect("a cookie")) {
        let (here, _) = ask(&one, Some(pair(&set))).await;
        assert_eq!(ask(&two, Some(pair(&set))).await, (here, None));
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn clients_of_a_retiring_peer_stay_until_the_switch_and_not_after() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let world = World::new().await;
    let sticky = |mut doc: hancock_proto::upstream::UpstreamDoc| {
        doc.proxy = plain(json!({"cluster": [], "proxy": {"sticky": {"cookie": "srv"}}})).proxy;
        doc
    };
    world.apply(sticky(doc(1, vec![server("web-1", a.port())])));
    world.until_confirmed(1).await;
    let (_, set) = ask(&world, None).await;
    let set = set.expect("a cookie");

    let (old, new) = (server("web-1", a.port()), server("web-2", b.port()));
    world.apply(sticky(handover(2, vec![new], &["web-2"], vec![old])));
    world.until_confirmed(2).await;
    let (then, told) = ask(&world, Some(pair(&set))).await;
    assert_eq!(then, "b");
    assert!(told.is_some_and(|told| pair(&told) != pair(&set)));
    world
        .until("the old peer drained", |r| r.draining.is_empty())
        .await;
    world.stop().await;
}
