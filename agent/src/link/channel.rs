//! A link within one process, for tests: sessions over plain channels that can be refused and cut.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::registry::Fence;
use tokio::sync::mpsc;

use super::{LinkError, MasterLink, QUEUE, Session};

type ToAgent = mpsc::Sender<Result<(Fence, HubMessage), LinkError>>;

/// The agent's end.
#[derive(Debug, Clone)]
pub struct ChannelLink {
    accept: mpsc::Sender<HubSession>,
    refusing: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<ToAgent>>>,
}

/// The leader's end of one session.
#[derive(Debug)]
pub struct HubSession {
    /// Who called.
    pub hello: Hello,
    /// Which master was asked.
    pub at: String,
    /// To the agent.
    send: mpsc::WeakSender<Result<(Fence, HubMessage), LinkError>>,
    /// From the agent.
    pub receive: mpsc::Receiver<AgentMessage>,
}

impl HubSession {
    /// Sends a message. False: the session is over.
    pub async fn send(&self, fence: &Fence, message: HubMessage) -> bool {
        self.put(Ok((fence.clone(), message))).await
    }

    /// Ends the session with a reason.
    pub async fn end(&self, reason: LinkError) {
        self.put(Err(reason)).await;
    }

    async fn put(&self, item: Result<(Fence, HubMessage), LinkError>) -> bool {
        match self.send.upgrade() {
            Some(send) => send.send(item).await.is_ok(),
            None => false,
        }
    }
}

impl ChannelLink {
    /// A link, and where its sessions arrive.
    pub fn new() -> (Self, mpsc::Receiver<HubSession>) {
        let (accept, sessions) = mpsc::channel(QUEUE);
        let link = Self {
            accept,
            refusing: Arc::default(),
            open: Arc::default(),
        };
        (link, sessions)
    }

    /// Ends every open session. With `refuse` new ones are refused until the next call.
    pub fn cut(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[async_trait]
impl MasterLink for ChannelLink {
    async fn open(&self, at: &str, hello: Hello) -> Result<Session, LinkError> {
        let unreachable = |reason: &str| LinkError::Unreachable {
            reason: reason.to_owned(),
        };
        if self.refusing.load(Ordering::SeqCst) {
            return Err(unreachable("the link is cut"));
        }
        let (out, receive) = mpsc::channel(QUEUE);
        let (send, inbox) = mpsc::channel(QUEUE);
        let session = HubSession {
            hello,
            at: at.to_owned(),
            send: send.downgrade(),
            receive,
        };
        self.accept
            .send(session)
            .await
            .map_err(|_| unreachable("nobody listens"))?;
        // Only this list keeps the session open, so clearing it cuts the session.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| !other.is_closed());
        open.push(send);
        Ok(Session { out, inbox })
    }
}
