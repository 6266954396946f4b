use super::*;

fn read(text: &[u8]) -> Result<Option<Head>, Refusal> {
    Scanner::default().scan(text)
}

fn status(text: &[u8]) -> u16 {
    read(text).map_or_else(|r| r.status, |head| if head.is_some() { 200 } else { 0 })
}

fn handed_on(text: &str) -> String {
    match read(text.as_bytes()).expect("fine").expect("whole").text {
        Text::AsSent(start) => text[start..].to_owned(),
        Text::Rewritten(text) => String::from_utf8(text).expect("text"),
    }
}

#[test]
fn what_could_be_understood_twice_is_refused() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    for bad in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "X: a\r\n folded",
        "X: a\0b",
        "X: a\rb",
        "X: a\n",
        "X: a\r",
        "Content-Length: 1\u{c}",
        "Transfer-Encoding: \rchunked",
        "X\u{1}: a",
        ": a",
        "no colon",
        "Host: b",
        "Connection: close, Host",
        "Connection: x-forwarded-FOR",
    ] {
        assert_eq!(
            status(format!("{get}{bad}\r\n\r\n").as_bytes()),
            400,
            "{bad:?}"
        );
    }
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "nonsense\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(status(bad.as_bytes()), 400, "{bad:?}");
    }
}

#[test]
fn sizes_have_limits() {
    let long = "x".repeat(MAX_LINE);
    assert_eq!(status(format!("GET /{long}").as_bytes()), 414);
    let line = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    assert_eq!(status(line.as_bytes()), 400);
    let half = "x".repeat(MAX_LINE - 10);
    let three = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {half}\r\nB: {half}\r\nC: {half}\r\n\r\n");
    assert_eq!(status(three.as_bytes()), 400);
    let lines = |n| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n));
    assert_eq!(status(lines(MAX_HEADERS - 1).as_bytes()), 200);
    assert_eq!(status(lines(MAX_HEADERS).as_bytes()), 400);
    let big = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    assert_eq!(status(big.as_bytes()), 413);
    assert_eq!(status(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    assert_eq!(status(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let text = b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let mut scanner = Scanner::default();
    let mut found = None;
    for end in 0..=text.len() {
        if let Some(head) = scanner.scan(&text[..end]).expect("fine") {
            found = Some((end, head));
            break;
        }
    }
    let (end, head) = found.expect("whole");
    assert_eq!((end, head.length), (text.len() - 3, text.len() - 3));
    assert_eq!((head.text, head.body), (Text::AsSent(2), Body::Length(3)));
}

#[test]
fn targets_become_paths_and_hop_by_hop_lines_stay_behind() {
    assert_eq!(
        handed_on("GET http://B.example:1?x=1 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"),
        "GET /?x=1 HTTP/1.1\r\nHost: B.example:1\r\nX: y\r\n\r\n"
    );
    assert_eq!(
        handed_on("GET /<a>?`\" HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET /%3Ca%3E?`%22 HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    assert_eq!(
        handed_on(
            "PUT / HTTP/1.1\r\nHost: a\r\nTE: x\r\nA_b: 1\r\nA.b: 1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        ),
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
    );
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert!(!handed_on(h2c).contains("Upgrade: "));
    let socket = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(handed_on(socket), socket);
    assert!(
        read(socket.as_bytes())
            .expect("fine")
            .expect("whole")
            .upgrade
    );
    let loaded = socket.replace("Upgrade: w", "Content-Length: 4\r\nUpgrade: w");
    assert!(
        !read(loaded.as_bytes())
            .expect("fine")
            .expect("whole")
            .upgrade
    );
}

#[test]
fn chunks_end_where_they_say() {
    let body = b"3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\nGET /";
    let length = body.len() - 5;
    let mut whole = Chunks::default();
    assert_eq!(whole.pass(body), Ok(length));
    assert!(whole.is_done());
    let mut bytes = Chunks::default();
    for byte in &body[..length] {
        assert_eq!(bytes.pass(&[*byte]), Ok(1));
    }
    assert!(bytes.is_done());
    for bad in [
        "\r\n",
        "+3\r\n",
        "0x3\r\n",
        " 3\r\n",
        "3 \r\n",
        "3\n",
        "3\r\nabcd",
        "3\r\nabc\n",
        "123456789\r\n",
        "0\r\n\n",
        "0\r\na\nb",
        "3;\n",
        "-1\r\n",
        "7FFFFFFF\r\n",
    ] {
        assert!(Chunks::default().pass(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
