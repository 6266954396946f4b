//! A balancer from its first request to its last.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Carriers;
use crate::admin::{Admin, Server};
use crate::control::Control;
use crate::fed::{Fed, Following};
use crate::handle::Handle;
use crate::handover::{FormerLink, Known, Listening, SocketName};
use crate::keep::{close, resume};
use crate::listen::Listeners;
use crate::start::{StartError, failed};
use crate::tcp::Tcp;

/// Time the admin interface has to finish its answers.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// A running balancer; owns its threads and tasks.
pub struct Balancer {
    pub(crate) handle: Handle,
    pub(crate) listeners: Listeners,
    pub(crate) tcp: Option<Tcp>,
    pub(crate) management: Option<Management>,
    pub(crate) access: Carriers,
    pub(crate) tasks: [JoinHandle<()>; 2],
    pub(crate) fed: Option<Fed>,
    pub(crate) data_dir: PathBuf,
    pub(crate) formers: Vec<FormerLink>,
}

/// The management interface; answers while there is a server.
pub(crate) struct Management {
    listener: Arc<TcpListener>,
    admin: Arc<Admin>,
    server: Option<Server>,
}

impl Management {
    /// Not answered yet.
    pub(crate) fn of(door: TcpListener, admin: Admin) -> Self {
        Self {
            listener: Arc::new(door),
            admin: Arc::new(admin),
            server: None,
        }
    }

    fn answer(&mut self) -> Result<(), StartError> {
        let started = self.listener.try_clone();
        let started = started.and_then(|listener| Server::start(listener, self.admin.clone()));
        self.server = Some(started.map_err(failed("start the admin interface"))?);
        Ok(())
    }
}

impl Balancer {
    /// The management interfaces are answered from now on.
    pub(crate) fn answer(&mut self) -> Result<(), StartError> {
        if let Some(tcp) = &mut self.tcp {
            tcp.answer()?;
        }
        match &mut self.management {
            Some(management) => management.answer(),
            None => Ok(()),
        }
    }

    pub(crate) fn begin(&mut self) {
        self.listeners.begin();
        if let Some(tcp) = &self.tcp {
            tcp.begin();
        }
    }

    /// The process before this one accepts no longer: this one does. Until here everything was ready, and nothing accepted.
    pub fn accept(&mut self) {
        self.begin();
        if let Err(error) = self.answer() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a management interface is not answered"
            );
        }
    }

    /// A door into it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops accepting, lets open requests finish for at most `grace`, writes down what is left, ends.
    pub async fn shutdown(self, grace: Duration) {
        let tcp = async {
            if let Some(tcp) = self.tcp {
                tcp.shutdown(grace).await;
            }
        };
        let fed = async {
            if let Some(fed) = self.fed {
                fed.shutdown().await;
            }
        };
        tokio::join!(self.listeners.shutdown(grace), tcp, fed);
        if let Some(admin) = self.management.and_then(|management| management.server) {
            admin.shutdown(grace.min(ADMIN_GRACE)).await;
        }
        self.access.shutdown().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        close(&self.handle.control, Control::close).await;
        tracing::info!("balancer stopped");
    }

    /// Everything that is listened on.
    pub fn sockets(&self) -> Vec<Listening> {
        self.listening()()
    }

    /// What answers [`Balancer::sockets`] later on, too.
    pub fn listening(&self) -> impl Fn() -> Vec<Listening> + Send + Sync + use<> {
        let mut fixed = self.listeners.sockets().to_vec();
        let management = self.management.iter();
        fixed.extend(management.map(|m| Listening::new(SocketName::Admin, m.listener.clone())));
        fixed.extend(self.tcp.as_ref().and_then(Tcp::framed));
        let tcp = self.handle.tcp.clone();
        move || {
            let doors = tcp.as_ref().and_then(|control| control.doors());
            let ports = doors.map(|doors| doors.sockets()).unwrap_or_default();
            fixed.iter().cloned().chain(ports).collect()
        }
    }

    /// Bumped when a TCP port was opened or closed.
    pub fn ports_changed(&self) -> watch::Receiver<u64> {
        let tcp = self.handle.tcp.as_ref();
        let doors = tcp.and_then(|control| control.doors());
        doors.map_or_else(|| watch::channel(0).1, |doors| doors.opened.subscribe())
    }

    /// What probes know.
    pub fn known(&self) -> Known {
        let control = &self.handle.control;
        let tcp = self.handle.tcp.as_ref();
        let mut known = Known {
            http: control.known_peers(),
            tcp: tcp.map(|tcp| tcp.known_peers()).unwrap_or_default(),
            locals: Vec::new(),
        };
        control.known_locals(&mut known);
        known
    }

    /// The ways to processes before this one, that it takes over from first, then those that were found. They are to be carried from now
    /// on; dropping one says that that process has ended.
    pub fn formers(&mut self) -> Vec<FormerLink> {
        std::mem::take(&mut self.formers)
    }

    /// Takes no more changes, from nobody, and has written down those there were. Requests and sessions go on, and new ones come.
    pub async fn hold(&mut self) {
        if let Some(fed) = self.fed.take() {
            fed.leave();
        }
        let server = self.management.as_mut().and_then(|m| m.server.take());
        if let Some(server) = server {
            server.shutdown(ADMIN_GRACE).await;
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.hold().await;
        }
        close(&self.handle.control, Control::hold).await;
    }

    /// After [`Balancer::hold`]: goes on as before.
    ///
    /// # Errors
    /// The data directory cannot be used any more. Requests and sessions go on all the same.
    pub fn resume(&mut self, following: Option<Following>) -> Result<(), StartError> {
        resume(&self.handle.control, &self.data_dir)?;
        if let Some(tcp) = &mut self.tcp {
            tcp.resume(&self.data_dir)?;
        }
        self.fed = following.map(|following| Fed::start(following, self.handle.clone()));
        self.answer()
    }

    /// After [`Balancer::hold`], when the same sockets are held elsewhere: accepts nothing more, lets what is open finish for at most
    /// `grace`, and connections be idle for at most `idle`, ends. What is still open is in [`Handle::tail`] until then.
    pub async fn leave(self, grace: Duration, idle: Duration) {
        let tcp = async {
            if let Some(tcp) = self.tcp {
                tcp.leave(grace).await;
            }
        };
        drop(self.management);
        tokio::join!(self.listeners.leave(grace, idle), tcp);
        self.access.shutdown().await;
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
