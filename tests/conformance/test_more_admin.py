"""More of the management API: odd JSON, odd requests, what is echoed and what is shown."""
import json
import socket

import pytest

import harness
from harness import ADMIN, admin, new_name, proxy, raw, status, upstreams
from more import Client, code, header

ONE = {"host": "127.0.0.1", "port": 9}
SERVERS = {"servers": [ONE]}


def talk():
    return Client(addr=(ADMIN.hostname, ADMIN.port))


# ------------------------------------------------------------------ requests

@pytest.mark.parametrize("path", ["/status?", "/status/.", "/status%20", "//status", "/a/status", "/%73tatus", "/statusx", 
                                  "/upstream/caf%C3%A9", "/upstream/a+b", "/upstream/a;b", "/upstream/@", "/upstreams/x", "/x%2fupstream", "/upstream/a/",
                                  "/a//lua", "/status/status", "/upstream/~"])
def test_forms_that_are_400(path):
    r = admin("GET", path)
    assert (r.status, r.body) == (400, b"{}") and r.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/", "/STATUS", "/Upstreams", "/UPSTREAM/x", "/stat", "/upstrea", "/favicon.ico", "/x?/status", "/status/../x"])
def test_paths_that_are_404(path):
    r = admin("GET", path)
    assert r.status == 404 and b"<html>" in r.body and r.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "FOO", "PROPFIND"])
@pytest.mark.parametrize("path", ["/status", "/upstreams"])
def test_reads_take_any_method(method, path):
    r = admin(method, path)
    assert r.status == 200 and (method == "HEAD") == (r.body == b"")


