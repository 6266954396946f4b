//! Which ports are open. Opened and closed while a change is applied, so that its reply can tell; one that cannot be opened is tried again.

mod accept;

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use hancock_proto::report::Refusal;
use hancock_proto::upstream::UpstreamDoc;

use super::TcpOptions;
use super::threads::Runners;
use crate::control;
use crate::handover::{Adopted, Listening, SocketName};
use crate::live::Table;
use crate::start::{StartError, failed};

const BACKLOG: i32 = 4096;
/// Before the second try of a port that could not be opened; doubled up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Doors {
    pub(crate) options: TcpOptions,
    pub(crate) runners: Runners,
    /// Set once, before the first port is opened.
    table: OnceLock<Arc<Table>>,
    ports: Mutex<State>,
    /// A port could not be opened.
    failed: Notify,
    /// Bumped when a report would say something else.
    changed: watch::Sender<u64>,
    /// Whether connections are accepted yet.
    begun: watch::Sender<bool>,
    /// Bumped when a port was opened or closed.
    pub(crate) opened: watch::Sender<u64>,
    /// How often one could not be opened.
    pub(crate) failures: AtomicU64,
    /// Connections that found neither a service nor a peer nor room.
    pub(crate) turned_away: AtomicU64,
}

#[derive(Default)]
struct State {
    doors: BTreeMap<u16, Door>,
    /// For good: the balancer stops.
    closed: bool,
    /// Opened by another process, and not asked for yet.
    adopted: Adopted,
}

enum Door {
    Open(OpenDoor),
    Failing(Failing),
}

struct Failing {
    since: Instant,
    error: String,
    again: Instant,
    pause: Duration,
}

/// A listening port; dropping it closes the port at once, unless it is left to another process.
struct OpenDoor {
    left: bool,
    listener: Arc<TcpListener>,
    accepting: AbortHandle,
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.accepting.abort();
        if self.left {
            return;
        }
        // The accepting task lets go of its share a moment later; the port must be free before the reply.
        if let Err(error) = SockRef::from(&*self.listener).shutdown(Shutdown::Both) {
            tracing::debug!(%error, "cannot stop listening before the socket is closed");
        }
    }
}

/// What is told of one port.
pub(crate) struct DoorLine {
    pub(crate) port: u16,
    pub(crate) address: SocketAddr,
    /// None: open.
    pub(crate) error: Option<String>,
}

/// Why a service cannot be reached.
pub(crate) struct Closed {
    since: Instant,
    error: String,
}

impl Closed {
    /// What a master is told of the service's document, once the port had as much time as added peers have.
    pub(crate) fn refusal(&self, doc: &UpstreamDoc) -> Option<Refusal> {
        let patience = Duration::from_millis(doc.hancock.as_ref()?.accept_timeout_ms);
        let refusal = control::refusal(doc, &self.error);
        refusal.filter(|_| self.since.elapsed() >= patience)
    }
}

