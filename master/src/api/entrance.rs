//! A door of [`hancock_tls`] as the HTTP server takes it.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use hancock_tls::{Caller, Conn, Door};

/// The API's listener.
pub(crate) struct ApiDoor(pub(crate) Door);

/// Who a request's connection is from.
#[derive(Debug, Clone)]
pub(crate) struct Entered(pub(crate) Caller);

impl Listener for ApiDoor {
    type Io = Conn;
    type Addr = Caller;

    async fn accept(&mut self) -> (Conn, Caller) {
        let conn = self.0.accept().await;
        let caller = Caller::of(&conn);
        (conn, caller)
    }

    fn local_addr(&self) -> io::Result<Caller> {
        let (address, name) = (Some(self.0.address()), None);
        Ok(Caller { address, name })
    }
}

impl Connected<IncomingStream<'_, ApiDoor>> for Entered {
    fn connect_info(stream: IncomingStream<'_, ApiDoor>) -> Self {
        Self(stream.remote_addr().clone())
    }
}
