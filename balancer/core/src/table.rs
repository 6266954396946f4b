//! What requests route by: an immutable view of one service, built from one upstream.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use hancock_proto::ids::DocIndex;

use crate::passive::Limits;
use crate::peer::Peer;
use crate::ring::Ring;
use crate::settings::Settings;
use crate::upstream::{Mode, PeerKey, PeerSpec, Upstream};
use crate::wrr::Rotation;

/// One service at one document. Peers are shared with other views of the service; the rest belongs to this one.
#[derive(Debug)]
pub struct View {
    pub(crate) index: DocIndex,
    pub(crate) mode: Mode,
    /// Verdicts are looked at.
    pub(crate) checked: bool,
    /// When nobody is available, verdicts and bans are overlooked rather than the request refused.
    pub(crate) protected: bool,
    pub(crate) settings: Arc<Settings>,
    /// What cookies call the entries, in the order of the tokens; empty: clients do not stay.
    pub(crate) tokens: Box<[(u64, usize)]>,
    pub(crate) levels: Vec<LevelView>,
    pub(crate) entries: Vec<Entry>,
}

/// One peer as this view lists it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The peer.
    pub peer: Arc<Peer>,
    /// Rotation weight.
    pub weight: f64,
    /// When failed requests ban it.
    pub limits: Limits,
}

#[derive(Debug)]
pub(crate) struct LevelView {
    /// Its part of the entries.
    pub(crate) span: Range<usize>,
    /// Short and uncontended: a dozen additions.
    pub(crate) rotation: Mutex<Rotation>,
    pub(crate) ring: Option<Ring>,
}

impl View {
    /// A view of `upstream`, its peers taken from `peers` or made there.
    pub fn new(upstream: &Upstream, peers: &mut Peers) -> Self {
        let mut entries = Vec::with_capacity(upstream.peers().count());
        let mut levels = Vec::with_capacity(upstream.levels.len());
        for level in &upstream.levels {
            let start = entries.len();
            entries.extend(level.iter().map(|spec| peers.entry(spec)));
            levels.push(LevelView::new(level, start, upstream.mode));
        }
        Self {
            index: upstream.index(),
            mode: upstream.mode,
            // A master's documents are judged by readiness, whatever the options say to other readers.
            checked: upstream.checks.enabled || upstream.handover.is_some(),
            // The original's protection is in its verdicts; ours judges peers one by one, so it is needed here.
            protected: upstream.handover.is_some() && upstream.checks.protected,
            tokens: tokens(&upstream.settings, &entries),
            settings: upstream.settings.clone(),
            levels,
            entries,
        }
    }

    /// A view nobody can be picked from.
    pub fn empty() -> Self {
        Self {
            index: DocIndex(0),
            mode: Mode::Rotation,
            checked: false,
            protected: false,
            settings: Settings::unsaid(true),
            tokens: Box::default(),
            levels: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// The document's index.
    pub fn index(&self) -> DocIndex {
        self.index
    }

    /// How requests are carried.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// All peers, level by level; what [`crate::pick::pick`] answers is a position in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether a pick from it might be this peer.
    pub fn lists(&self, peer: &Arc<Peer>) -> bool {
        self.entries.iter().any(|e| Arc::ptr_eq(&e.peer, peer))
    }
}

fn tokens(settings: &Settings, entries: &[Entry]) -> Box<[(u64, usize)]> {
    let Some(cookie) = &settings.sticky else {
        return Box::default();
    };
    let entries = entries.iter().enumerate();
    let mut tokens: Vec<_> = entries
        .map(|(at, e)| (cookie.token(e.peer.key()), at))
        .collect();
    // An address listed twice is one peer, and the first of its entries is taken.
    tokens.sort_unstable();
    tokens.dedup_by_key(|(token, _)| *token);
    tokens.into()
}

impl LevelView {
    fn new(level: &[PeerSpec], start: usize, mode: Mode) -> Self {
        let ring = (mode != Mode::Rotation).then(|| {
            let texts: Vec<String> = level.iter().map(|s| s.key.to_string()).collect();
            let weights = level.iter().map(|s| s.weight);
            Ring::new(texts.iter().map(String::as_str).zip(weights))
        });
        Self {
            span: start..start + level.len(),
            rotation: Mutex::new(Rotation::new(level.len())),
            ring,
        }
    }
}

/// The peers of one service, over all views that are still of interest.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<PeerKey, Arc<Peer>>);

impl Peers {
    fn entry(&mut self, spec: &PeerSpec) -> Entry {
        let peer = self
            .0
            .entry(spec.key.clone())
            .or_insert_with(|| Arc::new(Peer::new(spec.key.clone())));
        Entry {
            peer: peer.clone(),
            weight: spec.weight,
            limits: spec.limits,
        }
    }

    /// The peer with this key.
    pub fn get(&self, key: &PeerKey) -> Option<&Arc<Peer>> {
        self.0.get(key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.0.values()
    }

    /// Forgets peers nobody outside refers to any more.
    pub fn prune(&mut self) {
        self.0.retain(|_, peer| Arc::strong_count(peer) > 1);
    }
}