impl Doors {
    /// Ports that are all closed yet. `changed` is bumped when one that was tried again opened.
    pub(crate) fn new(
        options: TcpOptions,
        adopted: Adopted,
        runners: Runners,
        changed: watch::Sender<u64>,
    ) -> Self {
        let state = State {
            adopted,
            ..State::default()
        };
        Self {
            options,
            runners,
            table: OnceLock::new(),
            ports: Mutex::new(state),
            failed: Notify::new(),
            changed,
            begun: watch::Sender::new(false),
            opened: watch::Sender::default(),
            failures: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Opens the ports that stay open, and those of services there are already.
    pub(crate) fn open_fixed(self: &Arc<Self>, table: &Arc<Table>) -> Result<(), StartError> {
        let table = self.table.get_or_init(|| table.clone());
        for port in &self.options.listen {
            let deed = format!("keep {} open (--tcp-listen)", self.address(*port));
            self.sync_port(*port)
                .map_err(|problem| failed(deed)(io::Error::other(problem)))?;
        }
        for service in table.all() {
            // A failure is told, kept and tried again.
            let _ = self.sync(&service.name);
        }
        let unused = std::mem::take(&mut self.lock().adopted);
        if !unused.is_empty() {
            tracing::info!(
                sockets = unused.len(),
                "nobody is served on some ports taken over; closed"
            );
        }
        Ok(())
    }

    /// Whether a document of this name may open its port.
    pub(crate) fn permit(&self, name: &str) -> Result<(), String> {
        match TcpOptions::port_of(name) {
            Some(port) if !self.options.allows(port) => {
                let (first, last) = (self.options.ports.start(), self.options.ports.end());
                Err(format!(
                    "port {port} is this process's own or not within --tcp-ports {first}-{last}"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Opens or closes the port of the service called `name`, as the table has it or not. Level-triggered: whichever of two changes comes
    /// last here, the port ends as the table says.
    pub(crate) fn sync(self: &Arc<Self>, name: &str) -> Result<(), String> {
        match TcpOptions::port_of(name) {
            Some(port) => self.sync_port(port),
            None => Ok(()),
        }
    }

    fn sync_port(self: &Arc<Self>, port: u16) -> Result<(), String> {
        let mut state = self.lock();
        if state.closed || !self.is_wanted(port) {
            if state.doors.remove(&port).is_some() {
                tracing::info!(port, "closed a TCP port");
                self.opened.send_modify(|n| *n += 1);
            }
            return Ok(());
        }
        match state.doors.get(&port) {
            Some(Door::Open(_)) => Ok(()),
            _ => self.try_open(&mut state, port),
        }
    }

    fn is_wanted(&self, port: u16) -> bool {
        let named = || self.table.get()?.find(&port.to_string());
        self.options.listen.contains(&port) || (self.options.allows(port) && named().is_some())
    }

    fn try_open(self: &Arc<Self>, state: &mut State, port: u16) -> Result<(), String> {
        let address = self.address(port);
        let handle = self.runners.acceptor(port);
        let adopted = state.adopted.take(SocketName::Tcp(port), address);
        let listening = adopted.map_or_else(|| listen(address), Ok);
        let listening = listening.and_then(|listener| {
            listener.set_nonblocking(true)?;
            let _its_runtime = handle.enter();
            TcpListener::from_std(listener)
        });
        match listening {
            Ok(listener) => {
                tracing::info!(%address, "opened a TCP port");
                let listener = Arc::new(listener);
                let accepting = accept::run(self.clone(), listener.clone(), port);
                let door = OpenDoor {
                    left: false,
                    accepting: handle.spawn(accepting).abort_handle(),
                    listener,
                };
                state.doors.insert(port, Door::Open(door));
                self.opened.send_modify(|n| *n += 1);
                Ok(())
            }
            Err(error) => Err(self.failed(state, port, &error)),
        }
    }

    fn failed(&self, state: &mut State, port: u16, error: &io::Error) -> String {
        let (address, now) = (self.address(port), Instant::now());
        let (since, pause) = match state.doors.get(&port) {
            Some(Door::Failing(before)) => (before.since, (before.pause * 2).min(LONGEST_PAUSE)),
            _ => {
                tracing::warn!(%address, %error, "cannot open a TCP port, trying again");
                (now, FIRST_PAUSE)
            }
        };
        let error = error.to_string();
        let failing = Failing {
            since,
            error: error.clone(),
            again: now + pause,
            pause,
        };
        state.doors.insert(port, Door::Failing(failing));
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.notify_one();
        format!("cannot listen on {address}: {error}; it is tried again")
    }

    /// Tries ports that could not be opened again, each in its time.
    pub(crate) async fn keep_trying(self: Arc<Self>) {
        loop {
            match self.next_try() {
                None => self.failed.notified().await,
                Some(at) => {
                    tokio::time::sleep_until(at.into()).await;
                    self.try_due(Instant::now());
                }
            }
        }
    }

    fn next_try(&self) -> Option<Instant> {
        let state = self.lock();
        let failing = state.doors.values().filter_map(Door::failing);
        failing.map(|f| f.again).min()
    }

    fn try_due(self: &Arc<Self>, now: Instant) {
        let due: Vec<u16> = {
            let state = self.lock();
            let failing = state
                .doors
                .iter()
                .filter_map(|(port, d)| Some((*port, d.failing()?)));
            failing
                .filter(|(_, f)| f.again <= now)
                .map(|(port, _)| port)
                .collect()
        };
        for port in due {
            // A failure is told and kept; how long it has lasted may be news too.
            let _ = self.sync_port(port);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Names of the services whose ports could not be opened, and what is in the way.
    pub(crate) fn failing(&self) -> Vec<(String, Closed)> {
        let state = self.lock();
        let failing = state
            .doors
            .iter()
            .filter_map(|(port, d)| Some((*port, d.failing()?)));
        let told = |(port, f): (u16, &Failing)| {
            let closed = Closed {
                since: f.since,
                error: format!("cannot listen on {}: {}", self.address(port), f.error),
            };
            (port.to_string(), closed)
        };
        failing.map(told).collect()
    }

    /// All ports that are or should be open.
    pub(crate) fn lines(&self) -> Vec<DoorLine> {
        let state = self.lock();
        let line = |(port, door): (&u16, &Door)| DoorLine {
            port: *port,
            address: self.address(*port),
            error: door.failing().map(|f| f.error.clone()),
        };
        state.doors.iter().map(line).collect()
    }

    /// Closes all ports for good. Connections the kernel has accepted already become sessions.
    pub(crate) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        for (port, door) in std::mem::take(&mut state.doors) {
            if let Door::Open(door) = door {
                accept::drain(self, &door.listener, port);
            }
        }
    }

    /// Connections are accepted from now on.
    pub(crate) fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Accepts no more, for another process does from the same sockets. For good.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.closed = true;
        for door in state.doors.values_mut() {
            if let Door::Open(door) = door {
                door.left = true;
            }
        }
        state.doors.clear();
    }

    /// What is listened on.
    pub(crate) fn sockets(&self) -> Vec<Listening> {
        let state = self.lock();
        let open = state.doors.iter().filter_map(|(port, door)| match door {
            Door::Open(door) => Some((*port, door.listener.clone())),
            Door::Failing(_) => None,
        });
        open.map(|(port, listener)| Listening::new(SocketName::Tcp(port), listener))
            .collect()
    }

    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.options.bind, port)
    }

    /// The service of a port.
    fn service(&self, name: &str) -> Option<Arc<crate::live::Service>> {
        self.table.get()?.find(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn failing(&self) -> Option<&Failing> {
        match self {
            Door::Open(_) => None,
            Door::Failing(failing) => Some(failing),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Inherited by accepted connections, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
