use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn id(text: &str) -> InstanceId {
    text.parse().expect("an id")
}

/// A document of index `index` with peers on 10.0.0.1 by instance number; `added` are among `peers`, `retiring` are not.
fn doc(
    index: u64,
    peers: &[u16],
    added: &[u16],
    retiring: &[u16],
    max_unavailable: u32,
) -> Arc<Upstream> {
    let server = |n: &u16| serde_json::json!({"host": "10.0.0.1", "port": 1000 + n, "instance": format!("web-{n}")});
    let json = serde_json::json!({
        "cluster": [{"servers": peers.iter().map(server).collect::<Vec<_>>()}],
        "hancock": {
            "app": "web", "index": index, "max_unavailable": max_unavailable, "accept_timeout_ms": 1000,
            "added": added.iter().map(|n| format!("web-{n}")).collect::<Vec<_>>(),
            "retiring": retiring.iter().map(server).collect::<Vec<_>>(),
        },
    });
    let doc = serde_json::from_value(json).expect("a document");
    Arc::new(Upstream::new("web", Arc::new(doc)).expect("a valid one"))
}

fn none() -> BTreeSet<InstanceId> {
    BTreeSet::new()
}

fn serving_one() -> Cutover {
    Cutover::restored(doc(1, &[1], &[], &[], 0))
}

#[test]
fn the_old_set_serves_until_the_added_one_passed() {
    let mut cutover = serving_one();
    let new = doc(2, &[2], &[2], &[1], 0);
    assert_eq!(cutover.document(new.clone(), &none(), Timestamp(0)), []);
    assert_eq!(cutover.to_probe().map(|(_, i)| i), Some(vec![id("web-2")]));
    assert_eq!(
        cutover.probed(&id("web-2"), Err("connection refused".into())),
        []
    );
    assert_eq!(cutover.probed(&id("web-2"), Ok(())), [Step::Switch(new)]);
    assert!(cutover.to_probe().is_none() && cutover.deadline().is_none());
}

#[test]
fn without_a_pass_in_time_it_is_refused_for_good() {
    let mut cutover = serving_one();
    let new = doc(2, &[2], &[2], &[1], 0);
    let _ = cutover.document(new.clone(), &none(), Timestamp(0));
    let _ = cutover.probed(&id("web-2"), Err("connection refused".into()));
    assert_eq!(cutover.tick(Timestamp(999)), []);
    let refusal = Refusal {
        index: DocIndex(2),
        peer: id("web-2"),
        reason: "connection refused".into(),
    };
    assert_eq!(
        cutover.tick(Timestamp(1000)),
        [Step::Refused(refusal.clone())]
    );
    assert_eq!(cutover.refused(), Some(&refusal));
    assert_eq!(cutover.serving().map(|u| u.index()), Some(DocIndex(1)));
    assert_eq!(cutover.seen(), DocIndex(2));
    assert_eq!(
        cutover.document(new, &none(), Timestamp(2000)),
        [],
        "delivered again"
    );
    assert_eq!(cutover.probed(&id("web-2"), Ok(())), [], "too late");
    let revert = doc(3, &[1], &[], &[2], 0);
    assert_eq!(
        cutover.document(revert.clone(), &none(), Timestamp(3000)),
        [Step::Switch(revert)]
    );
    assert_eq!(cutover.refused(), None);
}

/// Two paths may deliver versions of one index in any order.
#[test]
fn a_refusal_outlives_other_documents_of_its_index() {
    let mut cutover = serving_one();
    let refused = doc(2, &[2], &[2], &[1], 0);
    let _ = cutover.document(refused.clone(), &none(), Timestamp(0));
    assert_eq!(cutover.tick(Timestamp(1000)).len(), 1);
    let plain = doc(2, &[1], &[], &[], 0);
    assert_eq!(
        cutover.document(plain.clone(), &none(), Timestamp(1000)),
        [Step::Switch(plain)]
    );
    assert_eq!(cutover.document(refused, &none(), Timestamp(1000)), []);
    assert!(cutover.to_probe().is_none());
}

#[test]
fn what_this_balancer_passed_before_need_not_pass_again() {
    let mut cutover = serving_one();
    let new = doc(2, &[2, 3], &[2, 3], &[1], 0);
    let ready = BTreeSet::from([id("web-2"), id("web-3")]);
    assert_eq!(
        cutover.document(new.clone(), &ready, Timestamp(0)),
        [Step::Switch(new)]
    );
}

#[test]
fn as_many_may_be_missing_as_the_document_says_but_never_all() {
    let mut cutover = serving_one();
    let new = doc(2, &[2, 3], &[2, 3], &[1], 5);
    assert_eq!(cutover.document(new.clone(), &none(), Timestamp(0)), []);
    assert_eq!(cutover.probed(&id("web-3"), Ok(())), [Step::Switch(new)]);
    assert!(cutover.is_unpassed(&id("web-2")));
    assert_eq!(cutover.to_probe().map(|(_, i)| i), Some(vec![id("web-2")]));
    assert_eq!(
        cutover.probed(&id("web-2"), Ok(())),
        [Step::Passed(id("web-2"))]
    );
    assert!(cutover.to_probe().is_none());
}

#[test]
fn a_balancer_that_knew_nothing_routes_to_the_retiring_ones_meanwhile() {
    let mut cutover = Cutover::default();
    let steps = cutover.document(doc(9, &[2, 3], &[3], &[1], 0), &none(), Timestamp(0));
    let [Step::Hold(old)] = steps.as_slice() else {
        panic!("expected to hold the old set, got {steps:?}");
    };
    let ports: Vec<u16> = old.peers().map(|p| p.key.port).collect();
    assert_eq!(ports, [1002, 1001]);
    assert!(cutover.serving().is_none(), "nothing is confirmed");
}

