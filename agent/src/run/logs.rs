//! Answers the leader's questions for logs, each in a task of its own that waits when the session is slow.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use hancock_agent_core::observed::Owner;
use hancock_proto::hub::{AgentMessage, LogChunk, LogRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::runtime::{ContainerRuntime, LogQuery, RuntimeError};

/// Questions answered at the same time in one session. More: refused with the reason.
const MAX_REQUESTS: usize = 32;

/// Most lines in one message.
const MAX_LINES: usize = 128;

/// Questions under way. All end with the session.
#[derive(Debug)]
pub(super) struct Requests {
    out: mpsc::Sender<AgentMessage>,
    running: BTreeMap<u64, JoinHandle<()>>,
}

impl Requests {
    pub(super) fn new(out: mpsc::Sender<AgentMessage>) -> Self {
        let running = BTreeMap::new();
        Self { out, running }
    }

    /// `owner` None: this node has no instances yet.
    pub(super) fn begin(
        &mut self,
        runtime: Arc<dyn ContainerRuntime>,
        owner: Option<Owner>,
        request: LogRequest,
    ) {
        self.running.retain(|_, task| !task.is_finished());
        let id = request.id;
        let Some(owner) = owner else {
            return self.refuse(id, "this node has no instances".to_owned());
        };
        if self.running.len() >= MAX_REQUESTS {
            let reason =
                format!("{MAX_REQUESTS} logs are being read on this node; try again later");
            return self.refuse(id, reason);
        }
        let task = tokio::spawn(answer(runtime, owner, request, self.out.clone()));
        if let Some(former) = self.running.insert(id, task) {
            former.abort();
        }
    }

    fn refuse(&self, id: u64, reason: String) {
        // Jammed as well: the asker's own deadline tells it.
        let _ = self.out.try_send(chunk(id, Vec::new(), Some(Err(reason))));
    }

    pub(super) fn end(&mut self, id: u64) {
        if let Some(task) = self.running.remove(&id) {
            task.abort();
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.running.values().for_each(JoinHandle::abort);
    }
}

async fn answer(
    runtime: Arc<dyn ContainerRuntime>,
    owner: Owner,
    request: LogRequest,
    out: mpsc::Sender<AgentMessage>,
) {
    let id = request.id;
    let end = send_lines(&*runtime, &owner, request, &out).await;
    let end = Some(end.map_err(|error| error.to_string()));
    // The session is over: nobody is left to tell.
    let _ = out.send(chunk(id, Vec::new(), end)).await;
}

async fn send_lines(
    runtime: &dyn ContainerRuntime,
    owner: &Owner,
    request: LogRequest,
    out: &mpsc::Sender<AgentMessage>,
) -> Result<(), RuntimeError> {
    let query = LogQuery {
        follow: request.follow,
        tail: request.tail,
        since: request.since,
    };
    let lines = runtime.logs(owner, &request.instance, query).await?;
    let mut lines = lines.ready_chunks(MAX_LINES);
    while let Some(ready) = lines.next().await {
        let ready = ready.into_iter().collect::<Result<Vec<_>, _>>()?;
        let message = chunk(request.id, ready, None);
        if out.send(message).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn chunk(
    id: u64,
    lines: Vec<hancock_proto::hub::LogLine>,
    end: Option<Result<(), String>>,
) -> AgentMessage {
    AgentMessage::Logs(LogChunk { id, lines, end })
}
