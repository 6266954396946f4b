"""More of the framed protocol and of the TCP side."""
import json
import socket
import struct
import time

import pytest

import harness
from harness import TCP_PROXY, Framed, new_name, raw, until
from test_stream import GET, info, need_proxy, put, tcp_name  # noqa: F401

pytestmark = pytest.mark.stream
ONE = {"host": "127.0.0.1", "port": 9}


def body(text):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack(">I", len(text)) + text


@pytest.fixture
def name(framed):
    n = new_name("s")
    yield n
    framed.send("DELETE upstream " + n)


@pytest.mark.parametrize("line,msg", [
    ("   ", "command invalid"), ("\t", "command invalid"), ("GET upstream status now", "command invalid"), ("GET", "command invalid"),
    ("get nothing x", "topic invalid"), ("PUT upstreams x", "topic invalid"), ("FOO nothing x", "topic invalid"), ("get upstreamx y", "topic invalid"),
    ("HEAD upstream x", "method invalid"), ("PATCH code x", "method invalid"), ("load upstream x", "method invalid"), ("putt upstream x", "method invalid"),
    ("GET upstream STATUS", "not allowed"), ("GET upstream Info", "not allowed"), ("gEt uPsTrEaM other", "not allowed"), ("GET upstream 3131", "not allowed"),
])
def test_lines_that_are_refused(framed, line, msg):
    assert framed.send(line) == (framed.ERROR, msg)
    assert framed.send("GET upstream info")[0] == framed.MESSAGE      # and the connection goes on


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("line", ["GET upstream status", "  GET   upstream   status", "get Upstream status  "])
def test_blanks_and_line_ends(framed, line, eol):
    code, text = framed.send(line, eol=eol)
    assert code == framed.MESSAGE and json.loads(text)["slardar_version"] == "1.1.2"


def test_a_carriage_return_is_no_part_of_the_name(framed, name):
    framed.s.sendall(b"PUT upstream %s\r\n" % name.encode() + body({"servers": [ONE]}))
    assert framed.read() == (framed.OK, "OK") and name in info(framed)
    assert framed.send("DELETE upstream " + name, eol="\r\n") == (framed.OK, "OK")


def test_commands_byte_by_byte(framed, name):
    for b in b"PUT upstream %s\n" % name.encode() + body({"servers": [ONE]}):
        framed.s.sendall(bytes([b]))
    assert framed.read() == (framed.OK, "OK")


def test_a_short_body_waits(framed, name):
    whole = b"PUT upstream %s\n" % name.encode() + body({"servers": [ONE]})
    framed.s.sendall(whole[:-1])
    framed.s.settimeout(0.5)
    with pytest.raises(socket.timeout):
        framed.s.recv(1)
    framed.s.settimeout(5)
    framed.s.sendall(whole[-1:])
    assert framed.read() == (framed.OK, "OK")


