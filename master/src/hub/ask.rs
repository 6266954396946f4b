//! Questions to nodes over a session, each answered once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hancock_proto::ask::{Answer, Question};
use hancock_proto::hub::HubMessage;
use tokio::sync::{mpsc, oneshot};

/// Questions open on one session at a time.
const MAX_OPEN: usize = 32;
/// Time a node has: more than it takes itself before it gives up.
const DEADLINE: Duration = Duration::from_secs(120);

/// Questions open on one session.
#[derive(Default)]
pub(super) struct Questions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, oneshot::Sender<Result<Answer, String>>>,
}

/// Takes a question back when nobody waits for its answer any more.
struct Open<'a> {
    id: u64,
    questions: &'a Questions,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.questions.lock().open.remove(&self.id);
    }
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks and waits. Err: for people.
    pub(super) async fn ask(
        self: &Arc<Self>,
        question: Question,
        out: &mpsc::Sender<HubMessage>,
    ) -> Result<Answer, String> {
        let (tell, told) = oneshot::channel();
        let open = {
            let mut inner = self.lock();
            if inner.open.len() >= MAX_OPEN {
                return Err("too many questions to the node are open; try again".to_owned());
            }
            inner.next += 1;
            let id = inner.next;
            inner.open.insert(id, tell);
            Open {
                id,
                questions: self,
            }
        };
        let id = open.id;
        let lost = "the session with the node was lost".to_owned();
        if out.try_send(HubMessage::Ask { id, question }).is_err() {
            return Err("the session with the node is over, or jammed; try again".to_owned());
        }
        match tokio::time::timeout(DEADLINE, told).await {
            Ok(answer) => answer.unwrap_or(Err(lost)),
            Err(_) => Err(format!("the node did not answer within {DEADLINE:?}")),
        }
    }

    pub(super) fn deliver(&self, id: u64, answer: Result<Answer, String>) {
        if let Some(tell) = self.lock().open.remove(&id) {
            // Nobody waits for it any more.
            drop(tell.send(answer));
        }
    }

    /// The session is over: nothing will be answered.
    pub(super) fn clear(&self) {
        self.lock().open.clear();
    }
}
