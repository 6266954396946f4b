//! What the balancer carried between two offers, per second. Bounded: the busiest services, and those with failing peers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hancock_balancer::Counts;
use hancock_proto::resources::{MOST_FAILING, MOST_TRAFFIC, Traffic};
use hancock_proto::service::ServiceName;
use tokio::time::Instant;

/// What was counted when the last offer was made.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Option<(Instant, BTreeMap<ServiceName, Counts>)>,
}

impl Meter {
    /// What has come since the last call. Nothing at the first one: how long the balancer ran before is not known.
    pub(super) fn since(
        &mut self,
        counts: BTreeMap<ServiceName, Counts>,
        now: Instant,
    ) -> BTreeMap<ServiceName, Traffic> {
        let mut told = Vec::new();
        if let Some((at, last)) = &self.last {
            let seconds = now.duration_since(*at).as_secs_f64().max(0.001);
            for (name, counts) in &counts {
                let traffic = rates(last.get(name), counts, seconds);
                if traffic.requests > 0.0 || !traffic.failing.is_empty() {
                    told.push((name.clone(), traffic));
                }
            }
        }
        self.last = Some((now, counts));
        let busy = |traffic: &Traffic| (traffic.requests * 1000.0) as u64;
        told.sort_by_key(|(_, traffic)| Reverse((busy(traffic), !traffic.failing.is_empty())));
        told.truncate(MOST_TRAFFIC);
        told.into_iter().collect()
    }
}

/// A count that is lower than before began anew with its service.
fn rates(before: Option<&Counts>, now: &Counts, seconds: f64) -> Traffic {
    let none = Counts::default();
    let before = before
        .filter(|b| b.requests <= now.requests)
        .unwrap_or(&none);
    let more = |of: fn(&Counts) -> u64| of(now).saturating_sub(of(before)) as f64;
    let requests = more(|c| c.requests);
    Traffic {
        requests: requests / seconds,
        errors: more(|c| c.errors) / seconds,
        latency_ms: more(|c| c.total_ms) / requests.max(1.0),
        failing: now.failing.iter().take(MOST_FAILING).cloned().collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn counts(n: usize, requests: u64) -> (ServiceName, Counts) {
        let counts = Counts {
            requests,
            errors: requests / 10,
            total_ms: requests * 20,
            ..Counts::default()
        };
        (format!("web{n}.test").parse().unwrap(), counts)
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let later = start + Duration::from_secs(2);
        assert!(meter.since([counts(1, 100)].into(), start).is_empty());
        let told = meter.since([counts(1, 300), counts(2, 0)].into(), later);
        let (name, _) = counts(1, 0);
        let wanted = Traffic {
            requests: 100.0,
            errors: 10.0,
            latency_ms: 20.0,
            ..Traffic::default()
        };
        assert_eq!(told, [(name, wanted)].into());
    }

    #[test]
    fn the_busiest_are_told_and_what_began_anew_counts_whole() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.since((0..1000).map(|n| counts(n, 50)).collect(), start);
        let later = start + Duration::from_secs(1);
        let next = (0..1000).map(|n| counts(n, if n == 7 { 10 } else { 51 + n as u64 }));
        let told = meter.since(next.collect(), later);
        assert_eq!(told.len(), MOST_TRAFFIC);
        assert!(told.contains_key(&counts(999, 0).0) && !told.contains_key(&counts(7, 0).0));
    }
}
