//! Connections to masters on other machines: the only place that knows how they are made and what is shown there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::NodeId;
use hancock_tls::{Connector, GRPC, Pin, is_distrust};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::LinkError;
use super::certificate::Certificate;
use super::grpc::unreachable;

/// Longest a connection may take, with the handshake: masters may be on another continent, but not longer away.
const CONNECT: Duration = Duration::from_secs(2);
/// A master that says nothing for so long is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// Longest it may take to say so: then the session is lost, long before the node's lease is.
const ANSWER: Duration = Duration::from_secs(3);

/// What a node needs to speak to masters.
#[derive(Clone)]
pub struct Dial {
    token: Arc<str>,
    /// What is shown instead where the token's cluster has certificates; None: it speaks plain.
    certificate: Option<Arc<Certificate>>,
}

/// Without the token: it must not get into a log.
impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dial")
    }
}

impl Dial {
    /// For `node`, which shows the cluster's join token, or the certificate it gets for that and keeps in `folder`.
    pub fn new(token: &str, node: NodeId, folder: &Path) -> Self {
        let certificate = |pin| Arc::new(Certificate::new(pin, node, folder));
        Self {
            token: token.into(),
            certificate: Pin::of_token(token).map(certificate),
        }
    }

    /// A connection to the master at `at`, HOST:PORT.
    ///
    /// # Errors
    /// Nobody answers there, or not as a master of the token's cluster.
    pub(super) async fn connect(&self, at: &str) -> Result<Channel, LinkError> {
        let endpoint = Endpoint::from_shared(format!("http://{at}"))
            .map_err(|e| unreachable(&format!("{at}: {e}")))?
            .http2_keep_alive_interval(ASK_AFTER)
            .keep_alive_timeout(ANSWER)
            .keep_alive_while_idle(true);
        let tls = match &self.certificate {
            Some(certificate) => Some(certificate.party(at, &self.token).await?.client(GRPC)),
            None => None,
        };
        let connector = Connector::new(tls, CONNECT);
        let connected = endpoint.connect_with_connector(connector).await;
        connected.map_err(|error| {
            let reason = format!("{at}: {}", innermost(&error));
            match is_distrust(&error) {
                true => LinkError::Refused { reason },
                false => unreachable(&reason),
            }
        })
    }

    /// The request with the token on it, where no certificate is shown.
    ///
    /// # Errors
    /// The token cannot be one.
    pub(super) fn show<T>(&self, mut request: Request<T>) -> Result<Request<T>, LinkError> {
        if self.certificate.is_some() {
            return Ok(request);
        }
        let value = format!("Bearer {}", self.token);
        let value: MetadataValue<Ascii> = value.parse().map_err(|_| LinkError::Refused {
            reason: "the join token has characters no token has".to_owned(),
        })?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// The system's words, without the layers around them.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string().to_lowercase()
}
