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
use crate::handover::{Adopted, Listening, SocketName, Verdicts};
use crate::keep::{close, restore, resume};
use crate::start::{StartError, failed};
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
    /// Where the framed protocol answers.
    framed: Option<Arc<TcpListener>>,
    tasks: [JoinHandle<()>; 2],
}

/// Looks after the ports; closes them when dropped, but for those that were left to another process.
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

/// What it takes over from another process.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) sockets: Adopted,
    pub(crate) known: Verdicts,
}

impl Tcp {
    /// Opens the ports that stay open and those of last known good documents; from now on documents open and close theirs.
    pub(crate) fn start(
        options: TcpOptions,
        parts: Parts,
        data_dir: &Path,
        threads: usize,
        admin: Option<TcpListener>,
        inherited: Before,
    ) -> Result<Self, StartError> {
        let started = Threads::start(threads);
        let (threads, runners) = started.map_err(failed("start the threads of the TCP side"))?;
        let changed = parts.changed.clone();
        let doors = Doors::new(options, inherited.sockets, runners, changed);
        let doors = Arc::new(doors);
        let control = Control::new(parts);
        control.opens(doors.clone());
        restore(&control, &data_dir.join(FOLDER), inherited.known)?;
        doors.open_fixed(&control.table)?;
        Ok(Self {
            admin: None,
            framed: admin.map(Arc::new),
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

    /// Connections of all ports are accepted from now on.
    pub(crate) fn begin(&self) {
        self.porter.doors.begin();
    }

    /// The framed protocol is answered from now on.
    pub(crate) fn answer(&mut self) -> Result<(), StartError> {
        let Some(listener) = &self.framed else {
            return Ok(());
        };
        let started = listener.try_clone();
        let started = started.and_then(|l| Server::start(l, self.control.clone()));
        self.admin = Some(started.map_err(failed("start the framed management protocol"))?);
        Ok(())
    }

    /// Takes no more changes, and has written down those there were.
    pub(crate) async fn hold(&mut self) {
        if let Some(admin) = self.admin.take() {
            admin.shutdown(ADMIN_GRACE).await;
        }
        close(&self.control, Control::hold).await;
    }

    /// After [`Tcp::hold`]: writes again what is applied.
    pub(crate) fn resume(&mut self, data_dir: &Path) -> Result<(), StartError> {
        resume(&self.control, &data_dir.join(FOLDER))
    }

    /// Where the framed protocol is listened for.
    pub(crate) fn framed(&self) -> Option<Listening> {
        let listener = self.framed.clone()?;
        Some(Listening::new(SocketName::StreamAdmin, listener))
    }

    /// Leaves the ports to another process that accepts from the same sockets already, lets sessions go on for at most `grace`, ends.
    pub(crate) async fn leave(self, grace: Duration) {
        self.porter.doors.leave();
        drop((self.porter, self.framed));
        self.threads.shutdown(grace).await;
        self.tasks.iter().for_each(JoinHandle::abort);
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
        close(&self.control, Control::close).await;
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
