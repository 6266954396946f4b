//! Images fetched because somebody asked for them: with the same places as those that instances wait for. They go on when the session ends;
//! how they went is told for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hancock_proto::ask::Pull;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::runtime::{ContainerRuntime, RuntimeError};

use super::deeds::PREPARE_TIMEOUT;

/// Pulls remembered, under way or over; the oldest outcomes are forgotten first.
const REMEMBERED: usize = 64;

/// By the image's name.
#[derive(Debug)]
pub(super) struct Pulls {
    /// Shared with the preparation of instances.
    places: Arc<Semaphore>,
    all: Mutex<BTreeMap<String, One>>,
}

#[derive(Debug)]
struct One {
    how: Pull,
    since: Instant,
    task: JoinHandle<()>,
}

impl One {
    fn is_under_way(&self) -> bool {
        matches!(self.how, Pull::Pulling { .. })
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pulls {
    pub(super) fn new(places: Arc<Semaphore>) -> Self {
        let all = Mutex::default();
        Self { places, all }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, One>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one, unless it is under way.
    pub(super) fn begin(
        self: &Arc<Self>,
        runtime: &Arc<dyn ContainerRuntime>,
        image: &str,
    ) -> Result<Pull, String> {
        let mut all = self.lock();
        if let Some(one) = all.get(image).filter(|one| one.is_under_way()) {
            return Ok(one.how.clone());
        }
        make_room(&mut all)?;
        let how = Pull::Pulling {
            told: format!("waits for its turn to pull {image}"),
        };
        let task = fetch(Arc::downgrade(self), Arc::clone(runtime), image.to_owned());
        let one = One {
            how: how.clone(),
            since: Instant::now(),
            task: tokio::spawn(task),
        };
        all.insert(image.to_owned(), one);
        Ok(how)
    }

    /// How far one is.
    pub(super) fn look(&self, image: &str) -> Result<Pull, String> {
        let all = self.lock();
        let none = || format!("nobody asked for {image} here of late; ask for it again");
        all.get(image).map(|one| one.how.clone()).ok_or_else(none)
    }

    fn tell(&self, image: &str, how: Pull) {
        if let Some(one) = self.lock().get_mut(image) {
            (one.how, one.since) = (how, Instant::now());
        }
    }
}

fn make_room(all: &mut BTreeMap<String, One>) -> Result<(), String> {
    if all.len() < REMEMBERED {
        return Ok(());
    }
    let over = all.iter().filter(|(_, one)| !one.is_under_way());
    let oldest = over.min_by_key(|(_, one)| one.since);
    let Some(oldest) = oldest.map(|(image, _)| image.clone()) else {
        return Err(format!(
            "{REMEMBERED} images are being fetched; try again when one of them is here"
        ));
    };
    all.remove(&oldest);
    Ok(())
}

/// Weak: the agent's end is that of its pulls.
async fn fetch(pulls: Weak<Pulls>, runtime: Arc<dyn ContainerRuntime>, image: String) {
    let Some(places) = pulls.upgrade().map(|all| Arc::clone(&all.places)) else {
        return;
    };
    // An error would mean a closed semaphore, and nobody closes it.
    let _place = places.acquire_owned().await.ok();
    let tell = |how| {
        if let Some(pulls) = pulls.upgrade() {
            pulls.tell(&image, how);
        }
    };
    let outcome = pull(&*runtime, &image, &|told| tell(Pull::Pulling { told })).await;
    tell(match outcome {
        Ok(digest) => Pull::Done { digest },
        Err(error) => Pull::Failed {
            reason: error.to_string(),
        },
    });
}

async fn pull(
    runtime: &dyn ContainerRuntime,
    image: &str,
    told: &(dyn Fn(String) + Send + Sync),
) -> Result<Option<String>, RuntimeError> {
    let store = runtime.image_store();
    let store = store.ok_or_else(|| RuntimeError::no_images(runtime.kind()))?;
    told(format!("pulls {image}"));
    let late = |_| {
        let reason = format!("it was not here within {} s", PREPARE_TIMEOUT.as_secs());
        Err(RuntimeError::failed("pull image", image, reason))
    };
    let pulled = tokio::time::timeout(PREPARE_TIMEOUT, store.pull(image, told)).await;
    pulled.unwrap_or_else(late)
}