@pytest.mark.parametrize("length", [b"\0\0\0\0", b"\x80\0\0\0", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("command", ["PUT", "POST"])
def test_lengths_that_close(command, length):
    f = Framed()
    f.s.sendall(b"%s upstream z\n" % command.encode() + length)
    assert f.read() is None
    f.close()


def test_post_reads_its_body_and_says_no(framed):
    n = new_name("s")
    assert framed.send("POST upstream " + n, {"servers": [ONE]}) == (framed.ERROR, "POST_upstreamnot allowed")
    assert n not in info(framed)


@pytest.mark.parametrize("text,msg", [
    (b"x", "invalid body"), (b"null", "invalid body"), (b"true", "invalid body"), (b"[1]", "invalid body"), (b'"s"', "invalid body"),
    (b'{"servers":"x"}', "invalid body"), (b'{"cluster":5}', "invalid body"), (b'{"enable":false}', "invalid body"),
    (b'{"cluster":5,"servers":[{"host":"127.0.0.1","port":1}]}', "cluster invalid"), (b'{"cluster":[{}]}', "can not update empty level"),
    (b'{"cluster":[{"servers":[]}]}', "servers invalid"), (b'{"servers":[7]}', "server must be a table"),
    (b'{"servers":[{"port":1}]}', "no server.host nor server.port found"),
])
def test_more_refused_bodies(framed, text, msg):
    n, version = new_name("s"), info(framed, "status")["shd_config_version"]
    assert framed.send("PUT upstream " + n, text) == (framed.ERROR, msg)
    assert n not in info(framed) and info(framed, "status")["shd_config_version"] == version


def test_the_short_form_keeps_options_there_are_and_takes_no_new_ones(framed, name):
    full = {"cluster": {"a": {"servers": [ONE]}}, "enable": False, "x_note": [1], "mode": "ip_hash"}
    assert framed.send("PUT upstream " + name, full) == (framed.OK, "OK")
    assert info(framed)[name] == full
    assert framed.send("PUT upstream " + name, {"servers": [dict(ONE, port=10)], "x_note": 2, "x_more": 3, "enable": True}) == (framed.OK, "OK")
    assert info(framed)[name] == {"cluster": [{"servers": [dict(ONE, port=10)]}], "enable": False, "x_note": [1], "mode": "ip_hash"}
    assert framed.send("PUT upstream " + name, {"cluster": [{"servers": [ONE]}]}) == (framed.OK, "OK")
    assert info(framed)[name] == {"cluster": [{"servers": [ONE]}]}


def test_both_sides_are_separate(framed, lab, name):
    n = lab.put({"cluster": [{"servers": [ONE]}], "enable": False})
    assert n not in info(framed) and "cls:" + n not in info(framed, "status")
    http = harness.status()["shd_config_version"]
    tcp = info(framed, "status")["shd_config_version"]
    assert framed.send("PUT upstream " + name, {"servers": [ONE]}) == (framed.OK, "OK")
    assert harness.status()["shd_config_version"] == http and name not in harness.upstreams()
    assert until(lambda: info(framed, "status")["shd_config_version"] == tcp + 1, 3)
    assert "cls:" + name in info(framed, "status")
    assert framed.send("DELETE upstream " + n) == (framed.ERROR, "upstream %s not found" % n)


def test_status_document_of_the_tcp_side(framed, name):
    framed.send("PUT upstream " + name, {"cluster": [{"servers": [dict(ONE, weight=2, max_fails=1, fail_timeout=3)]}], "enable": False})
    d = info(framed, "status")
    assert {"shd_config_version", "last_check_time", "checkup_timer_alive", "start_time", "conf_hash", "config_timer", "slardar_version"} <= set(d)
    assert d["cls:" + name][0][0]["server"] == "%s:127.0.0.1:9" % name
    p = d["cls:" + name][0][0]
    assert (p["status"], p["weight"], p["max_fails"], p["fail_timeout"]) == ("unchecked", 2, 1, 3)


def test_many_connections_at_once():
    fs = [Framed() for _ in range(20)]
    for f in fs:
        f.s.sendall(b"GET upstream info\n")
    assert all(f.read()[0] == f.MESSAGE for f in fs)
    for f in fs:
        f.close()


def test_code_is_shown_as_empty(framed):
    code, text = framed.send("GET code info")
    assert code == framed.MESSAGE and {"global_version", "commit_version", "modules"} <= set(json.loads(text))
    assert framed.send("GET code " + new_name("script")) == (framed.MESSAGE, "{}")


# ------------------------------------------------------------------ connections

def who():
    return raw(TCP_PROXY, GET).split(b"\r\n\r\n")[-1].decode()


@need_proxy
def test_rotation_by_weight(lab, framed, tcp_name):
    a, b, c = lab.backends(3)
    put(framed, tcp_name, {"cluster": [{"servers": [a.srv(weight=1), b.srv(weight=3), c.srv()]}], "enable": False})
    want = "BABCB" * 2
    got = harness.letters([who() for _ in range(10)], [a, b, c])
    assert got == want if harness.WORKERS == 1 else sorted(got) == sorted(want)


@need_proxy
@pytest.mark.parametrize("mode", ["ip_hash", pytest.param("url_hash", marks=pytest.mark.hardening),
                                  pytest.param("header_hash", marks=pytest.mark.hardening), pytest.param("whatever", marks=pytest.mark.hardening)])
def test_hash_by_client(lab, framed, tcp_name, mode):
    bs = lab.backends(3)
    put(framed, tcp_name, {"cluster": [{"servers": [b.srv() for b in bs]}], "mode": mode, "enable": False})
    assert len({who() for _ in range(6)}) == 1 and who()


@need_proxy
def test_the_fourth_peer_is_reached(lab, framed, tcp_name):
    dead = [lab.backend(up=False) for _ in range(3)]
    ok = lab.backend()
    put(framed, tcp_name, {"cluster": [{"servers": [d.srv() for d in dead] + [ok.srv()]}], "enable": False})
    assert [who() for _ in range(4)] == [ok.name] * 4


@need_proxy
def test_levels_over_tcp(lab, framed, tcp_name):
    dead, spare = lab.backend(up=False), lab.backend()
    put(framed, tcp_name, {"cluster": [{"servers": [dead.srv()]}, {"servers": [spare.srv()]}], "enable": False})
    assert [who() for _ in range(3)] == [spare.name] * 3


@need_proxy
def test_nobody_there_is_closed_at_once(lab, framed, tcp_name):
    dead = lab.backend(up=False)
    put(framed, tcp_name, {"cluster": [{"servers": [dead.srv()]}], "enable": False})
    t0 = time.monotonic()
    assert raw(TCP_PROXY, GET) == b"" and time.monotonic() - t0 < 3


@need_proxy
def test_open_session_survives_update_and_delete(lab, framed, tcp_name):
    echo = lab.peer(harness.TcpScript(greet=b"hello\n", answer=lambda d: d.upper()))
    put(framed, tcp_name, {"cluster": [{"servers": [echo.srv()]}], "enable": False})
    with socket.create_connection(TCP_PROXY, timeout=5) as s:
        assert s.recv(100) == b"hello\n"
        other = lab.backend()
        put(framed, tcp_name, {"cluster": [{"servers": [other.srv()]}], "enable": False})
        s.sendall(b"still here")
        assert s.recv(100) == b"STILL HERE"
        assert framed.send("DELETE upstream " + tcp_name) == (framed.OK, "OK")
        assert until(lambda: raw(TCP_PROXY, GET, timeout=1) == b"", 3)
        s.sendall(b"and here")
        assert s.recv(100) == b"AND HERE"


@need_proxy
def test_either_side_may_end_first(lab, framed, tcp_name):
    back = lab.backend()
    put(framed, tcp_name, {"cluster": [{"servers": [back.srv()]}], "enable": False})
    with socket.create_connection(TCP_PROXY, timeout=5) as s:
        s.sendall(GET)
        s.shutdown(socket.SHUT_WR)
        out = b""
        while True:
            d = s.recv(65536)
            if not d:
                break
            out += d
    assert out.endswith(back.name.encode())


@pytest.mark.hardening
def test_a_port_opens_and_closes_with_its_document(lab, framed):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    b = lab.backend()
    assert framed.send("PUT upstream %d" % port, {"cluster": [{"servers": [b.srv()]}], "enable": False}) == (framed.OK, "OK")
    assert raw(("127.0.0.1", port), GET).endswith(b.name.encode())
    assert framed.send("DELETE upstream %d" % port) == (framed.OK, "OK")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


@pytest.mark.hardening
def test_ports_that_are_never_opened(framed):
    own = [harness.ADMIN.port, harness.PROXY.port, harness.STREAM_ADMIN[1]]
    for port in [22, 80, 1023] + own:
        code, text = framed.send("PUT upstream %d" % port, {"cluster": [{"servers": [ONE]}], "enable": False})
        assert code == framed.ERROR and str(port) in text
        assert str(port) not in info(framed)


@pytest.mark.hardening
def test_a_taken_port_is_told_and_tried_again(lab, framed):
    b = lab.backend()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        code, text = framed.send("PUT upstream %d" % port, {"cluster": [{"servers": [b.srv()]}], "enable": False})
        assert code == framed.ERROR and str(port) in text
        assert info(framed, "status")["hancock"]["ports"][str(port)]["open"] is False
    try:
        assert until(lambda: info(framed, "status")["hancock"]["ports"][str(port)]["open"], 8, 0.1)
        assert raw(("127.0.0.1", port), GET).endswith(b.name.encode())
    finally:
        framed.send("DELETE upstream %d" % port)
