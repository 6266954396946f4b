//! Which images a node may remove. Only what instances of this node were made of is ever thought of: other images are somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::app::image::pinned;
use hancock_proto::ask::ImageUse;
use hancock_proto::assignment::{AssignedInstance, Assignment};
use hancock_proto::ids::{AppName, Version};
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Versions of an app whose images stay, where nothing else is configured: the one that runs and one to go back to.
pub const KEEP: usize = 2;

/// One image as a runtime shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The runtime's own id of it.
    pub id: String,
    /// Its names, as the runtime writes them.
    pub tags: Vec<String>,
    /// Its names by digest, as the runtime writes them.
    pub digests: Vec<String>,
    /// Bytes it takes.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// Every name it can be asked for by.
    pub names: BTreeSet<String>,
    /// Some container, whosever, is made of it.
    pub used: bool,
}

/// What the node's apps were made of, by the name in their specs, with the highest version that was. Survives the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf(BTreeMap<AppName, BTreeMap<String, Version>>);

impl Shelf {
    /// Notes what is assigned.
    pub fn note(&mut self, assignment: &Assignment) {
        for assigned in assignment.instances.values() {
            for name in names(assigned) {
                let of_app = self.0.entry(assigned.app.clone()).or_default();
                let highest = of_app.entry(name).or_default();
                *highest = assigned.version.max(*highest);
            }
        }
    }

    /// It is not there any more.
    pub fn forget(&mut self, image: &str) {
        self.0.retain(|_, of_app| {
            of_app.remove(image);
            !of_app.is_empty()
        });
    }

    /// What is to be removed now, by name: images of all but the `keep` newest versions of each app, and when the disk is `full` the one
    /// after that whose version is furthest behind. Never one that is assigned, that a container is made of, or that another app keeps.
    pub fn removals(
        &self,
        there: &[Image],
        assignment: &Assignment,
        keep: usize,
        full: bool,
    ) -> Vec<String> {
        let assigned: BTreeSet<String> = assignment.instances.values().flat_map(names).collect();
        let free = |name: &str| {
            let image = there.iter().find(|i| i.names.contains(name));
            image.is_some_and(|i| !i.used && !i.names.iter().any(|n| assigned.contains(n)))
        };
        let mut kept = BTreeSet::new();
        let mut old = Vec::new();
        let mut spare = Vec::new();
        for of_app in self.0.values() {
            let mut newest: Vec<_> = of_app
                .iter()
                .map(|(name, version)| (*version, name))
                .collect();
            newest.sort_by(|a, b| b.cmp(a));
            let mut versions: Vec<Version> = newest.iter().map(|(version, _)| *version).collect();
            versions.dedup();
            for (version, name) in newest {
                let place = versions.iter().take_while(|v| **v > version).count();
                match place < keep {
                    true => {
                        kept.insert(name);
                        spare.push((std::cmp::Reverse(place), name));
                    }
                    false => old.push(name),
                }
            }
        }
        let mut all: Vec<String> = old
            .into_iter()
            .filter(|name| !kept.contains(name) && free(name))
            .cloned()
            .collect();
        if full && all.is_empty() {
            spare.sort();
            let furthest = spare.into_iter().map(|(_, name)| name);
            all.extend(furthest.into_iter().find(|name| free(name)).cloned());
        }
        all.dedup();
        all
    }
}

/// Versions of apps that are assigned and made of an image.
pub fn users(image: &Image, assignment: &Assignment) -> BTreeSet<ImageUse> {
    let all = assignment.instances.values();
    let same = all.filter(|a| exact_name(a).is_some_and(|name| image.names.contains(&name)));
    same.map(|a| ImageUse {
        app: a.app.clone(),
        version: a.version,
    })
    .collect()
}

/// By its digest, where that is known.
fn exact_name(assigned: &AssignedInstance) -> Option<String> {
    names(assigned).last()
}

/// What an instance's image is called: as its spec says, and by its digest.
fn names(assigned: &AssignedInstance) -> impl Iterator<Item = String> {
    let (image, digest) = (
        assigned.run.image.as_ref(),
        assigned.run.image_digest.as_ref(),
    );
    let exact = image.zip(digest).map(|(name, digest)| pinned(name, digest));
    image.cloned().into_iter().chain(exact)
}
