use super::*;

const OWN: Own<'_> = Own {
    server: "us",
    date: b"today",
};

fn sent_on(text: &str) -> String {
    let mut out = Vec::new();
    let request = Request::read(text.as_bytes()).expect("plain");
    request.write(b"web", b"192.0.2.1", &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn a_request_goes_on_with_the_services_host_and_the_client() {
    let text = "GET /a?b HTTP/1.1\r\nAccept: x\r\nhost: other:80\r\nConnection: close\r\nCookie:a=1\r\n\r\n";
    let told = "GET /a?b HTTP/1.1\r\nHost: web\r\nAccept: x\r\nCookie:a=1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    assert_eq!(sent_on(text), told);
    let read = Request::read(text.as_bytes()).expect("plain");
    assert_eq!((read.method, read.host), ("GET", &b"other:80"[..]));
    assert!(read.close && !read.is_head());
    assert_eq!(read.header("cookie"), Some(&b"a=1"[..]));
}

#[test]
fn lists_of_hops_become_one() {
    let text = "GET / HTTP/1.1\r\nX-Forwarded-For: a\r\nHost: h\r\nx-forwarded-for:  b, c \r\n\r\n";
    let told = "GET / HTTP/1.1\r\nHost: web\r\nX-Forwarded-For: a, b, c, 192.0.2.1\r\n\r\n";
    assert_eq!(sent_on(text), told);
}

#[test]
fn other_kinds_are_left_alone() {
    for other in [
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "",
    ] {
        assert!(Request::read(other.as_bytes()).is_none(), "{other:?}");
    }
}

fn told(text: &str) -> Result<(Answer, String), &'static str> {
    let mut out = Vec::new();
    let answer = read(text.as_bytes(), false, OWN, &mut out)?.expect("whole");
    Ok((answer, String::from_utf8(out).expect("text")))
}

#[test]
fn an_answer_goes_back_under_our_name() {
    let text = "HTTP/1.0 404 Not There\r\nServer: x\r\nDate: y\r\nKeep-Alive: 1\r\nconnection: Keep-Alive\r\nX-Accel-Expires: 1\r\nA: b\nContent-Length: 3\r\n\r\nabc";
    let (answer, out) = told(text).expect("fine");
    let head =
        "HTTP/1.1 404 Not There\r\nA: b\r\nContent-Length: 3\r\nServer: us\r\nDate: today\r\n";
    assert_eq!(out, head);
    let length = text.len() - 3;
    let whole = Answer {
        length,
        status: 404,
        framing: Framing::Length(3),
        keep: true,
    };
    assert_eq!(answer, whole);
    for less in 0..length {
        let read = read(&text.as_bytes()[..less], false, OWN, &mut Vec::new());
        assert_eq!(read, Ok(None), "{less}");
    }
}

#[test]
fn one_framing_is_left_or_none_at_all() {
    let ok =
        |lines: &str| told(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).map(|(a, o)| (a.framing, o));
    for bad in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert!(ok(bad).is_err(), "{bad:?}");
    }
    for (lines, framing, left) in [
        (
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            Framing::Length(1),
            "Content-Length: 1\r\n",
        ),
        (
            "Content-Length: 1\r\nTransfer-Encoding: Chunked\r\n",
            Framing::Chunked,
            "Transfer-Encoding: chunked\r\n",
        ),
        ("", Framing::UntilClose, "Transfer-Encoding: chunked\r\n"),
        (
            "A: b\r\n c\r\nContent-Length: 0\r\n",
            Framing::Length(0),
            "A: b   c\r\nContent-Length: 0\r\n",
        ),
    ] {
        let (read, out) = ok(lines).expect("fine");
        assert_eq!(read, framing, "{lines:?}");
        assert_eq!(
            out,
            format!("HTTP/1.1 200 OK\r\n{left}Server: us\r\nDate: today\r\n")
        );
    }
    assert!(told("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    assert!(told("HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
}

#[test]
fn there_are_answers_without_a_body() {
    for status in ["204 No Content", "304 Not Modified", "103 Early Hints"] {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nLink: x\r\n\r\n");
        let (answer, out) = told(&text).expect("fine");
        assert_eq!(answer.framing, Framing::None);
        assert_eq!(
            out.contains("Content-Length"),
            answer.status == 304,
            "{out}"
        );
        assert!(out.contains("Link: x\r\n"));
        assert_eq!(out.ends_with("\r\n\r\n"), answer.is_interim());
    }
    let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = read(text, true, OWN, &mut Vec::new());
    assert_eq!(
        answer.map(|a| a.map(|a| a.framing)),
        Ok(Some(Framing::None))
    );
}

#[test]
fn bodies_end_where_they_say() {
    for (framing, bytes, ours, done) in [
        (Framing::Length(3), "abcHTTP", 3, true),
        (Framing::Length(9), "abc", 3, false),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nHTTP", 13, true),
        (Framing::Chunked, "3\r\nab", 5, false),
        (Framing::UntilClose, "abc", 3, false),
        (Framing::None, "abc", 0, true),
    ] {
        let mut body = Body::new(framing);
        assert_eq!(body.pass(bytes.as_bytes()), Ok(ours), "{bytes:?}");
        assert_eq!(body.is_done(), done, "{bytes:?}");
        let complete = done || framing == Framing::UntilClose;
        assert_eq!(body.end().is_some(), complete, "{bytes:?}");
    }
    let mut out = Vec::new();
    Body::new(Framing::UntilClose).write(&[b'x'; 17], &mut out);
    assert_eq!(out, b"11\r\nxxxxxxxxxxxxxxxxx\r\n");
    assert!(Body::new(Framing::Chunked).pass(b"zz").is_err());
}
