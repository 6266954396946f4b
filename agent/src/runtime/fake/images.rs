//! Images of the engine in memory, and the one registry it knows. What is made here has an id and no digest; what the registry gave has its
//! digest for an id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::images::Image;
use hancock_proto::app::PullPolicy;
use hancock_proto::app::image::{digest, pinned};
use hancock_proto::time::Timestamp;

use super::FakeRuntime;
use crate::runtime::RuntimeError;
use crate::runtime::images::ImageStore;

#[derive(Debug, Default)]
pub(super) struct Images {
    /// What the registry has: names, with what they stand for.
    registry: BTreeMap<String, String>,
    away: Option<String>,
    /// What is here: ids with their names.
    here: BTreeMap<String, BTreeSet<String>>,
}

impl Images {
    /// As a runtime prepares a start.
    pub(super) fn ensure(&mut self, spec: &StartSpec) -> Result<(), RuntimeError> {
        let Some(name) = wanted(spec) else {
            return Ok(());
        };
        let here = self.id(&name).is_some();
        match spec.pull_policy {
            _ if here && digest(&name).is_some() => Ok(()),
            PullPolicy::Missing | PullPolicy::Never if here => Ok(()),
            PullPolicy::Missing | PullPolicy::Always => self.pull(&name).map(drop),
            PullPolicy::Never => {
                let reason = format!("image {name} is not here and is not to be fetched");
                Err(RuntimeError::elsewhere("start", &spec.instance, reason))
            }
        }
    }

    /// Id of what a start is made of.
    pub(super) fn exact(&self, spec: &StartSpec) -> Result<Option<String>, RuntimeError> {
        let Some(name) = wanted(spec) else {
            return Ok(None);
        };
        let gone = || RuntimeError::failed("look for image", &name, "there is no such image");
        self.id(&name).map(Some).ok_or_else(gone)
    }

    fn id(&self, name: &str) -> Option<String> {
        let mut all = self.here.iter();
        let found = all.find(|(_, names)| names.contains(name));
        found.map(|(id, _)| id.clone())
    }

    fn pull(&mut self, name: &str) -> Result<String, RuntimeError> {
        let refused = |why: &str| RuntimeError::elsewhere("pull image", name, why);
        if let Some(reason) = &self.away {
            return Err(refused(reason));
        }
        let id = self.registry.get(name).cloned();
        let id = id.ok_or_else(|| refused("the registry has no such image"))?;
        self.name(&id, name);
        self.name(&id, &pinned(name, &id));
        Ok(id)
    }

    /// A name stands for one image only.
    fn name(&mut self, id: &str, name: &str) {
        for names in self.here.values_mut() {
            names.remove(name);
        }
        let names = self.here.entry(id.to_owned()).or_default();
        names.insert(name.to_owned());
    }

    fn remove(&mut self, name: &str, used: &BTreeSet<String>) -> Result<(), RuntimeError> {
        let Some(id) = self.id(name) else {
            return Ok(());
        };
        let Some(names) = self.here.get_mut(&id) else {
            return Ok(());
        };
        // Names by digest do not hold an image that has lost its last tag.
        let tags = names.iter().filter(|n| digest(n).is_none());
        let last = tags.filter(|tag| *tag != name).count() == 0;
        match (last, used.contains(&id)) {
            (true, true) => {
                let reason = "a container is made of it";
                return Err(RuntimeError::failed("remove image", name, reason));
            }
            (true, false) => drop(self.here.remove(&id)),
            (false, _) => drop(names.remove(name)),
        }
        Ok(())
    }
}

/// Name of the image of a start, exact where that is known.
fn wanted(spec: &StartSpec) -> Option<String> {
    let name = spec.image.as_ref()?;
    let digest = spec.image_digest.as_ref();
    Some(digest.map_or_else(|| name.clone(), |digest| pinned(name, digest)))
}

impl FakeRuntime {
    /// The registry has an image under that name from now on, and under its digest for ever.
    pub fn publish(&self, name: &str, digest: &str) {
        let registry = &mut self.world().images.registry;
        registry.insert(name.to_owned(), digest.to_owned());
        registry.insert(pinned(name, digest), digest.to_owned());
    }

    /// The registry goes away, or with None comes back.
    pub fn registry_away(&self, reason: Option<&str>) {
        self.world().images.away = reason.map(str::to_owned);
    }

    /// Ids of images that containers are made of.
    fn used(&self) -> BTreeSet<String> {
        let world = self.world();
        let all = world.containers.values();
        all.filter_map(|c| c.image.clone()).collect()
    }
}

#[async_trait]
impl ImageStore for FakeRuntime {
    async fn folder(&self) -> Result<PathBuf, RuntimeError> {
        self.answering().map(|()| std::env::temp_dir())
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        self.answering()?;
        let used = self.used();
        let shown = |(id, names): (&String, &BTreeSet<String>)| Image {
            id: id.clone(),
            used: used.contains(id),
            tags: names
                .iter()
                .filter(|n| digest(n).is_none())
                .cloned()
                .collect(),
            digests: names
                .iter()
                .filter(|n| digest(n).is_some())
                .cloned()
                .collect(),
            names: names.clone(),
            size: 1,
            created: Timestamp::default(),
        };
        Ok(self.world().images.here.iter().map(shown).collect())
    }

    async fn pull(
        &self,
        image: &str,
        told: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Option<String>, RuntimeError> {
        self.answering()?;
        told(format!("pulls {image}"));
        self.world().images.pull(image).map(Some)
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        self.answering()?;
        let used = self.used();
        self.world().images.remove(name, &used)
    }
}
