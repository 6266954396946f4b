"""More orders and choices: odd weights, many levels, rings under odd keys, retries and bans with other numbers."""
import time

import pytest

import harness
from harness import assert_sequence, letters, picks, proxy
from more import RawOrigin, ok
from test_balance import VECTORS, ring

OFF = {"enable": False}


@pytest.mark.parametrize("weights,want", [
    ([4, 2, 1], "ABACABAABACABA"), ([9, 1], "AAAAABAAAAAAAAABAAAA"), ([1, 2, 4, 8], "DCDBDCDADCDBDCD"), ([3, 0, 1], "AACAAACA"),
    ([0.5, 0.5], "ABABAB"), ([2.5, 1.25], "ABAABA"), ([1000000, 1], "AAAAAAAA"), ([0, 1], "BBBB"), ([7], "AAA"), ([1, 1, 1, 1, 1], "ABCDEABCDE"),
    ([0.25, 0.75], "BABBBABB"),
], ids=str)
def test_more_orders(lab, weights, want):
    bs = lab.backends(len(weights))
    n = lab.put(dict({"cluster": [{"servers": [b.srv(weight=w) for b, w in zip(bs, weights)]}]}, **OFF))
    assert_sequence(picks(n, len(want)), bs, want)


def test_an_address_listed_twice_counts_twice(lab):
    a, b = lab.backends(2)
    n = lab.put(dict({"servers": [a.srv(), b.srv(), a.srv()]}, **OFF))
    assert_sequence(picks(n, 6), [a, b], "ABAABA")


def test_weight_zero_serves_when_nobody_else_does(lab):
    dead, spare = lab.backend(up=False), lab.backend()
    n = lab.put({"servers": [dead.srv(weight=5), spare.srv(weight=0)]})
    harness.wait_verdicts(n, ["err", "ok"])
    assert set(picks(n, 4)) == {spare.name}


def test_unrelated_changes_leave_the_order_alone(lab):
    if not harness.HARDENING or harness.WORKERS > 1:
        pytest.skip("the original starts all orders anew")
    a, b, c = lab.backends(3)
    n = lab.put(dict({"servers": [a.srv(), b.srv(), c.srv()]}, **OFF))
    assert_sequence(picks(n, 2), [a, b, c], "AB")
    lab.put(dict({"servers": [a.srv()]}, **OFF))
    assert_sequence(picks(n, 2), [a, b, c], "CA")


def test_many_levels_in_order(lab):
    dead = [lab.backend(up=False) for _ in range(4)]
    last = lab.backend()
    n = lab.put({"cluster": [{"servers": [d.srv()]} for d in dead] + [{"servers": [last.srv()]}]})
    harness.wait_verdicts(n, ["err"] * 4 + ["ok"])
    assert set(picks(n, 3)) == {last.name}


def test_named_levels_in_the_order_of_the_document(lab):
    bs = lab.backends(4)
    names = ["zeta", "alpha", "mid", "beta"]
    n = lab.put(dict({"cluster": {k: {"servers": [b.srv()]} for k, b in zip(names, bs)}}, **OFF))
    assert set(picks(n, 3)) == {bs[0].name} if harness.HARDENING else picks(n, 1)[0] in {b.name for b in bs}


@pytest.mark.parametrize("mode", ["url_hash", "hash", "something-else", "RR", "rr "])
def test_words_that_hash_the_path(lab, mode):
    v, bs, n = ring(lab, "P", mode=mode)
    for c in [c for c in v["uri"] if c["key"].isascii() and " " not in c["key"]][:4]:
        assert proxy(n, c["key"]).headers["x-backend"] == bs[c["pick"]].name, c


@pytest.mark.parametrize("mode", ["", "rr"])
def test_words_that_rotate(lab, mode):
    a, b = lab.backends(2)
    n = lab.put(dict({"servers": [a.srv(), b.srv()], "mode": mode}, **OFF))
    assert_sequence(picks(n, 4, "/same"), [a, b], "ABAB")


