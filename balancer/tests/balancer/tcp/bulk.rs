//! Large transfers, both ways at once, arrive as they were sent.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::Peer;
use super::{TcpWorld, connect, quiet_port};
use crate::client::get;

const SIZE: usize = 200 << 20;

/// The byte at a position: a long period, so that no piece may be lost, doubled or swapped.
fn byte(at: usize) -> u8 {
    let at = at as u32;
    (at.wrapping_mul(2_654_435_761) >> 24) as u8
}

fn pattern(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(byte).collect()
}

async fn transfer(splice: bool) {
    let world = TcpWorld::with(|tcp| tcp.splice = splice).await;
    let (echo, port) = (Peer::echo().await, quiet_port());
    world.put(port, &[echo.port]);
    let began = Instant::now();
    let (mut read, mut write) = connect(port).await.into_split();
    // 16 MiB repeated: the pattern itself must not cost more than the transfer.
    let block = std::sync::Arc::new(pattern(0, 16 << 20));
    let sent = block.clone();
    let writing = tokio::spawn(async move {
        let (mut at, mut step) = (0, 1);
        while at < SIZE {
            let offset = at % sent.len();
            let length = step.min(sent.len() - offset).min(SIZE - at);
            write
                .write_all(&sent[offset..offset + length])
                .await
                .unwrap();
            at += length;
            step = (step * 3).min(1 << 20);
        }
        write.shutdown().await.unwrap();
    });
    let mut at = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        let offset = at % block.len();
        let room = piece.len().min(block.len() - offset);
        let got = read.read(&mut piece[..room]).await.unwrap();
        if got == 0 {
            break;
        }
        assert!(
            piece[..got] == block[offset..offset + got],
            "other bytes at {at}"
        );
        at += got;
    }
    assert_eq!(at, SIZE);
    writing.await.unwrap();
    let metrics = get(world.admin, "admin", "/metrics").await.body;
    let value = |name: &str| {
        value(
            &metrics,
            &format!("hancock_tcp_{name}_total{{port=\"{port}\"}}"),
        )
    };
    let spliced = value("spliced_bytes");
    assert_eq!(
        spliced > SIZE as u64,
        splice,
        "{spliced} bytes were spliced"
    );
    assert_eq!(value("sent_bytes"), SIZE as u64);
    println!(
        "{SIZE} bytes there and back, splice {splice}: {:?}",
        began.elapsed()
    );
    world.stop().await;
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|l| l.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn large_transfers_through_pipes() {
    transfer(true).await;
}

#[tokio::test]
async fn large_transfers_through_memory() {
    transfer(false).await;
}
