"""More of what crosses the proxy: odd targets, headers, versions, answers."""
import socket
import time

import pytest

import harness
from harness import PROXY, new_name, proxy, raw, until
from more import Client, RawOrigin, code, get, header, headers, ok

OFF = {"enable": False}


@pytest.fixture
def origin(lab):
    """An origin that answers 200 and the name it is reached under."""
    o = lab.peer(RawOrigin(lambda head, body: ok(b"body of %d" % len(body))))
    return o, lab.put(dict({"servers": [o.srv()]}, **OFF))


def seen(o):
    return o.seen[-1]


# ------------------------------------------------------------------ the request's way

@pytest.mark.parametrize("target", [
    b"/a//b/./c/../d?x=//y", b"/%7Euser/%2e%2E/%zz?%", b"/sp%20ace+plus;p=1,2", b"/?", b"/?a=b?c=d", b"/a|b\\c^d\"e?`", b"/gbk/\xc4\xe3\xba\xc3?\xff",
    b"/{x}[y]", b"/caf\xc3\xa9/\xff", b"/%E4%BD%A0", b"/" + b"l" * 12000, b"/a:8080/@user", b"//host/path", b"/x?a=http://b/c", b"/~!$&'()*,=",
], ids=lambda t: t[:16].decode("latin1"))
def test_targets_pass_byte_for_byte(origin, target):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n, target))[0]) == 200
    assert seen(o)[0].split(b"\r\n")[0].split(b" ")[1] == target


@pytest.mark.parametrize("form,target", [("http://{n}/p?q=1", b"/p?q=1"), ("HTTP://{N}:99/P", b"/P"), ("http://{n}", b"/"),
                                         ("http://{n}?x=1", b"/?x=1"), ("http://{n}./", b"/"), ("https://{n}/s", b"/s")])
def test_absolute_targets_become_paths(origin, form, target):
    o, n = origin
    text = "GET %s HTTP/1.1\r\nHost: elsewhere.ct\r\n\r\n" % form.format(n=n, N=n.upper())
    with Client() as c:
        assert code(c.ask(text.encode())[0]) == 200
    head = seen(o)[0]
    assert head.split(b"\r\n")[0].split(b" ")[1] == target and headers(head, "host") == [n]


def test_absolute_target_without_host_under_1_0(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(b"GET http://%s/z HTTP/1.0\r\n\r\n" % n.encode())[0]) == 200
    assert header(seen(o)[0], "host") == n


@pytest.mark.parametrize("host", ["{n}:", "{n}:0", "{n}:99999999", "{n}:a:b", "{n}.:80", "{M}.:x"])
def test_more_shapes_of_host(origin, host):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(host.format(n=n, M=n.title()), "/"))[0]) == 200
    assert header(seen(o)[0], "host") == n


@pytest.mark.parametrize("host", ["www.{n}", "{n}.more", "x{n}", "{n}-", "*", "127.0.0.1", "[::1]:8080", "_"])
def test_names_match_exactly_or_not_at_all(origin, host):
    o, n = origin
    with Client() as c:
        head, body = c.ask(get(host.format(n=n)))
    assert code(head) == 502 and b"<html>" in body and header(head, "content-type").startswith("text/html")
    assert not o.seen


def test_ipv6_literal_as_a_name_cannot_be_made():
    assert harness.admin("PUT", "/upstream/[::1]", {"servers": [{"host": "127.0.0.1", "port": 1}]}).status == 400


def test_long_names_are_reached(lab):
    b = lab.backend()
    n = lab.put(dict({"servers": [b.srv()]}, **OFF), name=new_name("l" * 300))
    assert proxy(n).text == b.name


def test_capitals_in_a_name_are_never_reached(lab):
    b = lab.backend()
    n = lab.put(dict({"servers": [b.srv()]}, **OFF), name="Upper-" + new_name())
    assert proxy(n).status == 502 and proxy(n.lower()).status == 502


@pytest.mark.parametrize("name", ["store", "logger", "STORE", "logger.", "store:80"])
def test_internal_names_are_never_routed(lab, name):
    b = lab.backend()
    plain = name.lower().rstrip(".").split(":")[0]
    if plain == "store":
        lab.put(dict({"servers": [b.srv()]}, **OFF), name=plain)
    assert proxy(name, "/internal").status == 502
    assert not b.hits("/internal")


