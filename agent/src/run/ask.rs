//! Answers the leader's questions, each in a task of its own with a deadline.

use std::sync::Arc;
use std::time::Duration;

use hancock_agent_core::images::users;
use hancock_agent_core::observed::{Observed, Owner};
use hancock_proto::app::image::is_name;
use hancock_proto::ask::{Answer, MAX_ENTRIES, NodeImage, Orphan, Question};
use hancock_proto::assignment::Assignment;
use hancock_proto::hub::AgentMessage;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::runtime::{self, ContainerRuntime, RuntimeError};

use super::pulls::Pulls;

/// Questions answered at the same time in one session.
const MAX_QUESTIONS: usize = 8;

/// Time one may take.
const TIMEOUT: Duration = Duration::from_secs(110);

/// Questions under way. All end with the session; what a removal has begun, the next one finds done.
#[derive(Debug)]
pub(super) struct Questions {
    out: mpsc::Sender<AgentMessage>,
    running: JoinSet<()>,
}

impl Questions {
    pub(super) fn new(out: mpsc::Sender<AgentMessage>) -> Self {
        let running = JoinSet::new();
        Self { out, running }
    }

    /// `assignment` and `owner` None: no master told anything yet.
    pub(super) fn begin(
        &mut self,
        (runtime, pulls): (Arc<dyn ContainerRuntime>, Arc<Pulls>),
        assignment: Option<&Assignment>,
        owner: Option<Owner>,
        (id, question): (u64, Question),
    ) {
        while self.running.try_join_next().is_some() {}
        let (Some(owner), Some(assignment)) = (owner, assignment) else {
            return self.refuse(id, "this node has no assignment yet".to_owned());
        };
        if self.running.len() >= MAX_QUESTIONS {
            let reason = format!("{MAX_QUESTIONS} questions are being answered; try again later");
            return self.refuse(id, reason);
        }
        let asked = Asked {
            runtime,
            pulls,
            owner,
            assignment: assignment.clone(),
        };
        let out = self.out.clone();
        self.running.spawn(async move {
            let answered = tokio::time::timeout(TIMEOUT, asked.answer(question)).await;
            let late = |_| {
                Err(format!(
                    "the node did not come to an end within {TIMEOUT:?}"
                ))
            };
            let answer = answered.unwrap_or_else(late);
            // The session is over: nobody is left to tell.
            let _ = out.send(AgentMessage::Answer { id, answer }).await;
        });
    }

    fn refuse(&self, id: u64, reason: String) {
        let answer = Err(reason);
        // Jammed as well: the asker's own deadline tells it.
        let _ = self.out.try_send(AgentMessage::Answer { id, answer });
    }
}

struct Asked {
    runtime: Arc<dyn ContainerRuntime>,
    pulls: Arc<Pulls>,
    owner: Owner,
    assignment: Assignment,
}

impl Asked {
    async fn answer(&self, question: Question) -> Result<Answer, String> {
        let answer = match question {
            Question::Orphans => self.orphans().await,
            Question::Purge { cluster } if cluster == self.owner.cluster => {
                return Err(format!(
                    "cluster {cluster} is the node's own: what it does not know there is removed by itself"
                ));
            }
            Question::Purge { cluster } => self.purge(cluster.as_str()).await,
            Question::Images => self.images().await,
            Question::Pull { image, begin } => return self.pull(&image, begin),
            Question::Signal { instance, signal } => {
                let sent = self.runtime.signal(&self.owner, &instance, &signal).await;
                sent.map(|()| Answer::Done)
            }
        };
        answer.map_err(|error| error.to_string())
    }

    async fn orphans(&self) -> Result<Answer, RuntimeError> {
        let orphans = self.nobodys().await?;
        Ok(self.told(&orphans))
    }

    /// What carries this node's name. A container of another node is that node's business, also when it runs on the same machine.
    async fn nobodys(&self) -> Result<Vec<Observed>, RuntimeError> {
        let mut all = self.runtime.list().await?;
        all.retain(|one| {
            let known =
                one.owner == self.owner && self.assignment.instances.contains_key(&one.instance);
            one.owner.node == self.owner.node && !known
        });
        Ok(all)
    }

    async fn images(&self) -> Result<Answer, RuntimeError> {
        let store = self.runtime.image_store();
        let store = store.ok_or_else(|| RuntimeError::no_images(self.runtime.kind()))?;
        let mut all = store.images().await?;
        let more = all.len().saturating_sub(MAX_ENTRIES);
        all.truncate(MAX_ENTRIES);
        let shown = all.into_iter().map(|image| NodeImage {
            apps: users(&image, &self.assignment).into_iter().collect(),
            id: image.id,
            tags: image.tags,
            digests: image.digests,
            size: image.size,
            created: image.created,
            used: image.used,
        });
        Ok(Answer::Images {
            images: shown.collect(),
            more,
        })
    }

    fn pull(&self, image: &str, begin: bool) -> Result<Answer, String> {
        if self.runtime.image_store().is_none() {
            return Err(RuntimeError::no_images(self.runtime.kind()).to_string());
        }
        if !is_name(image) {
            return Err(format!("{image:?} is no name of an image"));
        }
        let how = match begin {
            true => self.pulls.begin(&self.runtime, image),
            false => self.pulls.look(image),
        };
        how.map(Answer::Pull)
    }

    async fn purge(&self, cluster: &str) -> Result<Answer, RuntimeError> {
        let mut theirs = self.nobodys().await?;
        theirs.retain(|one| one.owner.cluster.as_str() == cluster);
        for one in &theirs {
            runtime::purge(&*self.runtime, one).await?;
            tracing::info!(cluster, instance = %one.instance, "removed: its cluster was purged here");
        }
        Ok(self.told(&theirs))
    }

    fn told(&self, orphans: &[Observed]) -> Answer {
        let told = orphans.iter().take(MAX_ENTRIES).map(|one| Orphan {
            cluster: one.owner.cluster.clone(),
            instance: one.instance.clone(),
            app: one.app.clone(),
            version: one.version,
            running: one.is_running(),
            own: one.owner == self.owner,
        });
        Answer::Orphans {
            orphans: told.collect(),
            more: orphans.len().saturating_sub(MAX_ENTRIES),
        }
    }
}
