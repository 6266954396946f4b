//! The session with the leader: opened again whenever it ends, with growing pauses.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::hub::{AgentMessage, Hello};
use hancock_proto::ids::Revision;
use hancock_proto::report::Report;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::agent::Options;
use crate::journal::Record;
use crate::link::{LinkError, MasterLink, Session};

use super::Input;
use super::logs::Requests;

/// Pause after the first failure; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Session, LinkError>> + Send>>;

/// The way to the leader and the session on it, if there is one.
pub(super) struct Link {
    link: Arc<dyn MasterLink>,
    state: State,
    /// Sessions in a row that failed or brought nothing.
    failures: u32,
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
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Link {
    pub(super) fn new(link: Arc<dyn MasterLink>) -> Self {
        Self {
            link,
            state: State::Closed,
            failures: 0,
        }
    }

    /// The next thing that happens on the way to the leader. Safe to drop and call again.
    pub(super) async fn next(&mut self, hello: impl FnOnce() -> Hello) -> Input {
        if let State::Closed = self.state {
            self.state =
                State::Opening(open(Arc::clone(&self.link), hello(), pause(self.failures)));
        }
        match &mut self.state {
            State::Closed => Input::SessionEnded,
            State::Opening(opening) => {
                let opened = opening.await;
                self.state = State::Closed;
                Input::Opened(opened)
            }
            State::Open(open) => match open.session.inbox.recv().await {
                Some((fence, message)) => Input::Hub(fence, message),
                None => Input::SessionEnded,
            },
        }
    }

    pub(super) fn opened(&mut self, session: Session) {
        let (report, reports) = watch::channel(None);
        let pump = tokio::spawn(pump(reports, session.out.clone()));
        let logs = Requests::new(session.out.clone());
        self.state = State::Open(Open {
            session,
            report,
            pump,
            logs,
        });
    }

    /// Something worth hearing came: the next pause is a short one again.
    pub(super) fn healthy(&mut self) {
        self.failures = 0;
    }

    pub(super) fn close(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Closed;
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

fn open(link: Arc<dyn MasterLink>, hello: Hello, pause: Duration) -> Opening {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        link.open(hello).await
    })
}

fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(n) => FIRST_PAUSE
            .saturating_mul(2u32.saturating_pow(n))
            .min(LONGEST_PAUSE),
    }
}

pub(super) fn hello(options: &Options, record: &Record, registry: Option<Revision>) -> Hello {
    Hello {
        info: options.info.clone(),
        boot: options.boot.clone(),
        generation: record.session.generation,
        registry,
    }
}
