//! Instances as containers of a Docker engine. This module alone knows the engine's client.
//!
//! One container per instance, found by name and labels; a restart starts the same container again, so that its log stays. The engine
//! never restarts anything by itself: that is the agent's decision.

mod about;
mod connect;
mod create;
mod exec;
mod fetch;
mod files;
mod health;
mod hijack;
mod host;
mod image;
mod jobs;
mod logs;
mod observe;
mod process;
mod progress;
mod pull;
mod registries;
mod store;
mod watch;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, RemoveContainerOptions,
    StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures::StreamExt;
use hancock_proto::app::{Limits, Resources};
use hancock_proto::exec::Order;
use hancock_proto::ids::{InstanceId, NodeId};
use tokio::sync::watch as notice;
use tokio::task::JoinHandle;

use hancock_agent_core::environment::{PortSide, StartSpec};
use hancock_agent_core::observed::{Observed, Owner, StopRule};

use super::images::ImageStore;
use super::{ContainerRuntime, Exec, Lines, LogQuery, RuntimeError};
use connect::{Connection, status};

pub use about::About;
pub use registries::Registries;

/// How to reach an engine and what to ask of it.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// The engine's socket.
    pub socket: PathBuf,
    /// Address of the node that ports are published at.
    pub publish: IpAddr,
    /// Folder for files that specs put into containers; the engine must see it under the same name.
    pub folder: PathBuf,
    /// Whether containers may have every privilege over the node.
    pub allow_privileged: bool,
    /// Passwords of image registries.
    pub registries: Registries,
}

impl DockerOptions {
    /// The socket of `DOCKER_HOST` (only `unix://`), otherwise `/var/run/docker.sock`; ports published at every address, files in
    /// `folder`, nothing privileged.
    ///
    /// # Errors
    /// As [`DockerOptions::socket_of_environment`].
    pub fn from_environment(folder: &Path) -> Result<Self, RuntimeError> {
        Ok(Self {
            socket: Self::socket_of_environment()?,
            publish: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            folder: folder.to_owned(),
            allow_privileged: false,
            registries: Registries::default(),
        })
    }

    /// The socket of `DOCKER_HOST`, or the usual one.
    ///
    /// # Errors
    /// `DOCKER_HOST` is not a socket on this machine.
    pub fn socket_of_environment() -> Result<PathBuf, RuntimeError> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None if host.is_empty() => Ok("/var/run/docker.sock".into()),
            None => Err(RuntimeError::impossible(
                "use",
                format!("DOCKER_HOST={host}"),
                "instances must run on this node; give a socket, like unix:///var/run/docker.sock",
            )),
        }
    }
}

/// A Docker engine.
#[derive(Debug)]
pub struct DockerRuntime {
    shared: Arc<Shared>,
    watcher: JoinHandle<()>,
}

/// What the runtime and its tasks share.
#[derive(Debug)]
struct Shared {
    connection: Connection,
    node: NodeId,
    options: DockerOptions,
    pulls: progress::Board,
    jobs: jobs::Seats,
    changes: notice::Sender<u64>,
}

impl Drop for DockerRuntime {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl DockerRuntime {
    /// An engine that need not answer yet. To be called within a tokio runtime: it watches the engine's events from now on.
    pub fn new(node: NodeId, options: DockerOptions) -> Self {
        let shared = Arc::new(Shared {
            connection: Connection::new(options.socket.clone()),
            node,
            options,
            pulls: progress::Board::default(),
            jobs: jobs::Seats::default(),
            changes: notice::channel(0).0,
        });
        let watcher = tokio::spawn(watch::watch(Arc::clone(&shared)));
        Self { shared, watcher }
    }

