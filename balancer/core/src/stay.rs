//! Clients that stay with their peer: by the token of a cookie, as long as the peer is in the view and may be picked.
//!
//! Until a switch the view still holds the peers on their way out, so their clients may stay; after it nobody finds them any more.

use hancock_proto::time::Timestamp;

use crate::pick::{Tried, available};
use crate::table::View;

/// The entry a client's token stands for. None: it is gone, or may not be picked now, or was tried.
pub fn entry(view: &View, token: u64, tried: &Tried, now: Timestamp) -> Option<usize> {
    let found = view
        .tokens
        .binary_search_by_key(&token, |(token, _)| *token);
    let at = view.tokens[found.ok()?].1;
    let entry = &view.entries[at];
    if tried.contains(&entry.peer) || !available(view, entry, now) {
        return None;
    }
    entry.peer.record().picked(entry.limits, now);
    Some(at)
}

/// What the client of an entry is told to show. None: clients of this view do not stay.
pub fn token(view: &View, at: usize) -> Option<u64> {
    let cookie = view.settings.sticky.as_ref()?;
    Some(cookie.token(view.entries.get(at)?.peer.key()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::peer::Verdict;
    use crate::table::Peers;
    use crate::upstream::Upstream;

    fn upstream(doc: serde_json::Value) -> Upstream {
        let doc = serde_json::from_value(doc).expect("a document");
        Upstream::new("web", Arc::new(doc)).expect("a valid one")
    }

    fn server(name: &str, port: u16) -> serde_json::Value {
        json!({"host": "10.0.0.1", "port": port, "instance": name})
    }

    const NOW: Timestamp = Timestamp(1);

    #[test]
    fn a_client_stays_while_its_peer_may_be_picked() {
        let up = upstream(json!({
            "cluster": [{"servers": [{"host": "a", "port": 1}, {"host": "b", "port": 1}, {"host": "b", "port": 1}]}],
            "proxy": {"sticky": {"cookie": "srv", "secret": "s"}},
        }));
        let view = View::new(&up, &mut Peers::default());
        for at in [0, 1] {
            let token = token(&view, at).expect("sticky");
            assert_eq!(entry(&view, token, &Tried::default(), NOW), Some(at));
        }
        let second = token(&view, 2).expect("sticky");
        assert_eq!(entry(&view, second, &Tried::default(), NOW), Some(1));
        assert_eq!(entry(&view, second ^ 1, &Tried::default(), NOW), None);

        let mut tried = Tried::default();
        tried.add(view.entries()[1].peer.clone());
        assert_eq!(entry(&view, second, &tried, NOW), None);
        view.entries()[1].peer.set_verdict(Verdict::Err);
        assert_eq!(entry(&view, second, &Tried::default(), NOW), None);
    }

    #[test]
    fn clients_of_a_retiring_peer_stay_until_the_switch_and_not_after() {
        let up = upstream(json!({
            "cluster": [{"servers": [server("web-2", 2)]}],
            "proxy": {"sticky": {"cookie": "srv"}},
            "hancock": {"app": "web", "index": 2, "accept_timeout_ms": 1000,
                "added": ["web-2"], "retiring": [server("web-1", 1)]},
        }));
        let mut peers = Peers::default();
        let before = View::new(&up.before().expect("an old set"), &mut peers);
        let after = View::new(&up, &mut peers);
        let old = token(&before, 0).expect("sticky");
        assert_eq!(entry(&before, old, &Tried::default(), NOW), Some(0));
        assert_eq!(entry(&after, old, &Tried::default(), NOW), None);
    }
}
