//! Who a certificate is for: written into it as a URI, `hancock://CLUSTER/master/NAME` or `hancock://CLUSTER/node/NODE`.

use std::fmt;
use std::str::FromStr;

use hancock_proto::ids::{ClusterId, NodeId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustls::pki_types::CertificateDer;

const SCHEME: &str = "hancock://";
/// Characters of a name that stand for themselves.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who in it.
    pub role: Role,
}

/// What somebody is in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The master of this name.
    Master(String),
    /// The agent of this node.
    Node(NodeId),
}

impl Name {
    /// A master.
    pub fn master(cluster: &ClusterId, name: &str) -> Self {
        let (cluster, role) = (cluster.clone(), Role::Master(name.to_owned()));
        Self { cluster, role }
    }

    /// A node.
    pub fn node(cluster: &ClusterId, node: &NodeId) -> Self {
        let (cluster, role) = (cluster.clone(), Role::Node(node.clone()));
        Self { cluster, role }
    }

    /// Whom `certificate` names; None: nobody of a cluster. Says nothing about who signed it.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        let mut names = parsed.valid_uri_names();
        let first = names.next()?.parse().ok()?;
        // Two names would let the reader choose.
        names.next().is_none().then_some(first)
    }

    /// The name of a master; None: it is none.
    pub fn as_master(&self) -> Option<&str> {
        match &self.role {
            Role::Master(name) => Some(name),
            Role::Node(_) => None,
        }
    }

    /// The node; None: it is none.
    pub fn as_node(&self) -> Option<&NodeId> {
        match &self.role {
            Role::Master(_) => None,
            Role::Node(node) => Some(node),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match &self.role {
            Role::Master(name) => ("master", name.as_str()),
            Role::Node(node) => ("node", node.as_str()),
        };
        let (cluster, name) = (self.cluster.as_str(), utf8_percent_encode(name, PLAIN));
        let cluster = utf8_percent_encode(cluster, PLAIN);
        write!(f, "{SCHEME}{cluster}/{kind}/{name}")
    }
}

/// A text that names nobody of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names nobody of a cluster")]
pub struct NoName;

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let rest = text.strip_prefix(SCHEME).ok_or(NoName)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [cluster, kind, name] = parts[..] else {
            return Err(NoName);
        };
        let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| NoName);
        let name = decoded(name)?;
        let role = match kind {
            "master" if !name.is_empty() => Role::Master(name.into_owned()),
            "node" => Role::Node(name.parse().map_err(|_| NoName)?),
            _ => return Err(NoName),
        };
        let cluster = decoded(cluster)?.parse().map_err(|_| NoName)?;
        Ok(Self { cluster, role })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written() {
        let cluster: ClusterId = "c1".parse().unwrap();
        for name in [
            Name::master(&cluster, "m1"),
            Name::master(&cluster, "büro/2 %41"),
            Name::node(&cluster, &"edge-7".parse().unwrap()),
        ] {
            assert_eq!(name.to_string().parse(), Ok(name.clone()), "{name}");
        }
    }

    #[test]
    fn other_texts_name_nobody() {
        for text in [
            "",
            "https://c1/master/m1",
            "hancock://c1/master/",
            "hancock://c1/master/a/b",
            "hancock://c1/operator/x",
            "hancock:///node/n1",
            "hancock://c1/node/%ff",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NoName), "{text}");
        }
    }
}