@pytest.mark.parametrize("payload,want", [
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: .\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400), (b"GET / HTTP/1.0\r\n\r\n", 502),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400), (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400), (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405), (b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"u" * 17000), 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: %s\r\n\r\n" % (b"h" * 17000), 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nNo colon here\r\nHost: a\r\n\r\n", 400), (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", None),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000000\r\n\r\n", 413),
], ids=range(18))
def test_requests_the_proxy_answers_itself(payload, want):
    out = raw(PROXY, payload, timeout=3)
    got = code(out)
    assert got == want if want else 400 <= got < 600
    assert b"<html>" in out and b"text/html" in out.lower()


def test_requests_just_below_the_limits(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n, "/" + "u" * 15900))[0]) == 200
        assert code(c.ask(get(n, extra=b"X-Long: " + b"h" * 15900 + b"\r\n"))[0]) == 200


HEADERS = [("X-Dup", "1"), ("x-dup", "2"), ("X-Empty", ""), ("X-Utf8", "caf\xc3\xa9"), ("Authorization", "Bearer x"), ("Cookie", "a=1; b=2"),
           ("Range", "bytes=0-1"), ("If-None-Match", '"e"'), ("X-Real-IP", "6.6.6.6"), ("Via", "1.1 me"), ("Accept-Encoding", "gzip, br"),
           ("X-Accel-Redirect", "/in"), ("Forwarded", "for=1.1.1.1"), ("X-Comma", "a, b ,c"), ("Proxy-Authorization", "Basic eA==")]


def test_headers_pass_unchanged(origin):
    o, n = origin
    extra = b"".join(b"%s: %s\r\n" % (k.encode(), v.encode("latin1")) for k, v in HEADERS)
    with Client() as c:
        assert code(c.ask(get(n, extra=extra))[0]) == 200
    for name in {k.lower() for k, _ in HEADERS}:
        assert headers(seen(o)[0], name) == [v for k, v in HEADERS if k.lower() == name], name


def test_headers_that_do_not_pass(origin):
    o, n = origin
    extra = b"Keep-Alive: timeout=5\r\nTE: trailers\r\nExpect: 100-continue\r\nX_Under: 1\r\nX.Dot: 1\r\nUpgrade: h2c\r\nConnection: keep-alive\r\n"
    with Client() as c:
        assert code(c.ask(get(n, extra=extra))[0]) == 200
    low = seen(o)[0].lower()
    for gone in (b"keep-alive: ", b"\r\nte:", b"expect:", b"x_under", b"x.dot", b"\r\nupgrade:"):
        assert gone not in low, gone


def test_several_forwarded_lines_are_joined(origin):
    o, n = origin
    with Client() as c:
        c.ask(get(n, extra=b"X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n"))
    assert headers(seen(o)[0], "x-forwarded-for") == ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"]


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "M-SEARCH", "PURGE", "LOCK", "MKCOL", "X_Y"])
def test_any_method_passes(origin, method):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n, "/m", method=method))[0]) == 200
    assert seen(o)[0].startswith(method.encode() + b" /m ")


def test_expect_is_answered_before_the_body(origin):
    o, n = origin
    with Client() as c:
        head, _ = c.ask(get(n, method="PUT", extra=b"Expect: 100-continue\r\nContent-Length: 5\r\n"), bodiless=True)
        assert code(head) == 100
        head, body = c.ask(b"hello")
    assert (code(head), body) == (200, b"body of 5") and seen(o)[1] == b"hello"


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE", "PATCH"])
def test_chunked_bodies_arrive_whole(origin, method):
    o, n = origin
    with Client() as c:
        head, body = c.ask(get(n, method=method, extra=b"Transfer-Encoding: chunked\r\n") + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n")
        assert (code(head), seen(o)[1]) == (200, b"abcde")
        assert code(c.ask(get(n))[0]) == 200


def test_requests_in_one_packet_are_answered_in_order(lab):
    o = lab.peer(RawOrigin(lambda head, body: ok(head.split(b" ")[1])))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        c.s.sendall(b"".join(get(n, "/%d" % i) for i in range(12)))
        assert [c.reader.message()[1] for _ in range(12)] == [b"/%d" % i for i in range(12)]


def test_head_byte_by_byte(origin):
    o, n = origin
    with Client() as c:
        for b in get(n, "/slowly"):
            c.s.sendall(bytes([b]))
        assert code(c.reader.message()[0]) == 200


# ------------------------------------------------------------------ the answer's way

def test_characters_no_engine_takes_are_encoded(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n, b"/a<b>`c?<\"d\">"))[0]) == 200
    assert seen(o)[0].split(b" ")[1] in (b"/a<b>`c?<\"d\">", b"/a%3Cb%3E%60c?%3C%22d%22%3E")


