//! What requests route by: an immutable view of one service, built from one upstream.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use hancock_proto::ids::DocIndex;

use crate::maglev::{Maglev, Tables};
use crate::p2c::Odds;
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
    /// Milliseconds; 0: peers have their full share at once.
    pub(crate) slow_start: u64,
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
    pub(crate) way: Way,
}

/// How a level chooses, and what it needs for that.
#[derive(Debug)]
pub(crate) enum Way {
    /// There is no choice.
    Only,
    /// Short and uncontended: a dozen additions.
    Rotation(Mutex<Rotation>),
    /// The rotation is for those with equally much to do.
    LeastConn(Mutex<Rotation>),
    P2c(Odds),
    Ring(Ring),
    Maglev(Arc<Maglev>),
}

impl View {
    /// A view of `upstream`, its peers taken from `peers` or made there.
    pub fn new(upstream: &Upstream, peers: &mut Peers) -> Self {
        let slow_start = u64::try_from(upstream.slow_start.as_millis()).unwrap_or(u64::MAX);
        peers.next_view(slow_start > 0);
        let mut entries = Vec::with_capacity(upstream.peers().count());
        let mut levels = Vec::with_capacity(upstream.levels.len());
        for level in &upstream.levels {
            let start = entries.len();
            entries.extend(level.iter().map(|spec| peers.entry(spec)));
            let span = start..entries.len();
            let way = Way::new(level, upstream.mode, &mut peers.tables);
            levels.push(LevelView { span, way });
        }
        peers.serving = true;
        Self {
            index: upstream.index(),
            mode: upstream.mode,
            slow_start,
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
            slow_start: 0,
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

    /// Whether its peers are to be told how long they took to answer.
    pub fn times_answers(&self) -> bool {
        self.mode == Mode::P2c
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

impl Way {
    fn new(level: &[PeerSpec], mode: Mode, tables: &mut Tables) -> Self {
        let rotation = || Mutex::new(Rotation::new(level.len()));
        match mode {
            _ if level.len() < 2 => Way::Only,
            Mode::Rotation => Way::Rotation(rotation()),
            Mode::LeastConn => Way::LeastConn(rotation()),
            Mode::P2c => Way::P2c(Odds::new(level.iter().map(|s| s.weight))),
            Mode::Ring(_) => Way::Ring(ring(level)),
            Mode::Maglev(_) => Way::Maglev(tables.of(level)),
        }
    }
}

fn ring(level: &[PeerSpec]) -> Ring {
    let texts: Vec<String> = level.iter().map(|s| s.key.to_string()).collect();
    let weights = level.iter().map(|s| s.weight);
    Ring::new(texts.iter().map(String::as_str).zip(weights))
}

/// The peers of one service, over all views that are still of interest.
#[derive(Debug, Default)]
pub struct Peers {
    known: BTreeMap<PeerKey, Arc<Peer>>,
    tables: Tables,
    /// There was a view already: who is new joins others.
    serving: bool,
    /// The newest view has a slow start.
    ramps: bool,
}

impl Peers {
    /// Ramps ordered while there was no slow start are none of the next view's.
    fn next_view(&mut self, ramps: bool) {
        if !std::mem::replace(&mut self.ramps, ramps) {
            self.known.values().for_each(|peer| peer.ramp().cancel());
        }
    }

    fn entry(&mut self, spec: &PeerSpec) -> Entry {
        let made = || {
            let peer = Peer::new(spec.key.clone());
            if self.serving {
                peer.ramp().order();
            }
            Arc::new(peer)
        };
        let peer = self.known.entry(spec.key.clone()).or_insert_with(made);
        Entry {
            peer: peer.clone(),
            weight: spec.weight,
            limits: spec.limits,
        }
    }

    /// The peer with this key.
    pub fn get(&self, key: &PeerKey) -> Option<&Arc<Peer>> {
        self.known.get(key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.known.values()
    }

    /// Forgets peers nobody outside refers to any more.
    pub fn prune(&mut self) {
        self.known.retain(|_, peer| Arc::strong_count(peer) > 1);
    }
}
