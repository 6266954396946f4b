//! Commands the leader has run inside instances, each in a task of its own that waits when the session is slow or its reader is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hancock_agent_core::observed::Owner;
use hancock_proto::exec::{FromCommand, MAX_PIECE, Order, ToCommand, WINDOW};
use hancock_proto::hub::AgentMessage;
use hancock_proto::ids::InstanceId;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::runtime::exec::{Control, Piece, Pieces};
use crate::runtime::{ContainerRuntime, Exec};

/// Commands of people run at the same time in one session. More: refused with the reason.
const MAX_COMMANDS: usize = 16;

/// Jobs likewise, those that wait for their turn among them.
const MAX_JOBS: usize = 1024;

/// Words that may wait for a command: its input is limited by credits, and the rest by nobody's patience.
const WORDS: usize = 4 * WINDOW;

/// Pieces of output looked at together, to be sent as few.
const AT_ONCE: usize = 8;

/// Time a runtime has to begin one.
const BEGIN: Duration = Duration::from_secs(20);

/// Commands under way. All end with the session.
#[derive(Debug)]
pub(super) struct Commands {
    out: mpsc::Sender<AgentMessage>,
    running: BTreeMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    job: bool,
    words: mpsc::Sender<ToCommand>,
    /// Pieces of output the leader has room for.
    credit: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Commands {
    pub(super) fn new(out: mpsc::Sender<AgentMessage>) -> Self {
        let running = BTreeMap::new();
        Self { out, running }
    }

    /// `owner` None: this node has no instances yet.
    pub(super) fn begin(
        &mut self,
        runtime: Arc<dyn ContainerRuntime>,
        owner: Option<Owner>,
        id: u64,
        (instance, order): (InstanceId, Order),
    ) {
        self.running
            .retain(|_, running| !running.task.is_finished());
        let Some(owner) = owner else {
            return self.refuse(id, "this node has no instances".to_owned());
        };
        if let Some(reason) = self.too_many(order.job) {
            return self.refuse(id, reason);
        }
        let (words, heard) = mpsc::channel(WORDS);
        let credit = Arc::new(Semaphore::new(WINDOW));
        let said = Said {
            id,
            out: self.out.clone(),
            credit: Arc::clone(&credit),
        };
        let job = order.job;
        let task = tokio::spawn(async move {
            let outcome = run(&*runtime, (&owner, &instance), &order, heard, &said).await;
            said.say(FromCommand::Ended { outcome }).await;
        });
        let running = Running {
            job,
            words,
            credit,
            task,
        };
        self.running.insert(id, running);
    }

    /// Why no more of the kind are begun. None: there is room.
    fn too_many(&self, job: bool) -> Option<String> {
        let (most, name) = match job {
            true => (MAX_JOBS, "jobs"),
            false => (MAX_COMMANDS, "commands"),
        };
        let same = self.running.values().filter(|running| running.job == job);
        (same.count() >= most)
            .then(|| format!("{most} {name} run on this node already; try again later"))
    }

    fn refuse(&self, id: u64, reason: String) {
        let outcome = Err(reason);
        let word = FromCommand::Ended { outcome };
        // Jammed as well: the asker's own deadline tells it.
        let _ = self.out.try_send(AgentMessage::Exec { id, word });
    }

    /// What the leader says of a command that has begun.
    pub(super) fn hear(&mut self, id: u64, word: ToCommand) {
        let Some(running) = self.running.get(&id) else {
            return;
        };
        match word {
            ToCommand::Credit if running.credit.available_permits() < WINDOW => {
                running.credit.add_permits(1);
            }
            ToCommand::End => drop(self.running.remove(&id)),
            // More than was allowed, or for a command that has just ended.
            word => drop(running.words.try_send(word)),
        }
    }
}

/// The way from a command to the leader.
struct Said {
    id: u64,
    out: mpsc::Sender<AgentMessage>,
    credit: Arc<Semaphore>,
}

impl Said {
    /// False: the session is over.
    async fn say(&self, word: FromCommand) -> bool {
        let id = self.id;
        self.out.send(AgentMessage::Exec { id, word }).await.is_ok()
    }
}

async fn run(
    runtime: &dyn ContainerRuntime,
    (owner, instance): (&Owner, &InstanceId),
    order: &Order,
    heard: mpsc::Receiver<ToCommand>,
    said: &Said,
) -> Result<i32, String> {
    let begun = tokio::time::timeout(BEGIN, runtime.exec(owner, instance, order)).await;
    let begun = begun.map_err(|_| format!("the runtime did not begin it within {BEGIN:?}"))?;
    let Exec {
        input,
        output,
        control,
    } = begun.map_err(|error| error.to_string())?;
    said.say(FromCommand::Begun).await;
    let attended = async {
        send_output(output, said).await?;
        control.ended().await.map_err(|error| error.to_string())
    };
    tokio::select! {
        outcome = attended => outcome,
        () = obey(heard, input, &*control, said) => Err("nobody waits for it any more".to_owned()),
    }
}

async fn send_output(output: Pieces, said: &Said) -> Result<(), String> {
    let mut output = output.ready_chunks(AT_ONCE);
    while let Some(ready) = output.next().await {
        let ready: Result<Vec<_>, _> = ready.into_iter().collect();
        for Piece { stream, data } in joined(ready.map_err(|error| error.to_string())?) {
            // An error would mean a closed semaphore, and nobody closes them.
            if let Ok(permit) = said.credit.acquire().await {
                permit.forget();
            }
            said.say(FromCommand::Output { stream, data }).await;
        }
    }
    Ok(())
}

/// Neighbours of one stream become one piece, as far as that may grow.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last)
                if last.stream == piece.stream
                    && last.data.len() + piece.data.len() <= MAX_PIECE =>
            {
                last.data.extend(piece.data);
            }
            _ => joined.push(piece),
        }
    }
    joined
}

