//! Who is slow with what it says.

use std::time::{Duration, Instant};

use hancock_tls::{Conn, HTTP};
use tokio::io::AsyncWriteExt;

use super::world::{LATE, SHORT, Served, answer, rest, wide};
use crate::api::limits::Limits;

const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: a\r\n\r\n";

/// Says one byte of `text` after the other until the other end closes; all it has said.
async fn drip(conn: Conn, text: &str) -> String {
    let (mut from, mut to) = tokio::io::split(conn);
    let mut said = Vec::new();
    let saying = async {
        let mut beat = tokio::time::interval(Duration::from_millis(40));
        for byte in text.bytes().cycle() {
            beat.tick().await;
            if to.write_all(&[byte]).await.is_err() || to.flush().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let hearing = tokio::io::AsyncReadExt::read_to_end(&mut from, &mut said);
    let heard = async {
        tokio::select! {
            () = saying => {}
            _ended = hearing => {}
        }
    };
    tokio::time::timeout(LATE, heard)
        .await
        .expect("the other end closes");
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_end_is_cut_off_and_keeps_nobody_out() {
    let served = Served::start(Limits {
        head: SHORT,
        ..wide()
    });
    let begun = Instant::now();
    let mut silent = served.connect(HTTP).await;
    let mut half = served.says("GET /quick HTTP/1.1\r\nho").await;
    let dripping = drip(served.connect(HTTP).await, "GET /qu");
    let mut kept = served.says(QUICK).await;
    assert!(answer(&mut kept).await.ends_with("quick"));
    assert!(served.ask("GET", "/quick").await.ends_with("quick"));
    let all = (rest(&mut silent), rest(&mut half), dripping);
    let (silent, half, dripping) = tokio::join!(all.0, all.1, all.2);
    assert_eq!((&*silent, &*half, &*dripping), ("", "", ""));
    assert!(begun.elapsed() >= SHORT);
    // One that has had an answer has as long for its next head, and before that as long as it is kept.
    kept.write_all(QUICK.as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.ends_with("quick"));
    let begun = Instant::now();
    kept.write_all(b"GET /qu").await.unwrap();
    assert_eq!(rest(&mut kept).await, "");
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_is_answered_408_and_the_connection_closed() {
    let served = Served::start(Limits {
        body_silence: SHORT,
        farewell: SHORT,
        ..wide()
    });
    for path in ["/length", "/bytes"] {
        let head = format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
        let mut whole = served.says(&format!("{head}123456789")).await;
        assert!(answer(&mut whole).await.ends_with("\r\n\r\n9"));
        let begun = Instant::now();
        let told = rest(&mut served.says(&format!("{head}123")).await).await;
        assert!(begun.elapsed() >= SHORT);
        assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
        assert!(told.contains(r#""code":"too_slow""#), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_has_so_long_for_all_of_it() {
    let served = Served::start(Limits {
        body: SHORT,
        farewell: SHORT,
        ..wide()
    });
    let head = "PUT /length HTTP/1.1\r\nhost: a\r\ncontent-length: 999999\r\n\r\n";
    let begun = Instant::now();
    let told = drip(served.says(head).await, "x").await;
    assert!(begun.elapsed() >= SHORT);
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_is_kept_for_a_while() {
    let served = Served::start(Limits {
        idle: SHORT,
        ..wide()
    });
    let mut kept = served.says(QUICK).await;
    assert!(answer(&mut kept).await.ends_with("quick"));
    let begun = Instant::now();
    assert_eq!(rest(&mut kept).await, "");
    assert!(begun.elapsed() >= SHORT - Duration::from_millis(50));
}