def spelt(key):
    """One path in many spellings."""
    body = key.strip("/").split("/")
    return ["/" + "//".join(body), "/./" + "/".join(body), "/x/../" + "/".join(body), key + "?a=/other", key + "?",
            "/" + "/".join("".join("%%%02x" % ord(ch) for ch in part) for part in body), "//" + "/".join(body)]


def test_all_spellings_of_a_path_are_one_key(lab):
    v, bs, n = ring(lab, "P", mode="url_hash")
    for c in [c for c in v["uri"] if c["key"].isascii() and " " not in c["key"] and not c["key"].endswith("/") and "." not in c["key"]][:5]:
        for target in spelt(c["key"]):
            assert proxy(n, target).headers["x-backend"] == bs[c["pick"]].name, (c["key"], target)


def test_methods_and_bodies_are_no_part_of_the_key(lab):
    v, bs, n = ring(lab, "Pw", mode="hash")
    c = next(c for c in v["uri"] if c["key"].isascii() and " " not in c["key"])
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert proxy(n, c["key"], method=method, body="x").headers["x-backend"] == bs[c["pick"]].name


def test_header_hash_of_an_empty_value_is_not_the_path(lab):
    v, bs, n = ring(lab, "P", mode="header_hash")
    keys = [c["key"] for c in v["uri"] if c["key"].isascii() and " " not in c["key"]]
    assert len({proxy(n, k, headers={"X-Hash-Key": ""}).headers["x-backend"] for k in keys}) == 1
    assert len({proxy(n, k).headers["x-backend"] for k in keys}) > 1


def test_ip_hash_does_not_believe_forwarders(lab):
    v, bs, n = ring(lab, "P", mode="ip_hash")
    c = next(c for c in v["ip"] if c["key"].startswith("127."))
    for told in ("9.9.9.9", "1.2.3.4, 5.6.7.8"):
        assert proxy(n, "/x", src=c["key"], headers={"X-Forwarded-For": told}).headers["x-backend"] == bs[c["pick"]].name


def test_order_of_the_list_is_no_part_of_a_ring(lab):
    v = VECTORS["P"]
    bs = [lab.backend(host=s["host"], port=s["port"]) for s in v["servers"]]
    n = lab.put(dict({"servers": v["servers"][::-1], "mode": "hash"}, **OFF))
    for c in [c for c in v["uri"] if c["key"].isascii() and " " not in c["key"]][:8]:
        assert proxy(n, c["key"]).headers["x-backend"] == bs[c["pick"]].name


# ------------------------------------------------------------------ retries and bans

@pytest.mark.hardening
@pytest.mark.parametrize("mode", ["rr", "url_hash", "ip_hash"])
def test_a_retry_asks_somebody_else(lab, mode):
    bad, good = lab.backends(2)
    bad.mode = "close"
    n = lab.put(dict({"servers": [bad.srv(weight=5), good.srv(weight=1)], "mode": mode}, **OFF))
    assert set(picks(n, 12, "/r")) == {good.name}


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
def test_what_must_not_be_sent_twice(lab, method):
    bad, good = lab.backends(2)
    bad.mode = "close"
    n = lab.put(dict({"servers": [bad.srv(), good.srv()]}, **OFF))
    got = [proxy(n, "/%d" % i, method=method, body="b").status for i in range(4)]
    assert sorted(got) == [200, 200, 502, 502] and bad.hits() + good.hits() == 4
    bad.mode, bad.code = "ok", 502
    got = [(r.status, r.text) for r in (proxy(n, "/x", method=method, body="b") for _ in range(4))]
    assert sorted(got) == sorted([(200, good.name), (502, bad.name)] * 2)


@pytest.mark.parametrize("method", ["PROPFIND", "FOO", "MKCOL", "UNLOCK"])
def test_every_other_method_is_sent_again(lab, method):
    bad, good = lab.backends(2)
    bad.mode = "close"
    n = lab.put(dict({"servers": [bad.srv(), good.srv()]}, **OFF))
    assert [proxy(n, "/", method=method, body="again").status for _ in range(4)] == [200] * 4
    assert all(body == b"again" for _, body in good.seen)


