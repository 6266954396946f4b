"""Order and choice of peers."""
import json
import os
import urllib.parse

import pytest

import harness
from harness import assert_sequence, letters, picks, proxy

VECTORS = json.load(open(os.path.join(os.path.dirname(__file__), "vectors.json")))


# ------------------------------------------------------------------ weighted round robin

@pytest.mark.parametrize("weights,want", [
    ([None, None, None], "ABCABCABC"),
    ([1, 1], "ABABAB"),
    ([5, 1, 1], "AABACAAAABACAA"),
    ([1, 4, 3, 6], "DBCDBDACDBDCBDDBCDBDACDBDCBD"),
    ([3, 2], "ABABAABABA"),
    ([11, 22, 33], "CBACBCCBACBC"),
], ids=lambda v: "-".join(map(str, v)) if isinstance(v, list) else None)
def test_weighted_order(lab, weights, want):
    bs = lab.backends(len(weights))
    n = lab.put({"servers": [b.srv(**({"weight": w} if w else {})) for b, w in zip(bs, weights)]})
    assert_sequence(picks(n, len(want)), bs, want)


def test_share_by_weight_over_many_requests(lab):
    bs = lab.backends(3)
    n = lab.put({"servers": [bs[0].srv(weight=2), bs[1].srv(weight=3), bs[2].srv(weight=5)]})
    s = letters(picks(n, 200), bs)
    assert abs(s.count("A") - 40) <= 4 and abs(s.count("B") - 60) <= 4 and abs(s.count("C") - 100) <= 4


def test_single_server_always_used(lab):
    b = lab.backend()
    n = lab.put({"servers": [b.srv(weight=7)]})
    assert set(picks(n, 4)) == {b.name}


def test_order_restarts_after_update(lab):
    """Grow 1 -> 2 -> 4 servers: each update starts a fresh rotation."""
    bs = lab.backends(4)
    n = lab.put({"servers": [bs[0].srv()]})
    assert letters(picks(n, 2), bs) == "AA"
    lab.put({"servers": [b.srv() for b in bs[:2]]}, name=n)
    assert_sequence(picks(n, 3), bs, "ABA")
    lab.put({"servers": [b.srv() for b in bs]}, name=n)
    assert_sequence(picks(n, 6), bs, "ABCDAB")


def test_order_follows_list_order(lab):
    bs = lab.backends(3)
    n = lab.put({"servers": [b.srv() for b in (bs[2], bs[0], bs[1])]})
    assert_sequence(picks(n, 6), bs, "CABCAB")


def test_explicit_rr_mode(lab):
    bs = lab.backends(2)
    n = lab.put({"servers": [b.srv() for b in bs], "mode": "rr"})
    assert_sequence(picks(n, 4, "/same"), bs, "ABAB")


def test_only_first_level_used_while_healthy(lab):
    bs = lab.backends(4)
    n = lab.put({"cluster": [{"servers": [bs[0].srv(), bs[1].srv()]}, {"servers": [bs[2].srv(), bs[3].srv()]}]})
    harness.wait_checked(n)
    assert_sequence(picks(n, 6), bs, "ABABAB")


# ------------------------------------------------------------------ consistent hash

def ring(lab, tag, **kw):
    v = VECTORS[tag]
    bs = [lab.backend(host=s["host"], port=s["port"]) for s in v["servers"]]
    n = lab.put(dict({"servers": v["servers"], "enable": False}, **kw))
    return v, bs, n


@pytest.mark.parametrize("tag", ["P", "Pw"])
@pytest.mark.parametrize("mode", ["hash", "url_hash"])
def test_uri_hash_vectors(lab, tag, mode):
    v, bs, n = ring(lab, tag, mode=mode)
    wrong = []
    for c in v["uri"]:
        got = proxy(n, urllib.parse.quote(c["key"], safe="/~+,;=")).headers["x-backend"]
        if got != bs[c["pick"]].name:
            wrong.append((c["key"], got, bs[c["pick"]].name))
    assert not wrong


def test_ip_hash_vectors(lab):
    v, bs, n = ring(lab, "P", mode="ip_hash")
    tried = 0
    for c in v["ip"]:
        if c["key"].startswith("127."):
            assert proxy(n, "/x%d" % tried, src=c["key"]).headers["x-backend"] == bs[c["pick"]].name, c
            tried += 1
    assert tried >= 6


def test_header_hash_vectors(lab):
    v, bs, n = ring(lab, "P", mode="header_hash")
    for c in v["header"]:
        if c["key"].isascii():
            assert proxy(n, "/", headers={"X-Hash-Key": c["key"]}).headers["x-backend"] == bs[c["pick"]].name, c
    for c in v["uri"][:6]:                        # falls back to the path without the header
        assert proxy(n, c["key"]).headers["x-backend"] == bs[c["pick"]].name, c


def test_query_string_does_not_matter(lab):
    v, bs, n = ring(lab, "P", mode="url_hash")
    got = {proxy(n, "/images/2016/08/12/photo-001.jpg?v=%d" % i).text for i in range(6)}
    assert got == {bs[next(c["pick"] for c in v["uri"] if c["key"].endswith("photo-001.jpg"))].name}


def test_same_key_sticks(lab):
    v, bs, n = ring(lab, "P", mode="hash")
    for key in ("/ab", "/abc", "/static/js/app.min.js"):
        assert len(set(picks(n, 5, key))) == 1


def test_weight_sum_of_ring_is_shared(lab):
    """Weights only change how many points every member gets, so the two rings differ per key, not in bias."""
    a = [c["pick"] for c in VECTORS["P"]["uri"]]
    b = [c["pick"] for c in VECTORS["Pw"]["uri"]]
    assert a != b and len(a) == len(b)


def test_switch_between_rr_and_hash(lab):
    """Rotation, then hash by document, then servers-only update keeps the hash mode."""
    v = VECTORS["P"]
    bs = [lab.backend(host=s["host"], port=s["port"]) for s in v["servers"]]
    srv = v["servers"]
    n = lab.put({"cluster": [{"servers": srv}]})
    assert_sequence(picks(n, 4, "/ab"), bs, "ABCA")
    lab.put({"cluster": [{"servers": srv}], "mode": "hash"}, name=n)
    assert len(set(picks(n, 4, "/ab"))) == 1
    lab.put({"servers": srv[:2]}, name=n)
    assert len(set(picks(n, 4, "/ab"))) == 1
    lab.put({"cluster": [{"servers": srv[:2]}]}, name=n)
    assert_sequence(picks(n, 4, "/ab"), bs, "ABAB")


def test_hash_moves_only_keys_of_the_failed_peer(lab):
    v = VECTORS["P"]
    bs = [lab.backend(host=s["host"], port=s["port"]) for s in v["servers"]]
    n = lab.put({"servers": v["servers"], "mode": "url_hash"})
    harness.wait_checked(n)
    bs[1].down()
    harness.wait_verdicts(n, ["ok", "err", "ok"])
    for c in v["uri"]:
        if not c["key"].isascii() or " " in c["key"]:
            continue
        want = next(i for i in c["order"] if i != 1)
        assert proxy(n, c["key"]).headers["x-backend"] == bs[want].name, c
