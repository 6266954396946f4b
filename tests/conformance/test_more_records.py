"""More access records: odd requests, retries, upgrades, clients that go."""
import re
import time

import pytest

import harness
from harness import PROXY, new_name, proxy, raw, until
from more import Client, RawOrigin, get, ok
from test_accesslog import FIELDS, collect
from test_accesslog import sink as each_sink

pytestmark = pytest.mark.accesslog
# One collector for all of them: it takes seconds until checks have noticed it.
sink = pytest.fixture(scope="module")(getattr(each_sink, "__wrapped__", None) or each_sink.__pytest_wrapped__.obj)
NUMBERS = {"body_bytes_sent", "content_length", "upstream_response_time", "request_time", "x_error_code"}


def one(sink, host, **want):
    """The newest record of a host; every record has all fields, of the right kind."""
    def match():
        recs = [r for r in sink.records() if r["http_host"] == host and all(r[k] == v for k, v in want.items())]
        return recs and recs[-1]
    collect(sink, host, 1)
    rec = until(match, 10, 0.2)
    assert rec, (host, want, [r for r in sink.records() if r["http_host"] == host])
    assert set(rec) == FIELDS
    for k, v in rec.items():
        assert isinstance(v, (int, float) if k in NUMBERS else str) and v != "", (k, v)
    assert re.match(r"^\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$", rec["timestamp"])
    return rec


def test_record_of_a_retry(lab, sink):
    bad, good = lab.backends(2)
    bad.code = 502
    n = lab.put({"cluster": [{"servers": [bad.srv(), good.srv()]}], "enable": False})
    assert proxy(n, "/r").status == 200
    rec = one(sink, n)
    assert rec["upstream_addr"] == "127.0.0.1:%d, 127.0.0.1:%d" % (bad.port, good.port)
    assert (rec["upstream_status"], rec["status"], rec["upstream_response_time"]) == ("502, 200", "200", -1)


def test_record_of_refused_and_lost_peers(lab, sink):
    dead, closing = lab.backend(up=False), lab.backend()
    closing.mode = "close"
    n = lab.put({"cluster": [{"servers": [dead.srv(), closing.srv()]}], "enable": False})
    assert proxy(n).status == 502
    rec = one(sink, n)
    assert (rec["upstream_status"], rec["status"]) == ("502, 502", "502") and rec["upstream_response_time"] == -1


def test_record_without_headers_or_body(lab, sink):
    b = lab.backend()
    b.code = 204
    n = lab.put({"cluster": [{"servers": [b.srv()]}], "enable": False})
    with Client() as c:
        c.ask(get(n, "/bare?x=%20y", version="1.0", method="DELETE"))
    rec = one(sink, n)
    assert (rec["method"], rec["request_uri"], rec["protocol"], rec["status"], rec["body_bytes_sent"]) == ("DELETE", "/bare?x=%20y", "HTTP/1.0", "204", 0)
    for k in ("referer", "user_agent", "content_type", "x_raw_uri", "x_forwarded_for", "x_request_id", "remote_user"):
        assert rec[k] == "-", k
    assert rec["content_length"] == -1 and rec["x_error_code"] == -1 and rec["node_type"] == "slardar_access"
    assert re.match(r"^.*-1\.1\.2\.\d+$", rec["node_version"])


def test_record_keeps_the_host_as_sent(lab, sink):
    b = lab.backend()
    n = lab.put({"cluster": [{"servers": [b.srv()]}], "enable": False})
    host = n.upper() + ".:8080"
    proxy(host, "/h", src="127.0.0.77")
    rec = one(sink, host)
    assert rec["remote_addr"] == "127.0.0.77" and rec["status"] == "200" and rec["upstream_addr"] == "127.0.0.1:%d" % b.port


