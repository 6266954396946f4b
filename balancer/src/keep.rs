//! How the last known good documents come back at a start, and are written down until an end.

use std::path::Path;
use std::sync::Arc;

use crate::control::Control;
use crate::handover::Verdicts;
use crate::lastgood::{Log, Writer};
use crate::start::{StartError, failed};

/// Serves what was last known good, and writes down what is applied from now on.
pub(crate) fn restore(
    control: &Arc<Control>,
    folder: &Path,
    known: Verdicts,
) -> Result<(), StartError> {
    let log = open(folder)?;
    control.restore(log.documents(), known);
    control.record(writer(control, log)?);
    Ok(())
}

/// After a hold: goes on writing down what is applied.
pub(crate) fn resume(control: &Arc<Control>, folder: &Path) -> Result<(), StartError> {
    let log = open(folder)?;
    control.resume(writer(control, log)?);
    Ok(())
}

fn open(folder: &Path) -> Result<Log, StartError> {
    Log::open(folder).map_err(failed(format!(
        "use {} for last known good documents",
        folder.display()
    )))
}

fn writer(control: &Arc<Control>, log: Log) -> Result<Writer, StartError> {
    let told = Arc::downgrade(control);
    let durable = move |name: &str, sequence| {
        if let Some(control) = told.upgrade() {
            control.durable(name, sequence);
        }
    };
    Writer::start(log, durable).map_err(failed(
        "start the thread that writes last known good documents",
    ))
}

/// Closes or holds what a control writes, which may wait for the disk.
pub(crate) async fn close(control: &Arc<Control>, how: fn(&Control)) {
    let control = control.clone();
    if tokio::task::spawn_blocking(move || how(&control))
        .await
        .is_err()
    {
        tracing::error!("could not close the last known good documents");
    }
}