def test_upgrades_of_any_kind_pass(lab):
    text = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: my-proto/2\r\nConnection: Upgrade\r\n\r\n"
    o = lab.peer(RawOrigin(lambda head, body: text))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        head, _ = c.ask(get(n, extra=b"Connection: keep-alive, Upgrade\r\nUpgrade: my-proto/2\r\nX-Proto: 1\r\n"), bodiless=True)
        assert code(head) == 101 and header(head, "upgrade") == "my-proto/2"
    assert header(seen(o)[0], "upgrade") == "my-proto/2" and header(seen(o)[0], "connection").lower() == "upgrade" and header(seen(o)[0], "x-proto") == "1"


def test_headers_named_by_connection_pass_as_well(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n, extra=b"Connection: close, X-Named\r\nX-Named: 1\r\nTrailer: X-T\r\n"))[0]) == 200
    head = seen(o)[0]
    assert (header(head, "x-named"), header(head, "trailer")) == ("1", "X-T") and "close" not in (header(head, "connection") or "")


def answered(lab, text, last=True, request=None, bodiless=False):
    o = lab.peer(RawOrigin(lambda head, body: text, last))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        return c.ask((request or get)(n), bodiless)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 Quite Fine", b"HTTP/1.1 299 Odd", b"HTTP/1.1 404 Nope", b"HTTP/1.0 200 OK", b"HTTP/1.1 511 Net Auth"])
def test_status_and_reason_pass(lab, line):
    head, body = answered(lab, line + b"\r\nContent-Length: 2\r\n\r\nhi")
    assert head.split(b"\r\n")[0].split(b" ", 1)[1] == line.split(b" ", 1)[1] and body == b"hi"


@pytest.mark.parametrize("text,want", [
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;e=1\r\ndefg\r\n0\r\n\r\n", b"abcdefg"),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"), (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""), (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nclose", b"close"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"z" * 300000, b"z" * 300000),
], ids=["chunked", "to-close", "http-1.0", "empty", "close", "large"])
def test_bodies_pass(lab, text, want):
    head, body = answered(lab, text)
    assert (code(head), body) == (200, want)


def test_connection_goes_on_after_an_answer_without_length(lab):
    o = lab.peer(RawOrigin(lambda head, body: b"HTTP/1.1 200 OK\r\n\r\nno length", last=True))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        for _ in range(3):
            assert c.ask(get(n))[1] == b"no length"


@pytest.mark.parametrize("text", [b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"\r\nabc"], ids=["chunked", "to-close"])
@pytest.mark.parametrize("extra", [b"", b"Connection: keep-alive\r\n"], ids=["close", "keep"])
def test_answers_without_length_to_a_1_0_client(lab, text, extra):
    o = lab.peer(RawOrigin(lambda head, body: b"HTTP/1.1 200 OK\r\n" + text, last=True))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    out = raw(PROXY, get(n, version="1.0", extra=extra), timeout=3)
    assert b"chunked" not in out.lower() and out.endswith(b"\r\n\r\nabc")


def test_1_0_client_closes_unless_it_asks_otherwise(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n, version="1.0"))[0]) == 200
        assert c.closed()
    with Client() as c:
        for _ in range(3):
            assert code(c.ask(get(n, version="1.0", extra=b"Connection: keep-alive\r\n"))[0]) == 200


def test_connection_close_is_honoured(origin):
    o, n = origin
    with Client() as c:
        head, _ = c.ask(get(n, extra=b"Connection: close\r\n"))
        assert header(head, "connection") == "close" and c.closed()


def test_answers_to_head_have_no_body(lab):
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: b\r\n\r\n"
    o = lab.peer(RawOrigin(lambda head, body: text))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        for _ in range(2):
            head, _ = c.ask(get(n, method="HEAD"), bodiless=True)
            assert (code(head), header(head, "content-length"), header(head, "x-a")) == (200, "1234", "b")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_body_keep_the_connection(lab, status):
    o = lab.peer(RawOrigin(lambda head, body: b"HTTP/1.1 %d X\r\nETag: \"1\"\r\n\r\n" % status))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        for _ in range(3):
            assert code(c.ask(get(n))[0]) == status