    async fn docker(&self) -> Result<Docker, RuntimeError> {
        self.shared.connection.docker().await
    }
}

impl Shared {
    fn notify(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl ContainerRuntime for DockerRuntime {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn port_side(&self) -> PortSide {
        PortSide::Container
    }

    async fn version(&self) -> Result<String, RuntimeError> {
        self.shared.connection.version().await
    }

    async fn prepare(&self, spec: &StartSpec) -> Result<(), RuntimeError> {
        if spec.container.privileged && !self.shared.options.allow_privileged {
            return Err(RuntimeError::elsewhere(
                "start",
                &spec.instance,
                "this node allows no privileged containers (`allow-privileged = true` in the agent's configuration does)",
            ));
        }
        pull::ensure(&self.docker().await?, &self.shared, spec).await
    }

    fn progress(&self, instance: &InstanceId) -> Option<String> {
        self.shared.pulls.of(instance)
    }

    async fn start(&self, spec: &StartSpec) -> Result<Observed, RuntimeError> {
        let docker = self.docker().await?;
        let name = create::name(&spec.owner, &spec.instance);
        let there = inspect(&docker, &name).await?;
        if let Some(there) = &there
            && running(there)
        {
            return observe::running(spec, there);
        }
        if !there.as_ref().is_some_and(|t| create::is_of(t, spec)) {
            if there.is_some() {
                self.remove(&spec.owner, &spec.instance).await?;
            }
            self.create(&docker, &name, spec).await?;
        }
        self.put(&name, spec)?;
        let started = docker
            .start_container(&name, None::<StartContainerOptions>)
            .await;
        started.map_err(|e| create::not_started(spec, e))?;
        let there = inspect(&docker, &name).await?;
        match there {
            Some(there) => observe::running(spec, &there),
            None => Err(RuntimeError::failed(
                "start",
                &spec.instance,
                "its container disappeared",
            )),
        }
    }

    async fn limit(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        reserved: &Resources,
        limits: &Limits,
    ) -> Result<(), RuntimeError> {
        let name = create::name(owner, instance);
        let docker = self.docker().await?;
        if !inspect(&docker, &name).await?.is_some_and(|t| running(&t)) {
            return Err(RuntimeError::failed("limit", instance, "it does not run"));
        }
        let changed = docker.update_container(&name, host::changed(reserved, limits));
        changed
            .await
            .map_err(|e| connect::error("limit", instance, e))
    }

    async fn stop(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        rule: &StopRule,
    ) -> Result<(), RuntimeError> {
        let grace = rule.grace.duration();
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        // The engine answers when it ended, so the answer may take the whole grace period.
        let docker = self
            .docker()
            .await?
            .with_timeout(grace + Duration::from_secs(30));
        let options = StopContainerOptions {
            // Set when the container was created; engines before API 1.42 do not take it here.
            signal: None,
            // Always said: left out, some engines kill at once.
            t: Some(seconds),
        };
        let name = create::name(owner, instance);
        match docker.stop_container(&name, Some(options)).await {
            Err(error) if status(&error) == Some(404) => Ok(()),
            outcome => outcome.map_err(|e| connect::error("stop", instance, e)),
        }
    }

    async fn kill(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError> {
        let docker = self.docker().await?;
        let name = create::name(owner, instance);
        let options = KillContainerOptions {
            signal: "SIGKILL".to_owned(),
        };
        match docker.kill_container(&name, Some(options)).await {
            // 409: it does not run.
            Err(error) if matches!(status(&error), Some(404 | 409)) => return Ok(()),
            outcome => outcome.map_err(|e| connect::error("kill", instance, e))?,
        }
        let mut ended = Box::pin(docker.wait_container(&name, None::<WaitContainerOptions>));
        // The answer holds its exit code, which the next list shows as well.
        ended.next().await;
        Ok(())
    }

    async fn signal(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        signal: &str,
    ) -> Result<(), RuntimeError> {
        let docker = self.docker().await?;
        let options = KillContainerOptions {
            signal: signal.to_owned(),
        };
        let name = create::name(owner, instance);
        match docker.kill_container(&name, Some(options)).await {
            Err(error) if matches!(status(&error), Some(404 | 409)) => {
                Err(RuntimeError::failed("signal", instance, "it does not run"))
            }
            outcome => outcome.map_err(|e| connect::error("signal", instance, e)),
        }
    }

    async fn remove(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError> {
        let docker = self.docker().await?;
        let options = RemoveContainerOptions {
            v: true,
            force: false,
            link: false,
        };
        let name = create::name(owner, instance);
        match docker.remove_container(&name, Some(options)).await {
            Err(error) if status(&error) == Some(404) => {}
            outcome => outcome.map_err(|e| connect::error("remove", instance, e))?,
        }
        self.shared.jobs.remove(&name);
        let files = files::remove(&self.files(&name));
        files.map_err(|e| RuntimeError::failed("remove files of", instance, e))
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        observe::list(&self.docker().await?, observe::labelled(&self.shared.node)).await
    }

    async fn everyones(&self) -> Result<Vec<Observed>, RuntimeError> {
        observe::list(&self.docker().await?, observe::ours()).await
    }

    fn changes(&self) -> notice::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn image_store(&self) -> Option<&dyn ImageStore> {
        Some(self)
    }

    async fn logs(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        query: LogQuery,
    ) -> Result<Lines, RuntimeError> {
        let docker = self.docker().await?;
        let name = create::name(owner, instance);
        if inspect(&docker, &name).await?.is_none() {
            let reason = "it has no container on this node";
            return Err(RuntimeError::failed("read the log of", instance, reason));
        }
        Ok(logs::lines(
            Arc::clone(&self.shared),
            name,
            instance.clone(),
            query,
        ))
    }

    async fn exec(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        order: &Order,
    ) -> Result<Exec, RuntimeError> {
        let name = create::name(owner, instance);
        match order.job {
            true => self.run_job(&name, instance, order).await,
            false => exec::exec(&self.shared.connection, &name, instance, order).await,
        }
    }
}

impl DockerRuntime {
    /// Where the files of a container are.
    fn files(&self, container: &str) -> PathBuf {
        files::folder(&self.shared.options.folder, container)
    }

    /// Puts there what the container finds mounted. Done before every start: what was lost meanwhile is there again.
    fn put(&self, container: &str, spec: &StartSpec) -> Result<(), RuntimeError> {
        let folder = self.files(container);
        files::put(&folder, spec)?;
        if !spec.reuse {
            return Ok(());
        }
        let put = jobs::place::put(&self.shared.options.folder, &folder);
        put.map_err(|e| RuntimeError::failed("start", &spec.instance, e))
    }

    async fn create(
        &self,
        docker: &Docker,
        name: &str,
        spec: &StartSpec,
    ) -> Result<(), RuntimeError> {
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        let folder = self.files(name);
        self.put(name, spec)?;
        let image = pull::exact(docker, spec).await?;
        let mut body = create::body(spec, image, self.shared.options.publish);
        if let Some(host) = &mut body.host_config {
            let mounts = host.mounts.get_or_insert_default();
            mounts.extend(files::mounts(&folder, spec));
            mounts.extend(spec.reuse.then(|| jobs::place::mount(&folder)));
        }
        let created = docker.create_container(Some(options), body).await;
        created.map(drop).map_err(|e| create::not_started(spec, e))
    }
}

/// None: there is no such container.
async fn inspect(
    docker: &Docker,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
    match docker
        .inspect_container(name, None::<InspectContainerOptions>)
        .await
    {
        Ok(there) => Ok(Some(there)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(connect::error("look at", name, error)),
    }
}

fn running(there: &ContainerInspectResponse) -> bool {
    there.state.as_ref().and_then(|s| s.running) == Some(true)
}
