//! The fewest open requests and sessions per unit of weight; among equals the rotation decides, so that nothing piles up on the first one
//! of a quiet list. The rule of nginx's `least_conn`.

use std::sync::{Mutex, PoisonError};

use crate::wrr::Rotation;

/// The next server among the available ones. One without weight is chosen when there is no other.
pub fn choose(
    rotation: &Mutex<Rotation>,
    servers: usize,
    weight: impl Fn(usize) -> f64,
    open: impl Fn(usize) -> u64,
    available: impl Fn(usize) -> bool,
) -> Option<usize> {
    let burden = |server| burden(open(server), weight(server));
    let candidates = (0..servers).filter(|s| available(*s));
    let burdens = candidates.map(|s| (burden(s), s));
    let (least, first) = burdens.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let mut rotation = rotation.lock().unwrap_or_else(PoisonError::into_inner);
    let equal = rotation.next(&weight, |s| available(s) && burden(s) <= least);
    // Others may have been faster, and no burden is as small any more.
    equal.or(Some(first))
}

fn burden(open: u64, weight: f64) -> f64 {
    if weight > 0.0 {
        open as f64 / weight
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next(weights: &[f64], open: &[u64], rotation: &Mutex<Rotation>) -> Option<usize> {
        choose(
            rotation,
            weights.len(),
            |s| weights[s],
            |s| open[s],
            |_| true,
        )
    }

    fn rotation(servers: usize) -> Mutex<Rotation> {
        Mutex::new(Rotation::new(servers))
    }

    #[test]
    fn equals_take_turns_by_weight() {
        let (weights, rotation) = ([5.0, 1.0, 1.0], rotation(3));
        let quiet: Vec<_> = (0..7)
            .filter_map(|_| next(&weights, &[0; 3], &rotation))
            .collect();
        assert_eq!(quiet, [0, 0, 1, 0, 2, 0, 0], "the smooth sequence");
    }

    #[test]
    fn weights_count_and_none_is_the_last_resort() {
        let rotation = rotation(3);
        let weights = [2.0, 1.0, 0.0];
        assert_eq!(next(&weights, &[3, 2, 0], &rotation), Some(0));
        assert_eq!(next(&weights, &[5, 2, 0], &rotation), Some(1));
        let last = choose(&rotation, 3, |s| weights[s], |_| 0, |s| s == 2);
        assert_eq!(last, Some(2));
        assert_eq!(choose(&rotation, 3, |_| 1.0, |_| 0, |_| false), None);
    }

    proptest! {
        /// Nobody with less on it per weight was available.
        #[test]
        fn the_least_is_chosen(
            servers in proptest::collection::vec((0u32..5, 0u64..6, any::<bool>()), 1..12),
        ) {
            let weight = |s: usize| f64::from(servers[s].0);
            let open = |s: usize| servers[s].1;
            let up = |s: usize| servers[s].2;
            let chosen = choose(&rotation(servers.len()), servers.len(), weight, open, up);
            prop_assert_eq!(chosen.is_some(), servers.iter().any(|s| s.2));
            if let Some(chosen) = chosen {
                prop_assert!(up(chosen));
                let mine = burden(open(chosen), weight(chosen));
                prop_assert!((0..servers.len()).filter(|s| up(*s)).all(|s| burden(open(s), weight(s)) >= mine));
            }
        }

        /// Requests that stay open end up spread by weight, to one request.
        #[test]
        fn what_stays_open_is_spread_by_weight(weights in proptest::collection::vec(1u32..10, 2..8), rounds in 1u64..20) {
            let total: u32 = weights.iter().sum();
            let mut open = vec![0u64; weights.len()];
            let rotation = rotation(weights.len());
            for _ in 0..rounds * u64::from(total) {
                let at = choose(&rotation, weights.len(), |s| f64::from(weights[s]), |s| open[s], |_| true);
                open[at.expect("all are available")] += 1;
            }
            let fair: Vec<u64> = weights.iter().map(|w| rounds * u64::from(*w)).collect();
            prop_assert_eq!(open, fair);
        }
    }
}
