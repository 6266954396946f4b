//! How far pulls are, in words, for whoever waits for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use hancock_proto::ids::InstanceId;
use tokio::time::Instant;

use super::Shared;

/// How often it is told: each time becomes an entry of the masters' log.
const PACE: Duration = Duration::from_secs(3);

/// What is told of pulls under way.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<InstanceId, String>>);

impl Board {
    pub(super) fn of(&self, instance: &InstanceId) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(instance).cloned()
    }

    fn set(&self, instance: &InstanceId, text: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => drop(all.insert(instance.clone(), text)),
            None => drop(all.remove(instance)),
        }
    }
}

/// An instance that waits for a pull; taken off the board when dropped.
pub(super) struct Waiting<'a> {
    shared: &'a Shared,
    instance: &'a InstanceId,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(shared: &'a Shared, instance: &'a InstanceId) -> Self {
        Self { shared, instance }
    }

    pub(super) fn tell(&self, text: String) {
        self.shared.pulls.set(self.instance, Some(text));
        self.shared.notify();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.pulls.set(self.instance, None);
    }
}

/// One pull.
pub(super) struct Progress<'a> {
    image: &'a str,
    tell: &'a (dyn Fn(String) + Send + Sync),
    layers: Layers,
    told: Option<Instant>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(image: &'a str, tell: &'a (dyn Fn(String) + Send + Sync)) -> Self {
        Self {
            image,
            tell,
            layers: Layers::default(),
            told: None,
        }
    }

    pub(super) fn step(&mut self, info: &CreateImageInfo) {
        self.layers.take(info);
        if self.told.is_some_and(|at| at.elapsed() < PACE) {
            return;
        }
        self.told = Some(Instant::now());
        (self.tell)(self.layers.told(self.image));
    }
}

/// Bytes of each layer: here, and in all.
#[derive(Default)]
struct Layers(HashMap<String, (i64, i64)>);

impl Layers {
    fn take(&mut self, info: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&info.id, &info.status) else {
            return;
        };
        let detail = info.progress_detail.as_ref();
        let of = |number: Option<i64>| number.filter(|n| *n > 0);
        match status.as_str() {
            "Downloading" => {
                let here = detail.and_then(|d| of(d.current)).unwrap_or_default();
                let all = detail.and_then(|d| of(d.total)).unwrap_or(here);
                self.0.insert(id.clone(), (here, all));
            }
            // What is unpacked was downloaded.
            "Verifying Checksum" | "Download complete" | "Extracting" | "Pull complete" => {
                if let Some((here, all)) = self.0.get_mut(id) {
                    *here = *all;
                }
            }
            _ => {}
        }
    }

    fn told(&self, image: &str) -> String {
        let sum = |part: fn(&(i64, i64)) -> i64| self.0.values().map(part).sum::<i64>();
        let (here, all) = (sum(|l| l.0), sum(|l| l.1));
        match all {
            0 => format!("pulls {image}"),
            _ => format!("pulls {image}: {} of {} MB", mb(here), mb(all)),
        }
    }
}

/// Rounded up, so that something is never told as nothing.
fn mb(bytes: i64) -> i64 {
    bytes.saturating_add(999_999) / 1_000_000
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn layers_add_up() {
        let mut layers = Layers::default();
        assert_eq!(layers.told("web:1"), "pulls web:1");
        let step = |id: &str, status: &str, bytes: Option<(i64, i64)>| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: bytes.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        };
        layers.take(&step("1", "Pulling from web", None));
        layers.take(&step("a", "Downloading", Some((10_000_000, 50_000_000))));
        layers.take(&step("b", "Already exists", None));
        layers.take(&step("c", "Downloading", Some((1, 30_000_000))));
        assert_eq!(layers.told("web:1"), "pulls web:1: 11 of 80 MB");
        layers.take(&step("a", "Download complete", None));
        layers.take(&step("c", "Extracting", Some((5, 30_000_000))));
        assert_eq!(layers.told("web:1"), "pulls web:1: 80 of 80 MB");
    }
}
