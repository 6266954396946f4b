//! Commands of the engine in memory. It has a few small programs: `cat`, `echo WORDS`, `warn WORDS` (on standard error), `exit CODE`, `yes`
//! (without an end), `size` (of the terminal, whenever that changes), and `where NAME` (its user, its working directory and a variable).

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use hancock_proto::exec::{MAX_PIECE, Order, Window};
use hancock_proto::hub::Stream;
use tokio::io::{AsyncReadExt, AsyncWrite, DuplexStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::super::RuntimeError;
use super::super::exec::{Control, Exec, Piece};

/// Bytes of input that wait for the program.
const INPUT: usize = 64 << 10;

type Output = mpsc::Sender<Result<Piece, RuntimeError>>;

/// A program that runs.
struct Program {
    order: Order,
    input: DuplexStream,
    output: Output,
    window: watch::Receiver<Option<Window>>,
}

/// Whose turn it is in one container.
pub(super) type Turn = Arc<Mutex<()>>;

/// Waits for its turn, and holds it to its end.
pub(super) async fn job(order: &Order, own: Vec<String>, turn: Turn, running: Arc<()>) -> Exec {
    let command = match order.command.is_empty() {
        true => own,
        false => order.command.clone(),
    };
    let turn = turn.lock_owned().await;
    let order = Order {
        command,
        ..order.clone()
    };
    exec(order, (turn, running))
}

/// `held` as long as it runs.
pub(super) fn exec(order: Order, held: impl Send + 'static) -> Exec {
    let (input, read) = tokio::io::duplex(INPUT);
    let (output, pieces) = mpsc::channel(1);
    let (window, resized) = watch::channel(order.tty);
    let (tell, end) = watch::channel(None);
    let stdin = order.stdin;
    let program = Program {
        order,
        input: read,
        output,
        window: resized,
    };
    let task = tokio::spawn(async move {
        let _held = held;
        tell.send_replace(Some(program.run().await));
    });
    let input: Pin<Box<dyn AsyncWrite + Send>> = match stdin {
        true => Box::pin(input),
        false => Box::pin(tokio::io::sink()),
    };
    Exec {
        input,
        output: Box::pin(ReceiverStream::new(pieces)),
        control: Box::new(Attached { window, end, task }),
    }
}

impl Program {
    async fn run(mut self) -> i32 {
        let words = self.order.command[1..].join(" ");
        match self.order.command[0].as_str() {
            "cat" => self.cat().await,
            "echo" => {
                self.print(Stream::Stdout, format!("{words}\n").into())
                    .await
            }
            "warn" => {
                self.print(Stream::Stderr, format!("{words}\n").into())
                    .await
            }
            "exit" => return words.parse().unwrap_or(2),
            "yes" => {
                while self.print(Stream::Stdout, b"y\n".repeat(8192)).await {}
                true
            }
            "size" => return self.size().await,
            "where" => {
                let line = self.surroundings(&words);
                self.print(Stream::Stdout, line.into()).await
            }
            name => {
                let line = format!("no program {name:?}\n");
                self.print(Stream::Stderr, line.into()).await;
                return 127;
            }
        };
        0
    }

    /// False: nobody reads any more.
    async fn print(&self, stream: Stream, data: Vec<u8>) -> bool {
        self.output.send(Ok(Piece { stream, data })).await.is_ok()
    }

    fn surroundings(&self, variable: &str) -> String {
        let user = self.order.user.as_deref().unwrap_or("0");
        let user = user.split(':').next().unwrap_or_default();
        let workdir = self.order.workdir.as_deref().unwrap_or("/");
        let value = self.order.environment.get(variable);
        let value = value.map_or("", String::as_str);
        format!("{user} {workdir} {value}\n")
    }

    async fn cat(&mut self) -> bool {
        let mut data = vec![0; MAX_PIECE];
        loop {
            match self.input.read(&mut data).await {
                Ok(n) if n > 0 => self.print(Stream::Stdout, data[..n].to_vec()).await,
                _ => return true,
            };
        }
    }

    async fn size(&mut self) -> i32 {
        loop {
            let now = *self.window.borrow_and_update();
            let Some(Window { rows, columns }) = now else {
                return 1;
            };
            let line = format!("{rows} {columns}\r\n");
            if !self.print(Stream::Stdout, line.into()).await
                || self.window.changed().await.is_err()
            {
                return 0;
            }
        }
    }
}

struct Attached {
    window: watch::Sender<Option<Window>>,
    end: watch::Receiver<Option<i32>>,
    task: JoinHandle<()>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Control for Attached {
    async fn resize(&self, window: Window) -> Result<(), RuntimeError> {
        if self.window.borrow().is_none() {
            let reason = "the command has none";
            return Err(RuntimeError::failed("resize", "the terminal", reason));
        }
        self.window.send_replace(Some(window));
        Ok(())
    }

    async fn ended(&self) -> Result<i32, RuntimeError> {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        let code = ended.ok().and_then(|code| *code);
        code.ok_or_else(|| RuntimeError::failed("learn the end of", "the command", "it was ended"))
    }
}
