//! Commands run inside instances over a session, many at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hancock_proto::exec::{FromCommand, Order, ToCommand, WINDOW, Window};
use hancock_proto::hub::HubMessage;
use hancock_proto::ids::InstanceId;
use tokio::sync::{Semaphore, mpsc};

/// Words that may wait for whoever asked: a window of output, its begin and its end.
const QUEUE: usize = WINDOW + 2;
/// Commands run over one session at a time, jobs among them: more than a node takes.
const MAX_OPEN: usize = 2048;

/// Commands open on one session.
#[derive(Default)]
pub(super) struct Commands {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    words: mpsc::Sender<FromCommand>,
    credit: Arc<Semaphore>,
}

impl Commands {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one. None: too many are open, or the session's queue is full.
    pub(super) fn open(
        self: &Arc<Self>,
        instance: InstanceId,
        order: Order,
        out: mpsc::Sender<HubMessage>,
    ) -> Option<Command> {
        let (tx, words) = mpsc::channel(QUEUE);
        let credit = Arc::new(Semaphore::new(WINDOW));
        let open = Open {
            words: tx,
            credit: credit.clone(),
        };
        let id = {
            let mut inner = self.lock();
            if inner.open.len() >= MAX_OPEN {
                return None;
            }
            inner.next += 1;
            let id = inner.next;
            inner.open.insert(id, open);
            id
        };
        let handle = Handle {
            id,
            credit,
            commands: self.clone(),
            out,
        };
        let begin = HubMessage::Exec {
            id,
            word: ToCommand::Begin { instance, order },
        };
        handle.out.try_send(begin).ok()?;
        Some(Command { words, handle })
    }

    /// Gives a word to whoever asked. False: nobody listens any more, the node may end it.
    pub(super) fn deliver(&self, id: u64, word: FromCommand) -> bool {
        let ended = matches!(word, FromCommand::Ended { .. });
        let mut inner = self.lock();
        let Some(open) = inner.open.get(&id) else {
            return ended;
        };
        let taken = match word {
            FromCommand::Credit => {
                if open.credit.available_permits() < WINDOW {
                    open.credit.add_permits(1);
                }
                true
            }
            word => open.words.try_send(word).is_ok(),
        };
        if ended || !taken {
            inner.open.remove(&id);
        }
        taken || ended
    }

    /// The session is over: nothing more is heard of any.
    pub(super) fn clear(&self) {
        let open = std::mem::take(&mut self.lock().open);
        // Who waits to send input must not wait for ever.
        open.values().for_each(|open| open.credit.close());
    }
}

/// One command; dropping its handle ends it.
pub(crate) struct Command {
    words: mpsc::Receiver<FromCommand>,
    handle: Handle,
}

impl Command {
    /// What it says, one after the other; None: the session was lost. And the way to speak to it.
    pub(crate) fn split(self) -> (mpsc::Receiver<FromCommand>, Handle) {
        (self.words, self.handle)
    }
}

/// The way to a command.
pub(crate) struct Handle {
    id: u64,
    credit: Arc<Semaphore>,
    commands: Arc<Commands>,
    out: mpsc::Sender<HubMessage>,
}

impl Handle {
    /// Sends input as soon as the command has room for it. False: the session was lost.
    pub(crate) async fn input(&self, data: Vec<u8>) -> bool {
        match self.credit.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => return false,
        }
        self.say(ToCommand::Input { data }).await
    }

    /// No more input will come.
    pub(crate) async fn input_end(&self) -> bool {
        self.say(ToCommand::InputEnd).await
    }

    /// The terminal has another size.
    pub(crate) async fn resize(&self, window: Window) -> bool {
        self.say(ToCommand::Resize(window)).await
    }

    /// A piece of output was taken.
    pub(crate) async fn credit(&self) -> bool {
        self.say(ToCommand::Credit).await
    }

    async fn say(&self, word: ToCommand) -> bool {
        let id = self.id;
        self.out.send(HubMessage::Exec { id, word }).await.is_ok()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.commands.lock().open.remove(&self.id).is_some() {
            let (id, out) = (self.id, self.out.clone());
            // However full the queue is: a command that waits for credits would never be heard of again.
            tokio::spawn(async move {
                let word = ToCommand::End;
                drop(out.send(HubMessage::Exec { id, word }).await);
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            command: vec!["true".into()],
            stdin: true,
            ..Order::default()
        }
    }

    fn opened() -> (Arc<Commands>, Command, mpsc::Receiver<HubMessage>) {
        let (out, sent) = mpsc::channel(64);
        let commands = Arc::new(Commands::default());
        let command = commands.open("web-1".parse().unwrap(), order(), out);
        (commands, command.unwrap(), sent)
    }

    #[tokio::test]
    async fn input_waits_for_credits_and_ends_with_the_session() {
        let (commands, command, mut sent) = opened();
        let (_words, handle) = command.split();
        for _ in 0..WINDOW {
            assert!(handle.input(vec![1]).await);
        }
        let mut more = Box::pin(handle.input(vec![2]));
        assert!(futures::poll!(&mut more).is_pending());
        assert!(commands.deliver(1, FromCommand::Credit));
        assert!(more.await);
        let mut more = Box::pin(handle.input(vec![3]));
        assert!(futures::poll!(&mut more).is_pending());
        commands.clear();
        assert!(!more.await);
        assert_eq!(sent.len(), 1 + WINDOW + 1);
        assert!(matches!(
            sent.recv().await,
            Some(HubMessage::Exec {
                id: 1,
                word: ToCommand::Begin { .. }
            })
        ));
    }

    #[tokio::test]
    async fn a_node_that_sends_more_than_it_may_is_not_listened_to() {
        let (commands, command, _sent) = opened();
        let output = || FromCommand::Output {
            stream: hancock_proto::hub::Stream::Stdout,
            data: vec![0],
        };
        for _ in 0..QUEUE {
            assert!(commands.deliver(1, output()));
        }
        assert!(!commands.deliver(1, output()));
        assert!(!commands.deliver(1, output()), "it is forgotten");
        drop(command);
    }

    #[tokio::test]
    async fn a_command_nobody_waits_for_is_ended_however_full_the_queue_is() {
        let (out, mut sent) = mpsc::channel(1);
        let commands = Arc::new(Commands::default());
        let command = commands.open("web-1".parse().unwrap(), order(), out);
        drop(command.unwrap());
        let begin = sent.recv().await;
        assert!(begin.is_some());
        assert_eq!(
            sent.recv().await,
            Some(HubMessage::Exec {
                id: 1,
                word: ToCommand::End
            })
        );
    }
}
