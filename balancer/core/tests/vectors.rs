//! The sequences and rings of the original, pick by pick and point by point.

use serde_json::Value;

use hancock_balancer_core::ring::{Ring, hash};
use hancock_balancer_core::wrr::Rotation;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).expect("vectors.json is JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Which server is down at which pick (counted from 1), as the notes of the vectors tell.
fn is_up(name: &str, server: usize, pick: usize) -> bool {
    match name {
        "first-down" => server != 0,
        "second-down" => server != 1,
        "down-for-picks-4-to-8" => server != 0 || !(4..=8).contains(&pick),
        "all-down" | "single-down" => false,
        _ => true,
    }
}

#[test]
fn rotations_are_the_originals() {
    let vectors = vectors();
    let mut checked = 0;
    for case in list(&vectors, "round_robin") {
        let name = case["name"].as_str().expect("a name");
        // Only a library call degrades weights after failures; a proxy reports its picks as successes.
        if name == "library-degrade" {
            continue;
        }
        let weights: Vec<f64> = list(case, "weights")
            .iter()
            .map(|w| w.as_f64().unwrap_or(1.0))
            .collect();
        let mut rotation = Rotation::new(weights.len());
        let picks = list(case, "picks").iter().enumerate();
        for (at, expected) in picks {
            let got = rotation.next(|s| weights[s], |s| is_up(name, s, at + 1));
            let got = got.map_or(-1, |s| s as i64);
            assert_eq!(Some(got), expected.as_i64(), "{name}, pick {}", at + 1);
        }
        checked += 1;
    }
    assert_eq!(checked, 21);
}

#[test]
fn hashes_are_the_originals() {
    for pair in list(&vectors(), "hash_values") {
        let text = pair[0].as_str().expect("a text");
        assert_eq!(
            Some(u64::from(hash(text.as_bytes()))),
            pair[1].as_u64(),
            "{text:?}"
        );
    }
}

#[test]
fn rings_are_the_originals() {
    let vectors = vectors();
    for case in list(&vectors, "consistent_hash") {
        let name = case["name"].as_str().expect("a name");
        let servers: Vec<(String, f64)> = list(case, "servers")
            .iter()
            .map(|s| {
                let host = s["host"].as_str().expect("a host");
                (
                    format!("{host}:{}", s["port"]),
                    s["weight"].as_f64().unwrap_or(1.0),
                )
            })
            .collect();
        let ring = Ring::new(
            servers
                .iter()
                .map(|(text, weight)| (text.as_str(), *weight)),
        );
        check_points(name, case, &ring);
        for key in list(case, "cases") {
            let text = key["key"].as_str().expect("a key");
            let order: Vec<u64> = list(key, "order")
                .iter()
                .filter_map(Value::as_u64)
                .collect();
            assert_eq!(
                preference(&ring, servers.len(), text),
                order,
                "{name}, key {text:?}"
            );
        }
    }
}

fn check_points(name: &str, case: &Value, ring: &Ring) {
    let points = ring.points();
    assert_eq!(
        Some(points.len() as u64),
        case["points_total"].as_u64(),
        "{name}"
    );
    let values =
        |list: &[Value]| -> Vec<u64> { list.iter().filter_map(|p| p[0].as_u64()).collect() };
    let lowest = values(list(case, "lowest_points"));
    let got: Vec<u64> = points
        .iter()
        .take(lowest.len())
        .map(|p| u64::from(p.0))
        .collect();
    assert_eq!(got, lowest, "{name}");
    let highest = values(list(case, "highest_points"));
    let tail = &points[points.len() - highest.len()..];
    let got: Vec<u64> = tail.iter().map(|p| u64::from(p.0)).collect();
    assert_eq!(got, highest, "{name}");
}

/// The full order of preference: each found server is taken out for the next look.
fn preference(ring: &Ring, servers: usize, key: &str) -> Vec<u64> {
    let mut order = Vec::new();
    while order.len() < servers {
        let found = ring.find(hash(key.as_bytes()), |s| !order.contains(&(s as u64)));
        order.push(found.expect("one is left") as u64);
    }
    order
}
