//! What must hold for any bytes from outside. The fuzzer calls these with what it makes up; `balancer/core/tests/corpora.rs` with every
//! input that was worth keeping.

use std::sync::Arc;

use hancock_balancer_core::framed::{Command, Decoder, Item};
use hancock_balancer_core::head::{Body, Chunks, Head, Refusal, Scanner, Text};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::Upstream;
use hancock_proto::upstream::UpstreamDoc;
use serde_json::Value;

/// An upstream document: read, judged, told and read again alike, turned into a view.
pub fn documents(input: &[u8]) {
    let Ok(doc) = serde_json::from_slice::<UpstreamDoc>(input) else {
        return;
    };
    let doc = Arc::new(doc);
    let told = serde_json::to_vec(&*doc).expect("a document that was read can be told");
    let again: UpstreamDoc = serde_json::from_slice(&told).expect("what was told can be read");
    let twice = serde_json::to_value(&again).expect("and told again");
    let told = serde_json::to_value(&*doc).expect("a document that was read can be told");
    assert!(
        alike(&told, &twice),
        "a document changes when it is written down: {told} {twice}"
    );
    match (
        Upstream::new("web.example", doc),
        Upstream::new("web.example", Arc::new(again)),
    ) {
        (Err(one), Err(other)) => assert_eq!(one.field, other.field),
        (Ok(one), Ok(other)) => {
            assert!(
                one.peers()
                    .map(|p| &p.key)
                    .eq(other.peers().map(|p| &p.key))
            );
            bounded(&one);
        }
        (one, other) => panic!(
            "valid once, but not twice: {:?} {:?}",
            one.err(),
            other.err()
        ),
    }
}

/// Equal but for the last bit of a long fraction, which the parser may miss.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| alike(v, w)))
        }
        (Value::Number(a), Value::Number(b)) if a != b => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            (a - b).abs() <= a.abs() * 1e-15
        }
        _ => one == other,
    }
}

fn bounded(upstream: &Upstream) {
    for peer in upstream.peers() {
        assert!(peer.weight.is_finite() && peer.weight >= 0.0);
        assert!(peer.key.port > 0 && !peer.key.host.is_empty());
    }
    let view = View::new(upstream, &mut Peers::default());
    assert_eq!(view.entries().len(), upstream.peers().count());
}

/// Commands of the framed protocol: the same ones however they arrive.
pub fn framed(input: &[u8]) {
    let whole = items(input, input.len());
    assert_eq!(whole, items(input, 1), "one byte at a time");
    assert_eq!(whole, items(input, 7), "a few bytes at a time");
    for item in whole {
        if let Item::Command(command, body) = item {
            assert_eq!(command.has_body(), !body.is_empty());
            let line = format!("{:?} {:?} {}", command.method, command.topic, command.name);
            assert_eq!(Command::parse(line.as_bytes()).as_ref(), Ok(&command));
            documents(&body);
        }
    }
}

fn items(input: &[u8], piece: usize) -> Vec<Item> {
    let (mut decoder, mut arrived, mut items) = (Decoder::default(), Vec::new(), Vec::new());
    for piece in input.chunks(piece.max(1)) {
        arrived.extend_from_slice(piece);
        while let Some((item, taken)) = decoder.next(&arrived) {
            assert!(
                taken > 0 && taken <= arrived.len(),
                "{taken} of {}",
                arrived.len()
            );
            arrived.drain(..taken);
            let ends = matches!(item, Item::Last(_) | Item::Close);
            items.push(item);
            if ends {
                return items;
            }
        }
    }
    items
}

/// Requests one after the other: heads through the filter, bodies to their ends.
pub fn heads(input: &[u8]) {
    let mut rest = input;
    while !rest.is_empty() {
        let whole = scan(rest, rest.len());
        assert_eq!(whole, scan(rest, 1), "one byte at a time");
        let Ok(Some(head)) = whole else { return };
        accepted(&head, rest);
        rest = &rest[head.length..];
        match body(head.body, rest) {
            Some(length) => rest = &rest[length..],
            None => return,
        }
    }
}

fn scan(input: &[u8], piece: usize) -> Result<Option<Head>, Refusal> {
    let mut scanner = Scanner::default();
    let mut end = 0;
    while end < input.len() {
        end = (end + piece).min(input.len());
        if let Some(head) = scanner.scan(&input[..end])? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// What is handed on is as strict as what came in, and says the same.
fn accepted(head: &Head, input: &[u8]) {
    assert!(head.length <= input.len(), "longer than what came");
    let text = match &head.text {
        Text::AsSent(start) => &input[*start..head.length],
        Text::Rewritten(text) => text.as_slice(),
    };
    assert!(text.ends_with(b"\r\n\r\n"));
    let bare = |pair: &[u8]| (pair[1] == b'\n') != (pair[0] == b'\r');
    assert!(!text.windows(2).any(bare), "a line end that is half of one");
    assert!(!text.contains(&0));
    let count = |name: &[u8]| {
        let lines = text.split(|b| *b == b'\n');
        lines
            .filter(|l| l.len() > name.len() && l[..name.len()].eq_ignore_ascii_case(name))
            .count()
    };
    let (lengths, codings) = (count(b"content-length:"), count(b"transfer-encoding:"));
    assert!(lengths + codings <= 1, "two framings pass");
    assert!(count(b"host:") <= 1, "two hosts pass");
    let again = Scanner::default().scan(text);
    let again = again
        .expect("what is handed on is fine")
        .expect("and whole");
    assert_eq!(
        (again.length, again.body, again.upgrade),
        (text.len(), head.body, head.upgrade)
    );
    assert_eq!(again.text, Text::AsSent(0), "nothing is left to be mended");
}

/// How long the body is; None: it does not end here.
fn body(body: Body, input: &[u8]) -> Option<usize> {
    match body {
        Body::None => Some(0),
        Body::Length(length) => usize::try_from(length).ok().filter(|l| *l <= input.len()),
        Body::Chunked => chunked(input),
    }
}

fn chunked(input: &[u8]) -> Option<usize> {
    let mut whole = Chunks::default();
    let passed = whole.pass(input);
    let mut pieces = Chunks::default();
    let (mut at, mut outcome) = (0, Ok(0));
    while at < input.len() && !pieces.is_done() {
        outcome = pieces.pass(&input[at..=at]);
        match outcome {
            Ok(taken) => at += taken,
            Err(_) => break,
        }
    }
    assert_eq!(whole.is_done(), pieces.is_done(), "one byte at a time");
    assert_eq!(passed.is_err(), outcome.is_err(), "one byte at a time");
    let taken = passed.ok()?;
    assert_eq!(taken, at, "one byte at a time");
    assert!(taken <= input.len());
    whole.is_done().then_some(taken)
}
