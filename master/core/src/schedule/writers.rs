//! Who writes to which volumes of a node, so that nobody comes beside the only writer of one.

use std::sync::Arc;

use hancock_proto::app::writers::{clash, spoken};
use hancock_proto::app::{AppSpec, Volume};
use hancock_proto::ids::AppName;

use super::Misfit;

/// The instances of one node that write to anything.
#[derive(Clone, Default)]
pub(super) struct Writers(Vec<Arc<Writer>>);

struct Writer {
    app: AppName,
    volumes: Vec<Volume>,
    who: String,
}

impl Writers {
    pub(super) fn add(&mut self, app: &AppName, volumes: &[Volume], who: &str) {
        if volumes.iter().all(|v| v.read_only) {
            return;
        }
        self.0.push(Arc::new(Writer {
            app: app.clone(),
            volumes: volumes.to_vec(),
            who: who.to_owned(),
        }));
    }

    /// Refuses whom somebody here does not let write beside it.
    pub(super) fn fit(&self, spec: &AppSpec) -> Result<(), Misfit> {
        for other in &self.0 {
            let mine = (&spec.app, &*spec.volumes);
            if let Some(volume) = clash(mine, (&other.app, &other.volumes)) {
                return Err(Misfit::Writer {
                    what: spoken(volume),
                    by: other.who.clone(),
                });
            }
        }
        Ok(())
    }
}
