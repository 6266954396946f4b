//! A command at a node, carried over a WebSocket: inside a named instance, or as a job of an app.

use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hancock_proto::exec::{ClientWord, FromCommand, MARKS, MAX_PIECE, MasterWord, Order};
use hancock_proto::hub::Stream;
use hancock_proto::ids::{AppName, InstanceId, NodeId};
use hancock_proto::units::Span;
use tokio::sync::mpsc;

use super::Api;
use super::error::Failure;
use super::run;
use crate::audit;
use crate::hub::{Guest, Handle};

/// Time a client has to say what is to be run.
const ORDER: Duration = Duration::from_secs(10);
/// Time a node has to begin it: its runtime may be busy.
const BEGIN: Duration = Duration::from_secs(30);
/// Time between two signs of life towards the client, so that a connection that is gone is noticed.
const SIGN: Duration = Duration::from_secs(20);
/// Time the client has to take a last word.
const FAREWELL: Duration = Duration::from_secs(5);
/// Largest message of a client: an order.
const MAX_MESSAGE: usize = 1 << 20;

/// The request for a WebSocket, if it is one.
pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// What a client asks for.
pub(super) enum Target {
    /// A command inside this instance.
    Instance(NodeId, InstanceId),
    /// A job of this app, which may wait so long for an instance that has none.
    Job(AppName, Duration),
}

/// Where it runs.
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) instance: InstanceId,
    /// A job's seat there, and the time it has.
    pub(super) job: Option<(Guest, Span)>,
}

/// Refuses what is no WebSocket, before anything else is looked at.
pub(super) fn spoken(upgrade: Upgrade) -> Result<WebSocketUpgrade, Failure> {
    let upgrade =
        upgrade.map_err(|e| Failure::malformed(format!("this path speaks WebSocket: {e}")))?;
    Ok(upgrade.max_message_size(MAX_MESSAGE))
}

/// Makes the connection a WebSocket, and carries one command over it.
pub(super) fn carried(api: Api, upgrade: WebSocketUpgrade, target: Target) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        let (mut to, from) = socket.split();
        let stop = api.deps.stop.clone();
        let served = tokio::select! {
            served = serve(&api, target, &mut to, from) => served,
            () = stop.cancelled() => Some(failed("the master ends")),
        };
        if let Some(last) = served {
            // A client that does not take it learns from the end of the connection.
            let farewell = async {
                tell(&mut to, &last).await;
                to.close().await
            };
            drop(tokio::time::timeout(FAREWELL, farewell).await);
        }
    })
}

/// The last word for the client; None: it has gone.
async fn serve(
    api: &Api,
    target: Target,
    to: &mut SplitSink<WebSocket, Message>,
    mut from: SplitStream<WebSocket>,
) -> Option<MasterWord> {
    let job = matches!(target, Target::Job(..));
    let order = match tokio::time::timeout(ORDER, order(&mut from, job)).await {
        Ok(Ok(order)) => order?,
        Ok(Err(why)) => return Some(failed(why)),
        Err(_) => return Some(failed("no order came within 10 s")),
    };
    let place = tokio::select! {
        place = place(api, target) => match place {
            Ok(place) => place,
            Err(why) => return Some(failed(why)),
        },
        why = silence(&mut from) => return why.map(failed),
    };
    let last = attend(api, &order, &place, to, from).await;
    // Until here: its seat is free when it has ended.
    drop(place);
    last
}

async fn place(api: &Api, target: Target) -> Result<Place, String> {
    match target {
        Target::Instance(node, instance) => Ok(Place {
            node,
            instance,
            job: None,
        }),
        Target::Job(app, wait) => run::place(api, &app, wait).await,
    }
}

/// Ends when the client goes (None) or speaks before it has heard that the command runs.
async fn silence(from: &mut SplitStream<WebSocket>) -> Option<String> {
    while let Some(Ok(message)) = from.next().await {
        match message {
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
            Message::Text(_) | Message::Binary(_) => {
                return Some("input came before the command had begun".to_owned());
            }
        }
    }
    None
}

/// Has it run, and carries both ways until it ends.
async fn attend(
    api: &Api,
    order: &Order,
    place: &Place,
    to: &mut SplitSink<WebSocket, Message>,
    mut from: SplitStream<WebSocket>,
) -> Option<MasterWord> {
    let node = &place.node;
    let command = match api.sessions.exec(node, &place.instance, order.clone()) {
        Ok(command) => command,
        Err(why) => return Some(failed(why)),
    };
    audit::done(&api.who, &told(order, place));
    let (mut words, handle) = command.split();
    match tokio::time::timeout(BEGIN, words.recv()).await {
        Ok(Some(FromCommand::Begun)) => {}
        Ok(Some(FromCommand::Ended { outcome })) => return Some(ended(outcome)),
        Ok(_) => return Some(lost(node)),
        Err(_) => return Some(failed(format!("node {node} did not begin it within 30 s"))),
    }
    if !tell(to, &MasterWord::Begun).await {
        return None;
    }
    tokio::select! {
        last = forward(&mut words, &handle, to) => Some(last?.map_or_else(|| lost(node), ended)),
        why = obey(&mut from, &handle) => why.map(failed),
        limit = over(place) => Some(failed(format!("the job took longer than {limit} and was ended"))),
    }
}

