//! How a node gets its certificate: the first one with the join token, every later one with the one it has.

use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::NodeId;
use hancock_proto::time::Timestamp;
use hancock_wire::hub_client::HubClient;
use hancock_wire::{EnrollReply, EnrollRequest};
use rcgen::KeyPair;
use rustls::ClientConfig;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::identity::{self, Identity, Signed};
use crate::{Connector, EnrollError, GRPC, Party, Pin, TlsError, is_distrust, pinned};

/// Longest one master may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// One round of questions.
struct Asking<'a> {
    node: &'a NodeId,
    config: Arc<ClientConfig>,
    /// None: the connection says who asks.
    token: Option<&'a str>,
    key: KeyPair,
}

/// A certificate for `node` from the first of `masters` (their agents' addresses, HOST:PORT) that gives one for the join `token`. The
/// key is drawn here and stays here. Takes at most 5 s per master.
///
/// # Errors
/// The token carries no fingerprint, no master answers as one of the token's cluster, or one refuses.
pub async fn enroll(
    masters: &[String],
    token: &str,
    node: &NodeId,
) -> Result<Identity, EnrollError> {
    let pin = Pin::of_token(token).ok_or(EnrollError::NoFingerprint)?;
    let config = Arc::new(pinned(pin, GRPC)?);
    let identity = Asking::new(node, config, Some(token))?.all(masters).await?;
    if Pin::of(&identity::certificate(&identity.signed.authority)?) != pin {
        let reason = "the authority that came along is another one than the token's";
        return Err(TlsError::new("use a certificate", reason).into());
    }
    Ok(identity)
}

/// A new certificate for the node whose `party` this is, which shows it from now on.
///
/// # Errors
/// No master answers, or one refuses; the one it has stays.
pub async fn renew(masters: &[String], party: &Party) -> Result<Identity, EnrollError> {
    let name = party.name();
    let no_node = || TlsError::new("renew a certificate", "it is not a node's");
    let node = name.as_node().ok_or_else(no_node)?;
    let asking = Asking::new(node, party.client(GRPC), None)?;
    let identity = asking.all(masters).await?;
    party.renew(identity.clone())?;
    Ok(identity)
}

impl<'a> Asking<'a> {
    fn new(
        node: &'a NodeId,
        config: Arc<ClientConfig>,
        token: Option<&'a str>,
    ) -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(|e| TlsError::new("draw a key", e))?;
        Ok(Self {
            node,
            config,
            token,
            key,
        })
    }

    /// Asks one after the other; a refusal counts for all.
    async fn all(&self, masters: &[String]) -> Result<Identity, EnrollError> {
        let mut last = EnrollError::NoMaster;
        for master in masters {
            let status = match self.one(master).await {
                Ok(reply) => return Ok(self.read(reply)),
                Err(status) => status,
            };
            let (master, node) = (master.clone(), self.node.clone());
            let reason = status.message().to_owned();
            if is_refusal(&status) {
                return Err(EnrollError::Refused {
                    master,
                    node,
                    reason,
                });
            }
            last = EnrollError::Unreachable {
                master,
                node,
                reason,
            };
        }
        Err(last)
    }

    async fn one(&self, master: &str) -> Result<EnrollReply, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{master}"))
            .map_err(|_| Status::unavailable("that is no address; write HOST:PORT"))?;
        let connector = Connector::new(Some(self.config.clone()), DEADLINE);
        let mut client = HubClient::new(endpoint.connect_with_connector_lazy(connector));
        let mut request = Request::new(EnrollRequest {
            node: self.node.to_string(),
            public_key: self.key.public_key_raw().to_vec(),
        });
        if let Some(token) = self.token {
            let value = format!("Bearer {token}").parse();
            let value = value.map_err(|_| Status::invalid_argument("the token is none"))?;
            request.metadata_mut().insert("authorization", value);
        }
        let late = |_| Status::unavailable(format!("no answer within {DEADLINE:?}"));
        let reply = tokio::time::timeout(DEADLINE, client.enroll(request)).await;
        Ok(reply.map_err(late)??.into_inner())
    }

    fn read(&self, reply: EnrollReply) -> Identity {
        Identity {
            signed: Signed {
                certificate: reply.certificate,
                authority: reply.authority,
                from: Timestamp(reply.from),
                until: Timestamp(reply.until),
            },
            key: self.key.serialize_pem(),
        }
    }
}

fn is_refusal(status: &Status) -> bool {
    let refused = matches!(
        status.code(),
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
    );
    refused || is_distrust(status)
}
