//! The session with the leader: looked for again whenever it ends, where and when the search says.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;

use hancock_agent_core::search::{Next, Outcome, Search};
use hancock_proto::hub::{AgentMessage, Hello};
use hancock_proto::ids::Revision;
use hancock_proto::report::Report;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::agent::Options;
use crate::journal::Record;
use crate::link::{LinkError, MasterLink, Session};

use super::Input;
use super::ask::Questions;
use super::exec::Commands;
use super::logs::Requests;

type Opening = Pin<Box<dyn Future<Output = Result<Session, LinkError>> + Send>>;

/// The way to the leader and the session on it, if there is one.
pub(super) struct Link {
    link: Arc<dyn MasterLink>,
    state: State,
    search: Search,
    /// Why there is no session, as last told; failures that repeat are told once.
    told: Option<LinkError>,
}

enum State {
    /// To be opened.
    Closed,
    /// Being opened, after a pause where one is due.
    Opening(Opening),
    /// Open.
    Open(Open),
}

/// An open session.
pub(super) struct Open {
    session: Session,
    /// The newest report; what was not sent yet is replaced, never queued.
    report: watch::Sender<Option<Report>>,
    pump: JoinHandle<()>,
    pub(super) logs: Requests,
    pub(super) commands: Commands,
    pub(super) questions: Questions,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Link {
    pub(super) fn new(link: Arc<dyn MasterLink>, search: Search) -> Self {
        Self {
            link,
            state: State::Closed,
            search,
            told: None,
        }
    }

    /// The next thing that happens on the way to the leader. Safe to drop and call again.
    pub(super) async fn next(&mut self, hello: impl FnOnce() -> Hello) -> Input {
        if let State::Closed = self.state {
            let next = self.search.next(random());
            self.state = State::Opening(open(Arc::clone(&self.link), hello(), next));
        }
        match &mut self.state {
            State::Closed => Input::SessionEnded(None),
            State::Opening(opening) => {
                let opened = opening.await;
                self.state = State::Closed;
                Input::Opened(opened)
            }
            State::Open(open) => match open.session.inbox.recv().await {
                Some(Ok((fence, message))) => Input::Hub(fence, message),
                Some(Err(error)) => Input::SessionEnded(Some(error)),
                None => Input::SessionEnded(None),
            },
        }
    }

    pub(super) fn opened(&mut self, session: Session) {
        let (report, reports) = watch::channel(None);
        let pump = tokio::spawn(pump(reports, session.out.clone()));
        let logs = Requests::new(session.out.clone());
        let commands = Commands::new(session.out.clone());
        let questions = Questions::new(session.out.clone());
        self.state = State::Open(Open {
            session,
            report,
            pump,
            logs,
            commands,
            questions,
        });
    }

    /// Something worth hearing came: this is the leader.
    pub(super) fn healthy(&mut self) {
        self.search.ended(Outcome::Led);
        self.told = None;
    }

    /// The masters are there, says the leader. True: that is news.
    pub(super) fn learn(&mut self, masters: Vec<String>) -> bool {
        self.search.learn(masters)
    }

    pub(super) fn close(&mut self, outcome: Outcome) {
        self.search.ended(outcome);
        self.state = State::Closed;
    }

    /// No session came about.
    pub(super) fn failed(&mut self, error: LinkError) {
        self.close(Outcome::from(&error));
        if self.told.as_ref() == Some(&error) {
            return;
        }
        match &error {
            LinkError::Refused { .. } => tracing::warn!(%error, "no session with the master"),
            _ => tracing::debug!(%error, "no session with the master"),
        }
        self.told = Some(error);
    }

    pub(super) fn open(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) => Some(open),
            State::Closed | State::Opening(_) => None,
        }
    }
}

impl Open {
    /// Sends a report, in place of any that was not sent yet.
    pub(super) fn report(&self, report: Report) {
        self.report.send_replace(Some(report));
    }

    /// Sends an offer, unless the way is jammed: the next one says the same.
    pub(super) fn offer(&self, message: AgentMessage) {
        if self.session.out.try_send(message).is_err() {
            tracing::debug!("offer not sent: the session is slow or over");
        }
    }
}

async fn pump(mut reports: watch::Receiver<Option<Report>>, out: mpsc::Sender<AgentMessage>) {
    while reports.changed().await.is_ok() {
        let Ok(permit) = out.reserve().await else {
            return;
        };
        // Taken only when there is room, so that it is the newest.
        if let Some(report) = reports.borrow_and_update().clone() {
            permit.send(AgentMessage::Report(report));
        }
    }
}

fn open(link: Arc<dyn MasterLink>, hello: Hello, next: Next) -> Opening {
    Box::pin(async move {
        tokio::time::sleep(next.wait).await;
        let session = link.open(&next.at, hello).await?;
        tracing::debug!(master = next.at, "session open");
        Ok(session)
    })
}

/// Spreads many nodes over masters and time.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

pub(super) fn hello(options: &Options, record: &Record, registry: Option<Revision>) -> Hello {
    Hello {
        info: options.info.clone(),
        boot: options.boot.clone(),
        generation: record.session.generation,
        registry,
        surroundings: true,
    }
}
