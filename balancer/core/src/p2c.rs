//! Power of two choices: two peers are drawn at random, the better one is taken. Two are enough to avoid the worst, and so few that many
//! balancers do not all run to the best one at once.
//!
//! Better is who costs less: latency × (1 + open / share), as in Finagle and tower ([`crate::latency`]). Peers are drawn by weight, and
//! what is open counts relative to it, so equally fast peers get requests by weight.

use crate::key::mix;

/// Draws before the available ones are counted out.
const DRAWS: usize = 4;
/// Microseconds a peer counts with that has a request open and has never answered: one request at a time until it has.
const UNKNOWN: f64 = 1e6;

/// One level's chances to be drawn.
#[derive(Debug, Clone)]
pub struct Odds {
    servers: usize,
    /// Sums of weights up to and including each server; None: all weigh the same.
    sums: Option<Box<[f64]>>,
}

impl Odds {
    /// Chances by weight; where nobody has any, everybody's are equal.
    pub fn new(weights: impl ExactSizeIterator<Item = f64>) -> Self {
        let servers = weights.len();
        let sums: Box<[f64]> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let mut odds = Self {
            servers,
            sums: Some(sums),
        };
        let usable = odds.total().is_finite() && odds.total() > 0.0;
        if !usable || (1..servers).all(|s| odds.share(s) == odds.share(0)) {
            odds.sums = None;
        }
        odds
    }

    fn total(&self) -> f64 {
        let sums = self.sums.as_deref();
        sums.and_then(|s| s.last().copied()).unwrap_or_default()
    }

    /// A server's weight by the average one's.
    pub fn share(&self, server: usize) -> f64 {
        match &self.sums {
            None => 1.0,
            Some(sums) => {
                let before = server.checked_sub(1).map_or(0.0, |s| sums[s]);
                (sums[server] - before) * self.servers as f64 / self.total()
            }
        }
    }

    fn draw(&self, dice: &mut Dice) -> usize {
        let at = match &self.sums {
            None => (dice.unit() * self.servers as f64) as usize,
            Some(sums) => {
                let point = dice.unit() * self.total();
                sums.partition_point(|sum| *sum <= point)
            }
        };
        at.min(self.servers - 1)
    }
}

/// What a peer costs: microseconds, times what is open on it.
pub fn cost(micros: Option<f64>, open: u64, share: f64) -> f64 {
    let crowd = if open == 0 { 0.0 } else { open as f64 / share };
    match micros {
        Some(micros) => micros * (1.0 + crowd),
        None if open == 0 => 0.0,
        None => UNKNOWN * (1.0 + crowd),
    }
}

/// The cheaper of two available servers, drawn by their odds and by `ramp`, the part of its weight each has now. `random`: 64 random bits.
pub fn choose(
    odds: &Odds,
    ramp: impl Fn(usize) -> f64,
    cost: impl Fn(usize) -> f64,
    available: impl Fn(usize) -> bool,
    random: u64,
) -> Option<usize> {
    if odds.servers == 0 {
        return None;
    }
    let mut dice = Dice(random);
    let weight = |server| odds.share(server) * ramp(server);
    let mut one_of = |fit: &dyn Fn(usize) -> bool| {
        let quick = (0..DRAWS).find_map(|_| {
            let server = odds.draw(&mut dice);
            (fit(server) && dice.unit() < ramp(server)).then_some(server)
        });
        quick.or_else(|| by_weight((0..odds.servers).filter(|s| fit(*s)), weight, &mut dice))
    };
    let Some(first) = one_of(&available) else {
        // One without weight is the last resort.
        return (0..odds.servers).find(|s| available(*s));
    };
    let second = one_of(&|server| server != first && available(server));
    Some(second.filter(|s| cost(*s) < cost(first)).unwrap_or(first))
}

/// One of the candidates, each with a chance by its weight; None: no weight at all.
fn by_weight(
    candidates: impl Iterator<Item = usize>,
    weight: impl Fn(usize) -> f64,
    dice: &mut Dice,
) -> Option<usize> {
    let (mut total, mut chosen) = (0.0, None);
    for candidate in candidates {
        total += weight(candidate);
        if dice.unit() * total < weight(candidate) {
            chosen = Some(candidate);
        }
    }
    chosen
}

/// As many random numbers as are needed, out of one: SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    /// From 0 up to, not including, 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn odds(weights: &[f64]) -> Odds {
        Odds::new(weights.iter().copied())
    }

    #[test]
    fn the_cheaper_of_two() {
        let odds = odds(&[1.0, 1.0]);
        let cheap = |random| choose(&odds, |_| 1.0, |s| [2.0, 1.0][s], |_| true, random);
        assert!((0..100).all(|random| cheap(random) == Some(1)));
    }

    #[test]
    fn equally_fast_ones_are_chosen_by_weight() {
        let weights = [5.0, 3.0, 2.0, 0.0];
        let odds = odds(&weights);
        let mut picks = [0u32; 4];
        for n in 0..20_000u64 {
            let at = choose(&odds, |_| 1.0, |_| 7.0, |_| true, mix(n)).expect("all are available");
            picks[at] += 1;
        }
        for (picked, weight) in picks.iter().zip(weights) {
            let share = f64::from(*picked) / 20_000.0;
            assert!((share - weight / 10.0).abs() < 0.02, "{picks:?}");
        }
    }

    #[test]
    fn a_ramp_takes_chances_away_but_never_the_last() {
        let odds = odds(&[1.0; 4]);
        let ramp = |s| if s == 0 { 0.1 } else { 1.0 };
        let picks =
            (0..20_000).filter(|n| choose(&odds, ramp, |_| 7.0, |_| true, mix(*n)) == Some(0));
        let share = picks.count() as f64 / 20_000.0;
        assert!((share - 0.1 / 3.1).abs() < 0.02, "{share}");
        assert_eq!(choose(&odds, |_| 0.1, |_| 7.0, |s| s == 2, 5), Some(2));
    }

    #[test]
    fn unknown_ones_are_tried_with_one_request() {
        assert!(cost(None, 0, 1.0) < cost(Some(1.0), 0, 1.0));
        assert!(cost(None, 1, 1.0) > cost(Some(900_000.0), 1, 1.0));
        assert_eq!(cost(Some(10.0), 2, 2.0), 20.0);
        assert!(cost(Some(10.0), 1, 0.0).is_infinite());
    }

    proptest! {
        #[test]
        fn only_available(
            servers in proptest::collection::vec((0u32..4, any::<bool>(), 0u32..5), 1..12),
            random in any::<u64>(),
        ) {
            let weights: Vec<f64> = servers.iter().map(|s| f64::from(s.0)).collect();
            let chosen = choose(&odds(&weights), |_| 1.0, |s| f64::from(servers[s].2), |s| servers[s].1, random);
            prop_assert_eq!(chosen.is_some(), servers.iter().any(|s| s.1));
            if let Some(chosen) = chosen {
                prop_assert!(servers[chosen].1);
                let weighty = servers.iter().any(|s| s.1 && s.0 > 0);
                prop_assert!(servers[chosen].0 > 0 || !weighty, "one without weight is the last resort");
            }
        }
    }
}
