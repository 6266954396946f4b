//! Keeps the disk: removes images the core names, and tells it when the disk is full.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hancock_agent_core::images::Shelf;
use hancock_agent_core::retention::Retention;
use hancock_proto::assignment::Assignment;
use tokio::time::Instant;

use crate::detect;
use crate::runtime::ContainerRuntime;

use super::{Loop, Output};

/// Time between looks at the images.
const INTERVAL: Duration = Duration::from_secs(60);

/// Time one look with its removals may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What may lie on the disk.
#[derive(Debug, Clone, Copy)]
pub struct Hygiene {
    /// Versions of an app whose images stay.
    pub keep_images: usize,
    /// Percent of the disk that may be used before images go that might be wanted again, and before nothing new is started.
    pub disk_watermark: u8,
    /// What stays of ended instances, below the watermark.
    pub retention: Retention,
}

impl Default for Hygiene {
    fn default() -> Self {
        Self {
            keep_images: hancock_agent_core::images::KEEP,
            disk_watermark: 95,
            retention: Retention::default(),
        }
    }
}

/// How far tidying is.
#[derive(Debug, Default)]
pub(super) struct Tidying {
    under_way: bool,
    next: Option<Instant>,
    /// Where the runtime keeps its things; None: beside the journal.
    folder: Option<PathBuf>,
}

/// What a look came to.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    folder: Option<PathBuf>,
    removed: Vec<String>,
}

impl Loop {
    /// Looks at the disk, and now and then at the images.
    pub(super) fn tidy(&mut self) {
        self.look_at_disk();
        let due = self.tidying.next.is_none_or(|at| at <= Instant::now());
        // Without an assignment nothing is known to be unwanted.
        let Some(assignment) = self
            .node
            .assignment()
            .filter(|_| due && !self.tidying.under_way)
        else {
            return;
        };
        let (assignment, shelf) = (assignment.clone(), self.record.images.clone());
        let (runtime, rules) = (Arc::clone(&self.runtime), self.options.hygiene);
        self.tidying.under_way = true;
        self.tidying.next = Some(Instant::now() + INTERVAL);
        self.tasks.spawn(async move {
            let look = look(&*runtime, &shelf, &assignment, rules);
            let tidied = tokio::time::timeout(TIMEOUT, look).await;
            Output::Tidied(tidied.unwrap_or_default())
        });
    }

    /// What is wanted has changed, and with it perhaps which images are.
    pub(super) fn tidy_soon(&mut self) {
        self.tidying.next = None;
    }

    pub(super) fn tidied(&mut self, tidied: Tidied) {
        self.tidying.under_way = false;
        if tidied.folder.is_some() {
            self.tidying.folder = tidied.folder;
        }
        for image in &tidied.removed {
            tracing::info!(image, "image removed: nothing here needs it");
            self.record.images.forget(image);
        }
        if !tidied.removed.is_empty() {
            // There may be more, as long as the disk is full.
            self.tidy_soon();
        }
        self.look_at_disk();
    }

    fn look_at_disk(&mut self) {
        let folder = self.tidying.folder.as_deref();
        let folder = folder.unwrap_or(&self.options.data_dir);
        let most = self.options.hygiene.disk_watermark;
        let full = detect::disk_used(folder).filter(|used| *used > most);
        self.node.disk(full.map(|used| {
            format!(
                "disk full: {used} % of the disk of {} are used, {most} % may be (disk-watermark); make room, or raise it",
                folder.display()
            )
        }));
    }
}

async fn look(
    runtime: &dyn ContainerRuntime,
    shelf: &Shelf,
    assignment: &Assignment,
    rules: Hygiene,
) -> Tidied {
    let Some(store) = runtime.image_store() else {
        return Tidied::default();
    };
    let (Ok(folder), Ok(there)) = (store.folder().await, store.images().await) else {
        return Tidied::default();
    };
    let full = is_full(&folder, rules.disk_watermark);
    let mut removed = Vec::new();
    for name in shelf.removals(&there, assignment, rules.keep_images, full) {
        match store.remove_image(&name).await {
            Ok(()) => removed.push(name),
            Err(error) => tracing::debug!(%error, "image stays"),
        }
    }
    Tidied {
        folder: Some(folder),
        removed,
    }
}

fn is_full(folder: &Path, most: u8) -> bool {
    detect::disk_used(folder).is_some_and(|used| used > most)
}
