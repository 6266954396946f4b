//! What a command costs does not depend on the size of the cluster: counted in allocations, of a clone of the state and the command applied
//! to it. A binary of its own: the counter takes the allocator's place.

#![allow(clippy::unwrap_used)]

#[path = "size/cluster.rs"]
mod cluster;
#[path = "size/deeds.rs"]
mod deeds;

use cluster::{Cluster, Deed};
use hancock_master_core::plan;

/// A cluster, and one that is ten times as large.
const SIZES: [usize; 2] = [1_000, 10_000];
/// Trees of ten times the size are a little deeper.
const MORE: u64 = 2;

fn word(deed: &Deed<'_>) -> String {
    let command = serde_json::to_value(deed.command).unwrap();
    let (word, _) = command.as_object().unwrap().iter().next().unwrap();
    word.clone()
}

/// Each command with the bytes that applying it allocates.
fn costs(instances: usize) -> Vec<(String, u64)> {
    let mut cluster = Cluster::new(instances);
    let mut costs = Vec::new();
    deeds::all(&mut cluster, &mut |deed| {
        let counted = allocation_counter::measure(|| {
            let mut next = deed.state.clone();
            drop(next.apply(deed.index, deed.term, deed.command));
        });
        costs.push((word(deed), counted.bytes_total));
    });
    costs
}

#[test]
fn no_command_costs_more_in_a_larger_cluster() {
    let [small, large] = SIZES.map(costs);
    assert_eq!(small.len(), large.len());
    for ((word, less), (same, more)) in small.into_iter().zip(large) {
        assert_eq!(word, same);
        let most = less * MORE + 2_000;
        assert!(
            more <= most,
            "{word}: {less} bytes, and {more} in the large one"
        );
    }
}

#[test]
fn a_clone_and_a_quiet_turn_cost_the_same_at_any_size() {
    for cluster in SIZES.map(Cluster::new) {
        let counted = allocation_counter::measure(|| drop(cluster.state.clone()));
        // A few names and addresses.
        assert!(counted.count_total <= 4, "{counted:?}");
        let (view, now) = (cluster.view(), cluster.now());
        let counted = allocation_counter::measure(|| drop(plan(&cluster.state, &view, now, 0)));
        // Walks through trees.
        assert!(counted.count_total <= 10, "{counted:?}");
    }
}
