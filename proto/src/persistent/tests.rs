//! They behave as the standard library's do, as values and as data; and a clone is not changed by what is done to the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{Map, Recent, Set};

#[derive(Debug, Clone)]
enum Deed {
    Insert(u8, u16),
    Remove(u8),
    Edit(u8, u16),
    Keep(u16),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (any::<u8>(), any::<u16>()).prop_map(|(k, v)| Deed::Insert(k, v)),
        2 => any::<u8>().prop_map(Deed::Remove),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(k, v)| Deed::Edit(k, v)),
        1 => any::<u16>().prop_map(Deed::Keep),
    ];
    prop::collection::vec(deed, 0..200)
}

fn carry_out(deed: &Deed, map: &mut Map<u8, u16>, model: &mut BTreeMap<u8, u16>) {
    match *deed {
        Deed::Insert(key, value) => {
            map.insert(key, value);
            model.insert(key, value);
        }
        Deed::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key)),
        Deed::Edit(key, value) => {
            map.get_mut(&key).into_iter().for_each(|have| *have = value);
            model
                .get_mut(&key)
                .into_iter()
                .for_each(|have| *have = value);
        }
        Deed::Keep(most) => {
            map.retain(|_, value| *value <= most);
            model.retain(|_, value| *value <= most);
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

proptest! {
    #[test]
    fn a_map_is_a_map(deeds in deeds(), from: u8) {
        let (mut map, mut model) = (Map::new(), BTreeMap::new());
        for deed in &deeds {
            let (before, was) = (map.clone(), model.clone());
            carry_out(deed, &mut map, &mut model);
            prop_assert!(map.iter().eq(model.iter()) && map.len() == model.len());
            prop_assert!(before.iter().eq(was.iter()), "the clone stays as it was");
        }
        prop_assert!(map.range(from..).eq(model.range(from..)));
        prop_assert_eq!(json(&map), json(&model));
        prop_assert_eq!(&serde_json::from_str::<Map<u8, u16>>(&json(&model)).unwrap(), &map);
        let set: Set<u8> = map.keys().copied().collect();
        let keys: BTreeSet<u8> = model.keys().copied().collect();
        prop_assert_eq!(json(&set), json(&keys));
        prop_assert_eq!(serde_json::from_str::<Set<u8>>(&json(&keys)).unwrap(), set);
    }

    #[test]
    fn the_newest_are_kept_in_order(items: Vec<u16>, most in 0..20_usize) {
        let (mut recent, mut model) = (Recent::default(), VecDeque::new());
        for item in items {
            recent.push(item);
            model.push_back(item);
            let gone = if model.len() > most { model.pop_front() } else { None };
            prop_assert_eq!(recent.excess(most), gone);
        }
        prop_assert!(recent.iter().rev().eq(model.iter().rev()));
        prop_assert_eq!(json(&recent), json(&model));
        prop_assert_eq!(serde_json::from_str::<Recent<u16>>(&json(&model)).unwrap(), recent);
    }
}
