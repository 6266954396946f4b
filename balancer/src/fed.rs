//! A balancer that follows a registry by itself, where no agent does it: what it applies, and how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_proto::ids::DocIndex;
use hancock_proto::registry::MAX_OPEN;
use hancock_proto::report::ServiceReport;
use hancock_proto::service::{ServiceKind, ServiceName};
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::UpstreamRegistry;
use hancock_registry::feed::{Feed, Reader, Settled, Sink, Standing};
use hancock_registry::memory::Memory;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::Control;
use crate::handle::Handle;

/// A registry to be followed.
pub struct Following {
    /// The registry.
    pub registry: Arc<dyn UpstreamRegistry>,
    /// What is remembered of it.
    pub memory: Memory,
    /// Who it is told what is served by. None: nobody tells it.
    pub reader: Option<Reader>,
}

/// The running feed.
pub(crate) struct Fed {
    registry: Arc<dyn UpstreamRegistry>,
    task: JoinHandle<()>,
}

impl Fed {
    /// Follows a registry from now on; what is remembered of it is its own from now on.
    pub(crate) fn start(following: Following, handle: Handle) -> Self {
        let Following {
            registry,
            memory,
            reader,
        } = following;
        let controls = handle.controls().map(Arc::clone);
        let controls: Vec<Arc<Control>> = controls.collect();
        let feed = Feed::new(registry.clone(), Arc::new(handle), memory);
        let standing: Arc<Standing> = feed.standing();
        controls.iter().for_each(|c| c.fed_by(standing.clone()));
        let task = tokio::spawn(feed.run(reader));
        Self { registry, task }
    }

    /// Follows it no longer, for another process does from now on, or this one again.
    pub(crate) fn leave(self) {
        self.task.abort();
    }

    /// Follows it no longer, and says so.
    pub(crate) async fn shutdown(self) {
        self.task.abort();
        self.registry.withdraw().await;
    }
}

impl Sink for Handle {
    fn apply(&self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) -> Result<(), String> {
        self.apply_named(name, doc)
            .map_err(|error| error.to_string())
    }

    fn settled(&self) -> Settled {
        let mut settled = Settled::default();
        for control in self.controls() {
            let (unwritten, index, open) = control.unsettled();
            settled.unwritten += unwritten;
            settled.index = settled.index.max(index);
            for (name, report) in open {
                match control.service_name(&name) {
                    Some(name) if settled.open.len() < MAX_OPEN => {
                        settled.open.insert(name, report);
                    }
                    _ => settled.more = true,
                }
            }
        }
        settled
    }

    fn changed(&self) -> watch::Receiver<u64> {
        Handle::changed(self)
    }
}

impl Control {
    /// From now on some names are a registry's.
    pub(crate) fn fed_by(&self, standing: Arc<Standing>) {
        self.standing.store(Some(standing));
    }

    /// Where the registry stands. None: there is none.
    pub(crate) fn standing(&self) -> Option<Arc<Standing>> {
        self.standing.load_full()
    }

    /// The registry that owns a name.
    pub(crate) fn registry_of(&self, name: &str) -> Option<String> {
        let standing = self.standing()?;
        standing.owner(&self.service_name(name)?).map(str::to_owned)
    }

    /// What a name of this side is called elsewhere.
    fn service_name(&self, name: &str) -> Option<ServiceName> {
        match self.over_tcp {
            true => format!(":{name}").parse().ok(),
            false => ServiceName::http(name).ok(),
        }
    }
}

impl Handle {
    /// [`Handle::apply`] or [`Handle::apply_tcp`], as the name says.
    ///
    /// # Errors
    /// As those.
    pub fn apply_named(
        &self,
        name: &ServiceName,
        doc: Option<Arc<UpstreamDoc>>,
    ) -> Result<(), crate::ApplyError> {
        match name.kind() {
            ServiceKind::Http(host) => Handle::apply(self, host, doc),
            ServiceKind::Tcp(port) => self.apply_tcp(&port.to_string(), doc),
        }
    }
}

/// Other writers' documents that are not on disk yet, the highest index of a master's, and a master's services with something open.
pub(crate) type Unsettled = (usize, DocIndex, BTreeMap<String, ServiceReport>);
