//! `max_body`: declared, in chunks, and announced.

use serde_json::json;

use super::{exchange, serving, status};
use crate::client::send;
use crate::origin::Origin;
use crate::world::WEB;

#[tokio::test]
async fn a_body_may_be_as_large_as_the_service_says() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({"max_body": 10})).await;
    let fits = send(world.proxy, WEB, "POST", "/echo", "0123456789").await;
    assert!(fits.body.ends_with("\n\n0123456789"), "{fits:?}");
    let hits = origin.hits();
    let large = send(world.proxy, WEB, "POST", "/echo", "0123456789x").await;
    assert_eq!(
        (large.status.as_u16(), large.reason()),
        (413, "body_too_large")
    );
    assert_eq!(origin.hits(), hits, "the origin was not asked");
    world.stop().await;
}

#[tokio::test]
async fn bytes_of_a_body_without_a_length_are_counted() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({"max_body": 10})).await;
    for (chunks, wanted) in [
        ("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", "200"),
        ("5\r\n01234\r\n6\r\n56789x\r\n0\r\n\r\n", "413"),
    ] {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: {WEB}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(&world, &(head + chunks)).await;
        assert_eq!(status(&answer), wanted, "{answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_at_once() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({"max_body": 10})).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
    );
    let answer = exchange(&world, &head).await;
    assert_eq!(status(&answer), "413", "{answer}");
    assert_eq!(origin.hits(), 0);
}
