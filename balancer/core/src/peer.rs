//! One peer of one service: what views share. Its verdict, its passive record, and how much is open on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use hancock_proto::ids::InstanceId;
use serde::{Deserialize, Serialize};

use crate::latency::Latency;
use crate::passive::Record;
use crate::ramp::Ramp;
use crate::upstream::PeerKey;

/// What probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Not probed yet, or the last probe was good: may be picked.
    Ok,
    /// Bad, but the only one left: may be picked.
    Unstable,
    /// Bad: is not picked.
    Err,
}

/// A peer. Views of one service share it as long as host, port and instance stay the same.
#[derive(Debug)]
pub struct Peer {
    key: PeerKey,
    verdict: AtomicU8,
    record: Record,
    latency: Latency,
    ramp: Ramp,
    /// Sessions in the upper, requests in the lower half, so that both are read at one moment.
    open: AtomicU64,
    /// Attempts by first digit of the answer's status; 0: without an answer. Beside what every attempt writes anyway.
    answers: [AtomicU64; 6],
}

const SESSION: u64 = 1 << 32;

impl Peer {
    /// A peer nobody has used yet.
    pub fn new(key: PeerKey) -> Self {
        Self {
            key,
            verdict: AtomicU8::new(0),
            record: Record::default(),
            latency: Latency::default(),
            ramp: Ramp::default(),
            open: AtomicU64::new(0),
            answers: Default::default(),
        }
    }

    /// Who it is.
    pub fn key(&self) -> &PeerKey {
        &self.key
    }

    /// The instance behind it, when a master named one.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.key.instance.as_ref()
    }

    /// What probes say.
    pub fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Ok,
            1 => Verdict::Unstable,
            _ => Verdict::Err,
        }
    }

    /// Probes say something now. A peer that was out comes back slowly, where its service has a slow start.
    pub fn set_verdict(&self, verdict: Verdict) {
        let before = self.verdict.swap(verdict as u8, Ordering::Relaxed);
        if before == Verdict::Err as u8 && verdict != Verdict::Err {
            self.ramp.order();
        }
    }

    /// What failed requests say.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// How long it takes to answer; only told where the mode asks for it.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Its slow start.
    pub fn ramp(&self) -> &Ramp {
        &self.ramp
    }

    /// An attempt came to this status; 0: to none.
    pub fn answered(&self, status: u16) {
        self.answers[usize::from(status / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts so far by first digit of the answer's status, first those without an answer.
    pub fn answers(&self) -> [u64; 6] {
        self.answers.each_ref().map(|c| c.load(Ordering::Relaxed))
    }

    /// Open requests and sessions, as of one moment.
    pub fn open(&self) -> (u64, u64) {
        let word = self.open.load(Ordering::Acquire);
        (word & (SESSION - 1), word >> 32)
    }
}

/// One request on a peer, from pick to end. Dropping it is the end.
#[derive(Debug)]
pub struct Ticket {
    peer: Arc<Peer>,
    held: u64,
}

impl Ticket {
    /// Counts a request on `peer`, before anything is dialled.
    pub fn new(peer: Arc<Peer>) -> Self {
        peer.open.fetch_add(1, Ordering::AcqRel);
        Self { peer, held: 1 }
    }

    /// The request became a session.
    pub fn upgrade(&mut self) {
        if self.held == 1 {
            // One step: nobody sees the peer with neither.
            self.peer.open.fetch_add(SESSION - 1, Ordering::AcqRel);
            self.held = SESSION;
        }
    }

    /// The peer it is on.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.peer.open.fetch_sub(self.held, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_session() {
        let peer = Arc::new(Peer::new(PeerKey {
            host: "127.0.0.1".into(),
            port: 1,
            instance: None,
        }));
        let request = Ticket::new(peer.clone());
        let mut session = Ticket::new(peer.clone());
        session.upgrade();
        session.upgrade();
        assert_eq!(peer.open(), (1, 1));
        drop(request);
        assert_eq!(peer.open(), (0, 1));
        drop(session);
        assert_eq!(peer.open(), (0, 0));
    }
}
