//! Who does not read what it asked for, and who only waits.

use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Body;
use hancock_testkit::wait::{stays_async, wait_for_async};
use hancock_tls::{GRPC, HTTP};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{LARGE, LATE, SHORT, Served, answer, wide};
use crate::api::limits::Limits;

/// Every deadline is short.
fn short() -> Limits {
    Limits {
        head: SHORT,
        body_silence: SHORT,
        body: SHORT,
        idle: SHORT,
        reader: SHORT,
        session_reader: SHORT,
        ..wide()
    }
}

/// A client of several requests at a time.
pub async fn multiplexed(served: &Served) -> SendRequest<Body> {
    let io = TokioIo::new(served.connect(GRPC).await);
    let (client, conn) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(conn);
    client
}

pub fn get(path: &str) -> hyper::Request<Body> {
    let uri = format!("https://a{path}");
    hyper::Request::get(uri).body(Body::empty()).unwrap()
}

fn head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let served = Served::start(Limits {
        reader: SHORT,
        ..wide()
    });
    let begun = Instant::now();
    let _unread = served.says(&head("/endless")).await;
    let mut read = served.says(&head("/endless")).await;
    served.streams(2).await;
    // One of the two goes on reading for longer than the other one has.
    let mut space = vec![0; 64 << 10];
    let reading = async {
        while served.inside.streams.load(Ordering::SeqCst) == 2 {
            read.read_exact(&mut space).await.unwrap();
        }
    };
    tokio::time::timeout(LATE, reading).await.unwrap();
    read.read_exact(&mut space).await.unwrap();
    assert!(begun.elapsed() >= SHORT);
    drop(read);
    served.streams(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_one_of_several_streams_is_cut_off_too() {
    let served = Served::start(Limits {
        reader: SHORT,
        ..wide()
    });
    let mut client = multiplexed(&served).await;
    let unread = client.send_request(get("/endless")).await.unwrap();
    served.streams(1).await;
    // The connection itself is well.
    assert_eq!(
        client.send_request(get("/quick")).await.unwrap().status(),
        200
    );
    served.streams(0).await;
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_take_so_much_room_and_give_it_back() {
    let served = Served::start(Limits {
        reader: SHORT,
        given: LARGE,
        ..wide()
    });
    let unread = wait_for_async("no room", LATE, || async {
        // An answer that has begun has its room; a slow machine may have cut it off by the next question.
        let mut unread = served.says(&head("/large")).await;
        unread.read_exact(&mut [0]).await.unwrap();
        let told = served.ask("GET", "/large").await;
        let busy = told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: 1");
        if busy { Ok(unread) } else { Err(told.len()) }
    })
    .await;
    assert!(served.ask("GET", "/quick").await.ends_with("quick"));
    wait_for_async("room", LATE, || async {
        let told = served.ask("GET", "/large").await;
        if told.len() > LARGE {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_news_is_waited_for() {
    let served = Served::start(short());
    let mut waiting = served.says(&head("/held?wait=1m")).await;
    let mut client = multiplexed(&served).await;
    let other = tokio::spawn(client.send_request(get("/held?wait=1m")));
    served.holds(2).await;
    stays_async("both", 4 * SHORT, async || {
        let held = served.inside.held.load(Ordering::SeqCst);
        if held == 2 { Ok(()) } else { Err(held) }
    })
    .await;
    served.inside.leave.add_permits(2);
    assert!(answer(&mut waiting).await.ends_with("left"));
    assert_eq!(other.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lasts_until_its_reader_takes_nothing() {
    let served = Served::start(short());
    let upgrade =
        "GET /session HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: more\r\n\r\n";
    let mut session = served.says(upgrade).await;
    assert!(answer(&mut session).await.starts_with("HTTP/1.1 101 "));
    stays_async("a silent session", 4 * SHORT, async || {
        let open = served.inside.streams.load(Ordering::SeqCst);
        if open == 1 { Ok(()) } else { Err(open) }
    })
    .await;
    session.write_all(b"!").await.unwrap();
    served.streams(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_lets_idle_connections_go() {
    let served = Served::start(Limits {
        farewell: SHORT,
        ..wide()
    });
    let mut kept = served.says(&head("/quick")).await;
    assert!(answer(&mut kept).await.ends_with("quick"));
    let silent = served.connect(HTTP).await;
    served.stop.cancel();
    tokio::time::timeout(LATE, served.task)
        .await
        .unwrap()
        .unwrap();
    drop((kept, silent));
}