/// Passes on what is said to a command, until its words end.
async fn obey(
    mut heard: mpsc::Receiver<ToCommand>,
    input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
    control: &dyn Control,
    said: &Said,
) {
    let mut input = Some(input);
    while let Some(word) = heard.recv().await {
        match word {
            ToCommand::Input { data } => {
                if let Some(to) = &mut input
                    && (to.write_all(&data).await.is_err() || to.flush().await.is_err())
                {
                    // It reads no more; its end tells whether that was right.
                    input = None;
                }
                said.say(FromCommand::Credit).await;
            }
            ToCommand::InputEnd => {
                if let Some(mut to) = input.take() {
                    // Broken already is as good.
                    let _ = to.shutdown().await;
                }
            }
            ToCommand::Resize(window) => {
                if let Err(error) = control.resize(window).await {
                    tracing::debug!(%error, "terminal not resized");
                }
            }
            ToCommand::Begin { .. } | ToCommand::Credit | ToCommand::End => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hancock_proto::hub::Stream;

    use super::*;
    use crate::runtime::fake::FakeRuntime;

    #[tokio::test]
    async fn jobs_take_no_persons_place() {
        let (out, mut said) = mpsc::channel(4);
        let mut commands = Commands::new(out);
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(FakeRuntime::default());
        let owner = Owner {
            cluster: "c1".parse().unwrap(),
            node: "n1".parse().unwrap(),
        };
        // None of them runs before this test waits for something.
        let mut begin = |id, job| {
            let order = Order {
                command: vec!["true".to_owned()],
                job,
                ..Order::default()
            };
            let what = ("web-1".parse().unwrap(), order);
            commands.begin(Arc::clone(&runtime), Some(owner.clone()), id, what);
        };
        let mut refused = || said.try_recv().is_ok();
        for (many, job) in [(MAX_JOBS, true), (MAX_COMMANDS, false)] {
            let first = u64::from(job) << 32;
            for id in 0..many as u64 {
                begin(first + id, job);
                assert!(!refused(), "{id} of {many}");
            }
            begin(first + many as u64, job);
            assert!(refused(), "more than {many}");
        }
    }

    fn piece(stream: Stream, len: usize) -> Piece {
        let data = vec![b'x'; len];
        Piece { stream, data }
    }

    #[test]
    fn neighbours_are_joined_up_to_the_largest_piece() {
        use Stream::{Stderr, Stdout};
        let pieces = vec![
            piece(Stdout, 2),
            piece(Stdout, 3),
            piece(Stderr, 1),
            piece(Stdout, MAX_PIECE - 1),
            piece(Stdout, 2),
        ];
        let expected = [
            piece(Stdout, 5),
            piece(Stderr, 1),
            piece(Stdout, MAX_PIECE - 1),
            piece(Stdout, 2),
        ];
        assert_eq!(joined(pieces), expected);
    }
}
