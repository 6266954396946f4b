//! Says which peer a request would get, and why, from a document alone: the pickers that serve requests, without a running balancer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::pick::{Tried, pick};
use hancock_balancer_core::table::{Entry, Peers, View};
use hancock_balancer_core::upstream::{KeyKind, Mode, Upstream};
use hancock_proto::service::{ServiceKind, ServiceName};
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::UpstreamDoc;

/// What is known of the request.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Its target, query included.
    pub target: Option<String>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Its header `X-Hash-Key`.
    pub header: Option<String>,
}

/// What a mode looks at to tell requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LooksAt {
    /// Nothing: requests go round by weight.
    Nothing,
    /// The path.
    Path,
    /// The client's address.
    Client,
    /// The header `X-Hash-Key`, or else the path.
    Header,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The mode's word.
    pub mode: &'static str,
    /// What it looks at.
    pub looks_at: LooksAt,
    /// The key's hash; None: nothing is hashed.
    pub hash: Option<u64>,
    /// The peer, where the key alone decides; None: it does not, or nobody is left.
    pub peer: Option<String>,
    /// The peer it would be if every peer were well.
    pub own: Option<String>,
    /// Peers that may be picked, by the part of all requests they get over time.
    pub shares: Vec<(String, f64)>,
}

/// Which peer of `doc` a request gets while the peers `failing` are bad.
///
/// # Errors
/// The document is wrong.
pub fn choose(
    name: &ServiceName,
    doc: &UpstreamDoc,
    question: &Question,
    failing: &BTreeSet<String>,
) -> Result<Choice, String> {
    let upstream =
        Upstream::new(name.as_str(), Arc::new(doc.clone())).map_err(|e| e.to_string())?;
    let upstream = match name.kind() {
        ServiceKind::Http(_) => upstream,
        ServiceKind::Tcp(_) => upstream.over_tcp(),
    };
    let key = RequestKey {
        target: question.target.as_deref().unwrap_or("/").as_bytes(),
        client: question.client,
        header: question.header.as_deref().map(str::as_bytes),
    };
    let well = View::new(&upstream, &mut Peers::default());
    let view = View::new(&upstream, &mut Peers::default());
    let bad = |e: &&Entry| failing.contains(&e.peer.key().to_string());
    for entry in view.entries().iter().filter(bad) {
        entry.peer.set_verdict(Verdict::Err);
    }
    let looks_at = looks_at(upstream.mode);
    let decides = looks_at != LooksAt::Nothing;
    Ok(Choice {
        mode: upstream.mode.word(),
        looks_at,
        hash: decides.then(|| key.hash(upstream.mode)),
        peer: decides.then(|| picked(&view, &key)).flatten(),
        own: decides.then(|| picked(&well, &key)).flatten(),
        shares: shares(&upstream, failing),
    })
}

fn looks_at(mode: Mode) -> LooksAt {
    match mode {
        Mode::Rotation | Mode::LeastConn | Mode::P2c => LooksAt::Nothing,
        Mode::Ring(kind) | Mode::Maglev(kind) => match kind {
            KeyKind::Path => LooksAt::Path,
            KeyKind::Client => LooksAt::Client,
            KeyKind::Header => LooksAt::Header,
        },
    }
}

fn picked(view: &View, key: &RequestKey<'_>) -> Option<String> {
    let at = pick(view, key, &Tried::default(), Timestamp(0), 0)?;
    Some(view.entries()[at].peer.key().to_string())
}

/// Of the first level in which anybody is well.
fn shares(upstream: &Upstream, failing: &BTreeSet<String>) -> Vec<(String, f64)> {
    let levels = upstream.levels.iter().map(|level| {
        let peers = level.iter().map(|spec| (spec.key.to_string(), spec.weight));
        let well = peers.filter(|(address, _)| !failing.contains(address));
        well.collect::<Vec<_>>()
    });
    let mut level = levels
        .into_iter()
        .find(|level| !level.is_empty())
        .unwrap_or_default();
    let sum: f64 = level.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut level {
        *weight /= if sum > 0.0 { sum } else { 1.0 };
    }
    level
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(mode: &str, question: &Question, failing: &[&str]) -> Choice {
        let servers: Vec<_> = (1..=4)
            .map(|n| serde_json::json!({"host": format!("10.0.0.{n}"), "port": 80, "weight": n}))
            .collect();
        let doc = serde_json::json!({"cluster": [{"servers": servers}], "mode": mode});
        let doc: UpstreamDoc = serde_json::from_value(doc).unwrap();
        let failing = failing.iter().map(|f| (*f).to_owned()).collect();
        choose(&"web.test".parse().unwrap(), &doc, question, &failing).unwrap()
    }

    #[test]
    fn a_key_stays_with_its_peer_until_that_fails() {
        let key = |key: &str| Question {
            header: Some(key.to_owned()),
            ..Question::default()
        };
        for mode in ["header_hash", "header_maglev"] {
            let first = ask(mode, &key("alice"), &[]);
            assert_eq!(first.looks_at, LooksAt::Header);
            assert_eq!(first.peer, first.own);
            let own = first.own.unwrap();
            let second = ask(mode, &key("alice"), &[&own]);
            assert_eq!(second.own.as_deref(), Some(&*own));
            assert!(second.peer.is_some_and(|peer| peer != own), "{mode}");
            let many = (0..50).map(|n| ask(mode, &key(&format!("{n}-of-many-keys")), &[]).peer);
            assert!(many.collect::<BTreeSet<_>>().len() > 1, "{mode}");
        }
    }

    #[test]
    fn without_a_key_shares_follow_weights() {
        let choice = ask("rr", &Question::default(), &["10.0.0.4:80"]);
        assert_eq!((choice.peer, choice.hash), (None, None));
        let shares: Vec<f64> = choice.shares.iter().map(|(_, share)| *share).collect();
        assert_eq!(shares, [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]);
    }
}
