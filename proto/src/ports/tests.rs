#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use serde_json::json;

use super::*;

fn set(text: &str) -> PortSet {
    let pieces = text.split(',').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| piece.parse::<PortRange>().unwrap())
        .collect()
}

#[test]
fn ranges_read_and_print() {
    for (text, first, last) in [
        ("8080", 8080, 8080),
        ("20000-24999", 20_000, 24_999),
        (" 1 - 65535 ", 1, 65_535),
    ] {
        assert_eq!(text.parse(), Ok(PortRange { first, last }));
    }
    for bad in [
        "",
        "0",
        "0-5",
        "9-1",
        "a",
        "1-",
        "-1",
        "1-2-3",
        "65536",
        "8080 8443",
    ] {
        let error = bad.parse::<PortRange>().unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn what_overlaps_or_touches_is_one_range() {
    for (given, told, ports) in [
        ("20000-24999,8443,8080", "8080,8443,20000-24999", 5002),
        ("1-5,3-9,9,10", "1-10", 10),
        ("5,5,5", "5", 1),
        ("65535,1-65534", "1-65535", 65_535),
        ("7-9,1-20", "1-20", 20),
        ("", "", 0),
    ] {
        let set = set(given);
        assert_eq!((set.to_string(), set.len()), (told.to_owned(), ports));
        assert_eq!(set.is_empty(), ports == 0);
    }
    let none = [(9, 1), (0, 0)].map(|(first, last)| PortRange { first, last });
    assert!(none.into_iter().collect::<PortSet>().is_empty());
}

#[test]
fn a_walk_begins_anywhere_and_goes_around() {
    let set = set("10-12,20,30-31");
    for (skipped, walk) in [
        (0, [10, 11, 12, 20, 30, 31]),
        (2, [12, 20, 30, 31, 10, 11]),
        (3, [20, 30, 31, 10, 11, 12]),
        (5, [31, 10, 11, 12, 20, 30]),
        (6, [10, 11, 12, 20, 30, 31]),
        (u32::MAX, [10, 11, 12, 20, 30, 31]),
    ] {
        assert_eq!(set.turned(skipped).collect::<Vec<_>>(), walk, "{skipped}");
    }
    assert_eq!(PortSet::default().turned(3).next(), None);
    let whole: PortSet = "1-65535".parse::<PortRange>().unwrap().into();
    assert_eq!(
        whole.turned(65_534).take(2).collect::<Vec<_>>(),
        [65_535, 1]
    );
}

#[test]
fn a_long_one_is_told_briefly() {
    let long: PortSet = (1..=20).map(|n| n * 10).collect();
    assert_eq!(long.brief(), "10,20,30,40,50,60,70,80 and 12 more");
    assert_eq!(set("8080,1-3").brief(), "1-3,8080");
}

/// What was written before there were sets, and what those who know of none make of one.
#[test]
fn one_range_is_written_as_ever_and_of_several_the_widest_is_read() {
    let old = json!({"first": 20000, "last": 29999});
    let one: PortSet = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(one, set("20000-29999"));
    assert_eq!(serde_json::to_value(&one).unwrap(), old);
    let several = serde_json::to_value(set("8080,8443,20000-24999")).unwrap();
    let more = [8080, 8443].map(|port| json!({"first": port, "last": port}));
    assert_eq!(
        several,
        json!({"first": 20000, "last": 24999, "more": more})
    );
    let read: PortRange = serde_json::from_value(several).unwrap();
    assert_eq!(read.to_string(), "20000-24999");
    let none = serde_json::to_value(PortSet::default()).unwrap();
    assert_eq!(none, json!({"first": 1, "last": 0}));
}

fn any_range() -> impl Strategy<Value = PortRange> {
    (any::<u16>(), 0..400_u16).prop_map(|(first, more)| PortRange {
        first,
        last: first.saturating_add(more),
    })
}

proptest! {
    /// Everything a set tells is what the plain collection of its ports tells.
    #[test]
    fn it_is_the_set_of_its_ports(
        given in vec(any_range(), 0..12), range in any_range(), skipped in any::<u32>()
    ) {
        let plain: BTreeSet<u16> = given.iter().flat_map(|r| r.each()).filter(|p| *p > 0).collect();
        let set: PortSet = given.into_iter().collect();
        let ports = |set: &PortSet| set.turned(0).collect::<Vec<_>>();
        prop_assert_eq!(ports(&set), plain.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(set.len() as usize, plain.len());
        prop_assert_eq!(set.last(), plain.last().copied());
        let (inside, outside): (Vec<u16>, Vec<u16>) = plain.iter().partition(|p| range.each().contains(p));
        prop_assert_eq!(ports(&set.within(range)), inside);
        prop_assert_eq!(ports(&set.without(range)), outside);
        for port in plain.iter().copied().flat_map(|p| [p - 1, p, p.saturating_add(1)]) {
            prop_assert_eq!(set.contains(port), plain.contains(&port), "{}", port);
        }
        let skipped = skipped % set.len().max(1);
        let mut turned = ports(&set);
        turned.rotate_left(skipped as usize);
        prop_assert_eq!(set.turned(skipped).collect::<Vec<_>>(), turned);
        let written = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(serde_json::from_str::<PortSet>(&written).unwrap(), set.clone());
        let one_by_one: PortSet = plain.into_iter().collect();
        prop_assert_eq!(one_by_one, set);
    }
}
