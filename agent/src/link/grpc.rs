//! The link over gRPC: one bidirectional stream of frames, each a fence and a JSON body.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::ids::Term;
use hancock_proto::registry::Fence;
use hancock_wire::hub_client::HubClient;
use hancock_wire::{AgentFrame, HubFrame};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::dial::Dial;
use super::{LinkError, MasterLink, QUEUE, Session};

/// Time the master has to accept a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest message taken: an assignment of thousands of instances, or a whole registry.
const MAX_MESSAGE: usize = 256 << 20;

/// Metadata key under which a master that does not lead says where agents find the leader.
const LEADER: &str = "x-hancock-leader";

/// A link over gRPC.
#[derive(Debug, Clone)]
pub struct GrpcLink {
    way: Way,
    /// Highest fence heard, put on every frame; None: no master was heard yet.
    heard: Arc<Mutex<Option<Fence>>>,
}

/// How a master is reached.
#[derive(Debug, Clone)]
enum Way {
    /// There is one, in this process.
    Channel(Channel),
    /// There are several, over the network.
    Dial(Dial),
}

impl GrpcLink {
    /// A link over `channel`; which cluster answers is learnt from its frames.
    pub fn new(channel: Channel) -> Self {
        Self::over(Way::Channel(channel))
    }

    /// A link to masters on other machines.
    pub fn to_masters(dial: Dial) -> Self {
        Self::over(Way::Dial(dial))
    }

    fn over(way: Way) -> Self {
        let heard = Arc::default();
        Self { way, heard }
    }

    async fn call(
        &self,
        at: &str,
        frames: impl Stream<Item = AgentFrame> + Send + 'static,
    ) -> Result<Streaming<HubFrame>, LinkError> {
        let (channel, request) = match &self.way {
            Way::Channel(channel) => (channel.clone(), Request::new(frames)),
            Way::Dial(dial) => (dial.connect(at).await?, dial.show(Request::new(frames))?),
        };
        let mut client = HubClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let reply = client.session(request).await;
        Ok(reply.map_err(|status| refused(&status))?.into_inner())
    }
}

#[async_trait]
impl MasterLink for GrpcLink {
    async fn open(&self, at: &str, hello: Hello) -> Result<Session, LinkError> {
        let (out, outgoing) = mpsc::channel(QUEUE);
        out.send(AgentMessage::Hello(hello))
            .await
            .map_err(|_| unreachable("the session ended before it began"))?;
        let heard = Arc::clone(&self.heard);
        let frames =
            ReceiverStream::new(outgoing).filter_map(move |message| encode(&message, &heard));
        let stream = tokio::time::timeout(OPEN_TIMEOUT, self.call(at, frames))
            .await
            .map_err(|_| unreachable("no answer within 5 s"))??;
        let (send, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(receive(stream, send, Arc::clone(&self.heard)));
        Ok(Session { out, inbox })
    }
}

/// Ends when the stream does, or when nobody wants its messages any more.
async fn receive(
    mut stream: Streaming<HubFrame>,
    send: mpsc::Sender<Result<(Fence, HubMessage), LinkError>>,
    heard: Arc<Mutex<Option<Fence>>>,
) {
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            () = send.closed() => break,
        };
        match frame {
            Some(Ok(frame)) => {
                let Some((fence, message)) = decode(frame) else {
                    continue;
                };
                remember(&heard, &fence);
                if send.send(Ok((fence, message))).await.is_err() {
                    break;
                }
            }
            Some(Err(status)) => {
                // Nobody waits for it any more, or hears it last of all.
                drop(send.send(Err(refused(&status))).await);
                break;
            }
            None => break,
        }
    }
}

fn encode(message: &AgentMessage, heard: &Mutex<Option<Fence>>) -> Option<AgentFrame> {
    let body = serde_json::to_vec(message)
        .inspect_err(|error| tracing::error!(%error, "a message cannot be written as JSON"))
        .ok()?;
    let fence = heard
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .map(|f| hancock_wire::Fence {
            cluster: f.cluster.to_string(),
            term: f.term.0,
        });
    Some(AgentFrame { fence, body })
}

/// None: not understood. A newer master may say things this agent has no word for; that must not end the session.
fn decode(frame: HubFrame) -> Option<(Fence, HubMessage)> {
    let fence = frame.fence?;
    let cluster = fence
        .cluster
        .parse()
        .inspect_err(|error| tracing::warn!(%error, "message of an unnamed cluster"))
        .ok()?;
    let message = serde_json::from_slice(&frame.body)
        .inspect_err(|error| tracing::warn!(%error, "message not understood"))
        .ok()?;
    let term = Term(fence.term);
    Some((Fence { cluster, term }, message))
}

fn remember(heard: &Mutex<Option<Fence>>, fence: &Fence) {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let newer = heard
        .as_ref()
        .is_none_or(|have| have.cluster != fence.cluster || have.term < fence.term);
    if newer {
        *heard = Some(fence.clone());
    }
}

pub(super) fn unreachable(reason: &str) -> LinkError {
    LinkError::Unreachable {
        reason: reason.to_owned(),
    }
}

fn refused(status: &Status) -> LinkError {
    use tonic::Code::{FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated};
    let leader = status.metadata().get(LEADER);
    if let Some(leader) = leader.and_then(|leader| leader.to_str().ok()) {
        let leader = leader.to_owned();
        return LinkError::Elsewhere { leader };
    }
    let reason = status.message().to_owned();
    match status.code() {
        FailedPrecondition | InvalidArgument | PermissionDenied | Unauthenticated => {
            LinkError::Refused { reason }
        }
        code => LinkError::Unreachable {
            reason: format!("{code}: {reason}"),
        },
    }
}