def test_a_large_body_is_sent_again_in_full(lab):
    bad, good = lab.backend(), lab.peer(RawOrigin(lambda head, body: ok(b"%d" % len(body))))
    bad.mode = "close"
    n = lab.put(dict({"servers": [bad.srv(), good.srv()]}, **OFF))
    body = b"0123456789" * 3000
    got = [proxy(n, "/big", method="PUT", body=body) for _ in range(4)]
    assert [(r.status, r.text) for r in got] == [(200, "30000")] * 4


def test_an_answer_that_breaks_off_is_not_repeated(lab):
    half = lab.peer(RawOrigin(lambda head, body: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", last=True))
    other = lab.backend()
    n = lab.put(dict({"servers": [half.srv(), other.srv()]}, **OFF))
    out = harness.raw(harness.PROXY, b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % n.encode())
    assert out.endswith(b"half") and not other.hits()


def test_garbage_is_a_502_from_the_proxy(lab):
    rubbish = lab.peer(RawOrigin(lambda head, body: b"SSH-2.0-what\r\n\r\n", last=True))
    n = lab.put(dict({"servers": [rubbish.srv()]}, **OFF))
    assert proxy(n).status == 502


@pytest.mark.parametrize("failure", ["code", "close", "down"])
def test_every_failure_counts_towards_a_ban(lab, failure):
    bad, good = lab.backends(2)
    n = lab.put(dict({"servers": [bad.srv(max_fails=2, fail_timeout=30), good.srv()]}, **OFF))
    if failure == "code":
        bad.code = 502
    elif failure == "close":
        bad.mode = "close"
    else:
        bad.down()
    assert set(picks(n, 10)) == {good.name}
    bad.code, bad.mode = 200, "ok"
    bad.up()
    hits = bad.hits()
    assert set(picks(n, 6)) == {good.name} and bad.hits() == hits      # left alone, though it is well again


def test_success_does_not_take_failures_back(lab):
    bad, good = lab.backends(2)
    n = lab.put(dict({"servers": [bad.srv(max_fails=2, fail_timeout=30), good.srv()]}, **OFF))
    for mode in ("close", "ok", "close"):
        bad.mode = mode
        picks(n, 2)
    bad.mode = "ok"
    assert set(picks(n, 6)) == {good.name}


def test_a_ban_survives_an_update_and_ends_with_its_window(lab):
    bad, good = lab.backends(2)
    bad.mode = "close"
    servers = [bad.srv(max_fails=1, fail_timeout=3), good.srv()]
    n = lab.put(dict({"servers": servers}, **OFF))
    began = time.monotonic()
    picks(n, 2)
    bad.mode = "ok"
    lab.put(dict({"servers": servers + [good.srv(weight=2)]}, **OFF), name=n)
    assert set(picks(n, 5)) == {good.name}
    assert harness.until(lambda: bad.name in picks(n, 4), 5, 0.1) and time.monotonic() - began >= 2.5


def test_bans_belong_to_a_name(lab):
    bad, good = lab.backends(2)
    bad.mode = "close"
    doc = dict({"servers": [bad.srv(max_fails=1, fail_timeout=30), good.srv()]}, **OFF)
    n, other = lab.put(doc), lab.put(doc)
    picks(n, 4)
    bad.mode = "ok"
    assert set(picks(n, 4)) == {good.name}
    assert letters(picks(other, 2), [bad, good]) == "AB"


def test_bans_work_beside_checks(lab):
    bad, good = lab.backends(2)
    bad.mode = "close"                      # connects well, so checks like it
    n = lab.put({"servers": [bad.srv(max_fails=1, fail_timeout=30), good.srv()]})
    harness.wait_checked(n)
    assert set(picks(n, 8)) == {good.name} and bad.hits() <= harness.WORKERS
    assert harness.verdicts(n) == ["ok", "ok"]
