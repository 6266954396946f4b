#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use hancock_proto::ports::PortRange;
use hancock_proto::resources::{NodeInfo, Offer, Usage};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::super::writers::Writers;
use super::*;

/// Ports are drawn from so few that they meet.
const HIGHEST: u16 = 60;

fn info(ports: PortSet) -> NodeInfo {
    let info = serde_json::json!({
        "node": "n1", "hostname": "n1", "address": "10.0.0.1", "capacity": {"cpu": 1.0, "memory": "1GiB", "disk": "0B"},
        "ports": ports, "runtime": "process", "arch": "x86_64", "version": "0",
    });
    serde_json::from_value(info).unwrap()
}

fn slot<'a>(info: &'a NodeInfo, offer: &'a Offer, skipped: u32) -> Slot<'a> {
    Slot {
        info,
        skipped,
        alive: true,
        lost: false,
        used: Usage::default(),
        taken: BTreeMap::new(),
        released: BTreeMap::new(),
        total: 0,
        per_app: BTreeMap::new(),
        failed: BTreeMap::new(),
        offer: Some(offer),
        writers: Writers::default(),
    }
}

fn sets() -> impl Strategy<Value = PortSet> {
    let range = (1..=HIGHEST, 0..6_u16).prop_map(|(first, more)| PortRange {
        first,
        last: first + more,
    });
    vec(range, 1..6).prop_map(|ranges| ranges.into_iter().collect())
}

proptest! {
    /// Until none is left every choice is of the set and free, and never one released later than another that would do.
    #[test]
    fn whatever_is_chosen_is_of_the_set_and_free(
        ports in sets(),
        in_use in btree_set(1..=HIGHEST, 0..20),
        released in vec((1..=HIGHEST, 0..50_u64, any::<bool>()), 0..20),
        counts in vec(1..4_u16, 1..30),
        skipped in 0..80_u32,
    ) {
        let info = info(ports.clone());
        let offer = Offer { ports_in_use: in_use, ..Offer::default() };
        let mut slot = slot(&info, &offer, skipped % ports.len());
        slot.released = released.into_iter().map(|(port, at, used)| (port, (Timestamp(at), used))).collect();
        let mut mine = BTreeSet::new();
        for count in counts {
            let free = |port: u16| ports.contains(port) && !mine.contains(&port) && held(&slot, port).is_none();
            let fits = |first: u16| (first..first + count).all(free);
            let age = |first: u16| (first..first + count).filter_map(|p| Some(slot.released.get(&p)?.0)).max();
            let candidates: Vec<u16> = (1..=HIGHEST + 6).filter(|first| fits(*first)).collect();
            match pick(&slot, &mine, count) {
                Ok(first) => {
                    prop_assert!(candidates.contains(&first), "{first} of {ports}");
                    prop_assert_eq!(age(first), candidates.into_iter().map(age).min().unwrap());
                    mine.extend(first..first + count);
                }
                Err(misfit) => {
                    prop_assert!(candidates.is_empty(), "{misfit}: {candidates:?}");
                    prop_assert_eq!(misfit, Misfit::NoPort { count, of: ports.brief() });
                }
            }
        }
    }
}
