//! Connections, encrypted or not, and the way to make them for gRPC and HTTP clients.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error, InvalidMessage};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::authority::HOST;

/// A connection of either end.
#[derive(Debug)]
pub enum Conn {
    /// Everybody on the way can read it.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Conn {
    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// What the other end has shown.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.get_ref().1.peer_certificates()?.first(),
        }
    }
}

/// Whether it encrypts.
impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector {{ tls: {} }}", self.tls.is_some())
    }
}

/// Opens connections to `http://HOST:PORT`, encrypted when it has a configuration for that.
#[derive(Clone)]
pub struct Connector {
    tls: Option<TlsConnector>,
    deadline: Duration,
}

impl Connector {
    /// `deadline` is for the connection and the handshake together. Without `tls` nothing is encrypted.
    pub fn new(tls: Option<Arc<ClientConfig>>, deadline: Duration) -> Self {
        let tls = tls.map(TlsConnector::from);
        Self { tls, deadline }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Conn>> {
        let deadline = self.deadline;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("none within {deadline:?}"));
        let opened = tokio::time::timeout(deadline, self.open(&uri)).await;
        let opened = opened.map_err(late).and_then(|opened| opened);
        let opened = opened.map_err(|e| {
            let authority = uri.authority().map_or("?", |authority| authority.as_str());
            io::Error::new(e.kind(), format!("no connection to {authority}: {e}"))
        });
        opened.map(TokioIo::new)
    }

    async fn open(self, uri: &Uri) -> io::Result<Conn> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        let host = uri.host().ok_or_else(|| invalid("no host is named"))?;
        let port = uri.port_u16().ok_or_else(|| invalid("no port is named"))?;
        let tcp = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = self.tls else {
            return Ok(Conn::Plain(tcp));
        };
        let name = ServerName::try_from(HOST).map_err(|_| invalid("no name of a server"))?;
        let tls = tls.connect(name, tcp).await.map_err(explain)?;
        Ok(Conn::Tls(Box::new(tls.into())))
    }
}

/// Whether a connection was not made because the other end is not believed: trying again does not help.
pub fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let here = io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied);
    here || error.source().is_some_and(is_distrust)
}

/// Says it when the other end speaks something else, or is not believed.
fn explain(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            io::Error::new(error.kind(), "no TLS is spoken there")
        }
        Some(Error::General(reason)) => {
            io::Error::new(io::ErrorKind::PermissionDenied, reason.clone())
        }
        Some(distrust @ Error::InvalidCertificate(_)) => {
            io::Error::new(io::ErrorKind::PermissionDenied, distrust.to_string())
        }
        _ => error,
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Conn>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Conn>>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, parts),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
