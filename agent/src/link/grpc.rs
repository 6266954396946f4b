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
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{LinkError, MasterLink, QUEUE, Session};

/// Time the master has to accept a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest message taken: an assignment of thousands of instances, or a whole registry.
const MAX_MESSAGE: usize = 256 << 20;

/// A link over a gRPC channel.
#[derive(Debug, Clone)]
pub struct GrpcLink {
    channel: Channel,
    /// Highest fence heard, put on every frame; None: no master was heard yet.
    heard: Arc<Mutex<Option<Fence>>>,
}

impl GrpcLink {
    /// A link over `channel`; which cluster answers is learnt from its frames.
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            heard: Arc::default(),
        }
    }
}

#[async_trait]
impl MasterLink for GrpcLink {
    async fn open(&self, hello: Hello) -> Result<Session, LinkError> {
        let (out, outgoing) = mpsc::channel(QUEUE);
        out.send(AgentMessage::Hello(hello))
            .await
            .map_err(|_| unreachable("the session ended before it began"))?;
        let heard = Arc::clone(&self.heard);
        let frames =
            ReceiverStream::new(outgoing).filter_map(move |message| encode(&message, &heard));
        let mut client = HubClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let reply = tokio::time::timeout(OPEN_TIMEOUT, client.session(frames))
            .await
            .map_err(|_| unreachable("no answer within 5 s"))?
            .map_err(|status| refused(&status))?;
        let (send, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(receive(reply.into_inner(), send, Arc::clone(&self.heard)));
        Ok(Session { out, inbox })
    }
}

/// Ends when the stream does, or when nobody wants its messages any more.
async fn receive(
    mut stream: Streaming<HubFrame>,
    send: mpsc::Sender<(Fence, HubMessage)>,
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
                if send.send((fence, message)).await.is_err() {
                    break;
                }
            }
            Some(Err(status)) => {
                tracing::debug!(%status, "session with the master ended");
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

fn unreachable(reason: &str) -> LinkError {
    LinkError::Unreachable {
        reason: reason.to_owned(),
    }
}

fn refused(status: &Status) -> LinkError {
    use tonic::Code::{FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated};
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
