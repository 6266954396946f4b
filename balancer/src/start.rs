//! How a balancer starts: with what it is given, what was last known good, and what another process hands over.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::NodeId;
use hancock_proto::upstream::{Level, Server, UpstreamDoc};
use tokio::sync::watch;

use crate::access::{AccessOptions, Carriers, LOGGER};
use crate::admin::Admin;
use crate::control::{Control, Parts};
use crate::fed::{Fed, Following};
use crate::handle::Handle;
use crate::handover::{FormerLink, Inherited, SocketName};
use crate::http::Engine;
use crate::keep::restore;
use crate::listen::{Listeners, Served};
use crate::probe::Prober;
use crate::probe::net::NetProber;
use crate::running::{Balancer, Management};
use crate::tcp::{Before, Tcp, TcpOptions};

/// What a balancer needs to start.
#[derive(Debug)]
pub struct Options {
    /// The node it serves on.
    pub node: NodeId,
    /// Where end users' HTTP requests arrive; bound early by the caller, so that a port in use is the caller's error.
    pub http: TcpListener,
    /// Where the admin interface answers; None: nowhere.
    pub admin: Option<TcpListener>,
    /// Folder of the last known good documents.
    pub data_dir: PathBuf,
    /// Data-plane threads; at least one is used.
    pub threads: usize,
    /// What serves HTTP requests.
    pub engine: Engine,
    /// Time between rounds of active checks of documents that do not say more.
    pub check_interval: Duration,
    /// TCP services; None: none are served.
    pub tcp: Option<TcpOptions>,
    /// Where the framed management protocol of the TCP side answers; None: nowhere. Without `tcp` it is not served either.
    pub stream_admin: Option<TcpListener>,
    /// What writers from other machines must show to the admin interface; None: they may not write.
    pub token: Option<String>,
    /// Where a record of every request goes.
    pub access: AccessOptions,
    /// What is taken over from the process before this one.
    pub inherited: Inherited,
}

/// Why a balancer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A deed on the system failed.
    #[error("cannot {deed}")]
    Io {
        /// What was tried, with its operands.
        deed: String,
        /// What the system said.
        source: std::io::Error,
    },
}

pub(crate) fn failed(deed: impl Into<String>) -> impl FnOnce(std::io::Error) -> StartError {
    let deed = deed.into();
    move |source| StartError::Io { deed, source }
}

impl Balancer {
    /// Starts serving, with what was last known good.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used.
    pub async fn start(options: Options) -> Result<Balancer, StartError> {
        Self::start_with(options, Arc::new(NetProber::new())).await
    }

    /// The same with another way to probe.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used.
    pub async fn start_with(
        options: Options,
        prober: Arc<dyn Prober>,
    ) -> Result<Balancer, StartError> {
        Self::launch(options, prober, None).await
    }

    /// The same, following a registry: its documents are served beside those of the management interface, which may not write its names.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used. A registry that does not answer is none: what was last known good
    /// is served.
    pub async fn start_following(
        options: Options,
        following: Following,
    ) -> Result<Balancer, StartError> {
        Self::launch(options, Arc::new(NetProber::new()), Some(following)).await
    }

    async fn launch(
        mut options: Options,
        prober: Arc<dyn Prober>,
        following: Option<Following>,
    ) -> Result<Balancer, StartError> {
        let parts = Parts {
            node: options.node.clone(),
            prober,
            check_interval: options.check_interval,
            over_tcp: false,
            changed: watch::channel(0).0,
        };
        let more_http = options.inherited.sockets.rest(SocketName::Http);
        let tcp = tcp(&mut options, &parts)?;
        let control = control(&mut options, parts, tcp.as_ref())?;
        let handle = Handle {
            control: control.clone(),
            tcp: tcp.as_ref().map(|tcp| tcp.control().clone()),
        };
        // Before anything changes: what is still open elsewhere counts from the start.
        let former = options.inherited.former.take();
        let waits = former.is_some();
        let former = former.map(|tail| FormerLink::new(&handle, tail));
        let found = std::mem::take(&mut options.inherited.found).into_iter();
        let found = found.map(|found| FormerLink::found(&handle, found));
        let formers = former.into_iter().chain(found).collect();
        // Before anybody can ask or write: names have their owner from the start.
        let fed = following.map(|following| Fed::start(following, handle.clone()));
        let access = Carriers::start(options.access.lines, control.table.clone())
            .map_err(failed("open the access log"))?;
        let served = Served {
            table: control.table.clone(),
            access: access.access().clone(),
            engine: options.engine,
        };
        let deed = format!("serve HTTP on {:?}", options.http.local_addr());
        let listeners = Listeners::start(options.http, more_http, options.threads, served)
            .map_err(failed(deed))?;
        let admin = Admin {
            control: control.clone(),
            open: listeners.open(),
            tcp: handle.tcp.clone(),
            access: access.access().clone(),
            token: options.token,
        };
        let me = Arc::downgrade(&control);
        let mut balancer = Balancer {
            listeners,
            access,
            management: options.admin.map(|door| Management::of(door, admin)),
            tasks: [
                tokio::spawn(Control::beat(me.clone(), options.check_interval)),
                tokio::spawn(Control::run(me)),
            ],
            handle,
            tcp,
            fed,
            data_dir: options.data_dir,
            formers,
        };
        if !waits {
            balancer.answer()?;
            balancer.begin();
        }
        Ok(balancer)
    }
}

/// The TCP side, where there is one; its services may not have the ports of the others.
fn tcp(options: &mut Options, parts: &Parts) -> Result<Option<Tcp>, StartError> {
    let before = Before {
        sockets: std::mem::take(&mut options.inherited.sockets),
        known: std::mem::take(&mut options.inherited.known.tcp),
    };
    let Some(mut tcp) = options.tcp.take() else {
        return Ok(None);
    };
    let others = [&options.admin, &options.stream_admin];
    let own = others.into_iter().flatten().chain([&options.http]);
    let own = own.filter_map(|door| door.local_addr().ok());
    tcp.reserved.extend(own.map(|address| address.port()));
    let parts = Parts {
        over_tcp: true,
        ..parts.clone()
    };
    let (folder, threads) = (&options.data_dir, options.threads);
    let framed = options.stream_admin.take();
    Tcp::start(tcp, parts, folder, threads, framed, before).map(Some)
}

/// The HTTP side, with what was last known good, what the process before knew, and what is there from the beginning.
fn control(
    options: &mut Options,
    parts: Parts,
    tcp: Option<&Tcp>,
) -> Result<Arc<Control>, StartError> {
    let control = Control::new(parts);
    if let Some(tcp) = tcp {
        control.followed_by(tcp.control().clone());
    }
    let known = &mut options.inherited.known;
    control.handed(std::mem::take(&mut known.locals));
    restore(&control, &options.data_dir, std::mem::take(&mut known.http))?;
    collect(&control, options.access.collector.take());
    Ok(control)
}

/// Access records go to this collector, as if it had been in the documents from the beginning.
fn collect(control: &Control, collector: Option<(String, u16)>) {
    let Some((host, port)) = collector else {
        return;
    };
    let server = Server {
        host,
        port,
        ..Server::default()
    };
    let doc = UpstreamDoc {
        cluster: vec![Level {
            servers: vec![server],
            ..Level::default()
        }],
        ..UpstreamDoc::default()
    };
    control.built_in(LOGGER, Arc::new(doc));
}
