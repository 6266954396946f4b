//! Verdicts on peers of deleted services: a service that comes back starts with them. Bounded, the oldest go first.

use std::collections::{BTreeMap, VecDeque};

use hancock_balancer_core::health::PeerHealth;
use hancock_balancer_core::upstream::PeerKey;

/// Services remembered.
const MOST: usize = 1024;

type Verdicts = BTreeMap<PeerKey, PeerHealth>;

/// See the module.
#[derive(Default)]
pub(super) struct Past(VecDeque<(String, Verdicts)>);

impl Past {
    /// A service is gone.
    pub(super) fn keep(&mut self, name: &str, verdicts: Verdicts) {
        if verdicts.is_empty() {
            return;
        }
        self.take(name);
        self.0.push_back((name.to_owned(), verdicts));
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// A service is back, or new.
    pub(super) fn take(&mut self, name: &str) -> Verdicts {
        let found = self.0.iter().position(|(n, _)| n == name);
        found
            .and_then(|at| self.0.remove(at))
            .map(|(_, verdicts)| verdicts)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use hancock_balancer_core::health;
    use hancock_proto::time::Timestamp;

    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let key = PeerKey {
            host: "a".into(),
            port: 1,
            instance: None,
        };
        let verdicts = || BTreeMap::from([(key.clone(), health::good(None, Timestamp(1)))]);
        let mut past = Past::default();
        for n in 0..=MOST {
            past.keep(&n.to_string(), verdicts());
        }
        assert!(past.take("0").is_empty());
        assert_eq!(past.take("1"), verdicts());
        assert!(past.take("1").is_empty());
    }
}