def test_record_of_headers_and_user(lab, sink):
    b = lab.backend()
    n = lab.put({"cluster": [{"servers": [b.srv()]}], "enable": False})
    with Client() as c:
        extra = (b"Authorization: Basic YWxpY2U6c2VjcmV0\r\nContent-Length: 3\r\nContent-Type: a/b; c=d\r\nReferer: caf\xc3\xa9\r\n"
                 b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nUser-Agent: \"q\" \\ t\r\n")
        c.ask(get(n, method="POST", extra=extra) + b"abc")
    rec = one(sink, n)
    assert (rec["remote_user"], rec["content_length"], rec["content_type"]) == ("alice", 3, "a/b; c=d")
    assert (rec["x_forwarded_for"], rec["user_agent"], rec["referer"]) == ("1.1.1.1, 2.2.2.2", '"q" \\ t', "caf\u00e9")


def test_record_of_a_chunked_upload_and_a_chunked_answer(lab, sink):
    o = lab.peer(RawOrigin(lambda head, body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
    n = lab.put({"cluster": [{"servers": [o.srv()]}], "enable": False})
    with Client() as c:
        c.ask(get(n, method="PUT", extra=b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n")
    rec = one(sink, n)
    assert rec["content_length"] == -1 and rec["status"] == "200" and rec["body_bytes_sent"] >= 5


@pytest.mark.parametrize("text,want", [
    (b"TRACE /t HTTP/1.1\r\nHost: {h}\r\n\r\n", ("TRACE", "/t", "405")),
    (b"GET /l HTTP/1.1\r\nHost: {h}\r\nContent-Length: x\r\n\r\n", ("GET", "/l", "400")),
    (b"PUT /b HTTP/1.1\r\nHost: {h}\r\nContent-Length: 2000000000\r\n\r\n", ("PUT", "/b", "413")),
], ids=["trace", "bad-length", "too-large"])
def test_records_of_refused_requests(sink, text, want):
    n = new_name("refused")
    raw(PROXY, text.replace(b"{h}", n.encode()), timeout=3)
    rec = one(sink, n)
    assert (rec["method"], rec["request_uri"], rec["status"]) == want
    assert (rec["upstream_addr"], rec["upstream_status"], rec["upstream_response_time"]) == ("-", "-", -1)


def test_record_of_rubbish(sink):
    raw(PROXY, b"complete rubbish\r\n\r\n", timeout=3)
    rec = one(sink, "-", status="400")
    assert (rec["method"], rec["request_uri"], rec["protocol"]) == ("-", "-", "-")


def test_record_of_a_client_that_goes(lab, sink):
    b = lab.backend()
    b.delay = 3
    n = lab.put({"cluster": [{"servers": [b.srv()]}], "enable": False})
    with Client() as c:
        c.s.sendall(get(n, "/gone"))
        assert until(lambda: b.hits("/gone"), 3)
    rec = one(sink, n)
    assert rec["status"] == "499" and rec["upstream_addr"] == "127.0.0.1:%d" % b.port


def test_record_of_an_upgrade(lab, sink):
    o = lab.peer(RawOrigin(lambda head, body: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nbye", last=True))
    n = lab.put({"cluster": [{"servers": [o.srv()]}], "enable": False})
    with Client() as c:
        c.ask(get(n, "/up", extra=b"Connection: Upgrade\r\nUpgrade: x\r\n"), bodiless=True)
        time.sleep(0.1)
    rec = one(sink, n)
    assert (rec["status"], rec["upstream_status"], rec["method"]) == ("101", "101", "GET")


def test_few_records_leave_within_a_moment(lab, sink):
    """The original keeps them until 4 KiB are there; nobody should wait for the last request of a quiet night."""
    n = new_name("quiet")
    proxy(n)
    if harness.HARDENING:
        assert until(lambda: [r for r in sink.records() if r["http_host"] == n], 4, 0.1)


def test_every_request_of_a_connection_has_a_record(lab, sink):
    o = lab.peer(RawOrigin(lambda head, body: ok()))
    n = lab.put({"cluster": [{"servers": [o.srv()]}], "enable": False})
    with Client() as c:
        for i in range(5):
            c.ask(get(n, "/%d" % i))
    collect(sink, n, 5)
    assert [r["request_uri"] for r in sink.records() if r["http_host"] == n] == ["/%d" % i for i in range(5)]