def test_headers_of_the_answer(lab):
    text = (b"HTTP/1.1 200 OK\r\nServer: origin/1\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nX-Accel-Expires: 5\r\nX-Accel-Buffering: no\r\n"
            b"Keep-Alive: timeout=9\r\nConnection: keep-alive\r\nVia: 1.1 o\r\nX_Under: kept\r\nX.Dot: kept\r\nX-Empty:\r\nETag: \"a\"\r\n"
            b"Set-Cookie: a=1\r\nX-M: 1\r\nSet-Cookie: b=2\r\nX-M: 2\r\nContent-Length: 1\r\n\r\nx")
    head, _ = answered(lab, text, last=False)
    assert headers(head, "server") == ["slardar/1.1"]
    assert len(headers(head, "date")) == 1 and "2001" not in header(head, "date")
    for gone in ("x-accel-expires", "x-accel-buffering", "keep-alive"):
        assert header(head, gone) is None
    assert headers(head, "set-cookie") == ["a=1", "b=2"] and headers(head, "x-m") == ["1", "2"]
    assert (header(head, "x_under"), header(head, "x.dot"), header(head, "x-empty"), header(head, "via")) == ("kept", "kept", "", "1.1 o")


def test_502_pages_carry_date_and_server():
    r = proxy(new_name("nobody"))
    assert r.headers["server"] == "slardar/1.1" and "date" in r.headers
    assert b"<title>502 Bad Gateway</title>" in r.body


def test_connection_goes_on_after_an_unknown_host(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get("nobody-" + n))[0]) == 502
        assert code(c.ask(get(n))[0]) == 200


def test_websocket_passes_both_ways(lab):
    def echo(head, body):
        return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello"
    o = lab.peer(RawOrigin(echo))
    n = lab.put(dict({"servers": [o.srv()]}, **OFF))
    with Client() as c:
        head, _ = c.ask(get(n, extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"), bodiless=True)
        assert code(head) == 101 and header(head, "upgrade") == "websocket"
        assert until(lambda: c.reader.buf == b"hello" or not c.reader._fill(), 3)


def test_update_during_a_running_answer_changes_nothing_of_it(lab):
    a, b = lab.backend(), lab.backend()
    a.delay = 0.6
    n = lab.put(dict({"servers": [a.srv()]}, **OFF))
    with Client() as c:
        c.s.sendall(get(n, "/long"))
        assert until(lambda: a.hits("/long"), 3)
        lab.put(dict({"servers": [b.srv()]}, **OFF), name=n)
        assert c.reader.message()[1].decode() == a.name
        assert c.ask(get(n))[1].decode() == b.name     # the same connection, the new list


@pytest.mark.hardening
def test_ipv6_origins_in_both_forms(lab):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        o = lab.peer(RawOrigin(lambda head, body: ok(b"six"), host="::1"))
    except OSError:
        pytest.skip("no ::1 here")
    for host in ("::1", "[::1]"):
        n = lab.put(dict({"servers": [{"host": host, "port": o.port}]}, **OFF))
        assert proxy(n).text == "six"
        assert harness.peers(n)[0]["server"] == "%s:%s:%d" % (n, host, o.port)


@pytest.mark.hardening
def test_names_as_hosts_are_resolved(lab):
    b = lab.backend()
    n = lab.put({"servers": [{"host": "localhost", "port": b.port}]})
    assert until(lambda: proxy(n).text == b.name, 6, 0.1)


@pytest.mark.slow
def test_connect_timeout_is_504(lab):
    """A full queue of connections nobody accepts: the fourth second brings the answer."""
    with socket.socket() as s, socket.socket() as one, socket.socket() as two:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        for c in (one, two):
            c.setblocking(False)
            c.connect_ex(s.getsockname())
        n = lab.put(dict({"servers": [{"host": "127.0.0.1", "port": s.getsockname()[1]}]}, **OFF))
        t0 = time.monotonic()
        r = proxy(n)
        assert r.status == 504 and b"<html>" in r.body and 2 <= time.monotonic() - t0 < 8


def test_silent_connection_is_not_cut_before_its_time(origin):
    o, n = origin
    with Client() as c:
        assert code(c.ask(get(n))[0]) == 200
        time.sleep(2)
        assert code(c.ask(get(n))[0]) == 200