@pytest.mark.parametrize("path", ["/status", "/upstreams", "/upstream/x", "/nothing"])
def test_trace_is_405(path):
    out = raw(ADMIN, b"TRACE %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
    assert code(out) == 405 and b"<html>" in out


@pytest.mark.parametrize("method", ["HEAD", "PROPFIND", "get"])
def test_more_methods_on_an_upstream_are_405(method):
    r = admin(method, "/upstream/" + new_name())
    assert r.status == 405


def test_host_is_needed_under_1_1():
    assert code(raw(ADMIN, b"GET /status HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400
    out = raw(ADMIN, b"GET /status HTTP/1.0\r\n\r\n")
    assert code(out) == 200 and b"content-length" not in out.split(b"\r\n\r\n")[0].lower()
    json.loads(out.split(b"\r\n\r\n", 1)[1])


def test_answers_are_chunked_and_connections_persist():
    with talk() as c:
        for _ in range(3):
            head, body = c.ask(b"GET /upstreams HTTP/1.1\r\nHost: a\r\n\r\n")
            assert header(head, "transfer-encoding") == "chunked" and header(head, "server") == "slardar/1.1"
            json.loads(body)


def test_requests_in_one_packet_are_answered_in_order():
    with talk() as c:
        c.s.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % p for p in (b"/status", b"/nothing", b"/upstreams", b"/status?")))
        assert [code(c.reader.message()[0]) for _ in range(4)] == [200, 404, 200, 400]


def test_chunked_documents_and_any_content_type(lab):
    n = new_name()
    lab.names.append(n)
    body = json.dumps(SERVERS).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
    with talk() as c:
        head, got = c.ask(b"PUT /upstream/%s HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n%s" % (n.encode(), chunks))
    assert (code(head), json.loads(got)) == (200, {"status": 200}) and n in upstreams()


def test_too_large_is_told_without_waiting_for_the_body():
    with talk() as c:
        head, body = c.ask(b"PUT /upstream/%s HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n" % new_name().encode())
        assert code(head) == 413 and b"<html>" in body


def test_too_large_in_chunks_is_413():
    n = new_name()
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with talk() as c:
        c.s.sendall(b"PUT /upstream/%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % n.encode())
        c.s.sendall(piece * 17 + b"0\r\n\r\n")
        assert code(c.reader.message()[0]) == 413
    assert n not in upstreams()


def test_exactly_the_largest_body_is_taken(lab):
    doc = dict(SERVERS, enable=False, pad="")
    doc["pad"] = "p" * (1048576 - len(json.dumps(doc)))
    assert len(json.dumps(doc)) == 1048576
    lab.put(doc)


def test_delete_ignores_a_body(lab):
    n = lab.put(dict(SERVERS, enable=False))
    r = admin("DELETE", "/upstream/" + n, "{ no json")
    assert (r.status, r.json) == (200, {"status": 200})


@pytest.mark.parametrize("name", ["a", "0", "-", "_", "...", "a..b", "x" * 3000, "status", "upstreams", "1995"])
def test_names_of_all_kinds(lab, name):
    before = upstreams()
    assert name not in before
    lab.put(dict(SERVERS, enable=False), name=name)
    assert upstreams()[name]["cluster"] == [SERVERS] and status()["cls:" + name][0][0]["server"] == "%s:127.0.0.1:9" % name
    assert admin("DELETE", "/upstream/" + name).status == 200 and upstreams() == before


# ------------------------------------------------------------------ refusals

def servers(text):
    return '{"servers":[{"host":"127.0.0.1","port":7},%s]}' % text


MORE_REFUSED = [
    ("\ufeff{}", "decode body error"), ("[1,2,3] ", "body invalid"), ("{} {}", "decode body error"), ("{'servers':[]}", "decode body error"),
    ('{"servers":[{"host":"a","port":01}]}', "decode body error"), ('"\\ud800"', "decode body error"), ("nul", "decode body error"),
    ('[{"servers":[{"host":"a","port":1}]}]', "body invalid"), ('""', "body invalid"), ("null", "body invalid"), ("true", "body invalid"),
    ("0", "body invalid"), ("-1.5e3", "body invalid"), ('{"cluster":null}', "body invalid"), ('{"cluster":"x","servers":null}', "body invalid"),
    ('{"cluster":false,"servers":true}', "body invalid"), ('{"Servers":[]}', "body invalid"),
    ('{"servers":[{"host":"a","port":1}],"cluster":7}', "cluster invalid"), ('{"servers":[{"host":"a","port":1}],"cluster":true}', "cluster invalid"),
    ('{"servers":[{"host":"a","port":1}],"cluster":null}', "cluster invalid"),
    ('{"cluster":[5]}', "can not update empty level"), ('{"cluster":[null]}', "can not update empty level"), ('{"cluster":["x"]}', "can not update empty level"),
    ('{"cluster":[[]]}', "can not update empty level"), ('{"cluster":{"a":{}}}', "can not update empty level"), ('{"cluster":{"a":1}}', "can not update empty level"),
    ('{"cluster":[{"servers":{}}]}', "servers invalid"), ('{"cluster":[{"servers":null}]}', "servers invalid"), ('{"cluster":[{"servers":"x"}]}', "servers invalid"),
    ('{"cluster":[{"weight":1}]}', "servers invalid"), ('{"cluster":[[1]]}', "servers invalid"), ('{"servers":{}}', "servers invalid"),
    ('{"cluster":{"a":{"servers":[]}}}', "servers invalid"),
    (servers('"x"'), "server must be a table"), (servers("null"), "server must be a table"), (servers("true"), "server must be a table"),
    (servers("[]"), "no server.host nor server.port found"), (servers("[1]"), "no server.host nor server.port found"),
    (servers('{"host":false,"port":1}'), "no server.host nor server.port found"), (servers('{"host":"a","port":false}'), "no server.host nor server.port found"),
    (servers('{"Host":"a","Port":1}'), "no server.host nor server.port found"),
    ('{"cluster":[{"servers":[{"host":"a","port":1}]},{"servers":[{"host":"a"}]}]}', "no server.host nor server.port found"),
]


@pytest.mark.parametrize("body,msg", MORE_REFUSED, ids=range(len(MORE_REFUSED)))
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_more_refused_documents(method, body, msg):
    n, before = new_name("bad"), status()["shd_config_version"]
    r = admin(method, "/upstream/" + n, body.encode())
    assert (r.status, r.json) == (400, {"status": 400, "msg": msg})
    assert r.headers["content-type"].startswith("application/json")
    assert n not in upstreams() and status()["shd_config_version"] == before


@pytest.mark.hardening
@pytest.mark.parametrize("text", [
    '{"host":null,"port":1}', '{"host":"","port":1}', '{"host":[],"port":1}', '{"host":5,"port":1}', '{"host":true,"port":1}', '{"host":{},"port":1}',
    '{"host":"a b","port":1}', '{"host":"a/b","port":1}', '{"host":"a:1","port":1}', '{"host":"256.1.1.1","port":1}',
    '{"host":"a","port":null}', '{"host":"a","port":""}', '{"host":"a","port":[]}', '{"host":"a","port":true}', '{"host":"a","port":65536}',
    '{"host":"a","port":1e9}', '{"host":"a","port":0.5}', '{"host":"a","port":"65536"}', '{"host":"a","port":"0"}', '{"host":"a","port":"8 0"}',
    '{"host":"a","port":1,"weight":-1}', '{"host":"a","port":1,"weight":"2"}', '{"host":"a","port":1,"weight":[]}', '{"host":"a","port":1,"weight":true}',
    '{"host":"a","port":1,"weight":null}', '{"host":"a","port":1,"weight":1e400}', '{"host":"a","port":1,"weight":Infinity}',
    '{"host":"a","port":1,"max_fails":-1}', '{"host":"a","port":1,"max_fails":"1"}', '{"host":"a","port":1,"max_fails":{}}',
    '{"host":"a","port":1,"max_fails":null}', '{"host":"a","port":1,"fail_timeout":-1}', '{"host":"a","port":1,"fail_timeout":"9"}',
    '{"host":"a","port":1,"fail_timeout":null}', '{"host":"a","port":1,"fail_timeout":false}', '{"host":"a","port":1,"max_fails":NaN}',
])
@pytest.mark.parametrize("form", ['{"servers":[%s]}', '{"cluster":[{"servers":[{"host":"b","port":2}]},{"servers":[%s]}]}'], ids=["short", "full"])
def test_hardening_more_servers_are_refused(text, form):
    n = new_name("hard")
    r = admin("PUT", "/upstream/" + n, form % text)
    assert r.status == 400 and r.json["status"] == 400 and r.json["msg"]
    assert n not in upstreams() and admin("GET", "/status").status == 200


@pytest.mark.hardening
@pytest.mark.parametrize("body", ['{"cluster":[]}', '{"cluster":{}}', '{"servers":{"a":{"host":"a","port":1}}}', '{"cluster":[{"servers":{"0":{"host":"a","port":1}}}]}',
                                  '{"servers":[{"host":"a","port":1}],"timeout":NaN}', '{"servers":[{"host":"a","port":1}],"x":-Infinity}'])
def test_hardening_more_documents_are_refused(body):
    n = new_name("hard")
    assert admin("PUT", "/upstream/" + n, body).status == 400
    assert n not in upstreams()


# ------------------------------------------------------------------ what is kept

def test_options_of_every_type_are_echoed(lab):
    extra = {"x_null": None, "x_true": True, "x_int": 12345678901, "x_float": 0.125, "x_text": "caf\u00e9 \u4f60\u597d \"q\" \\ /", "x_list": [1, [2, {"a": None}], []],
             "x_object": {"": 0, "k": {"k": {}}}, "note": "", "try": 3, "try_timeout": 1.5, "read_timeout": 9, "send_timeout": 8, "name": "db", "user": "u", "pass": "p"}
    doc = {"cluster": [{"servers": [dict(ONE, weight=3, max_fails=2, fail_timeout=0.5, rack="r7", tags=["a"])], "label": "first"}, SERVERS], "enable": False,
           "typ": "http", "timeout": 1.25, "http_opts": {"query": "GET / HTTP/1.0\r\n\r\n", "statuses": {"500": False, "404": True}, "x": 1}, "mode": "ip_hash",
           "protected": False, "sensibility": 3}
    doc.update(extra)
    n = lab.put(doc)
    assert upstreams()[n] == doc


def test_loose_statuses_are_echoed_as_given(lab):
    doc = {"cluster": [SERVERS], "enable": False, "typ": "http", "http_opts": {"query": "x", "statuses": {"500": False, "501": 0, "502": None, "503": "no"}}}
    n = lab.put(doc)
    assert upstreams()[n] == doc


def test_last_of_equal_keys_wins(lab):
    n = new_name()
    lab.names.append(n)
    text = '{"servers":[{"host":"127.0.0.1","port":1,"port":2}],"enable":true,"servers":[{"host":"127.0.0.1","port":3}],"enable":false}'
    assert admin("PUT", "/upstream/" + n, text).status == 200
    assert upstreams()[n] == {"cluster": [{"servers": [{"host": "127.0.0.1", "port": 3}]}], "enable": False}


def test_servers_beside_a_cluster_are_kept_and_ignored(lab):
    a, b = lab.backends(2)
    doc = {"cluster": [{"servers": [a.srv()]}], "servers": [b.srv()], "enable": False}
    n = lab.put(doc)
    assert upstreams()[n] == doc and proxy(n).text == a.name
    doc["servers"] = "junk"
    lab.put(doc, name=n)
    assert upstreams()[n] == doc


def test_short_form_overrides_and_keeps(lab):
    n = lab.put({"cluster": {"x": SERVERS, "y": SERVERS}, "enable": False, "mode": "hash", "x_a": 1, "sensibility": 2})
    lab.put({"servers": [dict(ONE, port=10)], "mode": "rr", "x_b": [2]}, name=n)
    assert upstreams()[n] == {"cluster": [{"servers": [dict(ONE, port=10)]}], "enable": False, "mode": "rr", "x_a": 1, "x_b": [2], "sensibility": 2}
    lab.put({"cluster": [SERVERS]}, name=n)
    assert upstreams()[n] == {"cluster": [SERVERS]}


def test_full_form_after_delete_starts_clean(lab):
    n = lab.put(dict(SERVERS, enable=False, mode="hash", x=1))
    assert admin("DELETE", "/upstream/" + n).status == 200
    lab.put(SERVERS, name=n)
    assert upstreams()[n] == {"cluster": [SERVERS]}


@pytest.mark.parametrize("port,want", [('"8123"', 8123), ("8123.0", 8123), ("65535", 65535), ("1", 1)])
def test_ports_that_are_numbers_after_all(lab, port, want):
    n = new_name()
    lab.names.append(n)
    r = admin("PUT", "/upstream/" + n, '{"servers":[{"host":"127.0.0.1","port":%s}],"enable":false}' % port)
    if r.status == 200:
        assert harness.until(lambda: harness.peers(n) and harness.peers(n)[0]["server"] == "%s:127.0.0.1:%d" % (n, want), 3)
    else:
        assert port.startswith('"')


@pytest.mark.parametrize("weight", [0, 1, 2.5, 1000000, 0.001])
def test_weights_are_shown_as_given(lab, weight):
    n = lab.put({"servers": [dict(ONE, weight=weight, max_fails=0, fail_timeout=0.5), dict(ONE, port=10, weight=1)], "enable": False})
    p = harness.peers(n)[0]
    assert (p["weight"], p["max_fails"], p["fail_timeout"], p["status"]) == (weight, 0, 0.5, "unchecked")


def test_an_address_may_be_listed_twice(lab):
    n = lab.put({"servers": [ONE, ONE, dict(ONE, port=10)], "enable": False})
    assert [p["server"].rsplit(":", 1)[1] for p in harness.peers(n)] == ["9", "9", "10"]


def test_named_levels_are_shown_by_name(lab):
    names = ["z", "a b", "caf\u00e9", "0", ""]
    n = lab.put({"cluster": {k: SERVERS for k in names}, "enable": False})
    assert set(status()["cls:" + n]) == set(names) and set(upstreams()[n]["cluster"]) == set(names)


def test_many_levels_and_servers(lab):
    doc = {"cluster": [{"servers": [{"host": "127.0.%d.%d" % (i, j), "port": 1000 + j} for j in range(20)]} for i in range(20)], "enable": False}
    n = lab.put(doc)
    assert upstreams()[n] == doc and len(status()["cls:" + n]) == 20


def test_status_numbers_and_nulls():
    d = status()
    assert d["conf_hash"] is None or isinstance(d["conf_hash"], str)
    assert d["slardar_version"] == "1.1.2" and isinstance(d["shd_config_version"], int) and d["config_timer"]["worker-0"] == "alive"


def test_refusals_do_not_close_the_connection(lab):
    with talk() as c:
        for _ in range(3):
            head, _ = c.ask(b"PUT /upstream/%s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}" % new_name().encode())
            assert code(head) == 400


def test_half_a_body_changes_nothing():
    n = new_name()
    with socket.create_connection((ADMIN.hostname, ADMIN.port)) as s:
        s.sendall(b"PUT /upstream/%s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"servers\"" % n.encode())
    assert n not in upstreams() and admin("GET", "/status").status == 200
