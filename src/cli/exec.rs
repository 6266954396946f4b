//! `hancock exec`: a command inside an instance, as if it ran here.

mod input;
mod terminal;

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hancock_proto::api::InstanceView;
use hancock_proto::exec::{ClientWord, MARKS, MasterWord, Order};
use hancock_proto::hub::Stream;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::Life;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::client::Socket;
use super::out::Format;
use super::{Context, exit};
use terminal::Raw;

/// Exit code when not the command failed, but Hancock: apart from those of most commands.
const OURS: u8 = 125;

/// What the end of the help says.
const CODES: &str = "\
Exit codes:
  that of the command; 128 and the number of the signal that ended it
  125 when Hancock failed: no master, no such instance, a lost connection
  126 or 127 when the command cannot be executed or does not exist

Examples:
  hancock exec web -- ls -l /           in one of the app's running instances
  hancock exec -it web-3 sh             a shell in this instance
  hancock exec -i web sh < script.sh    reads this machine's file
  hancock exec -u root -w / web -- id   as another user, elsewhere";

#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub struct Args {
    /// The command reads what comes on standard input here
    #[arg(short = 'i', long)]
    interactive: bool,
    /// The command gets a terminal, of the size of this one
    #[arg(short = 't', long)]
    tty: bool,
    /// As this user of the instance, by name or numbers like 1000:1000 [default: the instance's own]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,
    /// In this folder of the instance [default: the instance's own]
    #[arg(short = 'w', long, value_name = "DIR")]
    workdir: Option<String>,
    /// With this variable beside the instance's environment; KEY alone takes it from here. May be given again
    #[arg(short = 'e', long, value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// An instance, or an app: then one of its instances that run, a ready one if there is one
    #[arg(value_name = "APP|INSTANCE")]
    target: String,
    /// The command and its arguments; after `--` if the first one begins with a dash
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

/// Runs it. Whatever goes wrong with Hancock itself has an exit code of its own.
pub async fn run(context: &Context, args: Args) -> ExitCode {
    match attend(context, args).await {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// Tells what went wrong before or beside the command.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    exit::report(error, Format::Text);
    ExitCode::from(OURS)
}

async fn attend(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    if args.tty && args.interactive && !terminal::is_input() {
        bail!("-t needs a terminal, and standard input is none; leave -t away");
    }
    let instance = resolve(context, &args.target).await?;
    let order = Order {
        command: args.command,
        stdin: args.interactive,
        tty: args.tty.then(terminal::window),
        job: false,
        user: args.user,
        workdir: args.workdir,
        environment: args.env.into_iter().collect(),
    };
    if let Some(problem) = order.problem() {
        bail!(problem);
    }
    let socket = context.client.exec(&instance, &order).await?;
    carry(context, &order, socket).await
}

/// `KEY=VALUE`, or the value that KEY has here.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let none = |e| format!("{text} has no value here ({e}); write {text}=VALUE");
            (text, std::env::var(text).map_err(none)?)
        }
    };
    match name {
        "" => Err(format!("{text:?} names no variable; write KEY=VALUE")),
        name => Ok((name.to_owned(), value)),
    }
}

/// Carries input and output until it ends; the exit code is its own.
pub async fn carry(context: &Context, order: &Order, socket: Socket) -> anyhow::Result<ExitCode> {
    match converse(context, order, socket).await? {
        End::Word(MasterWord::Ended { code }) => {
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
        }
        End::Word(MasterWord::Failed { message }) => Err(anyhow!(message)),
        End::Word(MasterWord::Begun) => Err(anyhow!("the master began it twice")),
        End::Signal(kind) => {
            let code = 128 + kind.as_raw_value();
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(OURS)))
        }
    }
}

/// The instance of that name, or one of the app of that name.
async fn resolve(context: &Context, target: &str) -> anyhow::Result<InstanceId> {
    let all = context.client.instances(None).await?;
    if let Some(named) = all.iter().find(|i| i.id.as_str() == target) {
        return Ok(named.id.clone());
    }
    let mine: Vec<_> = all.iter().filter(|i| i.app.as_str() == target).collect();
    let runs = |i: &&&InstanceView| i.life == Life::Running && !i.unknown && !i.draining;
    let best = mine.iter().filter(runs).max_by_key(|i| {
        let ready = i.ready.as_ref().is_some_and(|ready| ready.value);
        (ready, i.since)
    });
    match (best, mine.is_empty()) {
        (Some(best), _) => Ok(best.id.clone()),
        (None, false) => Err(anyhow!(
            "no instance of {target} runs; see `hancock ps {target}`"
        )),
        (None, true) => Err(anyhow!(
            "there is neither an instance nor an app with instances named {target}; `hancock ps` shows those there are"
        )),
    }
}

