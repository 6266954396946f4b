"""Management API: documents, replies, refusals."""
import json
import time

import pytest

import harness
from harness import admin, new_name, status, upstreams, until, wait_gone, wait_listed, SYNC_S

GOOD = '{"servers":[{"host":"127.0.0.1","port":%d}]}'


# ---------------------------------------------------------------- status document

def test_status_shape():
    r = admin("GET", "/status")
    assert r.status == 200
    assert r.headers["content-type"].startswith("application/json")
    d = r.json
    assert isinstance(d["shd_config_version"], int)
    assert isinstance(d["checkup_timer_alive"], bool)
    assert isinstance(d["slardar_version"], str) and d["slardar_version"]
    assert harness.TIME_RE.match(d["start_time"])
    assert d["last_check_time"] is None or harness.TIME_RE.match(d["last_check_time"])
    assert "conf_hash" in d and (d["conf_hash"] is None or isinstance(d["conf_hash"], str))


def test_status_config_timer_lists_workers():
    t = status()["config_timer"]
    assert isinstance(t, dict) and "worker-0" in t
    assert all(k.startswith("worker-") for k in t)
    assert set(t.values()) <= {"alive", "dead"}


def test_status_last_check_time_moves(lab):
    first = status()["last_check_time"]
    assert until(lambda: status()["last_check_time"] != first, harness.PROBE_WAIT + 2, 0.2)
    assert status()["checkup_timer_alive"] is True


def test_status_peer_fields_before_and_after_first_probe(lab):
    b = lab.backend()
    n = lab.put({"servers": [b.srv(weight=11, max_fails=3, fail_timeout=1)]})
    p = harness.peers(n)[0]
    assert p["server"] == "%s:127.0.0.1:%d" % (n, b.port)
    assert (p["weight"], p["max_fails"], p["fail_timeout"], p["status"]) == (11, 3, 1, "ok")
    harness.wait_checked(n)
    p = harness.peers(n)[0]
    assert p["fail_num"] == 0 and p["msg"] is None and p["status"] == "ok"
    assert harness.TIME_RE.match(p["lastmodified"])


def test_status_omits_unset_limits(lab):
    b, c = lab.backends(2)
    n = lab.put({"servers": [b.srv(), c.srv()]})
    for p in harness.peers(n):
        assert "max_fails" not in p and "fail_timeout" not in p
        assert p.get("weight", 1) == 1          # may be absent until the balancer has used the peer


def test_status_three_weighted_servers(lab):
    """Three servers, all limits echoed."""
    n = lab.put({"servers": [
        {"host": "127.0.0.1", "port": 9091, "weight": 11, "max_fails": 3, "fail_timeout": 1},
        {"host": "127.0.0.1", "port": 9092, "weight": 22, "max_fails": 2, "fail_timeout": 2},
        {"host": "127.0.0.1", "port": 9093, "weight": 33, "max_fails": 1, "fail_timeout": 3}]})
    lv = status()["cls:" + n][0]
    assert len(lv) == 3
    assert [p["weight"] for p in lv] == [11, 22, 33]
    assert [p["max_fails"] for p in lv] == [3, 2, 1]
    assert [p["fail_timeout"] for p in lv] == [1, 2, 3]
    assert lv[2]["server"] == n + ":127.0.0.1:9093"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_status_ignores_method(method):
    assert "shd_config_version" in admin(method, "/status", "").json


def test_version_counts_updates_and_deletes(lab):
    b = lab.backend()
    v0 = status()["shd_config_version"]
    n = lab.put({"servers": [b.srv()]})
    assert status()["shd_config_version"] == v0 + 1
    lab.put({"servers": [b.srv(weight=2)]}, name=n, method="PUT", wait=False)
    assert until(lambda: status()["shd_config_version"] == v0 + 2, SYNC_S + 3)
    admin("DELETE", "/upstream/" + n)
    assert until(lambda: status()["shd_config_version"] == v0 + 3, SYNC_S + 3)


def test_version_unchanged_by_refused_update(lab):
    v0 = status()["shd_config_version"]
    assert admin("POST", "/upstream/" + new_name(), '{"servers":[{}]}').status == 400
    time.sleep(SYNC_S + 0.3)
    assert status()["shd_config_version"] == v0


# ---------------------------------------------------------------- upstream documents

def test_update_reply_exact(lab):
    n = new_name()
    lab.names.append(n)
    r = admin("POST", "/upstream/" + n, GOOD % 9)
    assert (r.status, r.json) == (200, {"status": 200})
    assert r.headers["content-type"].startswith("application/json")


