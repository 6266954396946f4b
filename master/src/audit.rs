//! Who wrote what: one line per accepted write of people, programs and nodes, under the target `audit`, and one for each command run inside
//! an instance.
//!
//! The leader writes it, wherever the write came in. Deeds are told as in [`hancock_master_core::Command`]'s prose, which has no secrets.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hancock_proto::ids::LogIndex;

/// Who asked for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    /// The token that was shown, or the node of the certificate.
    pub(crate) name: Arc<str>,
    /// Where from; None: not known.
    pub(crate) from: Option<SocketAddr>,
    /// The master that took the request and sent it on here.
    pub(crate) via: Option<Arc<str>>,
}

impl Who {
    pub(crate) fn new(name: &str, from: Option<SocketAddr>) -> Self {
        let (name, via) = (name.into(), None);
        Self { name, from, via }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(from) = &self.from {
            write!(f, " from {from}")?;
        }
        match &self.via {
            Some(via) => write!(f, " via {via}"),
            None => Ok(()),
        }
    }
}

/// Tells of an accepted write. `repeated`: it was sent again under its key, and had been carried out before.
pub(crate) fn written(who: &Who, deed: &dyn fmt::Display, index: LogIndex, repeated: bool) {
    tracing::info!(target: "audit", who = %who, index = index.0, repeated, "{deed}");
}

/// Tells of a deed that writes nothing.
pub(crate) fn done(who: &Who, deed: &str) {
    tracing::info!(target: "audit", who = %who, "{deed}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_a_request_is_told() {
        let mut who = Who::new("operator", Some("10.0.0.9:4711".parse().unwrap()));
        assert_eq!(who.to_string(), "operator from 10.0.0.9:4711");
        who.via = Some("m2".into());
        assert_eq!(who.to_string(), "operator from 10.0.0.9:4711 via m2");
        assert_eq!(Who::new("node n1", None).to_string(), "node n1");
    }
}
