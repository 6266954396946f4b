//! Fills in what an instance is told: `PORT`, `PORT_<NAME>`, `HANCOCK_*` and the placeholders of its spec.

use std::collections::BTreeMap;

use hancock_proto::app::{Resources, Volume};
use hancock_proto::assignment::{AssignedInstance, PortBinding, RunSpec};
use hancock_proto::ids::{AppName, InstanceId, Version};
use hancock_proto::template::{Scope, TemplateError, render};
use serde::{Deserialize, Serialize};

use crate::observed::{Owner, StopRule};

/// Which of a port's two numbers the app itself listens on. A property of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSide {
    /// The host port: the app shares the node's network.
    Host,
    /// The container port: the runtime publishes it at the host port.
    Container,
}

/// Everything a runtime needs to start one instance; no placeholders are left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartSpec {
    /// Whose it is.
    pub owner: Owner,
    /// The instance.
    pub instance: InstanceId,
    /// Its app.
    pub app: AppName,
    /// Its version.
    pub version: Version,
    /// Image, for runtimes that have images.
    pub image: Option<String>,
    /// Program and arguments. Empty: what the image says.
    pub command: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// The owner's labels.
    pub labels: BTreeMap<String, String>,
    /// Reserved amounts.
    pub resources: Resources,
    /// Ports in the order of the spec.
    pub ports: Vec<PortBinding>,
    /// Host folders.
    pub volumes: Vec<Volume>,
    /// How it is stopped.
    pub stop: StopRule,
}

/// Resolves what one assigned instance is to be started with.
///
/// # Errors
/// A placeholder that means nothing.
pub fn resolve(
    owner: &Owner,
    instance: &InstanceId,
    assigned: &AssignedInstance,
    side: PortSide,
) -> Result<StartSpec, TemplateError> {
    let run = &assigned.run;
    let ports = listening(&run.ports, side);
    let scope = Scope {
        app: &assigned.app,
        version: assigned.version,
        instance,
        node: &owner.node,
        ports: &ports,
    };
    let text = |t: &String| render(t, &scope);
    Ok(StartSpec {
        command: run.command.iter().map(text).collect::<Result<_, _>>()?,
        workdir: run.workdir.as_ref().map(text).transpose()?,
        environment: environment(run, &scope)?,
        owner: owner.clone(),
        instance: instance.clone(),
        app: assigned.app.clone(),
        version: assigned.version,
        image: run.image.clone(),
        user: run.user.clone(),
        labels: run.labels.clone(),
        resources: run.resources,
        ports: run.ports.clone(),
        volumes: run.volumes.clone(),
        stop: StopRule {
            signal: run.stop_signal.clone(),
            grace: run.grace_period,
        },
    })
}

/// The port the app itself listens on, by name.
fn listening(ports: &[PortBinding], side: PortSide) -> Vec<(String, u16)> {
    ports
        .iter()
        .map(|p| {
            let number = match side {
                PortSide::Host => p.host,
                PortSide::Container => p.container.unwrap_or(p.host),
            };
            (p.name.clone(), number)
        })
        .collect()
}

/// The owner's own values win over ours: a spec that sets `PORT` means it.
fn environment(
    run: &RunSpec,
    scope: &Scope<'_>,
) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut all = BTreeMap::from([
        ("HANCOCK_APP".to_owned(), scope.app.to_string()),
        ("HANCOCK_VERSION".to_owned(), scope.version.to_string()),
        ("HANCOCK_INSTANCE".to_owned(), scope.instance.to_string()),
        ("HANCOCK_NODE".to_owned(), scope.node.to_string()),
    ]);
    if let Some((_, first)) = scope.ports.first() {
        all.insert("PORT".to_owned(), first.to_string());
    }
    for (name, port) in scope.ports {
        all.insert(variable(name), port.to_string());
    }
    for (name, value) in &run.environment {
        all.insert(name.clone(), render(value, scope)?);
    }
    Ok(all)
}

/// `PORT_<NAME>` in the letters an environment allows.
fn variable(port: &str) -> String {
    let name: String = port
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        })
        .collect();
    format!("PORT_{name}")
}
