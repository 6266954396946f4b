//! Where an accepted connection becomes proxied requests. Inside are two engines, which outside this module nobody knows: our own for plain
//! requests, and pingora for all others. Which one it is, is decided per request, before anything was done.

mod answer;
mod body;
mod conn;
mod dial;
mod forwarded;
mod host;
mod page;
mod plain;
mod proxy;
mod request;
mod routing;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::access::Access;
use crate::listen::Served;
use crate::live::Table;

pub(crate) use dial::Dial;
pub(crate) use page::{SERVER, page as error_page};

use conn::{Alarm, Conn, End, Waits};
use plain::{Next, Plain};
use proxy::Proxy;

/// Idle connections kept to origins, per data-plane thread.
const IDLE_TO_ORIGINS: usize = 1024;
/// For the first request of a connection, and for the whole head of any: from its first byte to its last.
const HEAD: Duration = Duration::from_secs(10);
/// What the engine is told of it; waiting for requests is ours.
const ENGINE_KEEPALIVE: u64 = 60;
/// Attempts of one request as far as the engine is concerned; the core decides earlier.
const ENGINE_ATTEMPTS: usize = 8;

/// A connection as a listener accepted it.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
}

/// Speaks HTTP on accepted connections and routes by the live table.
pub(crate) trait HttpEngine: Send + Sync {
    /// Serves one connection until it ends. Once `drain` is true, answers say that the connection closes.
    fn serve(&self, accepted: Accepted, drain: watch::Receiver<bool>) -> BoxFuture<'static, ()>;

    /// Ends connections that wait for their next request.
    fn close_idle(&self) -> BoxFuture<'static, ()>;
}

/// What serves HTTP requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// Plain requests the short way, all others the general one.
    #[default]
    Auto,
    /// All requests the general way, which costs more and is meant to make no other difference.
    General,
}

/// The engines of one data-plane thread, with their own pools of connections to origins.
pub(crate) struct Engines {
    app: Arc<HttpProxy<Proxy>>,
    plain: Option<Arc<Plain>>,
    access: Arc<Access>,
    table: Arc<Table>,
    close_idle: watch::Sender<bool>,
}

impl Engines {
    pub(crate) fn new(served: Served) -> Self {
        let conf = ServerConf {
            upstream_keepalive_pool_size: IDLE_TO_ORIGINS,
            max_retries: ENGINE_ATTEMPTS,
            ..ServerConf::default()
        };
        let plain = (served.engine == Engine::Auto).then(|| Plain::new(&served));
        let (table, access) = (served.table, served.access);
        let proxy = Proxy::new(table.clone(), access.clone());
        let app = http_proxy(&Arc::new(conf), proxy);
        table
            .meter
            .watch_unexpected(app.unexpected_data_connection_counter());
        Self {
            app: Arc::new(app),
            plain,
            access,
            table,
            close_idle: watch::Sender::new(false),
        }
    }
}

impl HttpEngine for Engines {
    fn serve(&self, accepted: Accepted, drain: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
        let (app, plain) = (self.app.clone(), self.plain.clone());
        let mut close_idle = self.close_idle.subscribe();
        let (access, table, peer) = (self.access.clone(), self.table.clone(), accepted.peer);
        Box::pin(async move {
            let mut alarm = pin!(sleep(HEAD));
            let mut closing = pin!(async { drop(close_idle.wait_for(|close| *close).await) });
            let mut open = Some((Conn::boxed(accepted), HEAD));
            while let Some((mut conn, first)) = open.take() {
                let waits = Waits {
                    first,
                    head: HEAD,
                    alarm: Alarm(alarm.as_mut()),
                    closing: closing.as_mut(),
                };
                match conn.next_head(waits).await {
                    Ok(()) => {
                        let next = match &plain {
                            Some(plain) => plain.serve(conn, alarm.as_mut(), &drain).await,
                            None => Next::Elsewhere(conn),
                        };
                        open = match next {
                            Next::Elsewhere(conn) => one_request(&app, conn, &drain).await,
                            Next::Kept(conn, idle) => Some((conn, idle)),
                            Next::Ended => None,
                        }
                    }
                    Err(End::Gone) => {}
                    Err(End::Refused(refusal)) => {
                        table.meter.refused(refusal.reason);
                        access.refused(peer, refusal.status, conn.arrived());
                        conn.refuse(refusal).await;
                    }
                }
            }
        })
    }

    fn close_idle(&self) -> BoxFuture<'static, ()> {
        self.close_idle.send_replace(true);
        Box::pin(std::future::ready(()))
    }
}

/// Serves the request whose head has arrived; answers the connection when it goes on, and how long it waits for the next one.
async fn one_request(
    app: &Arc<HttpProxy<Proxy>>,
    mut conn: Box<Conn>,
    drain: &watch::Receiver<bool>,
) -> Option<(Box<Conn>, Duration)> {
    let head = conn.take_head();
    let mut session = HttpSession::new(conn);
    session.set_server_keepalive(Some(ENGINE_KEEPALIVE));
    session.set_pipelined_prefix(head);
    let session = ServerSession::H1(session);
    let (stream, kept) = app.process_new_http(session, drain).await?.consume();
    let idle = kept.and_then(|mut k| k.take_user_context()?.downcast().ok());
    let idle = idle.map_or(proxy::IDLE, |idle: Box<Duration>| *idle);
    Some((stream.into_any().downcast().ok()?, idle))
}