/// Two cutovers at once: the first one's peers drain while the second one waits for its own.
#[test]
fn what_was_left_already_is_not_gone_back_to() {
    let mut cutover = Cutover::restored(doc(2, &[2], &[], &[1], 0));
    let second = doc(3, &[3], &[3], &[1, 2], 0);
    assert_eq!(cutover.document(second, &none(), Timestamp(0)), []);

    let missed = doc(5, &[5], &[5], &[1, 2, 3], 0);
    let steps = cutover.document(missed, &none(), Timestamp(0));
    let [Step::Hold(old)] = steps.as_slice() else {
        panic!("expected to hold the old set, got {steps:?}");
    };
    let ports: Vec<u16> = old.peers().map(|p| p.key.port).collect();
    assert_eq!(ports, [1002, 1003], "peer 1 was left with index 2");

    let mut cutover = Cutover::restored(doc(2, &[2], &[], &[1], 0));
    let reverted = doc(5, &[1, 5], &[5], &[2], 0);
    let steps = cutover.document(reverted, &none(), Timestamp(0));
    let [Step::Hold(old)] = steps.as_slice() else {
        panic!("expected to hold the old set, got {steps:?}");
    };
    let ports: Vec<u16> = old.peers().map(|p| p.key.port).collect();
    assert_eq!(ports, [1001, 1002], "peer 1 has come back");
}

#[test]
fn a_stopped_apps_peers_do_not_come_back_with_its_next_start() {
    let mut cutover = Cutover::restored(doc(2, &[], &[], &[1], 0));
    let started = doc(3, &[3], &[3], &[1], 0);
    assert_eq!(cutover.document(started, &none(), Timestamp(0)), []);
}

#[test]
fn what_was_held_for_a_refused_document_goes_with_its_deletion() {
    let mut cutover = Cutover::default();
    let steps = cutover.document(doc(9, &[2], &[2], &[1], 0), &none(), Timestamp(0));
    assert!(matches!(steps.as_slice(), [Step::Hold(_)]), "{steps:?}");
    let steps = cutover.tick(Timestamp(1000));
    assert!(matches!(steps.as_slice(), [Step::Refused(_)]), "{steps:?}");
    assert_eq!(cutover.deleted(), [Step::Remove]);
    assert_eq!(cutover.deleted(), []);
}

#[test]
fn an_emptied_document_takes_over_at_once() {
    let mut cutover = serving_one();
    let stopped = doc(2, &[], &[], &[1], 0);
    assert_eq!(
        cutover.document(stopped.clone(), &none(), Timestamp(0)),
        [Step::Switch(stopped)]
    );
    assert_eq!(cutover.deleted(), [Step::Remove]);
    assert_eq!(cutover.deleted(), []);
}

#[test]
fn older_and_repeated_documents_change_nothing() {
    let mut cutover = Cutover::restored(doc(5, &[1], &[], &[], 0));
    assert_eq!(
        cutover.document(doc(4, &[2], &[], &[], 0), &none(), Timestamp(0)),
        []
    );
    assert_eq!(
        cutover.document(doc(5, &[1], &[], &[], 0), &none(), Timestamp(0)),
        []
    );
    let settled = doc(5, &[1, 2], &[], &[], 0);
    assert_eq!(
        cutover.document(settled.clone(), &none(), Timestamp(0)),
        [Step::Switch(settled)]
    );
}

#[derive(Debug, Clone)]
enum Event {
    Document(u64, bool),
    Good,
    Bad,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1u64..8, any::<bool>()).prop_map(|(index, adds)| Event::Document(index, adds)),
        Just(Event::Good),
        Just(Event::Bad),
        (1u64..1500).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens: an added peer is never served before it passed, the served index never goes back, and a refused index is never
    /// served with its additions.
    #[test]
    fn never_break_before_make(events in proptest::collection::vec(event(), 1..40)) {
        let mut cutover = serving_one();
        let (mut now, mut passed, mut highest, mut refused) = (0, BTreeSet::new(), 1, BTreeSet::new());
        for event in events {
            let steps = match event {
                Event::Document(index, adds) => {
                    let n = index as u16 + 10;
                    let added = if adds { vec![n] } else { vec![] };
                    cutover.document(doc(index, &[n], &added, &[1], 0), &none(), Timestamp(now))
                }
                Event::Good | Event::Bad => match cutover.to_probe() {
                    None => Vec::new(),
                    Some((upstream, instances)) => {
                        let index = upstream.index();
                        let good = matches!(event, Event::Good);
                        if good { passed.insert(index.0); }
                        let result = if good { Ok(()) } else { Err("no".to_owned()) };
                        cutover.probed(&instances[0], result)
                    }
                },
                Event::Wait(ms) => { now += ms; cutover.tick(Timestamp(now)) }
            };
            for step in steps {
                match step {
                    Step::Switch(up) => {
                        prop_assert!(up.added().is_empty() || passed.contains(&up.index().0));
                        prop_assert!(up.added().is_empty() || !refused.contains(&up.index().0));
                        prop_assert!(up.index().0 >= highest);
                        highest = up.index().0;
                    }
                    Step::Refused(refusal) => { refused.insert(refusal.index.0); }
                    Step::Hold(_) | Step::Passed(_) | Step::Remove => {}
                }
            }
        }
    }
}
