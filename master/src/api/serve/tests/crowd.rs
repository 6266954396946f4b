//! More than there is room for.

use std::sync::atomic::Ordering;

use hancock_testkit::wait::wait_for_async;

use super::readers::{get, multiplexed};
use super::world::{LATE, SHORT, Served, answer, rest, wide};
use crate::api::limits::Limits;

const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: a\r\n\r\n";
const HELD: &str = "GET /held HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_limit_a_write_is_busy_before_its_body_is_read() {
    let served = Served::start(Limits {
        writes: 2,
        farewell: SHORT,
        ..wide()
    });
    let put = "PUT /held HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let mut writes = [served.says(put).await, served.says(put).await];
    served.holds(2).await;
    let more = "PUT /length HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    let told = rest(&mut served.says(more).await).await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains("retry-after: 1\r\n"), "{told}");
    assert!(told.contains("x-hancock-error: busy\r\n"), "{told}");
    assert!(told.contains(r#""code":"busy""#), "{told}");
    // What is on its way already does not keep the answer from being read.
    let body = "x".repeat(1_000_000);
    let told = rest(&mut served.says(&format!("{more}{body}")).await).await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    for read in ["/quick", "/v1/status", "/quick?stale=true"] {
        let told = served.ask("GET", read).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{read}: {told}");
    }
    served.inside.leave.add_permits(2);
    for write in &mut writes {
        assert!(answer(write).await.ends_with("left"));
    }
    let mut whole = served.says(&format!("{more}{body}")).await;
    assert!(answer(&mut whole).await.ends_with("\r\n\r\n1000000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_wait_keep_neither_writes_nor_the_status_out() {
    let served = Served::start(Limits {
        reads: 1,
        staying: 1,
        ..wide()
    });
    let mut read = served.says(HELD).await;
    let mut news = served.says(&HELD.replace("held", "held?wait=9s")).await;
    served.holds(2).await;
    for (method, path, status) in [
        ("GET", "/quick", 503),
        ("GET", "/quick?wait=1s", 503),
        ("PUT", "/length", 200),
        ("GET", "/v1/status", 200),
        ("GET", "/quick?stale=true", 200),
    ] {
        let told = served.ask(method, path).await;
        let wanted = format!("HTTP/1.1 {status} ");
        assert!(told.starts_with(&wanted), "{path}: {told}");
    }
    served.inside.leave.add_permits(2);
    assert!(answer(&mut read).await.ends_with("left"));
    assert!(answer(&mut news).await.ends_with("left"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_idle_for_longest_makes_room() {
    let served = Served::start(Limits {
        connections: 3,
        farewell: SHORT,
        ..wide()
    });
    let mut first = served.says(QUICK).await;
    answer(&mut first).await;
    let mut others = [served.says(HELD).await, served.says(HELD).await];
    served.holds(2).await;
    let mut next = served.says(HELD).await;
    assert_eq!(rest(&mut first).await, "", "sent away");
    served.holds(3).await;
    // All are being answered: who comes now is told so.
    let told = served.ask("GET", "/v1/status").await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains(r#""code":"busy""#), "{told}");
    served.inside.leave.add_permits(3);
    for held in others.iter_mut().chain([&mut next]) {
        assert!(answer(held).await.ends_with("left"));
    }
    assert!(served.ask("GET", "/v1/status").await.ends_with("here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_has_so_many_streams() {
    let served = Served::start(Limits {
        streams: 3,
        ..wide()
    });
    let mut client = multiplexed(&served).await;
    // The first answer tells that the client has heard of the limit.
    client.send_request(get("/quick")).await.unwrap();
    let asked: Vec<_> = (0..5)
        .map(|_| tokio::spawn(client.send_request(get("/held"))))
        .collect();
    served.holds(3).await;
    for most in [3, 3, 3, 2, 1] {
        served.holds(most).await;
        served.inside.leave.add_permits(1);
        let before = served.inside.held.load(Ordering::SeqCst);
        assert!(before <= 3, "{before}");
        wait_for_async("one to be answered", LATE, || async {
            let left = served.inside.leave.available_permits();
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    }
}
