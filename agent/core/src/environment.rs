//! Fills in what an instance is told: `PORT`, `PORT_<NAME>`, `HANCOCK_*` and the placeholders of its spec.

use std::collections::BTreeMap;

use hancock_proto::app::{
    Container, File, Limits, Network, PullPolicy, Resources, Volume, VolumeKind,
};
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
    /// What the image's name is to stand for. None: whatever it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// When the image is fetched.
    #[serde(default, skip_serializing_if = "PullPolicy::is_missing")]
    pub pull_policy: PullPolicy,
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
    /// What it may not exceed.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// Ports in the order of the spec.
    pub ports: Vec<PortBinding>,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// Files put there before the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// What is asked of the container engine.
    #[serde(default, skip_serializing_if = "Container::is_default")]
    pub container: Container,
    /// The image's own check is asked; otherwise it does not run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub image_check: bool,
    /// It waits for jobs and runs `command` once for each, instead of all the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuse: bool,
    /// How it is stopped.
    pub stop: StopRule,
}

impl StartSpec {
    /// Every host port it was given.
    pub fn host_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.ports.iter().flat_map(PortBinding::hosts)
    }

    /// Folders of the host it may write to.
    pub fn folders(&self) -> Vec<String> {
        let written = self.volumes.iter();
        let written = written.filter(|v| v.kind == VolumeKind::Bind && !v.read_only);
        written.map(|v| v.source.clone()).collect()
    }
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
    let ports = listening(run, side);
    let scope = scope(owner, instance, assigned, &ports);
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
        image_digest: run.image_digest.clone(),
        pull_policy: run.pull_policy,
        user: run.user.clone(),
        labels: run.labels.clone(),
        resources: run.resources,
        limits: run.limits,
        ports: run.ports.clone(),
        volumes: run.volumes.clone(),
        files: files(&run.files, &scope)?,
        container: run.container.clone(),
        image_check: run.image_check,
        reuse: run.reuse,
        stop: StopRule {
            signal: run.stop_signal.clone(),
            grace: run.grace_period,
        },
    })
}

/// The command of an instance's check, as it is run.
///
/// # Errors
/// A placeholder that means nothing.
pub fn check_command(
    owner: &Owner,
    instance: &InstanceId,
    assigned: &AssignedInstance,
    side: PortSide,
) -> Result<Vec<String>, TemplateError> {
    let ports = listening(&assigned.run, side);
    let scope = scope(owner, instance, assigned, &ports);
    let command = assigned.check.iter().flat_map(|c| &c.spec.command);
    command.map(|text| render(text, &scope)).collect()
}

fn scope<'a>(
    owner: &'a Owner,
    instance: &'a InstanceId,
    assigned: &'a AssignedInstance,
    ports: &'a [(String, u16)],
) -> Scope<'a> {
    Scope {
        app: &assigned.app,
        version: assigned.version,
        instance,
        node: &owner.node,
        ports,
    }
}

fn files(files: &[File], scope: &Scope<'_>) -> Result<Vec<File>, TemplateError> {
    let file = |file: &File| {
        let content = match file.template {
            true => render(&file.content, scope)?,
            false => file.content.clone(),
        };
        let file = file.clone();
        Ok(File { content, ..file })
    };
    files.iter().map(file).collect()
}

/// The port the app itself listens on, by name.
fn listening(run: &RunSpec, side: PortSide) -> Vec<(String, u16)> {
    // In the node's network nothing stands between the app and the host port.
    let side = match run.container.network {
        Network::Host => PortSide::Host,
        _ => side,
    };
    let ports = run.ports.iter();
    ports
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hancock_proto::app::PortProtocol;
    use hancock_proto::assignment::Desired;
    use hancock_proto::units::Span;

    use super::*;

    fn resolved(side: PortSide, own: &[(&str, &str)]) -> StartSpec {
        let port = |name: &str, container, host| PortBinding {
            name: name.into(),
            container,
            host,
            count: 1,
            protocol: PortProtocol::Tcp,
        };
        let own = own.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let assigned = AssignedInstance {
            app: "web".parse().unwrap(),
            version: Version(3),
            desired: Desired::Running,
            check: None,
            liveness: None,
            stop_after: None,
            restarts_asked: 0,
            exclusive: std::collections::BTreeSet::new(),
            run: RunSpec {
                image: None,
                image_digest: None,
                pull_policy: PullPolicy::Missing,
                command: vec!["serve".into(), "--port={{ port.http }}".into()],
                workdir: Some("/srv/{{ instance.id }}".into()),
                user: None,
                environment: own.collect(),
                labels: BTreeMap::new(),
                resources: Resources::default(),
                limits: Limits::default(),
                ports: vec![
                    port("http", Some(80), 20_001),
                    port("grpc-web", None, 20_002),
                ],
                volumes: Vec::new(),
                files: Vec::new(),
                container: Container::default(),
                image_check: false,
                reuse: false,
                stop_signal: "SIGTERM".into(),
                grace_period: Span::seconds(1),
                restart: hancock_proto::app::Restart::default(),
            },
        };
        let owner = Owner {
            cluster: "c1".parse().unwrap(),
            node: "n1".parse().unwrap(),
        };
        resolve(&owner, &"web-7".parse().unwrap(), &assigned, side).unwrap()
    }

    #[test]
    fn the_runtime_decides_which_port_is_the_apps_own() {
        let host = resolved(PortSide::Host, &[]);
        assert_eq!(host.command[1], "--port=20001");
        assert_eq!(
            (
                &*host.environment["PORT"],
                &*host.environment["PORT_GRPC_WEB"]
            ),
            ("20001", "20002")
        );
        let container = resolved(PortSide::Container, &[]);
        assert_eq!(container.command[1], "--port=80");
        assert_eq!(
            (
                &*container.environment["PORT_HTTP"],
                &*container.environment["PORT_GRPC_WEB"]
            ),
            ("80", "20002")
        );
    }

    #[test]
    fn the_app_learns_who_it_is_and_its_owner_has_the_last_word() {
        let spec = resolved(
            PortSide::Host,
            &[("WHO", "{{ app }} {{ version }}"), ("PORT", "1")],
        );
        assert_eq!(spec.workdir.as_deref(), Some("/srv/web-7"));
        let value = |name: &str| spec.environment[name].clone();
        assert_eq!(value("HANCOCK_INSTANCE"), "web-7");
        assert_eq!(value("HANCOCK_NODE"), "n1");
        assert_eq!((&*value("WHO"), &*value("PORT")), ("web 3", "1"));
    }
}
