//! Whether one instance fits on one node.

use std::fmt;

use hancock_proto::app::{AppSpec, needs};
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::NodeId;
use hancock_proto::units::Size;

use super::{Slot, ports};

/// Why a node does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    Lost,
    Silent,
    NoCommand { runtime: String },
    NoImage { runtime: String },
    NoEngine { wanted: &'static str },
    Volume { name: String, home: NodeId },
    Writer { what: String, by: String },
    Cpu { wanted: u64, free: u64 },
    Memory { wanted: u64, free: u64 },
    Disk { wanted: u64, free: u64 },
    PerNode { most: u32 },
    Port { port: u16, by: String },
    NoPort { count: u16, of: String },
}

/// The ports an instance of `spec` would get, or why the node cannot take it; `near` instances of its set are there.
pub(super) fn fits(slot: &Slot<'_>, spec: &AppSpec, near: u32) -> Result<Vec<PortBinding>, Misfit> {
    alive(slot)?;
    runtime(slot, spec)?;
    slot.writers.fit(spec)?;
    resources(slot, spec)?;
    match spec.placement.max_per_node {
        Some(most) if near >= most => return Err(Misfit::PerNode { most }),
        _ => {}
    }
    ports::choose(slot, spec)
}

fn alive(slot: &Slot<'_>) -> Result<(), Misfit> {
    match (slot.lost, slot.alive) {
        (true, _) => Err(Misfit::Lost),
        (false, false) => Err(Misfit::Silent),
        (false, true) => Ok(()),
    }
}

/// Plain processes need a command, containers an image; runtimes of another name are not judged here.
fn runtime(slot: &Slot<'_>, spec: &AppSpec) -> Result<(), Misfit> {
    let runtime = &slot.info.runtime;
    if runtime.starts_with("process") && spec.command.is_empty() {
        return Err(Misfit::NoCommand {
            runtime: runtime.clone(),
        });
    }
    if runtime.starts_with("process")
        && let Some(wanted) = needs::engine(&spec.container, &spec.limits, &spec.volumes)
    {
        return Err(Misfit::NoEngine { wanted });
    }
    if runtime.starts_with("docker") && spec.image.is_none() {
        return Err(Misfit::NoImage {
            runtime: runtime.clone(),
        });
    }
    Ok(())
}

fn resources(slot: &Slot<'_>, spec: &AppSpec) -> Result<(), Misfit> {
    let capacity = &slot.info.capacity;
    let wanted = &spec.resources;
    let free_cpu = u64::from(capacity.cpu.as_millicores()).saturating_sub(slot.used.cpu);
    let free_memory = capacity.memory.as_bytes().saturating_sub(slot.used.memory);
    let free_disk = capacity.disk.as_bytes().saturating_sub(slot.used.disk);
    let (cpu, memory) = (u64::from(wanted.cpu.as_millicores()), wanted.memory);
    if cpu > free_cpu {
        return Err(Misfit::Cpu {
            wanted: cpu,
            free: free_cpu,
        });
    }
    if memory.as_bytes() > free_memory {
        return Err(Misfit::Memory {
            wanted: memory.as_bytes(),
            free: free_memory,
        });
    }
    if wanted.disk.as_bytes() > free_disk {
        return Err(Misfit::Disk {
            wanted: wanted.disk.as_bytes(),
            free: free_disk,
        });
    }
    Ok(())
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Lost => f.write_str("is lost"),
            Misfit::Silent => f.write_str("has not been heard of"),
            Misfit::NoCommand { runtime } => {
                write!(
                    f,
                    "runs plain processes ({runtime}) and the spec has no command"
                )
            }
            Misfit::NoImage { runtime } => {
                write!(f, "runs containers ({runtime}) and the spec has no image")
            }
            Misfit::NoEngine { wanted } => {
                write!(f, "runs plain processes, which have no {wanted}")
            }
            Misfit::Volume { name, home } => {
                write!(
                    f,
                    "volume {name} is on {home} (a volume of another name would begin empty)"
                )
            }
            Misfit::Writer { what, by } => {
                write!(
                    f,
                    "{what} has a single writer (exclusive), and {by} is there"
                )
            }
            Misfit::Cpu { wanted, free } => {
                write!(
                    f,
                    "{} of {} cores wanted are free",
                    cores(*free),
                    cores(*wanted)
                )
            }
            Misfit::Memory { wanted, free } => {
                write!(
                    f,
                    "{} of {} memory wanted are free",
                    size(*free),
                    size(*wanted)
                )
            }
            Misfit::Disk { wanted, free } => {
                write!(
                    f,
                    "{} of {} disk wanted are free",
                    size(*free),
                    size(*wanted)
                )
            }
            Misfit::PerNode { most } => write!(f, "has max_per_node ({most}) instances"),
            Misfit::Port { port, by } => write!(f, "port {port} is taken by {by}"),
            Misfit::NoPort { count: 1, of } => write!(f, "no port of {of} is free"),
            Misfit::NoPort { count, of } => {
                write!(f, "no {count} ports in a row of {of} are free")
            }
        }
    }
}

fn cores(millicores: u64) -> String {
    format!("{}.{:03}", millicores / 1000, millicores % 1000)
}

/// In whole MiB, as odd byte counts are hard to read.
fn size(bytes: u64) -> Size {
    Size::mib(bytes >> 20)
}
