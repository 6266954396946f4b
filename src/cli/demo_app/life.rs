//! From warm-up to the last open connection.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::TaskTracker;

use super::state::{Phase, State};
use super::{Args, echo, routes, say};

/// Time open requests and sessions have after the app was told to stop and has drained.
const CLOSING: Duration = Duration::from_secs(60);
/// Pause after a failed accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The signals that matter.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    ignore: bool,
}

impl Signals {
    fn listen(ignore: bool) -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            ignore,
        })
    }

    /// Returns when the app has to stop.
    async fn stop(&mut self, state: &State) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {
                    state.note_sigterm();
                    say(format_args!("SIGTERM{}", if self.ignore { ", ignored" } else { "" }));
                    if !self.ignore {
                        return;
                    }
                }
                _ = self.interrupt.recv() => return,
            }
        }
    }
}

/// Lives through all phases.
///
/// # Errors
/// A port cannot be used.
pub async fn live(args: Args, state: Arc<State>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen(args.ignore_term)?;
    let end = async {
        match args.exit_after {
            Some(after) => tokio::time::sleep(after.duration()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = serve(&args, &state, &mut signals) => done.map(|()| ExitCode::SUCCESS),
        () = end => {
            let code = args.exit_code.unwrap_or(0);
            say(format_args!("demo ends by itself with status {code}"));
            Ok(ExitCode::from(code))
        }
    }
}

async fn serve(args: &Args, state: &Arc<State>, signals: &mut Signals) -> anyhow::Result<()> {
    if !warm_up(args, state, signals).await {
        return Ok(());
    }
    let http = listen(args.port).await?;
    let echo = match args.echo_port {
        Some(port) => Some(listen(port).await?),
        None => None,
    };
    say(format_args!(
        "demo {} listens on port {}",
        state.identity.name(),
        args.port
    ));
    serve_on(http, echo, state, stop(args, state, signals)).await;
    say(format_args!("demo {} stopped", state.identity.name()));
    Ok(())
}

/// Serves until `stop` returns, then ends what is open.
pub async fn serve_on(
    http: TcpListener,
    echo: Option<TcpListener>,
    state: &Arc<State>,
    stop: impl Future<Output = ()>,
) {
    let connections = TaskTracker::new();
    let take_http = |stream| {
        let task = converse(stream, state.clone(), connections.clone());
        connections.spawn(task);
    };
    let take_echo = |stream| {
        connections.spawn(echo::converse(stream, state.clone()));
    };
    tokio::select! {
        () = accept(&http, take_http) => {}
        () = accept_echo(echo.as_ref(), take_echo) => {}
        () = stop => {}
    }
    drop((http, echo));
    state.enter(Phase::Closing);
    connections.close();
    if tokio::time::timeout(CLOSING, connections.wait())
        .await
        .is_err()
    {
        say(format_args!("{} connections cut off", connections.len()));
    }
}

/// False: told to stop before it was ready.
async fn warm_up(args: &Args, state: &State, signals: &mut Signals) -> bool {
    let warm = async {
        tokio::time::sleep(args.warmup.duration()).await;
        if args.never_ready {
            say("demo never listens");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = warm => true,
        () = signals.stop(state) => false,
    }
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))
}

/// Returns when no connection is to be accepted any more.
async fn stop(args: &Args, state: &State, signals: &mut Signals) {
    signals.stop(state).await;
    state.enter(Phase::Draining);
    tokio::time::sleep(args.drain.duration()).await;
}

async fn accept(listener: &TcpListener, mut take: impl FnMut(TcpStream)) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take(stream),
            Err(error) => {
                say(format_args!("cannot accept: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_echo(listener: Option<&TcpListener>, take: impl FnMut(TcpStream)) {
    match listener {
        Some(listener) => accept(listener, take).await,
        None => std::future::pending().await,
    }
}

/// One HTTP connection until it closes; when the app closes, the open request is finished first.
async fn converse(stream: TcpStream, state: Arc<State>, sessions: TaskTracker) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (state, sessions) = (state.clone(), sessions.clone());
        async move { Ok::<_, Infallible>(routes::answer(request, state, sessions).await) }
    });
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A client that goes away is no news.
        _ = connection.as_mut() => return,
        () = state.closing() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
