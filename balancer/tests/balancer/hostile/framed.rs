//! In the framed protocol.

use super::{CLEAR, bodies, exchange, holding, noise, state, unchanged};

fn put(name: &[u8], length: usize, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [b"PUT upstream ", name, b"\n", &length, body].concat()
}

/// Code and text of each reply.
fn replies(mut bytes: &[u8]) -> Vec<(u32, String)> {
    let mut replies = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (reply, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let (code, text) = reply.split_first_chunk::<4>().unwrap();
        let text = String::from_utf8_lossy(text).into_owned();
        replies.push((u32::from_be_bytes(*code), text));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "{bytes:?} behind {replies:?}");
    replies
}

/// An error that a person can read.
fn is_clear(reply: &(u32, String)) -> bool {
    reply.0 == 2 && !reply.1.is_empty() && reply.1.len() < CLEAR
}

#[tokio::test]
async fn documents_that_are_none_are_refused_in_a_sentence() {
    let world = holding().await;
    let before = state(&world).await;
    for (what, body) in bodies() {
        let sent = put(b"held.example", body.len(), &body);
        let replies = replies(&exchange(world.framed, &sent, true).await);
        assert!(
            replies.len() == 1 && replies.iter().all(is_clear),
            "{what}: {replies:?}"
        );
        unchanged(&world, &before, what).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_command_change_nothing() {
    let world = holding().await;
    let before = state(&world).await;
    let fits = br#"{"servers":[{"host":"127.0.0.1","port":1}]}"#;
    let name = "n".repeat(1 << 20);
    for (what, sent, most) in [
        ("zeros", vec![0; 1 << 16], 1),
        ("a long line", vec![b'x'; 1 << 20], 1),
        (
            "an HTTP client",
            b"PUT /upstream/held.example HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            3,
        ),
        ("a name of 1 MiB", put(name.as_bytes(), fits.len(), fits), 1),
        (
            "a name that is no UTF-8",
            b"DELETE upstream \xff\xfe\n".to_vec(),
            1,
        ),
        ("a name with a slash", put(b"a/b", fits.len(), fits), 1),
        (
            "a name behind a zero",
            put(b"held.example\0", fits.len(), fits),
            1,
        ),
        ("a length too long", put(b"held.example", 1000, fits), 0),
        ("a length too short", put(b"held.example", 20, fits), 1),
        ("no length", b"PUT upstream held.example\n\0\0".to_vec(), 0),
        ("a length of nothing", put(b"held.example", 0, fits), 0),
        ("a length of 1 GiB", put(b"held.example", 1 << 30, fits), 1),
    ] {
        let replies = replies(&exchange(world.framed, &sent, true).await);
        assert!(
            replies.len() <= most && replies.iter().all(is_clear),
            "{what}: {replies:?}"
        );
        unchanged(&world, &before, what).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn noise_is_answered_line_by_line_or_cut_off() {
    let world = holding().await;
    let before = state(&world).await;
    let replies = replies(&exchange(world.framed, &noise(1 << 16), true).await);
    assert!(!replies.is_empty() && replies.iter().all(is_clear));
    unchanged(&world, &before, "noise").await;
    world.stop().await;
}