def test_put_and_post_are_equal(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1001}]}, method="PUT")
    lab.put({"servers": [{"host": "127.0.0.1", "port": 1002}]}, name=n, method="POST")
    assert upstreams()[n]["cluster"][0]["servers"] == [{"host": "127.0.0.1", "port": 1002}]


def test_upstreams_shows_document_at_once(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1003, "weight": 2}]}, wait=False)
    assert upstreams()[n] == {"cluster": [{"servers": [{"host": "127.0.0.1", "port": 1003, "weight": 2}]}]}


def test_servers_form_becomes_one_level(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1004}], "enable": False, "mode": "ip_hash"})
    d = upstreams()[n]
    assert "servers" not in d
    assert d["enable"] is False and d["mode"] == "ip_hash"
    assert len(d["cluster"]) == 1


def test_servers_form_keeps_other_options(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1005}], "enable": False, "typ": "http"})
    lab.put({"servers": [{"host": "127.0.0.1", "port": 1006}]}, name=n)
    d = upstreams()[n]
    assert d["enable"] is False and d["typ"] == "http"
    assert d["cluster"][0]["servers"][0]["port"] == 1006


def test_cluster_form_replaces_whole_document(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1005}], "enable": False, "typ": "http"})
    doc = {"cluster": [{"servers": [{"host": "127.0.0.1", "port": 1007}]}], "timeout": 3}
    lab.put(doc, name=n)
    assert upstreams()[n] == doc


def test_unknown_option_is_kept(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1008}], "enable": False, "x_note": {"a": [1, 2]}})
    assert upstreams()[n]["x_note"] == {"a": [1, 2]}


def test_named_cluster_is_object_in_status(lab):
    doc = {"cluster": {"dc1": {"servers": [{"host": "127.0.0.1", "port": 1009}]},
                       "dc2": {"servers": [{"host": "127.0.0.1", "port": 1010}]}}, "enable": False}
    n = lab.put(doc)
    e = status()["cls:" + n]
    assert set(e) == {"dc1", "dc2"} and e["dc2"][0]["server"].endswith(":1010")


def test_delete_reply_and_effect(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1011}], "enable": False})
    r = admin("DELETE", "/upstream/" + n)
    assert (r.status, r.json) == (200, {"status": 200})
    assert n not in upstreams()
    wait_gone(n)


def test_delete_unknown():
    n = new_name()
    r = admin("DELETE", "/upstream/" + n)
    assert (r.status, r.json) == (400, {"status": 400, "msg": "upstream %s not found" % n})


def test_delete_twice(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1012}], "enable": False})
    assert admin("DELETE", "/upstream/" + n).status == 200
    assert admin("DELETE", "/upstream/" + n).json["msg"] == "upstream %s not found" % n


def test_readd_after_delete(lab):
    b, c = lab.backends(2)
    n = lab.put({"servers": [b.srv()]})
    assert harness.proxy(n).text == b.name
    admin("DELETE", "/upstream/" + n)
    wait_gone(n)
    assert harness.proxy(n).status == 502
    lab.put({"servers": [c.srv()]}, name=n)
    assert harness.proxy(n).text == c.name


def test_allowed_name_characters(lab):
    n = "Ab-9_x.%s" % new_name()
    lab.put({"servers": [{"host": "127.0.0.1", "port": 1013}], "enable": False}, name=n)
    assert n in upstreams()


# ---------------------------------------------------------------- refusals

REFUSED = [
    ("no body", None, "body too big"),
    ("empty body", "", "body too big"),
    ("open brace", "{", "decode body error"),
    ("trailing comma", '{"servers":[{"host":"127.0.0.1","port":1,}]}', "decode body error"),
    ("trailing text", GOOD % 1 + " x", "decode body error"),
    ("form encoded", "servers=127.0.0.1:80", "decode body error"),
    ("json false", "false", "decode body error"),
    ("json string", '"abc"', "body invalid"),
    ("empty list", "[]", "body invalid"),
    ("empty object", "{}", "body invalid"),
    ("servers null", '{"servers":null}', "body invalid"),
    ("servers string", '{"servers":"127.0.0.1:80"}', "body invalid"),
    ("cluster number", '{"cluster":5}', "body invalid"),
    ("servers empty", '{"servers":[]}', "servers invalid"),
    ("server is number", '{"servers":[1]}', "server must be a table"),
    ("server empty", '{"servers":[{}]}', "no server.host nor server.port found"),
    ("no port", '{"servers":[{"host":"127.0.0.1"}]}', "no server.host nor server.port found"),
    ("no host", '{"servers":[{"port":80}]}', "no server.host nor server.port found"),
    ("empty level", '{"cluster":[{}]}', "can not update empty level"),
    ("level without servers", '{"cluster":[{"servers":[]}]}', "servers invalid"),
    ("second level empty", '{"cluster":[{"servers":[{"host":"127.0.0.1","port":1}]},{}]}', "can not update empty level"),
    ("cluster junk beside servers", '{"cluster":"junk","servers":[{"host":"127.0.0.1","port":1}]}', "cluster invalid"),
]


