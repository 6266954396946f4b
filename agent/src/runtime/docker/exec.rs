//! Runs a command in a container. The engine goes on with a command nobody waits for; here it is ended.

use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::exec::{CreateExecOptions, ResizeExecOptions};
use bollard::models::ExecInspectResponse;
use hancock_proto::exec::{Order, Window};
use hancock_proto::hub::Stream;
use hancock_proto::ids::InstanceId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connect::{self, Connection, status};
use super::hijack::{self, Outputs};
use super::{RuntimeError, process};
use crate::runtime::exec::{Control, Exec, pieces};

/// What was tried, in errors.
const DEED: &str = "run a command in";

/// Time the engine has to notice an end that its output has shown.
const NOTICE: Duration = Duration::from_secs(10);

/// Pause between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Begins it in the container `name`.
pub(super) async fn exec(
    connection: &Connection,
    name: &str,
    instance: &InstanceId,
    order: &Order,
) -> Result<Exec, RuntimeError> {
    let docker = connection.docker().await?;
    let created = docker.create_exec(name, options(order)).await;
    let id = created.map_err(|e| not_begun(instance, e))?.id;
    let opened = hijack::start(connection.socket(), &id, order.tty.is_some()).await;
    let opened = opened.map_err(|e| RuntimeError::failed(DEED, instance, e))?;
    let control = Attached::new(docker, id, instance);
    if let Some(window) = order.tty {
        // A terminal of another size still works; one that has ended already tells so by its end.
        let _ = control.resize(window).await;
    }
    let (read, write) = tokio::io::split(opened);
    let output = match order.tty {
        Some(_) => pieces(read, Stream::Stdout),
        None => Outputs::new(read).pieces(),
    };
    let input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>> = match order.stdin {
        true => Box::pin(write),
        false => Box::pin(tokio::io::sink()),
    };
    let control = Box::new(control);
    Ok(Exec {
        input,
        output,
        control,
    })
}

fn options(order: &Order) -> CreateExecOptions<String> {
    CreateExecOptions {
        attach_stdin: Some(order.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(order.tty.is_some()),
        // No key takes the client away: what is typed is the command's.
        detach_keys: None,
        env: Some(environment(order)),
        user: order.user.clone(),
        working_dir: order.workdir.clone(),
        cmd: Some(order.command.clone()),
        ..CreateExecOptions::default()
    }
}

/// Beside the container's own; of two of a name the last one counts.
fn environment(order: &Order) -> Vec<String> {
    let term = order.tty.map(|_| "TERM=xterm".to_owned());
    let asked = order.environment.iter();
    let asked = asked.map(|(name, value)| format!("{name}={value}"));
    term.into_iter().chain(asked).collect()
}

fn not_begun(instance: &InstanceId, error: bollard::errors::Error) -> RuntimeError {
    match status(&error) {
        Some(404) => RuntimeError::failed(DEED, instance, "it has no container on this node"),
        Some(409) => RuntimeError::failed(DEED, instance, "it does not run"),
        _ => connect::error(DEED, instance, error),
    }
}

/// A command under way.
struct Attached {
    docker: Docker,
    id: String,
    instance: InstanceId,
    /// Dropped: nobody waits for it any more.
    _wanted: oneshot::Sender<()>,
}

impl Attached {
    fn new(docker: Docker, id: String, instance: &InstanceId) -> Self {
        let (wanted, unwanted) = oneshot::channel();
        tokio::spawn(end_when_unwanted(docker.clone(), id.clone(), unwanted));
        Self {
            docker,
            id,
            instance: instance.clone(),
            _wanted: wanted,
        }
    }
}

#[async_trait]
impl Control for Attached {
    async fn resize(&self, window: Window) -> Result<(), RuntimeError> {
        let size = ResizeExecOptions {
            height: window.rows,
            width: window.columns,
        };
        let resized = self.docker.resize_exec(&self.id, size).await;
        resized.map_err(|e| connect::error("resize a terminal of", &self.instance, e))
    }

    async fn ended(&self) -> Result<i32, RuntimeError> {
        let deed = "learn the end of a command in";
        let late = Instant::now() + NOTICE;
        loop {
            let seen = self.docker.inspect_exec(&self.id).await;
            let seen = seen.map_err(|e| connect::error(deed, &self.instance, e))?;
            match seen.exit_code.filter(|_| seen.running != Some(true)) {
                Some(code) => return Ok(i32::try_from(code).unwrap_or(-1)),
                None if Instant::now() > late => {
                    let why = "its output has ended, and the engine says that it runs";
                    return Err(RuntimeError::failed(deed, &self.instance, why));
                }
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

/// The engine has no word for it, so the process is ended here, with its children.
async fn end_when_unwanted(docker: Docker, id: String, unwanted: oneshot::Receiver<()>) {
    // Never sent, only dropped.
    let _ = unwanted.await;
    let late = Instant::now() + NOTICE;
    while Instant::now() < late {
        let Ok(seen) = docker.inspect_exec(&id).await else {
            return;
        };
        match (seen.running, process_of(&seen)) {
            (Some(true), Some((pid, container))) => return process::end_tree_in(pid, container),
            _ if seen.exit_code.is_some() => return,
            // Output of a command can come before the engine knows that it runs.
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    tracing::warn!(exec = %id, "a command nobody waits for could not be ended: the engine does not say where it runs");
}

fn process_of(seen: &ExecInspectResponse) -> Option<(i32, &str)> {
    let pid = seen.pid.and_then(|pid| i32::try_from(pid).ok());
    Some((pid.filter(|pid| *pid > 0)?, seen.container_id.as_deref()?))
}
