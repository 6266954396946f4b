//! Smooth weighted round robin: the sequence of the original, state per level.

/// Current values of one level's servers; all start at zero.
#[derive(Debug, Clone)]
pub struct Rotation {
    current: Vec<f64>,
}

impl Rotation {
    /// A fresh rotation over `servers` servers.
    pub fn new(servers: usize) -> Self {
        Self {
            current: vec![0.0; servers],
        }
    }

    /// The next server among the available ones. Every available server gains its weight, the largest current value wins (the first on
    /// a tie) and gives back what was gained in total; unavailable servers keep their value.
    pub fn next(
        &mut self,
        weight: impl Fn(usize) -> f64,
        available: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.current.len() == 1 {
            return available(0).then_some(0);
        }
        let mut total = 0.0;
        let mut best: Option<usize> = None;
        for server in (0..self.current.len()).filter(|s| available(*s)) {
            total += weight(server);
            self.current[server] += weight(server);
            if best.is_none_or(|b| self.current[server] > self.current[b]) {
                best = Some(server);
            }
        }
        self.current[best?] -= total;
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Over one full turn everybody is picked as often as its weight says.
        #[test]
        fn shares_follow_weights(weights in proptest::collection::vec(1u32..20, 2..8)) {
            let total: u32 = weights.iter().sum();
            let mut rotation = Rotation::new(weights.len());
            let mut picks = vec![0u32; weights.len()];
            for _ in 0..total {
                let server = rotation.next(|s| f64::from(weights[s]), |_| true);
                picks[server.expect("all are available")] += 1;
            }
            prop_assert_eq!(picks, weights);
        }

        /// Nobody unavailable is ever picked, and somebody is whenever one is available.
        #[test]
        fn only_available(up in proptest::collection::vec(any::<bool>(), 1..8), turns in 1usize..40) {
            let mut rotation = Rotation::new(up.len());
            for _ in 0..turns {
                let server = rotation.next(|_| 1.0, |s| up[s]);
                prop_assert_eq!(server.is_some(), up.contains(&true));
                prop_assert!(server.is_none_or(|s| up[s]));
            }
        }
    }
}
