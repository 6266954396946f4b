//! What runs the instances of a node: chosen once per data directory, because instances of one runtime mean nothing to the other. Where none
//! runs any more it may be chosen anew.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hancock_agent::runtime::ContainerRuntime;
use hancock_agent::runtime::docker::{DockerOptions, DockerRuntime, Registries};
use hancock_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use hancock_proto::ids::NodeId;

use super::Runtime;
use crate::boot::DataDir;

/// Time an engine has to answer when asked whether it is there.
const ANSWER: Duration = Duration::from_secs(3);

/// File of the data directory that remembers the choice, and what it says.
const FILE: &str = "runtime";
pub(super) const DOCKER: &str = "docker";
pub(super) const PROCESS: &str = "process";

/// Folder of the data directory with plain processes.
const PROCESSES: &str = "processes";

/// What the node's owner says of containers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Address their ports are published at.
    pub publish: IpAddr,
    /// Whether they may have every privilege over the node.
    pub allow_privileged: bool,
    /// Passwords of image registries.
    pub registries: Registries,
}

/// The chosen runtime.
pub struct Engine {
    kind: Kind,
    description: String,
}

enum Kind {
    Docker(Arc<DockerRuntime>),
    Process(Arc<ProcessRuntime>),
}

impl Engine {
    /// Takes what is wanted; `auto` takes what the data directory was used with, otherwise Docker when it answers.
    ///
    /// # Errors
    /// Docker was asked for and does not answer, or the data directory's instances are another runtime's.
    pub async fn choose(
        data: &DataDir,
        wanted: Runtime,
        node: &NodeId,
        rules: &Rules,
    ) -> anyhow::Result<Self> {
        let mut used = data.kept(FILE)?;
        if let Some(former) = used.as_deref().filter(|former| !wanted.is(former))
            && Self::former(data, former, node, rules)?
                .running(ANSWER)
                .await
                == Some(0)
        {
            data.forget(FILE)?;
            used = None;
        }
        match (used.as_deref(), wanted) {
            // An engine that is away just now comes back: its instances are waited for.
            (Some(DOCKER), Runtime::Auto | Runtime::Docker) => {
                Self::docker_engine(data, docker(data, node, rules)?, None)
            }
            (Some(PROCESS), Runtime::Auto | Runtime::Process) | (None, Runtime::Process) => {
                Self::processes(data)
            }
            (None, Runtime::Docker | Runtime::Auto) => {
                let docker = docker(data, node, rules)?;
                match (answer(&docker).await, wanted) {
                    (Ok(version), _) => Self::docker_engine(data, docker, Some(version)),
                    (Err(error), Runtime::Docker) => Err(error
                        .context("cannot use Docker; start an engine, or take --runtime process")),
                    (Err(_), _) => Self::processes(data),
                }
            }
            (Some(used), _) => bail!(
                "instances of this data directory run with --runtime {used}; use that until they have gone, or another --data-dir"
            ),
        }
    }

    /// The one the data directory was used with.
    fn former(data: &DataDir, name: &str, node: &NodeId, rules: &Rules) -> anyhow::Result<Self> {
        match name {
            DOCKER => Self::docker_engine(data, docker(data, node, rules)?, None),
            _ => Self::processes(data),
        }
    }

    fn docker_engine(
        data: &DataDir,
        docker: DockerRuntime,
        version: Option<String>,
    ) -> anyhow::Result<Self> {
        data.keep(FILE, || Ok(DOCKER.to_owned()))?;
        let description = format!("docker {}", version.unwrap_or_default());
        Ok(Self {
            kind: Kind::Docker(Arc::new(docker)),
            description: description.trim_end().to_owned(),
        })
    }

    fn processes(data: &DataDir) -> anyhow::Result<Self> {
        let runtime = ProcessRuntime::new(ProcessOptions::new(&data.join(PROCESSES)));
        let runtime = runtime.context("cannot run plain processes")?;
        data.keep(FILE, || Ok(PROCESS.to_owned()))?;
        Ok(Self {
            kind: Kind::Process(Arc::new(runtime)),
            description: PROCESS.to_owned(),
        })
    }

    /// As the agent needs it.
    pub fn runtime(&self) -> Arc<dyn ContainerRuntime> {
        match &self.kind {
            Kind::Docker(docker) => docker.clone(),
            Kind::Process(process) => process.clone(),
        }
    }

    /// The Docker engine, when it was chosen.
    pub fn docker(&self) -> Option<&DockerRuntime> {
        match &self.kind {
            Kind::Docker(docker) => Some(docker),
            Kind::Process(_) => None,
        }
    }

    /// As part of a sentence.
    pub fn phrase(&self) -> String {
        match &self.kind {
            Kind::Docker(_) => format!("in {}", self.description),
            Kind::Process(_) => "as plain processes".to_owned(),
        }
    }

    /// Number of instances that run; None: the runtime does not say in time.
    pub async fn running(&self, patience: Duration) -> Option<usize> {
        let runtime = self.runtime();
        let list = tokio::time::timeout(patience, runtime.list()).await;
        let list = list.ok()?.ok()?;
        Some(list.iter().filter(|instance| instance.is_running()).count())
    }

    /// Kind and version, as "docker 20.10.24".
    pub fn describe(&self) -> &str {
        &self.description
    }
}

/// Every runtime that may have something on this machine, whatever the data directory is used with now: a Docker engine where there is
/// one, and the plain processes of this directory. `only`: not the other one.
///
/// # Errors
/// There is neither, or not the one that is wanted.
pub fn all(data: &Path, only: Option<Runtime>) -> anyhow::Result<Vec<Arc<dyn ContainerRuntime>>> {
    let mut all: Vec<Arc<dyn ContainerRuntime>> = Vec::new();
    let options = DockerOptions::from_environment(&files(data))?;
    let (socket, processes) = (options.socket.clone(), data.join(PROCESSES));
    let used = fs::read_to_string(data.join(FILE)).unwrap_or_default();
    // One that is away just now is an error later; one that should be there must not be passed over.
    let there = socket.exists() || only.is_some() || used.trim() == DOCKER;
    if only != Some(Runtime::Process) && there {
        let node = "local".parse()?;
        all.push(Arc::new(DockerRuntime::new(node, options)));
    }
    if only != Some(Runtime::Docker) && processes.is_dir() {
        let runtime = ProcessRuntime::new(ProcessOptions::new(&processes));
        all.push(Arc::new(runtime.context("cannot look at plain processes")?));
    }
    match all.is_empty() {
        true => bail!(
            "nothing of Hancock's can be here: there is no Docker engine at {} and no folder {} of plain processes; name another engine \
             with DOCKER_HOST, another data directory with --data-dir or --config",
            socket.display(),
            processes.display()
        ),
        false => Ok(all),
    }
}

/// Where files of containers are, by their whole path: the engine must see them under the same.
fn files(data: &Path) -> PathBuf {
    let folder = data.join("files");
    std::path::absolute(&folder).unwrap_or(folder)
}

/// The engine's version.
async fn answer(docker: &DockerRuntime) -> anyhow::Result<String> {
    let version = tokio::time::timeout(ANSWER, docker.version()).await;
    Ok(version.with_context(|| format!("no answer within {} s", ANSWER.as_secs()))??)
}

fn docker(data: &DataDir, node: &NodeId, rules: &Rules) -> anyhow::Result<DockerRuntime> {
    let options = DockerOptions {
        publish: rules.publish,
        allow_privileged: rules.allow_privileged,
        registries: rules.registries.clone(),
        ..DockerOptions::from_environment(&files(data.path()))?
    };
    Ok(DockerRuntime::new(node.clone(), options))
}
