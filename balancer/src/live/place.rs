//! What is found under one word: the service of that name, and those that are reached under paths below it, when it is a host.

use std::sync::Arc;

use hancock_balancer_core::settings::{Route, route};

use super::Service;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Place {
    /// The service of this name.
    pub(super) service: Option<Arc<Service>>,
    /// It is reached elsewhere.
    moved: bool,
    /// The longest prefixes first.
    below: Vec<Below>,
}

#[derive(Clone)]
struct Below {
    route: Route,
    /// A master wrote its document, which counts before other writers' claims of the same path.
    owned: bool,
    service: Arc<Service>,
}

impl Place {
    /// The service that requests for `target` go to.
    pub(super) fn routed(&self, target: &[u8]) -> Option<&Arc<Service>> {
        let below = match self.below.is_empty() {
            true => None,
            false => self.under(&route::path(target)),
        };
        below.or(self.service.as_ref().filter(|_| !self.moved))
    }

    fn under(&self, path: &[u8]) -> Option<&Arc<Service>> {
        let found = self.below.iter().find(|b| b.route.holds(path));
        found.map(|b| &b.service)
    }

    /// The name of the service that has a prefix already.
    pub(super) fn holder(&self, prefix: &str) -> Option<&Arc<str>> {
        let found = self.below.iter().find(|b| &*b.route.prefix == prefix);
        found.map(|b| &b.service.name)
    }

    /// The service of this name is reached elsewhere, or here again.
    pub(super) fn moved(&mut self, moved: bool) {
        self.moved = moved;
    }

    /// A service is reached under a path from now on.
    pub(super) fn add(&mut self, route: &Route, owned: bool, service: &Arc<Service>) {
        self.below.push(Below {
            route: route.clone(),
            owned,
            service: service.clone(),
        });
        // Stable: of two equal claims the earlier one counts.
        self.below
            .sort_by_key(|b| (std::cmp::Reverse(b.route.prefix.len()), !b.owned));
    }

    /// It is so no longer.
    pub(super) fn remove(&mut self, route: &Route, name: &str) {
        self.below
            .retain(|b| b.route.prefix != route.prefix || &*b.service.name != name);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.service.is_none() && self.below.is_empty()
    }
}
