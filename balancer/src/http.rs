//! Where an accepted connection becomes proxied requests. The engine inside is pingora; outside this module nobody knows.

mod conn;
mod dial;
mod host;
mod page;
mod proxy;
mod routing;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::live::Table;

pub(crate) use dial::Dial;

use conn::Conn;
use proxy::Proxy;

/// Idle connections kept to origins, per data-plane thread.
const IDLE_TO_ORIGINS: usize = 1024;
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

/// The engine of one data-plane thread, with its own pool of connections to origins.
pub(crate) struct Pingora {
    app: Arc<HttpProxy<Proxy>>,
}

impl Pingora {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        let conf = ServerConf {
            upstream_keepalive_pool_size: IDLE_TO_ORIGINS,
            max_retries: ENGINE_ATTEMPTS,
            ..ServerConf::default()
        };
        Self {
            app: Arc::new(http_proxy(&Arc::new(conf), Proxy::new(table))),
        }
    }
}

impl HttpEngine for Pingora {
    fn serve(&self, accepted: Accepted, drain: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
        let app = self.app.clone();
        Box::pin(async move {
            let mut stream = Some(Conn::boxed(accepted));
            while let Some(open) = stream.take() {
                stream = app.process_new(open, &drain).await;
            }
        })
    }

    fn close_idle(&self) -> BoxFuture<'static, ()> {
        let app = self.app.clone();
        Box::pin(async move { app.http_cleanup().await })
    }
}
