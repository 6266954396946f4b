//! Which registry is in force besides the masters' own, and the one a switch leads to.

use hancock_proto::ids::Revision;
use hancock_proto::registry::Choice;
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The choice. Documents are always in the masters' own registry, and in every other one named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choosing {
    /// In force: documents count as published when it has them.
    pub now: Choice,
    /// On the way in.
    pub next: Option<Switch>,
}

/// A switch under way: documents go to both until every node follows the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// What was chosen.
    pub to: Choice,
    /// When.
    pub since: Timestamp,
    /// Revision at which it held everything; None: not yet.
    pub filled: Option<Revision>,
}

impl Choosing {
    /// What nodes shall follow.
    pub fn newest(&self) -> &Choice {
        self.next.as_ref().map_or(&self.now, |next| &next.to)
    }

    /// Registries outside of the masters that are written, the one in force first.
    pub fn outside(&self) -> impl Iterator<Item = &Choice> {
        let next = self.next.as_ref().map(|next| &next.to);
        let all = [Some(&self.now), next].into_iter().flatten();
        all.filter(|choice| !choice.url.is_embedded())
    }
}
