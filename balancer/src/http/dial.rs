//! How one peer is dialled: prepared once, copied per attempt.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer};
use tokio_util::sync::CancellationToken;

use hancock_balancer_core::settings::PeerTimes;
use hancock_balancer_core::upstream::PeerKey;

use super::plain::Pool;

/// How one attempt is dialled.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub(super) times: PeerTimes,
    /// The connection may become a stream of its own.
    pub(super) upgrade: bool,
    /// Not on a pooled connection, after one of them turned out to be dead.
    pub(super) afresh: bool,
}

/// A peer's address and everything the engine wants to know about it.
#[derive(Debug)]
pub(crate) struct Dial {
    /// Keeps pooled connections of one instance from ever serving another that got its port.
    group: u64,
    /// None: a host name that was not resolved yet.
    target: ArcSwapOption<HttpPeer>,
    /// Tells sessions on the peer to end; there is none before the first session.
    ending: OnceLock<CancellationToken>,
    /// Connections of the plain kind that wait for their next request.
    pub(super) idle: Pool,
}

impl Dial {
    pub(crate) fn new(key: &PeerKey) -> Self {
        let mut hasher = DefaultHasher::new();
        key.instance.hash(&mut hasher);
        let dial = Self {
            // The lowest bit tells connections that must not come from the pool.
            group: hasher.finish() & !1,
            target: ArcSwapOption::empty(),
            ending: OnceLock::new(),
            idle: Pool::default(),
        };
        if let Some(ip) = key.ip() {
            dial.resolved(SocketAddr::new(ip, key.port));
        }
        dial
    }

    /// The peer's address is `address` from now on.
    pub(crate) fn resolved(&self, address: SocketAddr) {
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.group_key = self.group;
        // The head filter has left out what is not for origins; everything else is theirs, as the original passes it.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        self.target.store(Some(Arc::new(peer)));
    }

    /// By whom a session on the peer is told to end.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.ending.get_or_init(CancellationToken::new).clone()
    }

    /// Every session on the peer is to end, now and from now on.
    pub(crate) fn end_sessions(&self) {
        self.ending.get_or_init(CancellationToken::new).cancel();
    }

    /// Whether they were told.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending
            .get()
            .is_some_and(CancellationToken::is_cancelled)
    }

    /// Where the peer is; None: the address is not known.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let target = self.target.load();
        target.as_ref()?.address().as_inet().copied()
    }

    /// What to dial for one attempt. None: the address is not known.
    pub(super) fn prepare(&self, how: How) -> Option<Box<HttpPeer>> {
        let mut peer = Box::new(HttpPeer::clone(self.target.load().as_ref()?));
        let times = how.times;
        peer.options.connection_timeout = Some(times.connect);
        peer.options.total_connection_timeout = Some(times.connect);
        peer.options.read_timeout = Some(if how.upgrade {
            times.session
        } else {
            times.read
        });
        peer.options.write_timeout = Some(times.send);
        peer.options.idle_timeout = Some(times.pool);
        if how.afresh {
            peer.group_key |= 1;
        }
        Some(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections are pooled by address and group: whoever gets a stopped instance's port gets none of its connections.
    #[test]
    fn instances_share_no_connections_though_they_share_an_address() {
        let dial = |instance: &str| {
            Dial::new(&PeerKey {
                host: "10.0.0.1".into(),
                port: 80,
                instance: instance.parse().ok(),
            })
        };
        let how = |afresh| How {
            times: hancock_balancer_core::settings::Settings::unsaid(true).peer,
            upgrade: false,
            afresh,
        };
        let group = |instance, afresh| {
            let peer = dial(instance).prepare(how(afresh)).expect("an address");
            peer.group_key
        };
        assert_eq!(group("web-1", false), group("web-1", false));
        assert_ne!(group("web-1", false), group("web-2", false));
        assert_ne!(group("web-1", false), group("web-1", true));
    }
}
