//! Zones: named sets of nodes. Only a zone's balancers load, probe and confirm the services that name it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::ZoneName;
use crate::units::Span;
use crate::upstream::UpstreamDoc;

/// Time given to readers that do not confirm, where nothing else is said.
pub const EXTERNAL_SETTLE: Span = Span::seconds(10);

/// A set of nodes by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Labels a node must have, each with this value. Empty: every node.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// Balancers that are not agents read the zone's documents and do not confirm: drain begins no earlier than this after publication.
    /// None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_settle: Option<Span>,
}

impl Zone {
    /// Whether a node with these labels belongs to it.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut wanted = self.selector.iter();
        wanted.all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl UpstreamDoc {
    /// Whether a balancer of these zones carries it. A document that names none is for every balancer.
    pub fn is_for(&self, zones: &BTreeSet<ZoneName>) -> bool {
        let named = self.hancock.as_ref().map(|member| &member.zones);
        named.is_none_or(|named| named.is_empty() || !named.is_disjoint(zones))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().map(|p| p.split_once('=').unwrap());
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn every_label_of_the_selector_counts() {
        let zone = Zone {
            selector: labels("city=oslo role=edge"),
            external_settle: None,
        };
        assert!(zone.holds(&labels("city=oslo role=edge rack=1")));
        for other in ["city=oslo", "city=bergen role=edge", ""] {
            assert!(!zone.holds(&labels(other)), "{other}");
        }
        assert!(Zone::default().holds(&labels("")));
    }

    #[test]
    fn a_document_without_zones_is_for_everybody() {
        let doc = |zones: &str| -> UpstreamDoc {
            let text = format!(
                r#"{{"cluster": [], "hancock": {{"app": "web", "index": 1, "accept_timeout_ms": 1{zones}}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let mine = BTreeSet::from([ZoneName::default(), "oslo".parse().unwrap()]);
        assert!(doc("").is_for(&mine) && doc(r#", "zones": ["oslo"]"#).is_for(&mine));
        assert!(!doc(r#", "zones": ["bergen"]"#).is_for(&mine));
        assert!(UpstreamDoc::default().is_for(&mine));
    }
}
