//! What must hold for any bytes from outside. The fuzzer calls these with what it makes up; `balancer/core/tests/corpora.rs` with every
//! input that was worth keeping.

use std::sync::Arc;

use hancock_balancer_core::framed::{Command, Decoder, Item};
use hancock_balancer_core::h1::{self, Framing, Own, Request};
use hancock_balancer_core::head::{Body, Chunks, Head, Refusal, Scanner, Text, as_sent};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::Upstream;
use hancock_proto::upstream::UpstreamDoc;

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
    assert_eq!(told, twice, "a document changes when it is written down");
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
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    if as_sent(line).is_none() {
        unchanged(head, text);
    }
    if let (false, Some(request)) = (head.upgrade, Request::read(text)) {
        forwarded(&request, head.body);
    }
}

/// It passes again as it is. Only without stand-ins for bytes that are no text: they are longer, and would be taken for the client's own.
fn unchanged(head: &Head, text: &[u8]) {
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

/// What an origin is sent is one request, for the service's host.
fn forwarded(request: &Request<'_>, body: Body) {
    let mut out = Vec::new();
    request.write(b"web.example", b"192.0.2.1", &mut out);
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut read = httparse::Request::new(&mut headers);
    let length = read
        .parse(&out)
        .map(|status| status.is_complete().then_some(out.len()));
    // Targets with bytes that are no text are sent on as they came; the library reads none of them.
    if request.target.is_ascii() {
        assert_eq!(length, Ok(Some(out.len())));
        assert_eq!(read.method, Some(request.method));
    }
    let again = match Scanner::default().scan(&out) {
        Ok(again) => again.expect("what is sent on is whole"),
        Err(refusal) => {
            // It grew by the client's address, beyond what a client may send.
            let grown = ["header_too_large", "too_many_headers"];
            return assert!(grown.contains(&refusal.reason), "{refusal:?}");
        }
    };
    assert_eq!((again.length, again.body), (out.len(), body));
    let again = Request::read(&out).expect("still plain");
    assert_eq!(again.host, b"web.example");
    assert!(again.header("connection").is_none());
    let last = again.header("x-forwarded-for").expect("the client is told");
    assert!(last.ends_with(b"192.0.2.1"));
}

/// Answers: what a client is sent is one answer, whose body ends where this reader thought.
pub fn answers(input: &[u8]) {
    answer(input, false);
    answer(input, true);
}

fn answer(input: &[u8], to_head: bool) {
    const OWN: Own<'_> = Own {
        server: "s",
        date: b"d",
    };
    let mut out = Vec::new();
    let Ok(Some(answer)) = h1::read(input, to_head, OWN, &mut out) else {
        return;
    };
    assert!(answer.length <= input.len(), "longer than what came");
    let shorter = h1::read(&input[..answer.length - 1], to_head, OWN, &mut Vec::new());
    assert!(!matches!(shorter, Ok(Some(_))), "it ended earlier");
    if !answer.is_interim() {
        out.extend_from_slice(b"\r\n");
    }
    let mut headers = [httparse::EMPTY_HEADER; 300];
    let mut read = httparse::Response::new(&mut headers);
    let status = read.parse(&out);
    assert_eq!(status, Ok(httparse::Status::Complete(out.len())));
    assert_eq!((read.code, read.version), (Some(answer.status), Some(1)));
    let all = |name: &str| -> Vec<&[u8]> {
        let named = read
            .headers
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case(name));
        named.map(|h| h.value).collect()
    };
    assert!(all("connection").is_empty());
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "two framings");
    match answer.framing {
        Framing::Length(length) => {
            let told = std::str::from_utf8(lengths[0])
                .ok()
                .and_then(|l| l.parse().ok());
            assert_eq!(told, Some(length));
        }
        Framing::Chunked | Framing::UntilClose => assert_eq!(codings, [b"chunked"]),
        Framing::None => {}
    }
    passed(answer.framing, &input[answer.length..]);
}

/// A body ends at the same byte however it arrives.
fn passed(framing: Framing, bytes: &[u8]) {
    let (mut whole, mut pieces) = (h1::Body::new(framing), h1::Body::new(framing));
    let at_once = whole.pass(bytes);
    let (mut at, mut fine) = (0, true);
    while at < bytes.len() && fine && !pieces.is_done() {
        let ours = pieces.pass(&bytes[at..=at]);
        fine = ours.is_ok();
        at += ours.unwrap_or(0);
    }
    assert_eq!((at_once.is_ok(), whole.is_done()), (fine, pieces.is_done()));
    if let Ok(ours) = at_once {
        assert_eq!(ours, at);
    }
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
