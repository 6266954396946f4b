//! Two data planes of one node, while a former process ends: what the node may say of its services. Pure.
//!
//! The process that serves is the only one that hears documents. It sends the former one every set it switches to, and the former one
//! says how far it has followed and what is still open there. So the node confirms an index only when both route by it, and tells a peer
//! drained only when nothing is open on it in either.

use std::collections::BTreeMap;

use hancock_proto::ids::DocIndex;
use hancock_proto::report::{Draining, ServiceReport};

/// What is known of a former process.
#[derive(Debug, Default)]
pub struct Overlap {
    /// Number of the last set sent.
    sent: u64,
    /// Services whose newest set it may not route by yet, and that set's number.
    behind: BTreeMap<String, u64>,
    /// Services with something open on peers that leave, as it last said.
    open: BTreeMap<String, ServiceReport>,
}

impl Overlap {
    /// As of the moment it handed over: it served the same.
    pub fn new(open: BTreeMap<String, ServiceReport>) -> Self {
        Self {
            open,
            ..Self::default()
        }
    }

    /// A service switched here, and the former process is sent that; answers the number it is to acknowledge. Only of those a master
    /// hears of (`told`) anything is kept.
    pub fn switched(&mut self, name: &str, told: bool) -> u64 {
        self.sent += 1;
        if told {
            self.behind.insert(name.to_owned(), self.sent);
        }
        self.sent
    }

    /// It has followed up to a number, and this is open as of then. Answers whether the node's report may say something else.
    pub fn heard(&mut self, number: u64, open: BTreeMap<String, ServiceReport>) -> bool {
        let before = self.behind.len();
        self.behind.retain(|_, wanted| *wanted > number);
        let changed = before != self.behind.len() || !self.open.keys().eq(open.keys());
        let changed = changed
            || self
                .open
                .iter()
                .any(|(name, was)| draining_differs(was, &open[name]));
        self.open = open;
        changed
    }

    /// Takes the former process into what this one says of its services.
    pub fn merge(&self, mine: &mut BTreeMap<String, ServiceReport>) {
        for (name, former) in &self.open {
            let report = mine.entry(name.clone()).or_insert_with(|| ServiceReport {
                seen: former.seen,
                confirmed: former.confirmed,
                ..nothing()
            });
            for (instance, open) in &former.draining {
                let sum = report.draining.entry(instance.clone()).or_default();
                *sum = both(*sum, *open);
            }
        }
        for name in self.behind.keys() {
            // Not even a service that is gone here is gone from the node.
            mine.entry(name.clone()).or_insert_with(nothing).confirmed = DocIndex(0);
        }
    }

    /// Whether there is a service whose newest set it may not route by yet.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Services it may hold back.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.behind.keys().chain(self.open.keys())
    }
}

fn nothing() -> ServiceReport {
    ServiceReport {
        seen: DocIndex(0),
        confirmed: DocIndex(0),
        refused: None,
        draining: BTreeMap::new(),
    }
}

/// Who is draining, not how much is open: a report is not sent for every request that ends.
fn draining_differs(a: &ServiceReport, b: &ServiceReport) -> bool {
    !a.draining.keys().eq(b.draining.keys())
}

fn both(a: Draining, b: Draining) -> Draining {
    Draining {
        requests: a.requests + b.requests,
        sessions: a.sessions + b.sessions,
        older_phase: a.older_phase || b.older_phase,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reports = BTreeMap<String, ServiceReport>;

    fn report(confirmed: u64, draining: &[(&str, u64, u64)]) -> ServiceReport {
        let open = |(name, requests, sessions): &(&str, u64, u64)| {
            let draining = Draining {
                requests: *requests,
                sessions: *sessions,
                older_phase: false,
            };
            (name.parse().expect("an id"), draining)
        };
        ServiceReport {
            seen: DocIndex(confirmed),
            confirmed: DocIndex(confirmed),
            refused: None,
            draining: draining.iter().map(open).collect(),
        }
    }

    fn reports(all: &[(&str, ServiceReport)]) -> Reports {
        all.iter()
            .map(|(n, r)| ((*n).to_owned(), r.clone()))
            .collect()
    }

    fn merged(overlap: &Overlap, mine: &Reports) -> Reports {
        let mut merged = mine.clone();
        overlap.merge(&mut merged);
        merged
    }

    #[test]
    fn a_peer_is_drained_when_it_is_in_both() {
        let mut overlap = Overlap::new(reports(&[("web", report(5, &[("web-1", 1, 2)]))]));
        let mine = reports(&[("web", report(5, &[("web-1", 3, 0), ("web-2", 1, 0)]))]);
        let sum = report(5, &[("web-1", 4, 2), ("web-2", 1, 0)]);
        assert_eq!(merged(&overlap, &mine)["web"], sum);
        let drained = reports(&[("web", report(5, &[]))]);
        assert_eq!(
            merged(&overlap, &drained)["web"],
            report(5, &[("web-1", 1, 2)])
        );
        assert!(overlap.heard(0, Reports::new()));
        assert_eq!(merged(&overlap, &drained), drained);
    }

    /// The hole: drained here, while a request that came in on a kept connection of the former process is still routed to the peer.
    #[test]
    fn an_index_counts_when_the_former_process_routes_by_it() {
        let mut overlap = Overlap::default();
        let mine = reports(&[("web", report(6, &[])), ("api", report(3, &[]))]);
        assert_eq!(
            merged(&overlap, &mine),
            mine,
            "both served the same from the start"
        );
        let (first, second) = (overlap.switched("web", true), overlap.switched("web", true));
        assert_eq!(merged(&overlap, &mine)["web"].confirmed, DocIndex(0));
        assert_eq!(merged(&overlap, &mine)["api"].confirmed, DocIndex(3));
        assert!(!overlap.heard(first, Reports::new()), "not the newest");
        assert!(overlap.is_behind());
        let leaving = reports(&[("web", report(6, &[("web-1", 1, 0)]))]);
        assert!(overlap.heard(second, leaving.clone()));
        assert_eq!(merged(&overlap, &mine)["web"], leaving["web"]);
    }

    #[test]
    fn a_deleted_service_is_told_while_something_is_open_on_it() {
        let mut overlap = Overlap::new(reports(&[("old", report(2, &[("old-1", 0, 1)]))]));
        assert_eq!(
            merged(&overlap, &Reports::new())["old"],
            report(2, &[("old-1", 0, 1)])
        );
        assert!(!overlap.heard(0, reports(&[("old", report(2, &[("old-1", 0, 7)]))])));
        overlap.heard(0, Reports::new());
        assert!(merged(&overlap, &Reports::new()).is_empty());
        let gone = overlap.switched("new", true);
        assert_eq!(merged(&overlap, &Reports::new())["new"], report(0, &[]));
        assert!(overlap.heard(gone, Reports::new()) && !overlap.is_behind());
        overlap.switched("nobody's", false);
        assert!(merged(&overlap, &Reports::new()).is_empty());
    }
}