/// How it came to an end.
enum End {
    Word(MasterWord),
    /// A signal that ends this program, after the terminal is as it was.
    Signal(SignalKind),
}

/// Carries both ways until it ends.
async fn converse(context: &Context, order: &Order, socket: Socket) -> anyhow::Result<End> {
    let (mut terminate, mut hangup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    let (to, mut from) = socket.split();
    match receive(context, &mut from).await? {
        MasterWord::Begun => {}
        word => return Ok(End::Word(word)),
    }
    let raw = order.stdin && order.tty.is_some();
    // Put back when it is dropped.
    let _raw = raw.then(Raw::enter).transpose()?;
    // Both at a time: a command that waits until its output is read reads no input.
    tokio::select! {
        word = receive(context, &mut from) => word.map(End::Word),
        error = transmit(context, order, to) => Err(error?),
        _ = terminate.recv() => Ok(End::Signal(SignalKind::terminate())),
        _ = hangup.recv() => Ok(End::Signal(SignalKind::hangup())),
    }
}

/// Prints what the command prints, up to the next word.
async fn receive(context: &Context, from: &mut SplitStream<Socket>) -> anyhow::Result<MasterWord> {
    let (mut out, mut err) = (file(std::io::stdout())?, file(std::io::stderr())?);
    loop {
        let message = from.next().await.transpose();
        let message = message.map_err(|e| context.client.broken(&e))?;
        match message.ok_or_else(|| anyhow!("the master broke off"))? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Binary(data) => {
                let Some((mark, data)) = data.split_first() else {
                    continue;
                };
                match MARKS.iter().find(|(known, _)| known == mark) {
                    Some((_, Stream::Stderr)) => print(&mut err, data).await?,
                    _ => print(&mut out, data).await?,
                }
            }
            Message::Close(_) => bail!("the master broke off"),
            _ => {}
        }
    }
}

/// Whoever reads it slowly keeps nothing here from going on.
fn file(of: impl AsFd) -> std::io::Result<tokio::fs::File> {
    let fd = of.as_fd().try_clone_to_owned()?;
    Ok(tokio::fs::File::from_std(fd.into()))
}

async fn print(to: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> std::io::Result<()> {
    to.write_all(data).await?;
    to.flush().await
}

/// Sends what is typed, and the size of the terminal. Returns only when that is not possible.
async fn transmit(
    context: &Context,
    order: &Order,
    mut to: SplitSink<Socket, Message>,
) -> anyhow::Result<anyhow::Error> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut input = order.stdin.then(input::begin);
    loop {
        let message = tokio::select! {
            data = next(&mut input) => match data {
                Some(data) => Message::binary(data),
                None => {
                    input = None;
                    said(ClientWord::InputEnd)
                }
            },
            Some(()) = resized.recv(), if order.tty.is_some() => {
                said(ClientWord::Resize(terminal::window()))
            }
        };
        if let Err(error) = to.send(message).await {
            return Ok(context.client.broken(&error).into());
        }
    }
}

/// The next piece of input; None once at its end, and nothing ever without input.
async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

fn said(word: ClientWord) -> Message {
    // Of plain data, so there is nothing that could not be written.
    Message::text(serde_json::to_string(&word).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_value_from_here_or_none() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(variable("A=b=c"), pair("A", "b=c"));
        assert_eq!(variable("A="), pair("A", ""));
        let path = std::env::var("PATH").unwrap_or_default();
        assert_eq!(variable("PATH"), pair("PATH", &path));
        for (wrong, told) in [
            ("=x", "names no variable"),
            ("NO_SUCH_KEY", "NO_SUCH_KEY=VALUE"),
            ("", ""),
        ] {
            let problem = variable(wrong).err().unwrap_or_default();
            assert!(
                problem.contains(told) && !problem.is_empty(),
                "{wrong}: {problem}"
            );
        }
    }
}
