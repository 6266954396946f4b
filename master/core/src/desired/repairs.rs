//! What a registry outside lacks, or has otherwise than it should: after a wipe, a restore, a foreign hand, or before a switch to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_proto::ids::AppName;
use hancock_proto::registry::{Batch, Listing, MAX_BATCH};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;

/// What one transaction changes.
type Changes = BTreeMap<ServiceName, Option<Arc<UpstreamDoc>>>;

/// The transactions after which a registry that is as `found` has the master's documents as they are `wanted`; none where it has. What no
/// master wrote, under names nobody owns, stays.
pub fn repairs(wanted: &Listing, found: &Listing) -> Vec<Batch> {
    let mut by_app: BTreeMap<AppName, Changes> = BTreeMap::new();
    let owner = |doc: &UpstreamDoc| doc.hancock.as_ref().map(|member| member.app.clone());
    for (name, entry) in &found.entries {
        if let Some(app) = owner(&entry.doc) {
            by_app.entry(app).or_default().insert(name.clone(), None);
        }
    }
    for (name, entry) in &wanted.entries {
        if let Some(app) = owner(&entry.doc) {
            // One name's delete by another app must not come after it.
            by_app
                .values_mut()
                .for_each(|changes| drop(changes.remove(name)));
            let changes = by_app.entry(app).or_default();
            changes.insert(name.clone(), Some(entry.doc.clone()));
        }
    }
    let stored = |name: &ServiceName| found.entries.get(name).map(|entry| &entry.doc);
    by_app.retain(|_, changes| {
        changes
            .iter()
            .any(|(name, doc)| stored(name) != doc.as_ref())
    });
    by_app
        .into_iter()
        .flat_map(|(app, changes)| batches(&app, changes))
        .collect()
}

/// The names of an app change together; upstreams kept by hand may be more than fit.
fn batches(app: &AppName, changes: Changes) -> Vec<Batch> {
    let changes: Vec<_> = changes.into_iter().collect();
    let parts = changes.chunks(MAX_BATCH);
    parts
        .map(|part| Batch {
            app: app.clone(),
            changes: part.iter().cloned().collect(),
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::ids::Term;
    use hancock_proto::registry::{Fence, Outcome, Store};

    use super::*;

    fn doc(app: Option<&str>, index: u64) -> Arc<UpstreamDoc> {
        let mut doc = serde_json::json!({"cluster": []});
        if let Some(app) = app {
            doc["hancock"] =
                serde_json::json!({"app": app, "index": index, "accept_timeout_ms": 1});
        }
        Arc::new(serde_json::from_value(doc).unwrap())
    }

    fn fence() -> Fence {
        Fence {
            cluster: "c".parse().unwrap(),
            term: Term(1),
        }
    }

    fn put(store: &mut Store, app: &str, name: &str, doc: Option<Arc<UpstreamDoc>>) {
        let changes = BTreeMap::from([(name.parse().unwrap(), doc)]);
        let app = app.parse().unwrap();
        let written = store.publish(&Batch { app, changes }, &fence());
        assert!(matches!(written, Outcome::Committed(_)));
    }

    /// Carried out until there is nothing left: at once.
    fn repaired(wanted: &Store, mut found: Store) -> Vec<String> {
        let batches = repairs(&wanted.list(), &found.list());
        for batch in &batches {
            found.publish(batch, &fence());
        }
        assert_eq!(repairs(&wanted.list(), &found.list()), []);
        let each = batches
            .iter()
            .map(|b| format!("{}: {}", b.app, b.changes.len()));
        each.collect()
    }

    fn ours() -> Store {
        let mut store = Store::default();
        put(&mut store, "web", "web.test", Some(doc(Some("web"), 5)));
        put(&mut store, "web", "www.test", Some(doc(Some("web"), 5)));
        put(&mut store, "api", "api.test", Some(doc(Some("api"), 7)));
        store
    }

    #[test]
    fn a_wiped_store_gets_everything_and_a_whole_one_nothing() {
        assert_eq!(repaired(&ours(), Store::default()), ["api: 1", "web: 2"]);
        assert!(repaired(&ours(), ours()).is_empty());
    }

    #[test]
    fn a_store_put_back_to_an_earlier_state_is_brought_forward() {
        let before = ours();
        let mut now = ours();
        put(&mut now, "web", "web.test", Some(doc(Some("web"), 9)));
        put(&mut now, "api", "api.test", None);
        assert_eq!(repaired(&now, before), ["api: 1", "web: 2"]);
    }

    #[test]
    fn a_name_its_app_no_longer_has_goes_again() {
        let before = ours();
        let mut now = ours();
        put(&mut now, "web", "www.test", None);
        put(&mut now, "web", "web.test", Some(doc(Some("web"), 12)));
        assert_eq!(repaired(&now, before), ["web: 2"]);
    }

    #[test]
    fn a_foreign_write_over_an_owned_name_is_undone_others_stay() {
        let mut found = ours();
        put(&mut found, "x", "web.test", Some(doc(None, 0)));
        put(&mut found, "x", "theirs.test", Some(doc(None, 0)));
        assert_eq!(repaired(&ours(), found), ["web: 2"]);
    }

    #[test]
    fn a_name_that_changed_hands_is_not_deleted_after_it_was_written() {
        let mut now = ours();
        put(&mut now, "api", "api.test", None);
        put(&mut now, "web", "api.test", Some(doc(Some("web"), 12)));
        assert_eq!(repaired(&now, ours()), ["web: 3"]);
    }
}