@pytest.mark.parametrize("body,msg", [c[1:] for c in REFUSED], ids=[c[0].replace(" ", "-") for c in REFUSED])
def test_refused_document(body, msg):
    n = new_name("bad")
    r = admin("POST", "/upstream/" + n, body)
    assert r.status == 400
    assert r.json == {"status": 400, "msg": msg}
    assert n not in upstreams()


@pytest.mark.parametrize("body", ["null", "true", "123"])
def test_refused_scalar_does_no_harm(body):
    """The original answers 500 here; 400 is the better reply and equally accepted."""
    n = new_name("bad")
    assert admin("POST", "/upstream/" + n, body).status in (400, 500)
    assert n not in upstreams() and admin("GET", "/status").status == 200


def test_bad_update_keeps_old_document(lab):
    n = lab.put({"servers": [{"host": "127.0.0.1", "port": 1014}], "enable": False})
    before = upstreams()[n]
    assert admin("PUT", "/upstream/" + n, '{"servers":[{"host":"127.0.0.1"}]}').status == 400
    assert upstreams()[n] == before


@pytest.mark.parametrize("method", ["GET", "PATCH", "OPTIONS"])
def test_method_not_allowed_on_upstream(method):
    r = admin(method, "/upstream/whatever")
    assert (r.status, r.json) == (405, {"status": 405, "msg": "method not allowed"})


@pytest.mark.parametrize("path", ["/upstream", "/upstream/", "/upstream/a/b", "/upstream/a%20b", "/upstream/a?x=1",
                                  "/upstream/a:80", "/status/", "/status?x=1", "/upstreams/", "/luax", "/lua/a/b"])
def test_unknown_admin_path_is_400_empty_object(path):
    r = admin("GET", path)
    assert (r.status, r.body) == (400, b"{}")


def test_path_outside_api_is_404():
    assert admin("GET", "/nothing-here").status == 404


def test_body_over_limit_is_413(lab):
    n = new_name("big")
    pad = "x" * (1024 * 1024)
    r = admin("POST", "/upstream/" + n, '{"servers":[{"host":"127.0.0.1","port":1}],"pad":"%s"}' % pad)
    assert r.status == 413
    assert n not in upstreams()


def test_body_just_below_limit_is_accepted(lab):
    doc = {"servers": [{"host": "127.0.0.1", "port": 1}], "enable": False, "pad": ""}
    doc["pad"] = "x" * (1024 * 1024 - len(json.dumps(doc)) - 8)
    n = lab.put(doc)
    wait_listed(n, doc)


@pytest.mark.hardening
@pytest.mark.parametrize("port", ['"abc"', "0", "70000", "-1", "80.5", "null", "NaN"])
def test_hardening_port_out_of_range_is_refused(lab, port):
    n = new_name("hard")
    lab.names.append(n)
    assert admin("POST", "/upstream/" + n, '{"servers":[{"host":"127.0.0.1","port":%s}]}' % port).status == 400
    assert n not in upstreams()
    assert admin("GET", "/status").status == 200


@pytest.mark.parametrize("blob", [b"\xff\xfe\x00", b"\x00" * 64, bytes(range(1, 200)), b'{"servers":' + b"[" * 5000, b'"' + b"\xc3" * 20],
                         ids=["bom16", "zeros", "bytes", "deep", "broken-utf8"])
def test_binary_rubbish_is_refused(blob):
    n = new_name("hb")
    assert 400 <= admin("POST", "/upstream/" + n, blob).status < 500
    assert n not in upstreams() and admin("GET", "/status").status == 200


@pytest.mark.parametrize("path", ["/upstream/a*b", "/upstream/a%2eb", "/upstream/a,b", "/upstream/%20", "/upstream//x", "/upstream/x/",
                                  "/upstreams?all", "/lua/a%20b", "/lua/x?y", "/x/lua", "/upstreamx"])
def test_odd_paths(path):
    r = admin("POST", path, GOOD % 1)
    assert (r.status, r.body) == (400, b"{}")