/// When a job has had its time, which it was.
async fn over(place: &Place) -> Span {
    let Some((_, limit)) = place.job else {
        return std::future::pending().await;
    };
    tokio::time::sleep(limit.duration()).await;
    limit
}

/// None: the client has gone before it said.
async fn order(from: &mut SplitStream<WebSocket>, job: bool) -> Result<Option<Order>, String> {
    while let Some(Ok(message)) = from.next().await {
        let mut order: Order = match message {
            Message::Text(text) => serde_json::from_str(&text)
                .map_err(|e| format!("the first message is not an order: {e}"))?,
            Message::Binary(_) => return Err("the first message is an order, as text".to_owned()),
            Message::Close(_) => return Ok(None),
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        // Which of both it is says the path.
        order.job = job;
        return match order.problem() {
            Some(problem) => Err(problem),
            None => Ok(Some(order)),
        };
    }
    Ok(None)
}

/// For people: which command, as whom and where. What it reads is nobody's business, and so are the values of its variables.
fn told(order: &Order, place: &Place) -> String {
    let (command, node, instance) = (&order.command, &place.node, &place.instance);
    let what = match (order.job, order.tty.is_some()) {
        (true, _) if command.is_empty() => "run a job".to_owned(),
        (true, _) => format!("run job {command:?}"),
        (false, true) => format!("run {command:?} on a terminal"),
        (false, false) => format!("run {command:?}"),
    };
    let surroundings = surroundings(order);
    format!("{what}{surroundings} in instance {instance} on node {node}")
}

fn surroundings(order: &Order) -> String {
    let user = order.user.iter().map(|user| format!(" as {user:?}"));
    let workdir = order.workdir.iter().map(|path| format!(" at {path:?}"));
    let names: Vec<_> = order.environment.keys().collect();
    let environment = (!names.is_empty()).then(|| format!(" with {names:?}"));
    user.chain(workdir).chain(environment).collect()
}

/// Passes on what the command says, each piece after the one before was taken. How it ended; Some(None): the session was lost; None: the client
/// has gone.
async fn forward(
    words: &mut mpsc::Receiver<FromCommand>,
    handle: &Handle,
    to: &mut SplitSink<WebSocket, Message>,
) -> Option<Option<Result<i32, String>>> {
    let mut sign = tokio::time::interval(SIGN);
    loop {
        let word = tokio::select! {
            word = words.recv() => word,
            _ = sign.tick() => {
                to.send(Message::Ping(Bytes::new())).await.ok()?;
                continue;
            }
        };
        match word {
            Some(FromCommand::Output { stream, data }) => {
                to.send(Message::Binary(marked(stream, &data))).await.ok()?;
                if !handle.credit().await {
                    return Some(None);
                }
            }
            Some(FromCommand::Ended { outcome }) => return Some(Some(outcome)),
            Some(FromCommand::Begun | FromCommand::Credit) => {}
            None => return Some(None),
        }
    }
}

fn marked(stream: Stream, data: &[u8]) -> Bytes {
    let mark = MARKS.iter().find(|(_, of)| *of == stream);
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(mark.map_or(1, |(mark, _)| *mark));
    bytes.put_slice(data);
    bytes.freeze()
}

/// Passes on what the client says, until it says something wrong (Some) or goes (None).
async fn obey(from: &mut SplitStream<WebSocket>, handle: &Handle) -> Option<String> {
    while let Some(Ok(message)) = from.next().await {
        let passed = match message {
            Message::Binary(data) if data.len() > MAX_PIECE => {
                let len = data.len();
                return Some(format!(
                    "{len} bytes of input at once; {MAX_PIECE} are allowed"
                ));
            }
            Message::Binary(data) => handle.input(data.to_vec()).await,
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(ClientWord::Resize(window)) => handle.resize(window).await,
                Ok(ClientWord::InputEnd) => handle.input_end().await,
                Err(error) => return Some(format!("the message is not understood: {error}")),
            },
            Message::Close(_) => return None,
            Message::Ping(_) | Message::Pong(_) => true,
        };
        if !passed {
            // The other side tells that the session was lost.
            std::future::pending::<()>().await;
        }
    }
    None
}

async fn tell(to: &mut SplitSink<WebSocket, Message>, word: &MasterWord) -> bool {
    // Of plain data, so there is nothing that could not be written.
    let text = serde_json::to_string(word).unwrap_or_default();
    to.send(Message::Text(text.into())).await.is_ok()
}

fn ended(outcome: Result<i32, String>) -> MasterWord {
    match outcome {
        Ok(code) => MasterWord::Ended { code },
        Err(message) => MasterWord::Failed { message },
    }
}

fn failed(message: impl Into<String>) -> MasterWord {
    let message = message.into();
    MasterWord::Failed { message }
}

fn lost(node: &NodeId) -> MasterWord {
    failed(format!(
        "the session with node {node} was lost; the command was ended, or ends as soon as the node notices"
    ))
}
