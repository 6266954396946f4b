//! TCP services: a document named by a port number opens that port and relays its connections to the document's peers.
//!
//! Names, versions and states are apart from those of HTTP: the TCP side has a control of its own. Its threads are its own too, so that a
//! bulk transfer never waits in front of a request.

mod buffers;
mod dial;
mod doors;
mod options;
mod pipes;
mod relay;
mod stats;
mod threads;
mod way;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use hancock_proto::ids::DocIndex;
use hancock_proto::report::ServiceReport;

use crate::control::{Control, Parts};
use crate::handle::{StartError, failed, restore};
use crate::stream_admin::Server;
use threads::Threads;

pub(crate) use doors::Doors;
pub use options::TcpOptions;
pub(crate) use stats::{Counters, metrics};

/// Folder of the last known good documents, inside that of HTTP.
const FOLDER: &str = "tcp";
/// Time the framed protocol has to finish its answers.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// The running TCP side.
pub(crate) struct Tcp {
    control: Arc<Control>,
    porter: Porter,
    threads: Threads,
    admin: Option<Server>,
    tasks: [JoinHandle<()>; 2],
}

/// Looks after the ports; closes them when dropped.
struct Porter {
    doors: Arc<Doors>,
    retrying: JoinHandle<()>,
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.retrying.abort();
        self.doors.close();
    }
}

impl Tcp {
    /// Opens the ports that stay open and those of last known good documents; from now on documents open and close theirs.
    pub(crate) fn start(
        options: TcpOptions,
        parts: Parts,
        data_dir: &Path,
        threads: usize,
        admin: Option<TcpListener>,
    ) -> Result<Self, StartError> {
        let started = Threads::start(threads);
        let (threads, runners) = started.map_err(failed("start the threads of the TCP side"))?;
        let doors = Arc::new(Doors::new(options, runners, parts.changed.clone()));
        let control = Control::new(parts);
        control.opens(doors.clone());
        restore(&control, &data_dir.join(FOLDER))?;
        doors.open_fixed(&control.table)?;
        let admin = admin.map(|listener| Server::start(listener, control.clone()));
        Ok(Self {
            admin: admin
                .transpose()
                .map_err(failed("start the framed management protocol"))?,
            tasks: [
                tokio::spawn(Control::run(Arc::downgrade(&control))),
                tokio::spawn(Control::beat(
                    Arc::downgrade(&control),
                    control.check_interval,
                )),
            ],
            porter: Porter {
                retrying: tokio::spawn(Doors::keep_trying(doors.clone())),
                doors,
            },
            control,
            threads,
        })
    }

    /// What documents are applied to.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Closes all ports, lets sessions go on for at most `grace`, writes down what is left, ends.
    pub(crate) async fn shutdown(self, grace: Duration) {
        drop(self.porter);
        self.threads.shutdown(grace).await;
        if let Some(admin) = self.admin {
            admin.shutdown(grace.min(ADMIN_GRACE)).await;
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        let control = self.control;
        let closed = tokio::task::spawn_blocking(move || control.close()).await;
        if closed.is_err() {
            tracing::error!("could not close the last known good documents of the TCP side");
        }
    }
}

/// The reports of TCP services. What cannot be reached because its port could not be opened is not confirmed.
pub(crate) fn services(control: &Control) -> BTreeMap<String, ServiceReport> {
    let mut reports = control.services();
    let closed = control.doors().map(|doors| doors.failing());
    for (name, closed) in closed.into_iter().flatten() {
        if let Some(report) = reports.get_mut(&name) {
            report.confirmed = DocIndex(0);
            let doc = control.document(&name);
            let refused = || doc.and_then(|doc| closed.refusal(&doc));
            report.refused = report.refused.take().or_else(refused);
        }
    }
    reports
}
