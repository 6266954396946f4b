//! Commands as people read them, in logs and golden files.

use std::fmt;

use super::{Command, Placement, Purpose};

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Command as C;
        match self {
            C::Init { cluster, .. } => write!(f, "begin cluster {cluster}"),
            C::TermStarted { term, leader, .. } => write!(f, "{leader} leads term {term}"),
            C::AskMaster { deed, name, .. } => write!(f, "master {name} shall {}", deed.word()),
            C::AgreeFormat { format, .. } => write!(f, "write format {format} from here on"),
            C::ApplyApp { spec, .. } => {
                write!(f, "apply {} with {} replicas", spec.app, spec.replicas)
            }
            C::Scale { app, replicas, .. } => write!(f, "scale {app} to {replicas} replicas"),
            C::Restart { app, .. } => write!(f, "restart {app}"),
            C::StopApp { app, .. } => write!(f, "stop {app}"),
            C::StartApp { app, .. } => write!(f, "start {app}"),
            C::DeleteApp { app, .. } => write!(f, "delete {app}"),
            C::Rollback {
                app,
                version: Some(version),
                ..
            } => write!(f, "roll {app} back to version {version}"),
            C::Rollback { app, .. } => write!(f, "roll {app} back"),
            C::Abort { deployment, .. } => write!(f, "abort deployment {deployment}"),
            C::ReplaceInstance { instance, .. } => write!(f, "replace instance {instance}"),
            C::RegisterNode { info, boot, .. } => {
                write!(f, "register node {} boot {boot}", info.node)
            }
            C::NodeLost { node, .. } => write!(f, "node {node} is lost"),
            C::NodeFound { node, .. } => write!(f, "node {node} is back"),
            C::PutZone { name, zone, .. } => {
                let labels = zone.selector.iter();
                let labels: Vec<_> = labels.map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "zone {name} is [{}]", labels.join(","))
            }
            C::AddServer {
                zone, name, server, ..
            } => write!(
                f,
                "add {}:{} to {name} in zone {zone}",
                server.host, server.port
            ),
            C::DeleteUpstream { zone, name, .. } => {
                write!(f, "delete upstream {name} of zone {zone}")
            }
            C::DeleteZone { name, .. } => write!(f, "delete zone {name}"),
            C::ChooseRegistry { url, .. } => write!(f, "choose registry {url}"),
            C::RegistryFilled {
                number, revision, ..
            } => write!(
                f,
                "registry {number} holds everything at revision {revision}"
            ),
            C::RegistrySwitched { number, nodes, .. } => {
                write!(
                    f,
                    "registry {number} is in force, {} nodes follow it",
                    nodes.len()
                )
            }
            C::RegistryRepaired { number, count, .. } => {
                write!(f, "registry {number} was put right in {count} names")
            }
            C::RegistryRaise { fence, .. } => {
                write!(f, "raise the registry's fence to term {}", fence.term)
            }
            other => step(other, f),
        }
    }
}

/// The leader's own steps.
fn step(command: &Command, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use Command as C;
    match command {
        C::Report {
            node, instances, ..
        } => report(node, instances, f),
        C::Place {
            purpose,
            first,
            placements,
            ..
        } => place(purpose, *first, placements, f),
        C::Clear { deployment, .. } => write!(f, "clear the way for deployment {deployment}"),
        C::Promote { deployment, .. } => write!(f, "promote deployment {deployment}"),
        C::Heal { app, join, .. } if join.is_empty() => {
            write!(f, "bring {app}'s routes in line")
        }
        C::Heal { app, join, .. } => write!(f, "route {app} to replacements {}", list(join)),
        C::Discard { app, instances, .. } => {
            write!(f, "give up {app}'s replacements {}", list(instances))
        }
        C::RestartAiling { instances, .. } => {
            write!(f, "restart {}, whose checks fail", list(instances))
        }
        C::Published {
            app,
            index,
            revision,
            ..
        } => write!(
            f,
            "documents of {app} at index {index} are published at revision {revision}"
        ),
        other => ending(other, f),
    }
}

fn ending(command: &Command, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use Command as C;
    match command {
        C::BeginDrain {
            app,
            index,
            evidence,
            ..
        } => write!(f, "begin drain of {app} at index {index}: {evidence}"),
        C::StopInstances { stops, .. } => {
            let each: Vec<_> = stops
                .iter()
                .map(|(id, cause)| format!("{id} ({})", cause.prose()))
                .collect();
            write!(f, "stop {}", each.join(", "))
        }
        C::Settle { app, index, .. } => write!(f, "settle cutover {index} of {app}"),
        C::LeaveZones {
            app,
            index,
            evidence,
            ..
        } => write!(f, "leave zones of {app} after index {index}: {evidence}"),
        C::LetGo { app, nodes, .. } => {
            write!(f, "{} let go of {app}", list(nodes.keys()))
        }
        C::FinishDeployment {
            deployment,
            holding,
            lingering,
            ..
        } => {
            write!(f, "finish deployment {deployment}")?;
            if !holding.is_empty() {
                write!(f, ", holding {}", list(holding))?;
            }
            if !lingering.is_empty() {
                write!(f, ", lingering {}", list(lingering))?;
            }
            Ok(())
        }
        C::PlaceAgain {
            deployment,
            instances,
            ..
        } => write!(
            f,
            "place {} of deployment {deployment} again",
            list(instances)
        ),
        C::FailDeployment {
            deployment, reason, ..
        } => write!(f, "fail deployment {deployment}: {reason}"),
        C::RegistryPublish { batch, .. } => {
            write!(
                f,
                "publish {} documents of {}",
                batch.changes.len(),
                batch.app
            )
        }
        // Everything else was written by the callers.
        _ => Ok(()),
    }
}

fn report(
    node: &hancock_proto::ids::NodeId,
    instances: &std::collections::BTreeMap<
        hancock_proto::ids::InstanceId,
        hancock_proto::report::InstanceReport,
    >,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let each: Vec<_> = instances
        .iter()
        .map(|(id, facts)| {
            let ready = match &facts.ready {
                Some(c) if c.value => " ready",
                Some(_) => " not ready",
                None => "",
            };
            format!("{id} {}{ready}", facts.life)
        })
        .collect();
    write!(f, "{node} reports {}", each.join(", "))
}

fn place(
    purpose: &Purpose,
    first: u64,
    placements: &[Placement],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let each: Vec<_> = (first..)
        .zip(placements)
        .map(|(number, p)| format!("#{number} on {}", p.node))
        .collect();
    match purpose {
        Purpose::Deployment(id) => write!(f, "place for deployment {id}: {}", each.join(", ")),
        Purpose::Heal(app) => write!(f, "place replacements for {app}: {}", each.join(", ")),
    }
}

/// Names with commas.
fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let each: Vec<_> = items.into_iter().map(|i| i.to_string()).collect();
    each.join(", ")
}
