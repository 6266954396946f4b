//! Calls to whichever member answers, each with a deadline.
//!
//! A member that does not answer in time is left for the next one. A call is never repeated here: whether that is safe, only its caller
//! knows.

use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error, KvClient, LeaseClient, WatchClient};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::Mutex;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::{Options, Timing};
use crate::RegistryError;

/// Largest message taken: the documents of one page, or of one revision.
const MESSAGE: usize = 64 << 20;
/// The kernel asks on a connection on which nothing comes, and gives it up when neither that nor what was sent is confirmed for so long. The
/// kernel at the other end answers, so it costs the store nothing.
const KNOCK: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(4);
/// A process that stands still answers no ping. Etcd hangs up on clients that ping more often, or when nothing is open.
const PING: Duration = Duration::from_secs(5);
const PONG: Duration = Duration::from_secs(3);

/// Why a call did not bring what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// No member could be reached; nothing was sent.
    Unreachable(String),
    /// The store said no; nothing was done.
    Refused(String),
    /// No answer came: what was asked may have been done.
    Lost(String),
    /// The revision asked for is gone.
    Compacted,
}

/// The way to the store. The one connection is shared by all calls.
pub(super) struct Calls {
    options: Options,
    state: Mutex<State>,
}

struct State {
    /// The member in use, or tried next.
    at: usize,
    /// Distinguishes a connection from its predecessors.
    epoch: u64,
    client: Option<Client>,
}

/// A connection to one member.
pub(super) struct Connection {
    client: Client,
    epoch: u64,
}

impl Connection {
    /// Tells it apart from others, for [`Calls::leave`].
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn kv(&self) -> KvClient {
        let kv = self.client.kv_client();
        kv.max_decoding_message_size(MESSAGE)
    }

    pub(super) fn watch(&self) -> WatchClient {
        let watch = self.client.watch_client();
        watch.max_decoding_message_size(MESSAGE)
    }

    pub(super) fn lease(&self) -> LeaseClient {
        self.client.lease_client()
    }
}

impl Calls {
    pub(super) fn new(options: Options) -> Self {
        // Readers spread over the members.
        let at = options.seed % options.address.members.len().max(1);
        Self {
            options,
            state: Mutex::new(State {
                at,
                epoch: 0,
                client: None,
            }),
        }
    }

    /// The store's name, for people.
    pub(super) fn shown(&self) -> String {
        self.options.address.to_string()
    }

    pub(super) fn timing(&self) -> Timing {
        self.options.timing
    }

    /// One call on the connection there is, or on a new one.
    pub(super) async fn call<T, F>(
        &self,
        deadline: Duration,
        deed: impl FnOnce(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connection = self.connection().await?;
        let epoch = connection.epoch;
        let failure = match tokio::time::timeout(deadline, deed(connection)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::Lost(format!("no answer within {deadline:?}")),
        };
        match &failure {
            Failure::Lost(_) => self.leave(epoch, true).await,
            // Rights may have changed: the next connection asks for new ones.
            Failure::Refused(_) if self.options.address.user.is_some() => {
                self.leave(epoch, false).await;
            }
            _ => {}
        }
        Err(failure)
    }

    /// The connection there is, or a new one to the first member that answers.
    pub(super) async fn connection(&self) -> Result<Connection, Failure> {
        let mut state = self.state.lock().await;
        if let Some(client) = &state.client {
            let (client, epoch) = (client.clone(), state.epoch);
            return Ok(Connection { client, epoch });
        }
        let members = &self.options.address.members;
        let mut told = Vec::new();
        for _ in members {
            let member = &members[state.at % members.len()];
            let dialled = tokio::time::timeout(self.timing().connect, self.dial(member)).await;
            match dialled.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(client) => {
                    state.epoch += 1;
                    state.client = Some(client.clone());
                    let epoch = state.epoch;
                    return Ok(Connection { client, epoch });
                }
                Err(reason) => told.push(format!("{member}: {reason}")),
            }
            state.at = (state.at + 1) % members.len();
        }
        Err(Failure::Unreachable(told.join("; ")))
    }

    /// Leaves a connection, and its member for the next one.
    pub(super) async fn leave(&self, epoch: u64, member: bool) {
        let mut state = self.state.lock().await;
        if state.epoch == epoch && state.client.take().is_some() && member {
            state.at = (state.at + 1) % self.options.address.members.len();
        }
    }

    /// A member that answers, and has a leader.
    async fn dial(&self, member: &str) -> Result<Client, String> {
        let endpoint = self.endpoint(member).map_err(|error| chain(&error))?;
        let channel = endpoint.connect_with_connector(self.sockets()).await;
        let channel = channel.map_err(|error| chain(&error))?;
        let mut options = ConnectOptions::new()
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        let address = &self.options.address;
        if let Some(user) = &address.user {
            let password = address.password.clone().unwrap_or_default();
            options = options.with_user(user, password);
        }
        let client = Client::from_channel(Channel::Tonic(channel), Some(options)).await;
        let client = client.map_err(|error| error.to_string())?;
        let fence = super::keys::Keys::new(&address.prefix).fence();
        // A connection alone proves nothing: the kernel makes one with a process that is stopped.
        let answered = client.kv_client().get(fence, None).await;
        answered.map_err(|error| self.explained(&error))?;
        Ok(client)
    }

    /// A member that does not like our certificate hangs up, often without a word.
    fn explained(&self, error: &Error) -> String {
        let hung_up = match error {
            Error::GRpcStatus(status) => {
                matches!(
                    status.code(),
                    Code::Cancelled | Code::Unknown | Code::Unavailable
                )
            }
            _ => true,
        };
        match &self.options.tls {
            Some(tls) if hung_up && tls.identity.is_none() => {
                format!("{error}; does it want a certificate of ours?")
            }
            Some(_) if hung_up => {
                format!("{error}; does it trust who signed our certificate?")
            }
            _ => error.to_string(),
        }
    }

    fn sockets(&self) -> HttpConnector {
        let mut sockets = HttpConnector::new();
        sockets.enforce_http(false);
        sockets.set_nodelay(true);
        sockets.set_connect_timeout(Some(self.timing().connect));
        sockets.set_keepalive(Some(KNOCK));
        sockets.set_keepalive_interval(Some(KNOCK));
        sockets.set_tcp_user_timeout(Some(GONE));
        sockets
    }

    fn endpoint(&self, member: &str) -> Result<Endpoint, tonic::transport::Error> {
        let scheme = match self.options.tls {
            Some(_) => "https",
            None => "http",
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{member}"))?
            .connect_timeout(self.timing().connect)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        let Some(tls) = &self.options.tls else {
            return Ok(endpoint);
        };
        let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
        if let Some((certificate, key)) = &tls.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        endpoint.tls_config(config)
    }

    pub(super) fn error(&self, failure: Failure) -> RegistryError {
        let store = self.shown();
        match failure {
            Failure::Unreachable(reason) | Failure::Lost(reason) => {
                RegistryError::Unreachable { store, reason }
            }
            Failure::Refused(reason) => RegistryError::Refused { store, reason },
            Failure::Compacted => RegistryError::Refused {
                store,
                reason: "the revision asked for was compacted".to_owned(),
            },
        }
    }
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        let Error::GRpcStatus(status) = error else {
            return Self::Lost(error.to_string());
        };
        let told = status.message().to_owned();
        match status.code() {
            Code::OutOfRange if told.contains("compacted") => Self::Compacted,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Refused(told),
            _ => Self::Lost(told),
        }
    }
}

/// An error with what caused it: transports say the interesting part last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    told
}
