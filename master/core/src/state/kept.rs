//! Upstreams that operators keep by hand, through the master like everything else.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::ids::{AppName, DocIndex, Revision, ZoneName};
use hancock_proto::persistent::Map;
use hancock_proto::registry::{Batch, MAX_BATCH};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::{Level, Member, Server, UpstreamDoc};
use serde::{Deserialize, Serialize};

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// By name; one that is deleted stays until its deletion is published.
    pub upstreams: Map<ServiceName, KeptUpstream>,
    /// Everything changed up to this index is published.
    pub published: DocIndex,
    /// Revision it was written at.
    pub revision: Revision,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptUpstream {
    /// The zone whose balancers carry it.
    pub zone: ZoneName,
    /// Its servers, in the order they were added. Empty: deleted.
    pub servers: Vec<Server>,
    /// Log index of its last change.
    pub index: DocIndex,
}

impl KeptUpstream {
    /// The document; None: it is deleted.
    pub fn document(&self) -> Option<UpstreamDoc> {
        if self.servers.is_empty() {
            return None;
        }
        let zones = [&self.zone].into_iter().filter(|zone| !zone.is_default());
        Some(UpstreamDoc {
            cluster: vec![Level {
                servers: self.servers.clone(),
                ..Level::default()
            }],
            enable: Some(true),
            hancock: Some(Member {
                app: AppName::by_hand(),
                index: self.index,
                added: Vec::new(),
                retiring: Vec::new(),
                max_unavailable: 0,
                accept_timeout_ms: 0,
                session_drain_timeout_ms: None,
                check: None,
                check_ports: BTreeMap::new(),
                zones: zones.cloned().collect::<BTreeSet<_>>(),
            }),
            ..UpstreamDoc::default()
        })
    }
}

impl Kept {
    /// Those that are there.
    pub fn living(&self) -> impl Iterator<Item = (&ServiceName, &KeptUpstream)> {
        let all = self.upstreams.iter();
        all.filter(|(_, kept)| !kept.servers.is_empty())
    }

    /// The oldest changes that are not published, as one transaction, and the index it brings the registry to.
    pub fn unpublished(&self) -> Option<(DocIndex, Batch)> {
        let changed = self.upstreams.iter();
        let mut changed: Vec<_> = changed.filter(|(_, k)| k.index > self.published).collect();
        changed.sort_by_key(|(_, kept)| kept.index);
        changed.truncate(MAX_BATCH);
        let (_, last) = changed.last()?;
        let change = |(name, kept): &(&ServiceName, &KeptUpstream)| {
            ((*name).clone(), kept.document().map(Into::into))
        };
        let batch = Batch {
            app: AppName::by_hand(),
            changes: changed.iter().map(change).collect(),
        };
        Some((last.index, batch))
    }
}
